"""What is shown of a queue's waits and runs is of the last minutes; what is counted is of all time."""

from taskqueuex.engine.metrics import QueueMetrics

MINUTE_MS = 60_000


def second_by_second(metrics: QueueMetrics, begun: int, ended: int) -> None:
    for now in range(begun, ended, 1_000):
        metrics.sample(now)


def test_an_hour_of_trouble_is_seen_and_forgotten() -> None:
    metrics = QueueMetrics()
    for _ in range(10_000):
        metrics.wait_us.record(1_000)
        metrics.leased += 1
    second_by_second(metrics, 1_000_000, 1_000_000 + 4 * MINUTE_MS)
    for _ in range(10):
        metrics.wait_us.record(5_000_000)
        metrics.leased += 1
    (p50, _, p99, count), run = metrics.latencies()
    assert 4_900 < p50 < 5_100 and 4_900 < p99 < 5_100
    assert count == 10 and run == [0, 0, 0, 0]
    assert metrics.wait_us.count == 10_010
    second_by_second(metrics, 1_000_000 + 4 * MINUTE_MS, 1_000_000 + 8 * MINUTE_MS)
    assert metrics.latencies()[0] == [0, 0, 0, 0]


def test_what_was_added_is_seen_at_once() -> None:
    metrics = QueueMetrics()
    metrics.sample(1_000_000)
    assert metrics.latencies()[1][3] == 0
    metrics.run_us.record(2_000)
    metrics.completed += 1
    p50, _, p99, count = metrics.latencies()[1]
    assert 1.9 < p50 <= p99 < 2.1 and count == 1
