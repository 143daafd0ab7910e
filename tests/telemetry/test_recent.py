"""A window over a histogram forgets what is older than two spans, and nothing that is younger than one."""

from hypothesis import given
from hypothesis import strategies as st

from taskqueuex.telemetry import Histogram, Recent

SPAN = 60


def test_old_values_leave_the_percentiles() -> None:
    histogram = Histogram()
    recent = Recent(histogram.snapshot)
    for _ in range(1_000):
        histogram.record(100)
    recent.roll()
    assert recent.window().count == 1_000  # it was recorded less than two spans ago
    recent.roll()
    histogram.record(9_000_000)
    window = recent.window()
    assert window.count == 1
    assert abs(window.percentile(0.5) - 9_000_000) < 0.02 * 9_000_000
    assert window.percentiles(0.5, 0.99) == [window.percentile(0.5), window.percentile(0.99)]
    assert histogram.count == 1_001  # which goes on counting


def test_a_histogram_that_was_made_anew_is_a_new_window() -> None:
    held = [Histogram()]
    recent = Recent(lambda: held[0].snapshot())
    for _ in range(5):
        held[0].record(100)
    recent.roll()
    recent.roll()
    held[0] = Histogram()
    held[0].record(3)
    assert recent.window().count == 1
    assert recent.window().percentile(0.5) == 3


@given(st.lists(st.integers(0, 3 * SPAN), max_size=40))
def test_nothing_younger_than_a_span_is_missing_and_nothing_older_than_two_is_there(steps: list[int]) -> None:
    histogram, now, recorded = Histogram(), 0, list[int]()
    recent = Recent(histogram.snapshot)
    for step in steps:
        for _ in range(step):
            now += 1
            if now % SPAN == 0:
                recent.roll()
        histogram.record(7)
        recorded.append(now)
        count = recent.window().count
        assert count >= sum(at > now - SPAN for at in recorded)
        assert count <= sum(at > now - 2 * SPAN for at in recorded)
