"""What happens seldom: two things that are each ordinary, at the same time or in an unusual order."""

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
