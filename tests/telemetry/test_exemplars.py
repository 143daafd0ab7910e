"""A slow bucket names a trace that fell into it, in the format that knows exemplars."""

from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as plain

from taskqueuex.telemetry import (
    BOUNDS_S,
    Counter,
    Exemplars,
    Gauge,
    Histogram,
    HistogramFamily,
    HistogramSample,
    Sample,
    render,
)

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def filled() -> tuple[Histogram, Exemplars]:
    histogram, exemplars = Histogram(), Exemplars()
    for value_us in (50, 700, 3_000_000, 2_000_000_000):
        histogram.record(value_us)
        exemplars.note(value_us, 1_700_000_000_123, PARENT)
    return histogram, exemplars


def test_an_exemplar_lies_in_its_bucket_and_names_the_trace() -> None:
    histogram, exemplars = filled()
    text = render(
        [
            Counter("taskqueuex_done_total", "Done", [Sample(3, ("a",))], ("queue",)),
            Gauge("taskqueuex_ready", "Ready", [Sample(1)]),
            HistogramFamily(
                "taskqueuex_wait_seconds", "Wait", [HistogramSample(histogram, (), exemplars.snapshot())]
            ),
        ],
        openmetrics=True,
    ).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families["taskqueuex_done"].type == "counter"
    buckets = [each for each in families["taskqueuex_wait_seconds"].samples if each.name.endswith("_bucket")]
    assert len(buckets) == len(BOUNDS_S) + 1
    told = {each.labels["le"]: each.exemplar for each in buckets if each.exemplar}
    assert set(told) == {"0.0001", "0.001", "10.0", "+Inf"}
    for bound, exemplar in told.items():
        assert exemplar.labels == {"trace_id": TRACE}
        assert exemplar.value <= float(bound)
        assert abs(float(exemplar.timestamp) - 1_700_000_000.123) < 0.001


def test_the_plain_format_has_none() -> None:
    histogram, exemplars = filled()
    sample = HistogramSample(histogram, (), exemplars.snapshot())
    text = render([HistogramFamily("taskqueuex_wait_seconds", "Wait", [sample])]).decode()
    assert "trace_id" not in text and "EOF" not in text
    assert next(iter(plain(text))).name == "taskqueuex_wait_seconds"


def test_what_is_not_a_sampled_trace_is_passed_over() -> None:
    exemplars = Exemplars()
    for text in ("", "x", f"00-{TRACE}-00f067aa0ba902b7-00", PARENT.upper(), PARENT + "x", "\n" + PARENT):
        exemplars.note(1, 1, text)
    assert set(exemplars.snapshot()) == {None}
    exemplars.note(1, 1, PARENT + "-more")
    assert exemplars.snapshot()[0] is not None
