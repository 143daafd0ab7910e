"""The metrics of a node for OpenTelemetry, by OTLP over HTTP: the extra `taskqueuex[otlp]`.

The families are those of /metrics, with the same names and values. They are read on the event loop as for a
scrape; everything else happens on a thread of its own. A collector that is slow or away costs nothing but
this: it is said once a minute. Headers, certificates, compression and what else describes a collector are
read from OpenTelemetry's own environment variables, such as OTEL_EXPORTER_OTLP_HEADERS, so that secrets need
not stand in a configuration.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import export as otel
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from taskqueuex import __version__
from taskqueuex.node.exposition import Reading, families
from taskqueuex.telemetry import BOUNDS_S, Counter, Family, HistogramFamily

__all__ = ["MetricsExporter", "metrics_data"]

_log = logging.getLogger("taskqueuex.node")

_PATH: Final = "/v1/metrics"
_READ_S: Final = 30.0  # for a reading, which shares the loop with everything else
_TIMEOUT_S: Final = 10.0  # for an export, repetitions included
_STOP_S: Final = 2.0  # for the last export
_WARN_EVERY_S: Final = 60.0
_LIBRARY: Final = "opentelemetry.exporter.otlp.proto.http.metric_exporter"


@dataclass(frozen=True, slots=True)
class Source:
    """Whose metrics they are, and how they are had."""

    instance: str  # what tells it from other servers
    started_at_ms: int  # since when its counters count
    read: Callable[[], Coroutine[Any, Any, Reading]]  # to be awaited on `loop`
    loop: asyncio.AbstractEventLoop


class _Overheard(logging.Filter):
    """Keeps what the library says of an export from the log: one line a minute of it is ours to say."""

    def __init__(self) -> None:
        super().__init__()
        self.thread: int | None = None
        self.first = ""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is written: those of other threads are not about us."""
        if record.thread != self.thread:
            return True
        self.first = self.first or record.getMessage()  # what comes behind it is about giving up
        return False


class MetricsExporter:
    """Sends the metrics of a node every `interval_s`, from `start` to `stop`."""

    def __init__(self, endpoint: str, interval_s: float, source: Source) -> None:
        self._source = source
        self._interval_s = interval_s
        own = {
            "service.name": "taskqueuex",
            "service.version": __version__,
            "service.instance.id": source.instance,
        }
        self._resource = Resource(own).merge(OTELResourceDetector().detect())
        self._exporter = OTLPMetricExporter(endpoint.rstrip("/") + _PATH, timeout=_TIMEOUT_S)
        self._overheard = _Overheard()
        self._warned_at = -_WARN_EVERY_S
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="taskqueuex-otlp", daemon=True)

    def start(self) -> None:
        """Begins; the first export is one interval ahead."""
        logging.getLogger(_LIBRARY).addFilter(self._overheard)
        self._thread.start()

    def stop(self) -> None:
        """Exports a last time and ends. Blocks for up to 2 s, and not on the event loop that is read on."""
        self._stopping.set()
        self._thread.join(_STOP_S)
        self._exporter.shutdown()

    def _run(self) -> None:
        self._overheard.thread = threading.get_ident()
        while not self._stopping.wait(self._interval_s):
            self._export()
        self._export()
        logging.getLogger(_LIBRARY).removeFilter(self._overheard)

    def _export(self) -> None:
        self._overheard.first = ""
        try:
            source = self._source
            reading = asyncio.run_coroutine_threadsafe(source.read(), source.loop).result(_READ_S)
            data = metrics_data(families(reading), self._resource, source.started_at_ms * 1_000_000)
            if self._exporter.export(data) is otel.MetricExportResult.SUCCESS:
                return
            reason = self._overheard.first
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
        self._warn(reason)

    def _warn(self, reason: str) -> None:
        now = time.monotonic()
        if now - self._warned_at >= _WARN_EVERY_S:
            self._warned_at = now
            _log.warning("metrics were not exported", extra={"reason": reason})


def metrics_data(found: Sequence[Family], resource: Resource, started_at_ns: int) -> otel.MetricsData:
    """Families as OpenTelemetry has them. `started_at_ns`: the Unix time since which counters count."""
    now_ns = time.time_ns()
    metrics = [
        otel.Metric(family.name, family.help, _unit(family), _points(family, started_at_ns, now_ns))
        for family in found
        if family.samples
    ]
    scope = otel.ScopeMetrics(InstrumentationScope("taskqueuex", __version__), metrics, "")
    return otel.MetricsData([otel.ResourceMetrics(resource, [scope], "")])


def _unit(family: Family) -> str:
    name = family.name.removesuffix("_total")
    return {"seconds": "s", "bytes": "By"}.get(name.rpartition("_")[2], "1")


def _points(family: Family, started_at_ns: int, now_ns: int) -> otel.Sum | otel.Gauge | otel.Histogram:
    cumulative = otel.AggregationTemporality.CUMULATIVE
    if isinstance(family, HistogramFamily):
        histograms = []
        for each in family.samples:
            counts = each.counts()
            histograms.append(
                otel.HistogramDataPoint(
                    dict(zip(family.label_names, each.labels, strict=True)),
                    started_at_ns,
                    now_ns,
                    sum(counts),
                    each.sum_s,
                    counts,
                    BOUNDS_S,
                    None,  # type: ignore[arg-type]  # the least and the greatest are optional, and not known
                    None,  # type: ignore[arg-type]
                )
            )
        return otel.Histogram(histograms, cumulative)
    is_counter = isinstance(family, Counter)
    numbers = [
        otel.NumberDataPoint(
            dict(zip(family.label_names, each.labels, strict=True)),
            started_at_ns if is_counter else None,  # type: ignore[arg-type]  # a gauge has no start
            now_ns,
            int(each.value) if isinstance(each.value, bool) else each.value,
        )
        for each in family.samples
    ]
    return otel.Sum(numbers, cumulative, is_monotonic=True) if is_counter else otel.Gauge(numbers)
