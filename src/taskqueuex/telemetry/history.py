"""Downsampled history of metrics: short and fine, long and coarse.

Pure arithmetic, no storage and no clock: samples come in with their time, finished points come out for
the caller to persist, and `expired_before` says what the caller may delete. Each tier is fed from the
samples themselves, not from the finer tier, so a mean is a mean of samples at every resolution.

A series is a gauge (its points are means of the samples) unless its name ends in `_total`: that is a
counter, and its points are the last value, from which a reader takes differences. A counter that falls
was restarted with its process; readers treat the new value as the increase, as Prometheus does.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec

COUNTER_SUFFIX = "_total"
"""Series whose name ends in this keep their last value; all others their mean."""


class Tier(IntEnum):
    """A resolution; the number is part of the stored key and never changes its meaning."""

    FINE = 0
    MIDDLE = 1
    COARSE = 2


class TierPolicy(msgspec.Struct, frozen=True):
    """The width of a tier's points and how long they are kept, in milliseconds."""

    width_ms: int
    kept_ms: int


TIERS: dict[Tier, TierPolicy] = {
    Tier.FINE: TierPolicy(width_ms=10_000, kept_ms=2 * 3_600_000),
    Tier.MIDDLE: TierPolicy(width_ms=60_000, kept_ms=48 * 3_600_000),
    Tier.COARSE: TierPolicy(width_ms=900_000, kept_ms=35 * 86_400_000),
}


class Point(msgspec.Struct, frozen=True):
    """One finished point of one tier."""

    tier: Tier
    at_ms: int
    """Unix milliseconds of the start of the interval, a multiple of the tier's width."""
    values: dict[str, float]
    """By series: the mean of a gauge, the last value of a counter. Series without a sample are absent."""


class _Interval:
    """What one tier has gathered of the interval now open."""

    __slots__ = ("at_ms", "counts", "values")

    def __init__(self, at_ms: int) -> None:
        self.at_ms = at_ms
        self.values: dict[str, float] = {}
        self.counts: dict[str, int] = {}

    def add(self, values: dict[str, float]) -> None:
        for name, value in values.items():
            if name.endswith(COUNTER_SUFFIX):
                self.values[name] = value
                continue
            self.values[name] = self.values.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1

    def finish(self, tier: Tier) -> Point:
        counts = self.counts
        return Point(tier, self.at_ms, {name: v / counts.get(name, 1) for name, v in self.values.items()})


class MetricsHistory:
    """Turns samples into points of all tiers."""

    def __init__(self) -> None:
        self._open: dict[Tier, _Interval] = {}

    def add(self, now_ms: int, values: dict[str, float]) -> list[Point]:
        """Take one sample of any number of series and return the points that it finished.

        A point is finished by the first sample after its interval, so an idle gap yields no points and a
        sample once a second yields each point a second late. A clock that steps back adds to the interval
        already open: points never go back in time.

        Args:
            now_ms: Unix milliseconds of the sample.
            values: the series and their values now.
        """
        finished: list[Point] = []
        for tier, policy in TIERS.items():
            at_ms = now_ms - now_ms % policy.width_ms
            interval = self._open.get(tier)
            if interval is None or at_ms > interval.at_ms:
                if interval is not None:
                    finished.append(interval.finish(tier))
                interval = self._open[tier] = _Interval(at_ms)
            interval.add(values)
        return finished

    def flush(self) -> list[Point]:
        """Return the unfinished points and forget them: for an orderly shutdown.

        After a restart within the same interval a second point of the same tier and time follows; the
        caller stores it over the first, which loses at most the part before the restart.
        """
        points = [interval.finish(tier) for tier, interval in self._open.items()]
        self._open.clear()
        return points

    @staticmethod
    def expired_before(tier: Tier, now_ms: int) -> int:
        """Return the Unix milliseconds before which points of ``tier`` need not be kept."""
        return now_ms - TIERS[tier].kept_ms
