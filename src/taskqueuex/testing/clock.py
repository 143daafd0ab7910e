"""A clock that goes when it is told to."""

__all__ = ["FakeClock"]


class FakeClock:
    """Satisfies `taskqueuex.clock.Clock`."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._now_us = now_ms * 1_000

    def advance(self, ms: int) -> None:
        """Moves time; a negative number turns the wall clock back (monotonic time with it)."""
        self._now_us += ms * 1_000

    def now_ms(self) -> int:
        return self._now_us // 1_000

    def monotonic_us(self) -> int:
        return self._now_us
