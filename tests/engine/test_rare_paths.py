"""What happens seldom: two things that are each ordinary, at the same time or in an unusual order."""

import pytest

from taskqueuex.engine.core import hash16
from taskqueuex.model.ids import SLOTS
from taskqueuex.storage.check import check_storage
from taskqueuex.testing import Simulator


def enqueue(sim, queue="q", **fields):
    call = sim.call("enqueue", queue, fields)
    assert call.status == 201, call.outcome
    return call.json()["id"]


def take(sim, queue="q", **fields):
    call = sim.call("dequeue_queue", queue, fields)
    assert call.status == 200, call.outcome
    return call.json()["tasks"]


def state(sim, task_id):
    return sim.call("get_task", task_id).json()["state"]


def check(sim):
    sim.settle()
    assert check_storage(sim.tiers.durable).problems == []


# Dependencies


def test_a_parent_ends_after_one_of_its_children_was_deleted():
    sim = Simulator()
    parent = enqueue(sim)
    gone, kept = enqueue(sim, "kids", depends_on=[parent]), enqueue(sim, "kids", depends_on=[parent])
    assert sim.call("delete_task", gone).status == 200
    (task,) = take(sim)
    assert sim.call("ack", parent, {"lease": task["lease"]}).status == 200
    assert state(sim, kept) == "ready"
    check(sim)


def test_children_of_a_deleted_queue_are_cancelled_although_nothing_of_them_was_in_memory():
    sim = Simulator()
    parent = enqueue(sim)
    children = [enqueue(sim, "kids", depends_on=[parent]) for _ in range(3)]
    sim.settle()
    sim.crash()
    assert sim.call("delete_queue", "q", query={"force": True}).status == 200
    check(sim)
    assert [state(sim, child) for child in children] == ["cancelled"] * 3


def test_a_release_under_way_outlives_the_queue_of_its_parent():
    sim = Simulator()
    parent = enqueue(sim)
    children = [enqueue(sim, "kids", depends_on=[parent]) for _ in range(120)]
    (task,) = take(sim)
    sim.submit("ack", parent, {"lease": task["lease"]})
    sim.submit("delete_queue", "q")
    sim.turn()
    sim.write()
    sim.crash()
    check(sim)
    assert {state(sim, child) for child in children} == {"ready"}


def test_whoever_waits_for_an_end_is_told_in_the_midst_of_thousands():
    sim = Simulator(hot_width=4_096)
    parent = enqueue(sim)
    waits = []
    level = [parent]
    for _ in range(3):
        specs = [{"depends_on": [above]} for above in level for _ in range(15)]
        level = sim.call("enqueue_batch", "q", {"tasks": specs}).json()["ids"]
        waits += [sim.submit("get_task", level[at], query={"wait_ms": 60_000}) for at in (0, -1)]
        sim.settle()
    sim.call("cancel_task", parent)
    sim.settle()
    assert [wait.json()["state"] for wait in waits] == ["cancelled"] * 6


# Batches that are staged


def staged(sim, queue="q", count=1_200):
    call = sim.submit("enqueue_batch", queue, {"tasks": [{"name": "n"} for _ in range(count)]})
    sim.turn()
    sim.write()
    assert not call.status
    return call


def test_a_batch_under_way_when_its_queue_is_deleted_goes_to_the_queue_made_anew():
    sim = Simulator()
    call = staged(sim)
    sim.call("delete_queue", "q", query={"force": True})
    sim.settle()
    assert call.status == 201
    assert sim.call("get_queue", "q").json()["counts"]["ready"] == 1_200
    check(sim)
    assert len(sim.tiers.durable.load_queues()) == 1


def test_the_rows_of_a_batch_go_although_its_queue_was_deleted_and_the_process_died():
    sim = Simulator()
    staged(sim)
    sim.submit("delete_queue", "q", query={"force": True})
    sim.turn()
    sim.write()
    sim.crash()
    check(sim)
    assert sim.tiers.durable.load_queues() == []
    assert sim.tiers.durable.rows.scan(0, b"", b"\xff" * 30, 10) == []


def test_what_follows_a_batch_is_behind_it_though_the_process_died_in_between():
    sim = Simulator()
    call = staged(sim)
    sim.settle()
    sim.crash()  # and starts within the same millisecond
    later = enqueue(sim)
    assert later > max(call.json()["ids"])
    check(sim)


