"""A latency histogram with log-linear buckets, cheap enough for the hot path.

The layout is that of HdrHistogram (Gil Tene, https://github.com/HdrHistogram/HdrHistogram): each power of
two is cut into 32 equal sub-buckets, so a bucket is never wider than 1/32 of the values in it, and a
reported value (the middle of its bucket) is within 1.6 % of the recorded one. Below 64 us buckets are
1 us wide and exact.

The bucket's index comes from ``int.bit_length`` alone, so recording is two shifts and an addition. The
list of buckets grows to the largest value seen: a server with thousands of quiet queues, each with its
own histograms, does not pay for hours that nobody waited.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from operator import add, sub

import msgspec

SUB_BUCKET_BITS = 5
"""2**5 sub-buckets for each power of two: the relative error is at most 1/64."""

_EXACT_BELOW = 1 << (SUB_BUCKET_BITS + 1)
_SHIFT_BASE = SUB_BUCKET_BITS + 1

MAX_VALUE_US = (1 << 36) - 1
"""Longer values (19 hours) are recorded as this one."""


def bucket_index(value_us: int) -> int:
    """Return the bucket of a value in microseconds, which must be 0 or more."""
    shift = value_us.bit_length() - _SHIFT_BASE
    if shift <= 0:
        return value_us
    return (shift << SUB_BUCKET_BITS) + (value_us >> shift)


def bucket_range(index: int) -> tuple[int, int]:
    """Return the lowest and the highest microsecond that fall into bucket ``index``."""
    if index < _EXACT_BELOW:
        return index, index
    shift = (index >> SUB_BUCKET_BITS) - 1
    low = (index - (shift << SUB_BUCKET_BITS)) << shift
    return low, low + (1 << shift) - 1


def _percentiles(buckets: Sequence[int], quantiles: Sequence[float]) -> list[int]:
    for quantile in quantiles:
        if not 0.0 <= quantile <= 1.0:
            raise ValueError(f"a quantile lies between 0 and 1, not {quantile}")
    sums = list(accumulate(buckets))
    if not sums or not sums[-1]:
        return [0] * len(quantiles)
    found = []
    for quantile in quantiles:
        low, high = bucket_range(bisect_left(sums, max(1, math.ceil(quantile * sums[-1]))))
        found.append((low + high) // 2)
    return found


class HistogramSnapshot(msgspec.Struct, frozen=True):
    """The content of a histogram at one moment; the difference of two is a window of time."""

    buckets: tuple[int, ...]
    """Recorded values by bucket; trailing empty buckets may be absent."""
    sum_us: int
    """The sum of the recorded values, exact."""

    @property
    def count(self) -> int:
        """How many values were recorded."""
        return sum(self.buckets)

    def minus(self, earlier: HistogramSnapshot) -> HistogramSnapshot:
        """Return what was recorded after ``earlier``, an older snapshot of the same histogram."""
        older = earlier.buckets + (0,) * (len(self.buckets) - len(earlier.buckets))
        return HistogramSnapshot(
            tuple(map(sub, self.buckets, older)),
            self.sum_us - earlier.sum_us,
        )

    def percentile(self, quantile: float) -> int:
        """Return the microseconds that a share ``quantile`` (0..1) of the values do not exceed.

        It is the middle of the bucket that holds this value, 0 when nothing was recorded.

        Raises:
            ValueError: ``quantile`` is outside 0..1.
        """
        return self.percentiles(quantile)[0]

    def percentiles(self, *quantiles: float) -> list[int]:
        """Return several at once, in one walk."""
        return _percentiles(self.buckets, quantiles)

    def summary_ms(self) -> tuple[float, float, float, int]:
        """Return p50, p90 and p99 in milliseconds, and the count."""
        p50, p90, p99 = self.percentiles(0.5, 0.9, 0.99)
        return p50 / 1000, p90 / 1000, p99 / 1000, self.count


class Histogram:
    """Microseconds recorded by one writer; see the module's head for the layout and the error."""

    __slots__ = ("_buckets", "sum_us")

    def __init__(self) -> None:
        self._buckets: list[int] = [0] * _EXACT_BELOW
        self.sum_us = 0
        """The sum of the recorded values, exact."""

    def record(self, value_us: int) -> None:
        """Record one value in microseconds; a negative one (a clock set back) counts as 0."""
        if value_us >= _EXACT_BELOW:
            shift = value_us.bit_length() - _SHIFT_BASE
            try:
                self._buckets[(shift << SUB_BUCKET_BITS) + (value_us >> shift)] += 1
            except IndexError:
                self._record_rare(value_us)
                return
        elif value_us >= 0:
            self._buckets[value_us] += 1
        else:
            self._buckets[0] += 1
            return
        self.sum_us += value_us

    def _record_rare(self, value_us: int) -> None:
        value_us = min(value_us, MAX_VALUE_US)
        index = bucket_index(value_us)
        if index >= len(self._buckets):
            # Up to the next power of two, so that a rising latency does not grow the list at every value.
            self._buckets.extend([0] * ((index | ((1 << SUB_BUCKET_BITS) - 1)) + 1 - len(self._buckets)))
        self._buckets[index] += 1
        self.sum_us += value_us

    @property
    def count(self) -> int:
        """How many values were recorded (summed up on demand, so that recording need not count)."""
        return sum(self._buckets)

    def percentile(self, quantile: float) -> int:
        """Return the microseconds that a share ``quantile`` (0..1) of the values do not exceed."""
        return self.percentiles(quantile)[0]

    def percentiles(self, *quantiles: float) -> list[int]:
        """Return several at once, in one walk; see `HistogramSnapshot.percentile`."""
        return _percentiles(self._buckets, quantiles)

    def snapshot(self) -> HistogramSnapshot:
        """Return an immutable copy of the content (about 5 us)."""
        return HistogramSnapshot(tuple(self._buckets), self.sum_us)

    def merge(self, other: Histogram | HistogramSnapshot) -> None:
        """Add all that ``other`` has recorded to this one."""
        added = other._buckets if isinstance(other, Histogram) else other.buckets
        missing = len(added) - len(self._buckets)
        if missing > 0:
            self._buckets.extend([0] * missing)
        self._buckets[: len(added)] = map(add, self._buckets, added)
        self.sum_us += other.sum_us

    def reset(self) -> None:
        """Forget everything recorded."""
        self._buckets = [0] * _EXACT_BELOW
        self.sum_us = 0
