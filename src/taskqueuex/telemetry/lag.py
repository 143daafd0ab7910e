"""The event-loop lag: how much later than asked the loop runs a callback.

It is the truest single number of a one-loop server: whatever holds the loop (a large command, a stalled
write that keeps the GIL, a full garbage collection) shows here, and every client waits at least as long.
"""

from __future__ import annotations

import asyncio
import time

from taskqueuex.telemetry.histogram import Histogram


class LoopLag:
    """Measures the lag of one event loop with a repeating timer, into a histogram."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        interval_s: float = 0.1,
        histogram: Histogram | None = None,
    ) -> None:
        """Prepare a probe that is not running yet.

        Args:
            loop: the loop to measure; `start` and `stop` are called on it.
            interval_s: seconds between two measurements. A stall shorter than this can fall between two.
            histogram: where the lags go, in microseconds; a new one when None.
        """
        self.histogram = histogram if histogram is not None else Histogram()
        self.latest_us = 0
        """The last lag measured, in microseconds."""
        self._loop = loop
        self._interval_s = interval_s
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to measure; does nothing while it runs."""
        if self._handle is None:
            self._schedule()

    def stop(self) -> None:
        """Cancel the timer; the histogram keeps what it has."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _schedule(self) -> None:
        # Not `loop.time()`: uvloop's is cached at the start of each turn, in whole milliseconds. Its timers
        # are rounded to milliseconds too, so a lag below 1 ms is within the noise there.
        due_s = time.monotonic() + self._interval_s
        self._handle = self._loop.call_later(self._interval_s, self._on_due, due_s)

    def _on_due(self, due_s: float) -> None:
        self.latest_us = max(0, int((time.monotonic() - due_s) * 1_000_000))
        self.histogram.record(self.latest_us)
        self._schedule()