def test_partitions_cannot_change_under_a_batch():
    sim = Simulator()
    call = staged(sim)
    assert sim.call("put_queue", "q", {"partitions": 3}).status == 409
    sim.settle()
    assert call.status == 201
    check(sim)


# Room in bounded queues


def test_a_workflow_that_is_refused_for_one_queue_drops_nothing_in_another():
    sim = Simulator()
    sim.call("put_queue", "a", {"max_tasks": 2, "overflow": "drop_oldest"})
    sim.call("put_queue", "b", {"max_tasks": 1})
    kept = [enqueue(sim, "a"), enqueue(sim, "a"), enqueue(sim, "b")]
    tasks = [{"ref": "x", "queue": "a"}, {"ref": "y", "queue": "b"}, {"ref": "z", "queue": "new"}]
    assert sim.call("create_workflow", body={"tasks": tasks}).status == 429
    assert [state(sim, task_id) for task_id in kept] == ["ready"] * 3
    assert sim.call("get_queue", "new").status == 404
    check(sim)


def test_a_batch_over_partitions_that_is_refused_for_one_drops_nothing_in_another():
    sim = Simulator()
    sim.call("put_queue", "q", {"max_tasks": 2, "overflow": "drop_oldest", "partitions": 2})
    groups = [f"g{n}" for n in range(8)]
    queue = sim.engine.core.queues["q"]
    of = {
        at: [g for g in groups if sim.engine.core.pick_partition(queue, g, "", 0).index == at]
        for at in (0, 1)
    }
    kept = [enqueue(sim, group=of[0][0]) for _ in range(2)]
    late = [enqueue(sim, group=of[1][0], delay_ms=10_000) for _ in range(2)]
    batch = {"tasks": [{"group": of[0][0]}, {"group": of[1][0]}]}
    assert sim.call("enqueue_batch", "q", batch).status == 429
    assert [state(sim, task_id) for task_id in kept + late] == ["ready"] * 2 + ["scheduled"] * 2
    check(sim)


def test_a_batch_may_drop_the_very_task_that_a_later_item_would_have_met():
    for conflict in ("existing", "replace"):
        sim = Simulator()
        sim.call("put_queue", "q", {"max_tasks": 2, "overflow": "drop_oldest"})
        holder, other = enqueue(sim, unique_key="k"), enqueue(sim)
        key = {"unique_key": "k", "on_conflict": conflict}
        made = sim.call("enqueue_batch", "q", {"tasks": [{}, {**key, "payload": 1}, {**key, "payload": 2}]})
        assert made.status == 201, made.outcome
        _, twin, again = made.json()["ids"]
        assert twin == again != holder and made.json()["duplicates"] == [2]
        assert [state(sim, task_id) for task_id in (holder, other, twin)] == [
            "cancelled",
            "cancelled",
            "ready",
        ]
        assert sim.call("get_task", twin).json()["payload"] == (2 if conflict == "replace" else 1)
        check(sim)


def test_a_batch_whose_last_item_finds_no_room_for_a_successor_leaves_no_trace():
    sim = Simulator()
    sim.call("put_queue", "q", {"max_tasks": 1})
    holder = enqueue(sim, unique_key="k")
    (task,) = take(sim)
    batch = {"tasks": [{}, {"unique_key": "k", "on_conflict": "replace"}]}
    assert sim.call("enqueue_batch", "q", batch).status == 429
    assert sim.call("get_queue", "q").json()["counts"]["ready"] == 0
    assert sim.call("enqueue_batch", "q", {"tasks": batch["tasks"][1:] * 2}).status == 201
    assert sim.call("ack", holder, {"lease": task["lease"]}).status == 200
    check(sim)


# Limits


def test_a_poll_is_woken_by_the_rate_as_it_is_now():
    sim = Simulator()
    sim.call("put_queue", "q", {"rate_limit": {"per_second": 0.01, "burst": 1}})
    for _ in range(3):
        enqueue(sim)
    assert len(take(sim)) == 1 and take(sim) == []
    sim.call("put_queue", "q", {"rate_limit": {"per_second": 10, "burst": 1}})
    assert len(take(sim)) == 1
    poll = sim.submit("dequeue_queue", "q", {"wait_ms": 60_000})
    sim.settle()
    assert not poll.status
    sim.advance(110)
    sim.settle()
    assert len(poll.json()["tasks"]) == 1


# Partitions


