"""The large cases: what takes many turns is whole in the end, in order, and stops nobody meanwhile.

Turns are counted, not time: a turn that does a bounded amount of work is what keeps others waiting
for a bounded time.
"""

import itertools

import pytest

from taskqueuex.engine import timers
from taskqueuex.model.ids import parse_id
from taskqueuex.storage.check import check_storage
from taskqueuex.testing import Simulator

DISCIPLINES = ("fifo", "lifo", "priority", "round_robin")


def counts(sim, queue="q"):
    return sim.call("get_queue", queue).json()["counts"]


def live_counts(sim, queue="q"):
    """As memory has them now, without a turn."""
    return sim.engine.core.queues[queue].counts()


def enqueue_many(sim, specs, queue="q"):
    ids = []
    for at in range(0, len(specs), 1_000):
        call = sim.call("enqueue_batch", queue, {"tasks": specs[at : at + 1_000]})
        assert call.status == 201, call.outcome
        ids += call.json()["ids"]
    return ids


def take(sim, queue="q", **fields):
    call = sim.call("dequeue_queue", queue, {"lease_ms": 86_400_000, **fields})
    assert call.status == 200, call.outcome
    return call.json()["tasks"]


def take_all(sim, queue="q", most=1_000_000):
    """By dequeues of many at a time, each of which gives what is in memory."""
    found = []
    while len(found) < most and (tasks := take(sim, queue, max=min(1_000, most - len(found)))):
        found += tasks
    return found


def check(sim):
    sim.settle()
    assert check_storage(sim.tiers.durable).problems == []


def turns(sim):
    """Turns with all their reads, for as long as there is something to do."""
    while True:
        sim.turn()
        sim.write()
        sim.read_all()
        yield
        if not sim.busy():
            return


def some_turns(sim, count):
    for _ in itertools.islice(turns(sim), count):
        pass


# Dependencies


def test_ten_thousand_children_are_released_a_thousand_a_turn():
    sim = Simulator(hot_width=64)
    parent = sim.call("enqueue", "q", {}).json()["id"]
    children = sim.call("enqueue_batch", "kids", {"tasks": [{"depends_on": [parent]}] * 10_000}).json()["ids"]
    (task,) = take(sim)
    sim.submit("ack", parent, {"lease": task["lease"]})
    released = [0]
    for _ in turns(sim):
        other = sim.submit("get_queue", "q")
        sim.turn()
        assert other.status == 200, "nobody else was answered"
        released.append(live_counts(sim, "kids")[2])
    steps = [after - before for before, after in itertools.pairwise(released)]
    assert released[-1] == 10_000 and max(steps) <= 2_000  # two turns between two looks
    assert [task["id"] for task in take_all(sim, "kids", 1_000)] == children[:1_000]
    check(sim)


def test_a_release_of_ten_thousand_goes_on_after_a_crash():
    sim = Simulator(hot_width=64)
    parent = sim.call("enqueue", "q", {}).json()["id"]
    sim.call("enqueue_batch", "kids", {"tasks": [{"depends_on": [parent]}] * 10_000})
    (task,) = take(sim)
    sim.call("ack", parent, {"lease": task["lease"]})
    some_turns(sim, 4)
    sim.crash()
    assert 0 < live_counts(sim, "kids")[2] < 10_000, "the crash was to come in the middle"
    check(sim)
    assert counts(sim, "kids")["ready"] == 10_000


def chain_of(sim, length):
    tasks = [{"ref": "t0", "queue": "q"}]
    tasks += [{"ref": f"t{at}", "queue": "q", "depends_on": [f"t{at - 1}"]} for at in range(1, length)]
    made = sim.call("create_workflow", body={"tasks": tasks})
    assert made.status == 201, made.outcome
    return list(made.json()["ids"].values())


