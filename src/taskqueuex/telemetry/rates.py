"""Rates per second over the last ten seconds, from plain counters.

A ring of one-second buckets, so that an idle meter costs nothing and a busy one an addition. The second
that is still filling is left out: a rate read early in it would sag.
"""

from __future__ import annotations

WINDOW_SECONDS = 10
"""The rate is the mean over this many whole seconds."""

_SLOTS = WINDOW_SECONDS + 1  # the window and the second now filling


class RateMeter:
    """Counts events and tells their rate; one writer, time handed in by the caller."""

    __slots__ = ("_first_second", "_held", "_last_second", "_ring", "total")

    def __init__(self) -> None:
        self._ring = [0] * _SLOTS
        self._held = 0  # the sum of the ring
        self._last_second = -1
        self._first_second = -1
        self.total = 0
        """All events ever added: the counter for `/metrics`."""

    def add(self, number: int, now_ms: int) -> None:
        """Count ``number`` events at ``now_ms`` (milliseconds of any clock; one that steps back is held)."""
        if not number and self._last_second >= 0:
            return  # the next look moves the ring on
        second = now_ms // 1000
        if second > self._last_second:
            self._advance(second)
        self._ring[self._last_second % _SLOTS] += number
        self._held += number
        self.total += number

    def per_second(self, now_ms: int) -> float:
        """Return events a second over the last 10 whole seconds, or over those since the first event."""
        if not self._held:
            return 0.0  # most of many queues, every second
        second = now_ms // 1000
        if second > self._last_second:
            self._advance(second)
        filling = self._ring[self._last_second % _SLOTS]
        whole_seconds = min(WINDOW_SECONDS, self._last_second - self._first_second)
        if whole_seconds == 0:
            return float(filling)
        return (self._held - filling) / whole_seconds

    def _advance(self, second: int) -> None:
        if self._last_second < 0:
            self._first_second = second
        else:
            for passed in range(max(self._last_second + 1, second - _SLOTS + 1), second + 1):
                self._held -= self._ring[passed % _SLOTS]
                self._ring[passed % _SLOTS] = 0
        self._last_second = second