def test_tasks_of_no_group_go_to_the_partitions_in_turn_whatever_is_taken_meanwhile():
    sim = Simulator()
    sim.call("put_queue", "q", {"partitions": 2})
    for _ in range(6):
        enqueue(sim)
        take(sim)
    counts = [sum(partition.counts) for partition in sim.engine.core.queues["q"].partitions]
    assert counts == [3, 3]


def queues_of_one_slot(sim):
    """Two names whose only partition has the same slot."""
    slots = {}
    for n in range(100_000):
        name = f"n{n}"
        slot = int.from_bytes(hash16(f"{name}\0{0}")[:4], "big") % SLOTS
        if slot in slots:
            return slots[slot], name
        slots[slot] = name
    raise AssertionError


def test_a_sweep_over_queues_that_share_a_slot_meets_each_task_once():
    sim = Simulator()
    one, two = queues_of_one_slot(sim)
    for name in (one, two):
        sim.call("enqueue_batch", name, {"tasks": [{"tags": ["t"]} for _ in range(300)]})
    found = sim.call("bulk", body={"action": "cancel", "filter": {"tag": "t"}, "dry_run": True})
    assert found.json()["matched"] == 600
    assert sim.call("bulk", body={"action": "cancel", "filter": {"tag": "t"}}).json() == {
        "matched": 600,
        "changed": 600,
    }
    check(sim)


# Sweeps


def test_a_purge_meets_what_was_enqueued_before_the_clock_was_put_back():
    sim = Simulator()
    for _ in range(3):
        enqueue(sim)
    sim.settle()
    sim.advance(-3_600_000)
    sim.crash()
    enqueue(sim)
    assert sim.call("purge_queue", "q").json() == {"matched": 4, "changed": 4}


def test_a_sweep_goes_on_over_a_change_of_order():
    for before, after in (
        ("fifo", "lifo"),
        ("lifo", "priority"),
        ("priority", "round_robin"),
        ("round_robin", "fifo"),
    ):
        sim = Simulator()
        sim.call("put_queue", "q", {"discipline": before})
        for _ in range(3):
            sim.call(
                "enqueue_batch",
                "q",
                {"tasks": [{"priority": n % 3, "group": f"g{n % 4}"} for n in range(300)]},
            )
        sweep = sim.submit("bulk", body={"action": "cancel", "filter": {"queue": "q", "state": "ready"}})
        while sim.call("get_queue", "q").json()["counts"]["cancelled"] == 0:
            sim.turn()
        sim.call("put_queue", "q", {"discipline": after})
        sim.settle()
        assert sweep.json()["changed"] == 900, (before, after)
        check(sim)


# Workflows


def test_a_workflow_is_forgotten_with_its_last_task_over_a_restart_too():
    sim = Simulator()
    tasks = [
        {"ref": "a", "queue": "q"},
        {"ref": "b", "queue": "r", "depends_on": ["a"]},
        {"ref": "c", "queue": "q"},
    ]
    workflow = sim.call("create_workflow", body={"tasks": tasks}).json()
    sim.settle()
    sim.crash()
    sim.call("cancel_workflow", workflow["id"])
    check(sim)
    sim.settle()
    sim.crash()
    assert sim.call("delete_task", workflow["ids"]["c"]).status == 200
    check(sim)
    sim.crash()
    for _ in range(4):
        sim.advance(700_000)
        sim.settle()
    check(sim)
    assert sim.tiers.durable.scan_workflows(b"", 10) == []
    assert sim.engine.core.workflows == {}


# Reads that are under way


def test_what_ends_while_the_retention_index_is_read_is_forgotten_in_its_turn():
    sim = Simulator()
    first, second = enqueue(sim, result_ttl_ms=0), enqueue(sim, result_ttl_ms=0)
    sim.call("cancel_task", first)
    sim.settle()
    sim.advance(60_001)
    sim.turn()  # asks
    sim.write()
    sim.read_all()  # has read, and the answer is on its way
    landing, sim._landing = sim._landing, []
    sim.submit("cancel_task", second)
    sim.turn()
    sim.write()
    sim._landing = landing
    check(sim)
    assert sim.call("get_task", first).status == 404
    sim.crash()
    sim.advance(60_001)
    check(sim)
    assert sim.call("get_task", second).status == 404


