"""Where time comes from. The engine never asks: time is handed to it with each command."""

import time
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """A source of time that tests can replace."""

    def now_ms(self) -> int:
        """Wall-clock time, Unix milliseconds. May step backwards."""
        ...

    def monotonic_us(self) -> int:
        """Microseconds that never fall; only differences mean anything."""
        ...


class SystemClock:
    """The clock of the machine.

    When that is put back, time goes on from where it was: it would stand still for as long otherwise,
    since within an engine it never falls, and no lease, delay or limit would end. A restart adopts the
    machine's time.
    """

    def __init__(self) -> None:
        self._ahead_ns = time.time_ns() - time.monotonic_ns()  # of the wall clock; it never falls

    def now_ms(self) -> int:
        now_ns = time.monotonic_ns()
        ahead_ns = time.time_ns() - now_ns
        if ahead_ns > self._ahead_ns:
            self._ahead_ns = ahead_ns
        return (now_ns + self._ahead_ns) // 1_000_000

    def monotonic_us(self) -> int:
        return time.monotonic_ns() // 1_000
