import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from taskqueuex.telemetry import (
    BOUNDS_S,
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
from taskqueuex.telemetry.histogram import bucket_index, bucket_range


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
        Gauge("taskqueuex_connections_open", "Open connections.", [Sample(2)]),
    )
    assert values == {
        ("taskqueuex_requests_total", (("method", "GET"), ("status", "200"))): 3.0,
        ("taskqueuex_connections_open", ()): 2.0,
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


def test_what_is_odd_in_help_and_numbers_survives() -> None:
    text = render(
        [
            Gauge("taskqueuex_a", "One\nline, a \\ too.", [Sample(0.1)]),
            Gauge("taskqueuex_b", "Large.", [Sample(2**53), Sample(1e-9)]),
            Counter("taskqueuex_c_total", "None yet.", [], ("queue",)),
        ]
    ).decode()
    one, two, three = text_string_to_metric_families(text)
    assert one.documentation == "One\nline, a \\ too." and one.samples[0].value == 0.1
    assert [sample.value for sample in two.samples] == [2**53, 1e-9]
    assert (three.name, three.type, three.samples) == ("taskqueuex_c", "counter", [])


def test_it_is_read_as_what_prometheus_client_writes_is() -> None:
    histogram = Histogram()
    values_us = (0, 63, 64, 99, 100, 101, 250_000, 10**6, 10**9, 10**10)
    for value_us in values_us:
        histogram.record(value_us)
    highest_us = [bucket_range(bucket_index(value_us))[1] for value_us in values_us]
    counts = [sum(each <= bound * 1_000_000 for each in highest_us) for bound in BOUNDS_S]
    theirs = HistogramMetricFamily("taskqueuex_wait_seconds", "Time.", labels=("queue",))
    buckets = [(str(bound), float(count)) for bound, count in zip(BOUNDS_S, counts, strict=True)]
    theirs.add_metric(("a",), [*buckets, ("+Inf", 10.0)], sum_value=histogram.sum_us / 1_000_000)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(type("Fixed", (Collector,), {"collect": lambda self: [theirs]})())
    ours = HistogramFamily(
        "taskqueuex_wait_seconds", "Time.", [HistogramSample(histogram, ("a",))], ("queue",)
    )
    (read,), (expected,) = (
        list(text_string_to_metric_families(text.decode()))
        for text in (render([ours]), generate_latest(registry))
    )
    assert read == expected


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
