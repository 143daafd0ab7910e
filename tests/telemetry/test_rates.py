from hypothesis import given
from hypothesis import strategies as st

from taskqueuex.telemetry import RateMeter


def test_a_steady_stream_has_its_own_rate() -> None:
    meter = RateMeter()
    for tenth in range(600):
        meter.add(5, tenth * 100)
    assert meter.per_second(60_000) == 50.0
    assert meter.total == 3_000


def test_events_older_than_ten_seconds_no_longer_count() -> None:
    meter = RateMeter()
    meter.add(100, 0)
    assert meter.per_second(1_000) == 100.0
    assert meter.per_second(10_999) == 10.0
    assert meter.per_second(11_000) == 0.0
    assert meter.per_second(10_000_000) == 0.0


def test_a_young_meter_divides_by_its_age_and_not_by_ten() -> None:
    meter = RateMeter()
    meter.add(7, 0)
    assert meter.per_second(500) == 7.0
    meter.add(7, 1_500)
    assert meter.per_second(2_000) == 7.0


def test_an_unused_meter_is_at_zero() -> None:
    assert RateMeter().per_second(123_456) == 0.0


def test_a_clock_that_steps_back_loses_no_event() -> None:
    meter = RateMeter()
    meter.add(1, 50_000)
    meter.add(1, 10_000)
    assert meter.per_second(51_000) == 2.0


@given(st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 100)), min_size=1))
def test_the_rate_equals_a_count_over_the_last_ten_whole_seconds(steps: list[tuple[int, int]]) -> None:
    meter, now_ms, events = RateMeter(), 1_000_000, []
    for step_ms, number in steps:
        now_ms += step_ms
        meter.add(number, now_ms)
        events.append((now_ms // 1000, number))
    second = now_ms // 1000 + 1
    first = events[0][0]
    expected = sum(number for at, number in events if second - 10 <= at < second) / min(10, second - first)
    assert meter.per_second(second * 1000) == expected
