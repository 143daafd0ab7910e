import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueuex.telemetry import Histogram
from taskqueuex.telemetry.histogram import MAX_VALUE_US, bucket_index, bucket_range

values_us = st.integers(min_value=0, max_value=2 * 3_600_000_000)


def filled(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


@given(values_us)
def test_every_value_lies_in_its_bucket_and_the_bucket_is_at_most_one_thirty_second_wide(value: int) -> None:
    low, high = bucket_range(bucket_index(value))
    assert low <= value <= high
    assert high - low + 1 <= max(1, low / 32)


@given(values_us)
def test_the_next_value_is_in_the_same_or_the_next_bucket(value: int) -> None:
    assert bucket_index(value + 1) - bucket_index(value) in (0, 1)


@given(st.lists(values_us, min_size=1, max_size=200), st.floats(min_value=0, max_value=1))
def test_a_percentile_is_within_three_percent_of_the_exact_one(values: list[int], quantile: float) -> None:
    exact = sorted(values)[max(1, math.ceil(quantile * len(values))) - 1]
    assert filled(values).percentile(quantile) == pytest.approx(exact, rel=0.03)


@given(st.lists(values_us), st.lists(st.floats(min_value=0, max_value=1), min_size=1, max_size=4))
def test_several_percentiles_are_those_of_a_snapshot(values: list[int], quantiles: list[float]) -> None:
    histogram = filled(values)
    assert histogram.percentiles(*quantiles) == [histogram.snapshot().percentile(each) for each in quantiles]


@given(st.lists(values_us), st.lists(values_us))
def test_merging_equals_recording_everything_in_one(left: list[int], right: list[int]) -> None:
    merged = filled(left)
    merged.merge(filled(right))
    both = filled(left + right)
    assert merged.count == both.count == len(left) + len(right)
    assert merged.sum_us == both.sum_us == sum(left) + sum(right)
    assert merged.percentile(0.9) == both.percentile(0.9)


@given(st.lists(values_us), st.lists(values_us, min_size=1))
def test_the_difference_of_two_snapshots_is_the_window_between_them(old: list[int], new: list[int]) -> None:
    histogram = filled(old)
    before = histogram.snapshot()
    for value in new:
        histogram.record(value)
    window = histogram.snapshot().minus(before)
    assert window.count == len(new)
    assert window.sum_us == sum(new)
    assert window.percentile(0.5) == filled(new).percentile(0.5)


def test_an_empty_histogram_answers_zero() -> None:
    assert Histogram().percentile(0.99) == 0
    assert Histogram().count == 0


def test_a_clock_set_back_counts_as_zero() -> None:
    histogram = filled([-5])
    assert histogram.count == 1
    assert histogram.sum_us == 0
    assert histogram.percentile(1.0) == 0


def test_a_value_beyond_the_range_is_kept_as_the_longest() -> None:
    histogram = filled([10 * MAX_VALUE_US, 10 * MAX_VALUE_US])
    assert histogram.count == 2
    assert histogram.percentile(1.0) == pytest.approx(MAX_VALUE_US, rel=0.03)


def test_reset_forgets_everything() -> None:
    histogram = filled([1, 1000, 1_000_000])
    histogram.reset()
    assert histogram.snapshot() == Histogram().snapshot()


@pytest.mark.parametrize("quantile", [-0.1, 1.1])
def test_a_quantile_outside_zero_to_one_is_refused(quantile: float) -> None:
    with pytest.raises(ValueError, match="quantile"):
        Histogram().percentile(quantile)


def test_the_mean_comes_from_the_exact_sum() -> None:
    values = [7, 77, 7_777, 777_777]
    histogram = filled(values)
    assert histogram.sum_us / histogram.count == statistics.mean(values)
