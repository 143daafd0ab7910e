"""The Prometheus text: a typed description of metric families, rendered by prometheus_client.

The rest of the program counts in plain integers and in `Histogram`; only when `/metrics` is read are they
described as families here and handed to prometheus_client's exposition, which knows the format (escaping,
ordering, number syntax). Its own metric objects are not used: they take a lock at every increment.

Names follow https://prometheus.io/docs/practices/naming/: prefix `taskqueuex_`, base units in the name
(`_seconds`, `_bytes`), counters end in `_total`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from taskqueuex.telemetry.histogram import Histogram, HistogramSnapshot

CONTENT_TYPE = CONTENT_TYPE_LATEST
"""The `Content-Type` of what `render` returns."""

PREFIX = "taskqueuex_"
"""Every name starts with it."""

BOUNDS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0, 600.0)
"""Upper bounds of the exposed buckets in seconds: from a fast request to a long run; +Inf follows."""

_BOUNDS_US = tuple(round(bound * 1_000_000) for bound in BOUNDS_S)


class Sample(msgspec.Struct, frozen=True):
    """One value of a counter or gauge."""

    value: float
    labels: tuple[str, ...] = ()
    """The values of the family's `label_names`, in their order."""


class HistogramSample(msgspec.Struct, frozen=True):
    """One distribution of a histogram family."""

    histogram: Histogram | HistogramSnapshot
    labels: tuple[str, ...] = ()


class Counter(msgspec.Struct, frozen=True):
    """A family of values that only grow while the process lives."""

    name: str
    """With prefix and `_total`."""
    help: str
    samples: Sequence[Sample]
    label_names: tuple[str, ...] = ()


class Gauge(msgspec.Struct, frozen=True):
    """A family of values that rise and fall."""

    name: str
    help: str
    samples: Sequence[Sample]
    label_names: tuple[str, ...] = ()


class HistogramFamily(msgspec.Struct, frozen=True):
    """A family of durations, exposed in the fixed buckets of `BOUNDS_S`."""

    name: str
    """With prefix and `_seconds`."""
    help: str
    samples: Sequence[HistogramSample]
    label_names: tuple[str, ...] = ()


Family = Counter | Gauge | HistogramFamily


class _Families(Collector):
    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for family in self._families:
            yield _describe(family)


def render(families: Iterable[Family]) -> bytes:
    """Return the families as Prometheus text, to be sent with `CONTENT_TYPE`.

    Raises:
        ValueError: a name breaks the conventions of this module, or labels do not fit the label names.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families([_checked(family) for family in families]))
    return generate_latest(registry)


def _checked(family: Family) -> Family:
    if not family.name.startswith(PREFIX):
        raise ValueError(f"metric {family.name} does not start with {PREFIX}")
    if isinstance(family, Counter) != family.name.endswith("_total"):
        raise ValueError(f"metric {family.name}: counters, and only they, end in _total")
    if isinstance(family, HistogramFamily) and not family.name.endswith("_seconds"):
        raise ValueError(f"metric {family.name}: a histogram of durations ends in _seconds")
    for sample in family.samples:
        if len(sample.labels) != len(family.label_names):
            raise ValueError(f"metric {family.name}: labels {sample.labels} for {family.label_names}")
    return family


def _describe(family: Family) -> Metric:
    if isinstance(family, HistogramFamily):
        return _describe_histogram(family)
    kind = CounterMetricFamily if isinstance(family, Counter) else GaugeMetricFamily
    metric = kind(family.name, family.help, labels=family.label_names)
    for sample in family.samples:
        metric.add_metric(sample.labels, sample.value)
    return metric


def _describe_histogram(family: HistogramFamily) -> Metric:
    metric = HistogramMetricFamily(family.name, family.help, labels=family.label_names)
    for sample in family.samples:
        histogram = sample.histogram
        snapshot = histogram.snapshot() if isinstance(histogram, Histogram) else histogram
        counts = snapshot.cumulative(_BOUNDS_US)
        buckets = [(str(bound), count) for bound, count in zip(BOUNDS_S, counts, strict=True)]
        buckets.append(("+Inf", snapshot.count))
        metric.add_metric(sample.labels, buckets, sum_value=snapshot.sum_us / 1_000_000)
    return metric