@pytest.mark.parametrize("remembered", [True, False], ids=["in-memory", "after-a-restart"])
def test_a_chain_of_thousands_is_cancelled_from_its_head_to_its_end(remembered):
    length = 10_000 if remembered else 2_000
    sim = Simulator(hot_width=64, recent_max=20_000)
    ids = chain_of(sim, length)
    if not remembered:
        sim.settle()
        sim.crash()
    sim.submit("cancel_task", ids[0])
    cancelled = [0, *(live_counts(sim)[6] for _ in turns(sim))]
    assert max(after - before for before, after in itertools.pairwise(cancelled)) <= 1_000, "too much at once"
    assert counts(sim)["cancelled"] == length
    assert sim.call("get_task", ids[-1]).json()["reason"] == "dependency_failed"
    check(sim)


def test_a_chain_is_worked_off_one_after_the_other():
    sim = Simulator()
    ids = chain_of(sim, 10_000)
    for expected in ids[:12]:
        (task,) = take(sim, max=10)
        assert task["id"] == expected
        sim.call("ack", expected, {"lease": task["lease"]})
        sim.settle()
    now = counts(sim)
    assert (now["completed"], now["ready"], now["blocked"]) == (12, 1, 10_000 - 13)
    check(sim)


# Batches


def test_others_are_answered_between_the_slices_of_a_batch_of_ten_thousand():
    sim = Simulator(hot_width=512)
    first = sim.call("enqueue", "q", {}).json()["id"]
    batch = sim.submit("enqueue_batch", "q", {"tasks": [{"payload": n} for n in range(10_000)]})
    answered = 0
    while not batch.status:
        calls = [
            sim.submit("enqueue", "other", {}),
            sim.submit("get_queue", "q"),
            sim.submit("get_task", first),
        ]
        sim.turn()
        assert [call.status for call in calls] == [201, 200, 200]
        if not batch.status:
            assert calls[1].json()["counts"]["ready"] == 1, "part of a batch was seen"
        sim.write()
        answered += 1
    assert answered >= 40 and batch.status == 201
    assert [task["payload"] for task in take_all(sim)][1:] == list(range(10_000))
    check(sim)


def test_a_batch_of_ten_thousand_that_the_process_did_not_finish_never_was():
    for turns_before in (1, 7, 39, 40):
        sim = Simulator(hot_width=512)
        kept = sim.call("enqueue", "q", {}).json()["id"]
        batch = sim.submit("enqueue_batch", "q", {"tasks": [{"name": "n"}] * 10_000})
        for _ in range(turns_before):
            sim.turn()
            sim.write()
        assert not batch.status
        sim.crash()
        check(sim)
        assert counts(sim)["ready"] == 1
        assert [task["id"] for task in take(sim, max=10)] == [kept]
        assert len(sim.tiers.durable.rows.scan(0, b"", b"\xff" * 30, 10)) == 1


@pytest.mark.parametrize("path", ["batch", "partial", "workflow"])
def test_thousands_of_keys_and_groups_are_looked_up_together(path):
    sim = Simulator(hot_width=64)
    sim.call("put_queue", "q", {"discipline": "round_robin"})
    specs = [{"unique_key": f"k{n}", "group": f"g{n}"} for n in range(3_000)]
    if path == "workflow":
        tasks = [{"ref": f"t{n}", "queue": "q", **spec} for n, spec in enumerate(specs)]
        assert sim.call("create_workflow", body={"tasks": tasks}).status == 201
    else:
        first = sim.call("enqueue_batch", "q", {"tasks": specs, "partial": path == "partial"})
        assert first.status == (200 if path == "partial" else 201)
    check(sim)
    sim.crash()
    again = sim.submit("enqueue_batch", "q", {"tasks": specs, "partial": path == "partial"})
    some_turns(sim, 4)
    assert again.status in (200, 201), "its holders were not read together"
    if path == "batch":
        assert again.json()["ids"] == first.json()["ids"]
        assert again.json()["duplicates"] == list(range(3_000))
    assert counts(sim)["ready"] == 3_000
    sim.submit("purge_queue", "q")
    some_turns(sim, 60)
    assert counts(sim)["cancelled"] == 3_000, "its groups were not read together"
    check(sim)


def test_timers_of_thousands_of_groups_fire_together():
    sim = Simulator(hot_width=4_096)
    sim.call("put_queue", "q", {"discipline": "round_robin"})
    enqueue_many(sim, [{"group": f"g{n}", "delay_ms": 1_000} for n in range(3_000)])
    sim.settle()
    sim.crash()
    sim.advance(1_001)
    for _ in range(30):
        sim.turn()
        sim.write()
        sim.read_all()
        sim.advance(1)
    assert live_counts(sim)[2] == 3_000
    check(sim)


