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
    """The clock of the machine."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_us(self) -> int:
        return time.monotonic_ns() // 1_000
