"""How many tasks a worker asks for: as many as can start soon, and no more.

By Little's law, what ends at `rate` a second makes room for `rate * horizon` tasks within `horizon`
seconds. With a horizon of two round trips, the next tasks arrive as the last ones end; where tasks take
long, the rate is low, and nothing is taken that cannot start at once.
"""

__all__ = ["HORIZON_MAX_S", "Prefetch"]

HORIZON_MAX_S = 0.02
_WEIGHT = 0.3
_SPAN_MIN_S = 0.002


class Prefetch:
    """Watches what ends in one kind of slot. Times are seconds of a clock that never falls."""

    __slots__ = ("_ended", "_rate", "_round_trip_s", "_since")

    def __init__(self, now: float) -> None:
        self._ended = 0
        self._since = now
        self._rate = 0.0
        self._round_trip_s = 0.001

    def on_end(self, count: int = 1) -> None:
        """Tasks have ended."""
        self._ended += count

    def on_round_trip(self, took_s: float, now: float) -> None:
        """A call to the server that did not wait has been answered."""
        self._round_trip_s += _WEIGHT * (took_s - self._round_trip_s)
        span = now - self._since
        if span >= _SPAN_MIN_S:
            self._rate += _WEIGHT * (self._ended / span - self._rate)
            self._ended, self._since = 0, now

    def more(self) -> int:
        """How many tasks beyond the free slots can start soon."""
        return int(self._rate * min(2 * self._round_trip_s, HORIZON_MAX_S))
