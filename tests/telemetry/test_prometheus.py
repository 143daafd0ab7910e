import pytest
from prometheus_client.parser import text_string_to_metric_families

from taskqueuex.telemetry import (
    CONTENT_TYPE,
    Counter,
    Family,
    Gauge,
    Histogram,
    HistogramFamily,
    HistogramSample,
    Sample,
    render,
)


def parsed(*families: Family) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = render(families).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_counters_and_gauges_are_rendered_with_their_labels() -> None:
    values = parsed(
        Counter("taskqueuex_requests_total", "Requests.", [Sample(3, ("GET", "200"))], ("method", "status")),
        Gauge("taskqueuex_connections", "Open connections.", [Sample(2)]),
    )
    assert values == {
        ("taskqueuex_requests_total", (("method", "GET"), ("status", "200"))): 3.0,
        ("taskqueuex_connections", ()): 2.0,
    }


def test_a_histogram_has_cumulative_buckets_in_seconds_a_count_and_a_sum() -> None:
    histogram = Histogram()
    for value_us in (90, 900, 9_000, 700_000_000):
        histogram.record(value_us)
    values = parsed(HistogramFamily("taskqueuex_request_seconds", "Time.", [HistogramSample(histogram)]))
    buckets = [value for (name, _), value in values.items() if name.endswith("_bucket")]
    assert buckets == sorted(buckets)
    assert values["taskqueuex_request_seconds_bucket", (("le", "0.0001"),)] == 1.0
    assert values["taskqueuex_request_seconds_bucket", (("le", "600.0"),)] == 3.0
    assert values["taskqueuex_request_seconds_bucket", (("le", "+Inf"),)] == 4.0
    assert values["taskqueuex_request_seconds_count", ()] == 4.0
    assert values["taskqueuex_request_seconds_sum", ()] == pytest.approx(700.00999)


def test_a_label_with_quotes_and_newlines_survives() -> None:
    odd = 'a "quoted"\\\nname'
    values = parsed(Gauge("taskqueuex_tasks", "Tasks.", [Sample(1, (odd,))], ("queue",)))
    assert values == {("taskqueuex_tasks", (("queue", odd),)): 1.0}


def test_help_and_type_are_announced() -> None:
    text = render([Counter("taskqueuex_turns_total", "Turns of the writer.", [Sample(1)])]).decode()
    assert "# HELP taskqueuex_turns_total Turns of the writer." in text
    assert "# TYPE taskqueuex_turns_total counter" in text


def test_the_content_type_names_the_text_format() -> None:
    assert CONTENT_TYPE.startswith("text/plain; version=")


@pytest.mark.parametrize(
    "family",
    [
        Gauge("connections", "No prefix.", []),
        Gauge("taskqueuex_requests_total", "A gauge named as a counter.", []),
        Counter("taskqueuex_requests", "A counter not named as one.", []),
        HistogramFamily("taskqueuex_request_ms", "Not the base unit.", []),
        Gauge("taskqueuex_tasks", "A label too many.", [Sample(1, ("a", "b"))], ("queue",)),
    ],
)
def test_a_family_against_the_conventions_is_refused(family: Family) -> None:
    with pytest.raises(ValueError, match="metric"):
        render([family])
