"""The Prometheus text: a typed description of metric families, and its rendering.

The rest of the program counts in plain integers and in `Histogram`; only when `/metrics` is read are they
described as families here and written in the text format, version 0.0.4
(https://prometheus.io/docs/instrumenting/exposition_formats/). With a thousand queues that is fifty thousand
lines: a family is written in one pass over its samples, and what is the same in each line is made once.

Names follow https://prometheus.io/docs/practices/naming/: prefix `taskqueuex_`, base units in the name
(`_seconds`, `_bytes`), counters end in `_total`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate

import msgspec

from taskqueuex.telemetry.exemplars import BOUNDS_S, Exemplar
from taskqueuex.telemetry.histogram import Histogram, HistogramSnapshot, bucket_range

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""The `Content-Type` of what `render` returns."""

PREFIX = "taskqueuex_"
"""Every name starts with it."""

OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
"""The `Content-Type` of what it returns for `openmetrics`."""


class Sample(msgspec.Struct, frozen=True):
    """One value of a counter or gauge."""

    value: float
    labels: tuple[str, ...] = ()
    """The values of the family's `label_names`, in their order."""


class HistogramSample(msgspec.Struct, frozen=True):
    """One distribution of a histogram family."""

    histogram: Histogram | HistogramSnapshot
    labels: tuple[str, ...] = ()
    exemplars: tuple[Exemplar | None, ...] = ()
    """By exposed bucket; or none."""

    def counts(self) -> list[int]:
        """How many values are in each bucket of `BOUNDS_S`, and beyond the last.

        A bucket of the histogram that straddles a bound counts as above it, so a value within 3 % under a
        bound may be reported above: a service-level share read from it errs on the strict side.
        """
        buckets = self._snapshot().buckets
        return [sum(buckets[start:end]) for start, end in _PARTS]

    @property
    def sum_s(self) -> float:
        """The sum of all values in seconds."""
        return self.histogram.sum_us / 1_000_000

    def _snapshot(self) -> HistogramSnapshot:
        found = self.histogram
        return found.snapshot() if isinstance(found, Histogram) else found


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


def _parts() -> list[tuple[int, int | None]]:
    """Which buckets of a `Histogram` lie between two bounds."""
    ends: list[int] = []
    index = 0
    for bound in BOUNDS_S:
        while bucket_range(index)[1] <= round(bound * 1_000_000):
            index += 1
        ends.append(index)
    return list(zip([0, *ends], [*ends, None], strict=True))


_PARTS = _parts()
_BUCKETS = [f'le="{bound}"}} ' for bound in (*BOUNDS_S, "+Inf")]


def render(families: Iterable[Family], *, openmetrics: bool = False) -> bytes:
    """Return the families as Prometheus text, to be sent with `CONTENT_TYPE`.

    `openmetrics`: as OpenMetrics 1.0, to be sent with `OPENMETRICS_TYPE`, which has exemplars as well.

    Raises:
        ValueError: a name breaks the conventions of this module, or labels do not fit the label names.
    """
    lines: list[str] = []
    for family in families:
        check(family)
        # There a counter's family is called without the end of its samples.
        name = family.name.removesuffix("_total") if openmetrics else family.name
        lines.append(f"# HELP {name} {_of_one_line(family.help)}\n")
        if isinstance(family, HistogramFamily):
            lines.append(f"# TYPE {name} histogram\n")
            _write_histograms(family, lines, openmetrics)
        else:
            kind = "counter" if isinstance(family, Counter) else "gauge"
            lines.append(f"# TYPE {name} {kind}\n")
            lines += [
                f"{family.name}{_braced(family, sample.labels)} {_number(sample.value)}\n"
                for sample in family.samples
            ]
    if openmetrics:
        lines.append("# EOF\n")
    return "".join(lines).encode()


def check(family: Family) -> None:
    """Raises ValueError where a family is against the conventions of this module."""
    if not family.name.startswith(PREFIX):
        raise ValueError(f"metric {family.name} does not start with {PREFIX}")
    if isinstance(family, Counter) != family.name.endswith("_total"):
        raise ValueError(f"metric {family.name}: counters, and only they, end in _total")
    if isinstance(family, HistogramFamily) and not family.name.endswith("_seconds"):
        raise ValueError(f"metric {family.name}: a histogram of durations ends in _seconds")
    expected = len(family.label_names)
    for sample in family.samples:
        if len(sample.labels) != expected:
            raise ValueError(f"metric {family.name}: labels {sample.labels} for {family.label_names}")


def _write_histograms(family: HistogramFamily, lines: list[str], openmetrics: bool) -> None:
    name = family.name
    for sample in family.samples:
        labels = _listed(family, sample.labels)
        start = f"{name}_bucket{{{labels}," if labels else f"{name}_bucket{{"
        total = 0
        for bucket, total in zip(_BUCKETS, accumulate(sample.counts()), strict=True):
            lines.append(f"{start}{bucket}{total}.0\n")
        if openmetrics and sample.exemplars:
            _add_exemplars(sample.exemplars, lines)
        braced = f"{{{labels}}}" if labels else ""
        lines.append(f"{name}_count{braced} {total}.0\n{name}_sum{braced} {_number(sample.sum_s)}\n")


def _add_exemplars(exemplars: tuple[Exemplar | None, ...], lines: list[str]) -> None:
    """To the lines of the buckets, which are the last ones."""
    for index, exemplar in enumerate(exemplars, len(lines) - len(exemplars)):
        if exemplar is not None:
            told = f'{{trace_id="{exemplar.trace_id}"}} {exemplar.value_us / 1e6} {exemplar.at_ms / 1e3:.3f}'
            lines[index] = f"{lines[index][:-1]} # {told}\n"


def _braced(family: Family, values: tuple[str, ...]) -> str:
    return f"{{{_listed(family, values)}}}" if values else ""


def _listed(family: Family, values: tuple[str, ...]) -> str:
    return ",".join(
        [f'{name}="{_escaped(value)}"' for name, value in zip(family.label_names, values, strict=True)]
    )


def _escaped(value: str) -> str:
    return _of_one_line(value).replace('"', '\\"') if not value.isalnum() else value


def _of_one_line(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _number(value: float) -> str:
    return repr(float(value))
