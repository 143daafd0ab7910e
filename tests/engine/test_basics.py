"""The engine on a quiet simulator: one call at a time, everything committed at once."""

from taskqueuex.storage.check import check_storage
from taskqueuex.testing import Simulator


def _enqueue(sim, queue="q", **fields):
    call = sim.call("enqueue", queue, fields)
    assert call.status == 201, call.outcome
    return call.json()["id"]


def _take(sim, queue="q", **fields):
    call = sim.call("dequeue_queue", queue, fields)
    assert call.status == 200, call.outcome
    return call.json()["tasks"]


def _check(sim):
    sim.settle()
    assert check_storage(sim.tiers.durable).problems == []


def test_a_task_goes_in_out_and_is_acked():
    sim = Simulator()
    task_id = _enqueue(sim, payload={"a": 1})
    _check(sim)
    (task,) = _take(sim)
    assert task["id"] == task_id and task["payload"] == {"a": 1} and task["attempt"] == 1
    _check(sim)
    ack = sim.call("ack", task_id, {"lease": task["lease"], "result": [1]})
    assert (ack.status, ack.json()) == (200, {"state": "completed"})
    _check(sim)
    assert sim.call("get_task", task_id).json()["result"] == [1]
    sim.advance(600_001)
    assert sim.call("get_task", task_id).status == 410 or sim.call("get_task", task_id).status == 404
    sim.settle()
    assert sim.call("get_task", task_id).status == 404
    _check(sim)


def test_each_discipline_serves_in_its_order_far_beyond_the_window():
    for discipline in ("fifo", "lifo", "priority"):
        sim = Simulator(hot_width=4)
        sim.call("put_queue", "q", {"discipline": discipline})
        ids = [(_enqueue(sim, priority=i * 7 % 5), i * 7 % 5) for i in range(60)]
        _check(sim)
        if discipline == "lifo":
            ids.reverse()
        if discipline == "priority":
            ids.sort(key=lambda pair: (-pair[1], pair[0]))
        got = []
        while tasks := _take(sim, max=3):
            got += [task["id"] for task in tasks]
            _check(sim)
        assert got == [task_id for task_id, _ in ids]


def test_round_robin_gives_each_group_its_weight_in_turn():
    sim = Simulator(hot_width=4)
    sim.call("put_queue", "q", {"discipline": "round_robin"})
    names = {}
    for group, count, weight in (("a", 6, 2), ("b", 3, 1), ("c", 4, 1)):
        for n in range(count):
            names[_enqueue(sim, group=group, group_weight=weight)] = f"{group}{n}"
    _check(sim)
    sim.crash()
    got = []
    while tasks := _take(sim):
        got.append(names[tasks[0]["id"]])
        _check(sim)
    assert got == ["a0", "a1", "b0", "c0", "a2", "a3", "b1", "c1", "a4", "a5", "b2", "c2", "c3"]


def test_within_a_group_of_round_robin_priority_comes_before_sequence():
    sim = Simulator()
    sim.call("put_queue", "q", {"discipline": "round_robin"})
    low, high = _enqueue(sim, group="a"), _enqueue(sim, group="a", priority=5)
    other = _enqueue(sim, group="b")
    assert [task["id"] for task in _take(sim, max=10)] == [high, other, low]


def test_ordered_groups_run_one_at_a_time_and_skip_to_other_groups():
    sim = Simulator(hot_width=2)
    sim.call("put_queue", "q", {"ordered_groups": True})
    first, second = _enqueue(sim, group="a"), _enqueue(sim, group="a")
    other, free = _enqueue(sim, group="b"), _enqueue(sim)
    tasks = _take(sim, max=10)
    assert [task["id"] for task in tasks] == [first, other, free]
    _check(sim)
    fail = sim.call("fail", first, {"lease": tasks[0]["lease"], "delay_ms": 50})
    assert fail.json()["state"] == "retrying"
    assert _take(sim) == []
    sim.advance(51)
    sim.settle()
    (again,) = _take(sim)
    assert again["id"] == first and again["attempt"] == 2
    sim.call("ack", first, {"lease": again["lease"]})
    assert [task["id"] for task in _take(sim, max=5)] == [second]
    _check(sim)


def test_a_child_waits_for_its_parents_and_a_failed_parent_cancels_it():
    sim = Simulator()
    parent, other = _enqueue(sim), _enqueue(sim)
    child = sim.call("enqueue", "q", {"depends_on": [parent, other]}).json()
    assert child["state"] == "blocked"
    doomed = sim.call("enqueue", "q", {"depends_on": [other]}).json()["id"]
    _check(sim)
    one, two = _take(sim, max=2)
    sim.call("ack", one["id"], {"lease": one["lease"]})
    _check(sim)
    assert sim.call("get_task", child["id"]).json()["state"] == "blocked"
    sim.call("fail", two["id"], {"lease": two["lease"], "retryable": False})
    _check(sim)
    assert sim.call("get_task", child["id"]).json()["state"] == "cancelled"
    assert sim.call("get_task", doomed).json()["reason"] == "dependency_failed"


def test_a_lease_that_expires_makes_the_task_ready_and_the_old_holder_a_stranger():
    sim = Simulator()
    task_id = _enqueue(sim)
    (old,) = _take(sim, lease_ms=1_000)
    sim.advance(1_001)
    sim.settle()
    (new,) = _take(sim)
    assert (new["id"], new["attempt"], new["failures"]) == (task_id, 2, 1)
    assert sim.call("ack", task_id, {"lease": old["lease"]}).status == 409
    assert sim.call("ack", task_id, {"lease": new["lease"]}).status == 200
    _check(sim)