# Groups


def test_ten_thousand_groups_are_served_strictly_in_turn_over_restarts():
    sim = Simulator(hot_width=512)
    sim.call("put_queue", "q", {"discipline": "round_robin"})
    groups = [f"g{n}" for n in range(10_000)]
    for lap in range(2):
        enqueue_many(sim, [{"group": group, "payload": lap} for group in groups])
    served = []
    while tasks := take_all(sim, most=2_700):
        served += [(task["payload"], task["group"]) for task in tasks]
        sim.settle()
        sim.crash()
    assert served == [(lap, group) for lap in range(2) for group in groups]
    check(sim)


# Time


def test_fifty_thousand_timers_fire_in_their_order_at_most_five_hundred_a_turn(monkeypatch):
    sim = Simulator(hot_width=4_096)
    due = sim.now_ms + 10_000
    specs = [{"run_at": due + (n * 7) % 3} for n in range(50_000)]
    for at in range(0, 50_000, 10_000):
        assert sim.call("enqueue_batch", "q", {"tasks": specs[at : at + 10_000]}).status == 201
    fired = []
    honest = timers.promote

    def noted(core, task):
        fired.append((task.status.run_at, task.id))
        honest(core, task)

    monkeypatch.setattr(timers, "promote", noted)
    sim.settle()
    sim.crash()
    sim.advance(10_002)
    before = steps = 0
    while len(fired) < 50_000 and steps < 500:
        some_turns(sim, 1)
        sim.advance(1)
        assert len(fired) - before <= 500
        before, steps = len(fired), steps + 1
    assert len(fired) == 50_000 and fired == sorted(fired)
    assert counts(sim)["ready"] == 50_000
    check(sim)


def test_five_thousand_ended_tasks_are_forgotten_at_most_two_hundred_a_turn_from_the_bound():
    sim = Simulator(hot_width=1_000)
    enqueue_many(sim, [{"result_ttl_ms": 0} for _ in range(5_000)])
    assert sim.call("purge_queue", "q").json() == {"matched": 5_000, "changed": 5_000}
    sim.settle()
    sim.advance(60_001)
    rows = sim.tiers.durable.rows
    honest, deleted_below = rows.scan, [b""]

    def watched(family, start, end, limit, **more):
        found = honest(family, start, end, limit, **more)
        if family == 4 and start[6:7] == b"\x06":  # the index of cancelled tasks
            assert start >= deleted_below[0][:15], "rows that are gone were read over"
            if found:
                deleted_below[0] = max(deleted_below[0], found[0][0])
        return found

    rows.scan = watched
    left = sum(live_counts(sim))
    for _ in turns(sim):
        now = sum(live_counts(sim))
        assert left - now <= 200
        left = now
    assert left == 0
    rows.scan = honest
    check(sim)
    assert rows.scan(0, b"", b"\xff" * 30, 10) == []


# Sweeps


@pytest.mark.parametrize("turns_before", [3, 11, 20])
def test_a_purge_of_five_thousand_goes_on_after_a_crash(turns_before):
    sim = Simulator(hot_width=256)
    enqueue_many(sim, [{"delay_ms": 50_000 * (n % 2), "priority": n % 5} for n in range(5_000)])
    (running,) = take(sim)
    sim.submit("purge_queue", "q")
    some_turns(sim, turns_before)
    sim.crash()
    assert 0 < live_counts(sim)[6] < 4_999, "the crash was to come in the middle"
    sim.advance(1)
    later = sim.call("enqueue", "q", {}).json()["id"]
    check(sim)
    now = counts(sim)
    assert (now["cancelled"], now["running"], now["scheduled"]) == (4_999, 1, 0)
    assert sim.call("get_task", later).json()["state"] == "ready"
    assert sim.call("ack", running["id"], {"lease": running["lease"]}).status == 200
    check(sim)


