from taskqueuex.telemetry import TIERS, MetricsHistory, Point, Tier

START_MS = 1_700_000_100_000 - 1_700_000_100_000 % 900_000


def test_a_gauge_becomes_its_mean_and_a_counter_its_last_value() -> None:
    history = MetricsHistory()
    for second in range(10):
        assert history.add(START_MS + second * 1000, {"depth": second, "done_total": second * 100}) == []
    finished = history.add(START_MS + 10_000, {"depth": 0, "done_total": 1000})
    assert finished == [Point(Tier.FINE, START_MS, {"depth": 4.5, "done_total": 900})]


def test_an_hour_of_samples_gives_each_tier_its_points() -> None:
    history, points = MetricsHistory(), []
    for second in range(3_601):
        points += history.add(START_MS + second * 1000, {"depth": 7})
    by_tier = {tier: [point for point in points if point.tier == tier] for tier in Tier}
    assert {tier: len(found) for tier, found in by_tier.items()} == {
        Tier.FINE: 360,
        Tier.MIDDLE: 60,
        Tier.COARSE: 4,
    }
    for tier, found in by_tier.items():
        assert [point.at_ms for point in found] == [
            START_MS + number * TIERS[tier].width_ms for number in range(len(found))
        ]
        assert all(point.values == {"depth": 7.0} for point in found)


def test_a_series_that_appears_late_is_averaged_over_its_own_samples() -> None:
    history = MetricsHistory()
    history.add(START_MS, {"depth": 1})
    history.add(START_MS + 5_000, {"depth": 3, "lag": 8})
    [point] = history.add(START_MS + 10_000, {})
    assert point.values == {"depth": 2.0, "lag": 8.0}


def test_an_idle_gap_yields_no_points_of_its_own() -> None:
    history = MetricsHistory()
    history.add(START_MS, {"depth": 1})
    finished = history.add(START_MS + 35_000, {"depth": 1})
    assert [(point.tier, point.at_ms) for point in finished] == [(Tier.FINE, START_MS)]


def test_a_clock_that_steps_back_never_repeats_a_point() -> None:
    history = MetricsHistory()
    history.add(START_MS + 20_000, {"depth": 1})
    assert history.add(START_MS, {"depth": 3}) == []
    [point] = history.add(START_MS + 30_000, {"depth": 1})
    assert (point.at_ms, point.values) == (START_MS + 20_000, {"depth": 2.0})


def test_flush_hands_over_what_is_unfinished_once() -> None:
    history = MetricsHistory()
    history.add(START_MS, {"depth": 1})
    assert {point.tier for point in history.flush()} == set(Tier)
    assert history.flush() == []


def test_each_tier_tells_what_may_be_deleted() -> None:
    assert MetricsHistory.expired_before(Tier.FINE, START_MS) == START_MS - 2 * 3_600_000
    assert MetricsHistory.expired_before(Tier.MIDDLE, START_MS) == START_MS - 48 * 3_600_000
    assert MetricsHistory.expired_before(Tier.COARSE, START_MS) == START_MS - 35 * 86_400_000
