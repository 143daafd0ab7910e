"""What is shown of a queue's waits and runs is of the last minutes; what is counted is of all time."""

from taskqueuex.commands.queues import Percentiles
from taskqueuex.engine.metrics import QueueMetrics
from taskqueuex.testing import Simulator

MINUTE_MS = 60_000
NOTHING = Percentiles(0, 0, 0, 0)


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
    wait, run = metrics.latencies()
    assert 4_900 < wait.p50 < 5_100 and 4_900 < wait.p99 < 5_100
    assert wait.count == 10 and run == NOTHING
    assert metrics.wait_us.count == 10_010
    second_by_second(metrics, 1_000_000 + 4 * MINUTE_MS, 1_000_000 + 8 * MINUTE_MS)
    assert metrics.latencies()[0] == NOTHING


def test_what_was_added_is_seen_at_once() -> None:
    metrics = QueueMetrics()
    metrics.sample(1_000_000)
    assert metrics.latencies()[1] == NOTHING
    metrics.run_us.record(2_000)
    metrics.completed += 1
    run = metrics.latencies()[1]
    assert 1.9 < run.p50 <= run.p99 < 2.1 and run.count == 1


def test_the_rates_of_a_queue_at_rest_sink_and_of_one_that_was_idle_count_from_its_first_second() -> None:
    metrics = QueueMetrics()
    second_by_second(metrics, 0, 100_000)
    metrics.enqueued += 10
    second_by_second(metrics, 100_000, 102_000)
    assert metrics.rate_in.per_second(102_000) == 1.0
    assert metrics.rate_out.per_second(102_000) == 0.0
    second_by_second(metrics, 102_000, 120_000)
    assert metrics.rate_in.per_second(120_000) == 0.0


def active(sim: Simulator) -> list[str]:
    return [each["name"] for each in sim.call("list_queues", query={"active": True}).json()["queues"]]


def test_a_queue_is_active_while_something_happens_in_it_and_a_few_seconds_more() -> None:
    sim = Simulator()
    for name in ("a", "b"):
        sim.call("put_queue", name, {})
    assert active(sim) == []
    sim.call("pause_queue", "b")
    assert active(sim) == ["b"]
    sim.call("resume_queue", "b")
    sim.call("enqueue", "a", {"result_ttl_ms": 0})
    assert active(sim) == ["a"]
    task = sim.call("dequeue_queue", "a", {}).json()["tasks"][0]
    assert active(sim) == ["a"]
    sim.call("ack", task["id"], {"lease": task["lease"]})
    sim.advance(1_000)
    assert active(sim) == ["a"]
    sim.advance(11_000)
    assert active(sim) == []
    assert len(sim.call("list_queues").json()["queues"]) == 2
