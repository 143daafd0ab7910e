"""Telemetry: what the process measures about itself, and how it says so.

The job of this room is to count and to render, never to decide: histograms, rates, process and host
readings, the event-loop lag, downsampled history, the Prometheus text and the log format. It is a leaf
beside ``errors`` and ``clock``: it imports the standard library and msgspec, and nothing else of
taskqueuex. Every recorder here has exactly one writer (the event loop of its process), so none of them
takes a lock.
"""

from taskqueuex.telemetry.exemplars import BOUNDS_S, Exemplar, Exemplars
from taskqueuex.telemetry.histogram import Histogram, HistogramSnapshot
from taskqueuex.telemetry.history import TIERS, MetricsHistory, Point, Tier
from taskqueuex.telemetry.lag import LoopLag
from taskqueuex.telemetry.logs import JsonFormatter, TextFormatter, configure
from taskqueuex.telemetry.process import HostReading, ProcessReading, read_host, read_process
from taskqueuex.telemetry.prometheus import (
    CONTENT_TYPE,
    OPENMETRICS_TYPE,
    Counter,
    Family,
    Gauge,
    HistogramFamily,
    HistogramSample,
    Sample,
    render,
)
from taskqueuex.telemetry.rates import RateMeter
from taskqueuex.telemetry.recent import Recent

__all__ = [
    "BOUNDS_S",
    "CONTENT_TYPE",
    "OPENMETRICS_TYPE",
    "TIERS",
    "Counter",
    "Exemplar",
    "Exemplars",
    "Family",
    "Gauge",
    "Histogram",
    "HistogramFamily",
    "HistogramSample",
    "HistogramSnapshot",
    "HostReading",
    "JsonFormatter",
    "LoopLag",
    "MetricsHistory",
    "Point",
    "ProcessReading",
    "RateMeter",
    "Recent",
    "Sample",
    "TextFormatter",
    "Tier",
    "configure",
    "read_host",
    "read_process",
    "render",
]