def test_a_bulk_change_of_five_thousand_goes_on_after_a_crash():
    sim = Simulator(hot_width=256)
    enqueue_many(sim, [{"name": "n"} for _ in range(5_000)])
    for action, state in (("kill", "dead"), ("retry", "ready"), ("cancel", "cancelled")):
        sim.submit("bulk", body={"action": action, "filter": {"name": "n"}})
        some_turns(sim, 7)
        sim.crash()
        assert 0 < counts(sim)[state] < 5_000, "the crash was to come in the middle"
        check(sim)
        assert counts(sim)[state] == 5_000
    sim.submit("bulk", body={"action": "delete", "filter": {"name": "n"}})
    some_turns(sim, 7)
    sim.crash()
    check(sim)
    assert sum(counts(sim).values()) == 0


# Changes of order


def in_order(discipline, tasks):
    """What a discipline serves of (id, priority, group), all of weight 1."""
    by_id = sorted(tasks)
    if discipline == "fifo":
        return by_id
    if discipline == "lifo":
        return by_id[::-1]
    by_priority = sorted(by_id, key=lambda task: -task[1])
    if discipline == "priority":
        return by_priority
    return None  # depends on the order in which the groups joined


@pytest.mark.parametrize(
    ("before", "after"), [pair for pair in itertools.product(DISCIPLINES, repeat=2) if pair[0] != pair[1]]
)
def test_a_change_of_order_of_five_thousand_goes_on_after_a_crash(before, after):
    sim = Simulator(hot_width=256)
    sim.call("put_queue", "q", {"discipline": before})
    specs = [{"priority": n * 7 % 5, "group": f"g{n % 50}"} for n in range(5_000)]
    ids = enqueue_many(sim, specs)
    tasks = [(parse_id(i), spec["priority"], spec["group"]) for i, spec in zip(ids, specs, strict=True)]
    assert sim.call("put_queue", "q", {"discipline": after}).json()["resorting"] is True
    some_turns(sim, 9)
    assert take(sim) == [], "a dequeue is empty while it re-sorts"
    assert sim.call("get_queue", "q").json()["resorting"] is True, "the crash was to come in the middle"
    sim.crash()
    check(sim)
    served = [(parse_id(task["id"]), task["priority"], task["group"]) for task in take_all(sim)]
    if after == "round_robin":
        assert sorted(served) == sorted(tasks)
        laps = [served[at : at + 50] for at in range(0, 5_000, 50)]
        first = [group for _, _, group in laps[0]]
        assert sorted(first) == sorted({group for _, _, group in tasks})
        assert all([group for _, _, group in lap] == first for lap in laps), "not one of each group in turn"
    else:
        assert served == in_order(after, tasks)
    check(sim)


def test_a_workflow_of_ten_thousand_is_forgotten_in_small_steps():
    sim = Simulator(hot_width=64, recent_max=20_000)
    ids = chain_of(sim, 10_000)
    sim.call("cancel_task", ids[0])
    sim.settle()
    sim.advance(600_001)
    largest = steps = 0
    while sum(live_counts(sim)):
        some_turns(sim, 1)
        other = sim.submit("enqueue", "other", {})
        before = sum(live_counts(sim))
        sim.turn()
        assert other.status == 201 and before - sum(live_counts(sim)) <= 300
        written = [len(value) for _, _, value in sim.batch.rows.operations if value is not None]
        largest = max(largest, *written)
        steps += 1
        assert steps < 1_000, "it takes too many turns"
    assert largest < 1_000, "the whole workflow was written with every step"
    check(sim)
    assert sim.tiers.durable.scan_workflows(b"", 5) == []


def test_a_batch_is_not_behind_the_forgetting_of_thousands():
    sim = Simulator(hot_width=64, recent_max=20_000)
    ids = chain_of(sim, 5_000)
    sim.call("cancel_task", ids[0])
    sim.settle()
    sim.advance(600_001)
    some_turns(sim, 5)
    assert len(sim.engine.core.jobs) > 250
    batch = sim.submit("enqueue_batch", "other", {"tasks": [{}] * 5_000})
    for _ in range(30):
        sim.turn()
        sim.write()
    assert batch.status == 201
    check(sim)