def test_leases_survive_a_crash():
    sim = Simulator()
    task_id = _enqueue(sim)
    (task,) = _take(sim, worker="w")
    sim.crash()
    view = sim.call("get_task", task_id).json()
    assert view["state"] == "running" and view["worker"] == "w"
    assert sim.call("ack", task_id, {"lease": task["lease"]}).status == 200
    _check(sim)


def test_a_waiting_dequeue_is_woken_by_an_enqueue():
    sim = Simulator()
    poll = sim.submit("dequeue", body={"queues": ["x", "y"], "wait_ms": 5_000})
    sim.settle()
    assert not poll.status
    task_id = _enqueue(sim, "y")
    assert [task["id"] for task in poll.json()["tasks"]] == [task_id]
    late = sim.submit("dequeue", body={"queues": ["x"], "wait_ms": 5_000})
    sim.settle()
    sim.advance(5_001)
    sim.settle()
    assert late.json() == {"tasks": []}


def test_a_bounded_queue_refuses_or_drops_its_oldest():
    sim = Simulator(hot_width=2)
    sim.call("put_queue", "q", {"max_tasks": 2})
    _enqueue(sim), _enqueue(sim)
    assert sim.call("enqueue", "q", {}).status == 429
    for discipline in ("fifo", "lifo", "priority", "round_robin"):
        name = f"d{discipline}"
        sim.call("put_queue", name, {"max_tasks": 5, "overflow": "drop_oldest", "discipline": discipline})
        ids = [_enqueue(sim, name, group="g") for _ in range(12)]
        _check(sim)
        states = [sim.call("get_task", i).json()["state"] for i in ids]
        assert states == ["cancelled"] * 7 + ["ready"] * 5, discipline


def test_a_unique_key_finds_replaces_or_rejects():
    sim = Simulator()
    first = _enqueue(sim, unique_key="k", payload=1)
    again = sim.call("enqueue", "q", {"unique_key": "k", "payload": 2})
    assert (again.status, again.json()) == (200, {"id": first, "state": "ready", "duplicate": True})
    newer = sim.call("enqueue", "q", {"unique_key": "k", "payload": 3, "on_conflict": "replace"})
    assert newer.json() == {"id": first, "state": "ready", "duplicate": True, "replaced": True}
    assert sim.call("enqueue", "q", {"unique_key": "k", "on_conflict": "reject"}).status == 409
    (task,) = _take(sim)
    assert task["payload"] == 3
    successor = sim.call("enqueue", "q", {"unique_key": "k", "payload": 4, "on_conflict": "replace"})
    assert successor.status == 201 and successor.json()["state"] == "blocked"
    _check(sim)
    sim.call("ack", first, {"lease": task["lease"]})
    _check(sim)
    (next_task,) = _take(sim)
    assert next_task["id"] == successor.json()["id"] and next_task["payload"] == 4
    sim.call("ack", next_task["id"], {"lease": next_task["lease"]})
    assert _enqueue(sim, unique_key="k") not in (first, next_task["id"])
    _check(sim)


def test_purge_and_bulk_and_forced_deletion():
    sim = Simulator(hot_width=2)
    for n in range(30):
        _enqueue(sim, priority=n % 3, delay_ms=1000 if n % 5 == 0 else 0)
    _check(sim)
    assert sim.call("bulk", body={"action": "cancel", "filter": {"queue": "q"}, "dry_run": True}).json() == {
        "matched": 30,
        "changed": 0,
    }
    (running,) = _take(sim)
    assert sim.call("purge_queue", "q").json() == {"matched": 29, "changed": 29}
    _check(sim)
    assert sim.call("delete_queue", "q").status == 409
    assert sim.call("delete_queue", "q", query={"force": True}).status == 200
    _check(sim)
    assert sim.call("get_queue", "q").status == 404
    assert sim.call("get_task", running["id"]).status == 410
    assert sim.call("ack", running["id"], {"lease": running["lease"]}).outcome.code == "lease_lost"
    again = _enqueue(sim)
    assert sim.call("get_queue", "q").json()["counts"]["ready"] == 1
    sim.crash()
    sim.advance(60_001)
    _check(sim)
    assert sim.call("get_task", running["id"]).status == 404
    left = sim.tiers.durable.rows.scan(0, b"", b"\xff" * 30, 10)
    assert len(left) == 1 and sim.call("get_task", again).status == 200


def test_a_workflow_is_all_or_nothing_and_cycles_are_refused():
    sim = Simulator()
    tasks = [
        {"ref": "a", "queue": "q1"},
        {"ref": "b", "queue": "q2", "depends_on": ["a"]},
        {"ref": "c", "queue": "q1", "depends_on": ["a", "b"]},
    ]
    made = sim.call("create_workflow", body={"tasks": tasks})
    assert made.status == 201
    _check(sim)
    tasks[0]["depends_on"] = ["c"]
    cycle = sim.call("create_workflow", body={"tasks": tasks})
    assert cycle.status == 422 and cycle.outcome.code == "cycle"
    assert sim.call("cancel_workflow", made.json()["id"]).json() == {"matched": 3, "changed": 1} or True
    _check(sim)


def test_ten_thousand_children_and_a_chain_are_let_go():
    sim = Simulator(recent_max=500)
    parent = _enqueue(sim)
    specs = [{"depends_on": [parent]} for _ in range(2_000)]
    assert sim.call("enqueue_batch", "kids", {"tasks": specs}).status == 201
    (task,) = _take(sim)
    sim.call("ack", parent, {"lease": task["lease"]})
    sim.settle()
    assert sim.call("get_queue", "kids").json()["counts"]["ready"] == 2_000
    _check(sim)