@pytest.mark.parametrize("width", [4, 64])
def test_a_batch_that_comes_into_being_while_its_queue_is_refilled_is_served_whole_and_in_order(width):
    sim = Simulator(hot_width=width)
    ids = [enqueue(sim, payload=n) for n in range(12)]
    sim.settle()
    sim.crash()
    poll = sim.submit("dequeue_queue", "q", {"max": 1})
    sim.turn()  # asks for the window
    sim.write()
    sim.read_all()
    landing, sim._landing = sim._landing, []
    call = staged(sim)
    while not call.status:
        sim.turn()
        sim.write()
    sim._landing = landing
    sim.settle()
    served = [task["id"] for task in poll.json()["tasks"]]
    while tasks := take(sim, max=100):
        served += [task["id"] for task in tasks]
    assert served == ids + call.json()["ids"]
    check(sim)


def test_a_read_that_comes_too_late_is_made_again():
    sim = Simulator(hot_width=4, recent_max=0)
    ids = [enqueue(sim) for _ in range(12)]
    sim.settle()
    call = sim.submit("get_task", ids[8])
    sim.turn()
    sim.write()
    sim.read_all()
    late, sim.answers, sim._landing = sim.answers, [], []
    assert late and not call.status
    for _ in ids:
        (task,) = take(sim)
        assert sim.call("ack", task["id"], {"lease": task["lease"]}).status == 200
    assert not call.status
    sim.answers = sim._landing = late
    sim.settle()
    assert call.json()["state"] == "completed"
    check(sim)


def test_nothing_of_a_batch_is_served_before_all_of_it_is_there():
    sim = Simulator(hot_width=4)
    ids = [enqueue(sim) for _ in range(10)]
    sim.settle()
    call = staged(sim, count=10_000)
    served = []
    while not call.status:
        poll = sim.submit("dequeue_queue", "q", {"max": 4})
        while not poll.status and not call.status:
            sim.turn()
            sim.write()
            sim.read_all()
        if not call.status:
            served += [task["id"] for task in poll.json()["tasks"]]
    assert served == ids, "the refills were to come while the batch was under way"
    sim.settle()
    assert take(sim)[0]["id"] in call.json()["ids"][:5]
    check(sim)


# Deleted queues


@pytest.mark.parametrize("discipline", ["fifo", "lifo", "round_robin"])
@pytest.mark.parametrize("crashes", [False, True])
def test_nothing_is_left_of_a_queue_that_was_deleted_once_its_last_task_is_forgotten(discipline, crashes):
    sim = Simulator()
    more = {"overflow": "drop_oldest", "max_tasks": 50, "partitions": 2}
    sim.call("put_queue", "q", {"discipline": discipline, **more})
    ids = [enqueue(sim, group=f"g{n % 3}", name="n", unique_key=f"k{n}", ttl_ms=90_000) for n in range(9)]
    ids.append(enqueue(sim, delay_ms=5_000))
    enqueue(sim, depends_on=[ids[0]])
    enqueue(sim, "kept", depends_on=[ids[1]])
    tasks = [{"ref": "a", "queue": "q"}, {"ref": "b", "queue": "q", "depends_on": ["a"]}]
    assert sim.call("create_workflow", body={"tasks": tasks}).status == 201
    first, second = take(sim, max=1) + take(sim, max=1)
    sim.call("ack", first["id"], {"lease": first["lease"]})
    sim.call("fail", second["id"], {"lease": second["lease"]})
    take(sim)
    for queue in ("q", "kept"):
        assert sim.call("delete_queue", queue, query={"force": True}).status == 200
    for _ in range(5):
        check(sim)
        if crashes:
            sim.crash()
        sim.advance(700_000)
    check(sim)
    rows = [sim.tiers.durable.rows.scan(family, b"", b"\xff" * 40, 50) for family in range(6)]
    left = [key for family in rows for key, _ in family if key[:3] != b"\xff\xffm"]
    assert left == []


def test_why_tells_of_a_parent_that_was_in_memory_and_is_gone():
    sim = Simulator()
    sim.call("put_queue", "m", {"durability": "memory", "max_tasks": 10})
    parent = enqueue(sim, "m")
    child = enqueue(sim, depends_on=[parent])
    assert "gone" not in sim.call("task_why", child).json()["reasons"][0]["detail"]
    sim.settle()
    sim.crash()
    (reason,) = sim.call("task_why", child).json()["reasons"]
    assert reason["ids"] == [parent] and "gone" in reason["detail"]
    assert sim.call("unblock_task", child).json()["state"] == "ready"
    check(sim)
