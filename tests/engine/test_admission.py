"""A restricted caller changes nothing of other queues, and is told nothing of them, whatever it asks."""

import random

import pytest

from taskqueuex.commands import COMMANDS
from taskqueuex.commands.principal import Principal
from taskqueuex.storage.check import check_storage
from taskqueuex.testing import SimulatedCall, Simulator

SCOPES = [f"{scope}:a*" for scope in ("produce", "consume", "read", "operate")]
OF_A_TASK = [row.name for row in COMMANDS.values() if row.queues == "task"]
OF_A_SCHEDULE = [row.name for row in COMMANDS.values() if row.queues == "schedule"]
BODIES = {
    "fail": {"lease": "x", "error": {"type": "E"}},
    **{name: {"lease": "x"} for name in ("ack", "release", "heartbeat")},
    "edit_task": {"priority": 5},
    "put_schedule": {"queue": "a", "every_ms": 1_000},
}


def rows(sim):
    return [dict(family) for family in sim.tiers.durable.rows.families]


def ask(sim, principal, name, target="", body=None):
    """A call in somebody's name, followed until it is answered and committed."""
    call = SimulatedCall(name, target, body)
    call.principal = principal
    sim.inbox.append(call)
    sim.settle()
    assert call.status, "it was not answered"
    return call


def filled(seed=0):
    """A queue that is none of the caller's: tasks of several states, and a schedule."""
    sim = Simulator(seed)
    ids = [sim.call("enqueue", "b", {"payload": "hidden"}).json()["id"] for _ in range(4)]
    sim.call("dequeue_queue", "b", {})
    sim.call("kill_task", ids[1])
    sim.call("cancel_task", ids[2])
    sim.call("put_schedule", "s", {"queue": "b", "every_ms": 86_400_000})
    return sim, ids


@pytest.fixture
def foreign():
    return Principal("i", "n", "token", SCOPES)


@pytest.mark.parametrize("cold", [False, True], ids=["in memory", "to be read"])
@pytest.mark.parametrize("name", OF_A_TASK)
def test_a_task_of_another_queue_is_refused_and_stays_as_it_is(foreign, name, cold):
    sim, ids = filled()
    if cold:
        sim.crash()
        sim.settle()
    for target in ids:
        before = rows(sim)
        call = ask(sim, foreign, name, target, BODIES.get(name))
        assert (call.status, call.outcome.code) == (403, "forbidden")
        assert "hidden" not in str(call.outcome.detail)
        assert rows(sim) == before


@pytest.mark.parametrize("name", OF_A_SCHEDULE)
def test_a_schedule_of_another_queue_is_refused_and_stays_as_it_is(foreign, name):
    sim, _ = filled()
    before = rows(sim)
    call = ask(sim, foreign, name, "s", BODIES.get(name))
    assert (call.status, call.outcome.code) == (403, "forbidden")
    assert rows(sim) == before


def test_a_task_of_a_queue_that_was_deleted_is_still_that_queues(foreign):
    sim, ids = filled()
    call = SimulatedCall("delete_queue", "b", None, {"force": True})
    sim.inbox.append(call)
    sim.settle()
    assert call.status == 200
    assert ask(sim, foreign, "get_task", ids[0]).status == 403
    owner = Principal("i", "n", "token", ["read:b"])
    assert ask(sim, owner, "get_task", ids[0]).status == 410


@pytest.mark.parametrize("seed", range(12))
def test_no_mixture_of_calls_touches_another_queue(foreign, seed):
    """Random calls about tasks of both queues, with crashes in between."""
    sim, ids = filled(seed)
    chance = random.Random(seed)
    own = [sim.call("enqueue", "a", {}).json()["id"] for _ in range(10)]
    before = [ask(sim, foreign, "get_task", each).status for each in ids]
    seen = [sim.call("get_task", each).json() for each in ids]
    for _ in range(120):
        name = chance.choice([*OF_A_TASK, "settle", "bulk", "bulk"])
        if name == "settle":
            body = {"ack": [{"id": each, "lease": "x"} for each in chance.sample([*ids, *own], 3)]}
        elif name == "bulk":
            action = chance.choice(["kill", "cancel", "retry", "delete"])
            wanted = chance.choice([{"after": 0}, {"id": chance.sample([*ids, *own], 4)}, {"state": "dead"}])
            body = {"action": action, "filter": wanted}
        else:
            body = BODIES.get(name)
        target = "" if name in ("settle", "bulk") else chance.choice([*ids, *own])
        call = SimulatedCall(name, target, body)
        call.principal = foreign
        sim.inbox.append(call)
        for _ in range(chance.randrange(6)):
            sim.step()
        if chance.random() < 0.05:
            sim.crash()
            sim.settle()
    sim.settle()
    assert [sim.call("get_task", each).json() for each in ids] == seen
    assert before == [403] * len(ids)
    assert check_storage(sim.tiers.durable).problems == []


def test_a_bulk_goes_on_after_a_crash_for_the_same_queues(foreign):
    sim = Simulator()
    for queue in ("a", "b"):
        sim.call("enqueue_batch", queue, {"tasks": [{}] * 900})
    call = SimulatedCall("bulk", "", {"action": "cancel", "filter": {"after": 0}})
    call.principal = foreign
    sim.inbox.append(call)
    while not sim.tiers.durable.load_jobs():
        sim.step()
    assert not call.status
    sim.crash()
    sim.settle()
    counts = {name: sim.call("get_queue", name).json()["counts"] for name in ("a", "b")}
    assert counts["a"]["cancelled"] == 900
    assert counts["b"]["ready"] == 900
