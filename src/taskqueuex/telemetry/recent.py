"""What a histogram has recorded lately.

A histogram counts from the start of the server, as Prometheus wants it; after a week, an hour of trouble does
not move its percentiles. Two marks of what it was make a window out of it, of one to two spans, without a
second recording in the hot path.
"""

from __future__ import annotations

from collections.abc import Callable

from taskqueuex.telemetry.histogram import HistogramSnapshot

__all__ = ["Recent"]

_NOTHING = HistogramSnapshot((), 0)


class Recent:
    """A window over a histogram, of one to two spans: the time between two calls of `roll`."""

    __slots__ = ("_newer", "_older", "_snapshot")

    def __init__(self, snapshot: Callable[[], HistogramSnapshot]) -> None:
        """`snapshot` reads the histogram."""
        self._snapshot = snapshot
        self._newer = self._older = _NOTHING

    def roll(self) -> None:
        """A span is over: what was recorded before it leaves the window."""
        self._older, self._newer = self._newer, self._snapshot()

    def window(self) -> HistogramSnapshot:
        """What was recorded since the older mark."""
        now = self._snapshot()
        if now.count < self._older.count:  # it was made anew, and counts from 0
            self._newer = self._older = _NOTHING
        return now.minus(self._older)
