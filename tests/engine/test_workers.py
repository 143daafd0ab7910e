"""Worker control: what is asked of a worker, and how it learns of it."""

import pytest

from taskqueuex.testing import Simulator

CARRY_ON = {"quiet": False, "stop": False}
QUIET = {"quiet": True, "stop": False}


@pytest.fixture
def sim():
    sim = Simulator()
    sim.call("put_queue", "q", {})
    return sim


def _settle(sim, **body):
    call = sim.call("settle", "", body)
    assert call.status == 200, call.outcome
    return call.json()


def _hello(sim, name="w", **info):
    return _settle(sim, worker={"name": name, "pid": 1, "started_at": 5, **info})


def _listed(sim, name="w"):
    return {each["name"]: each for each in sim.call("list_workers").json()["workers"]}.get(name)


def _poll(sim, worker="w", wait_ms=0, **fields):
    call = sim.submit("dequeue_queue", "q", {"worker": worker, "wait_ms": wait_ms, **fields})
    sim.turn()
    sim.write()
    return call


def test_a_worker_is_listed_with_what_it_says_of_itself(sim):
    said = {"host": "h", "pid": 7, "version": "1", "queues": ["a", "q"], "concurrency": 3, "quiet": False}
    assert _settle(sim, worker={"name": "w", **said})["control"] == CARRY_ON
    listed = _listed(sim)
    assert {field: listed[field] for field in said} == said
    assert (listed["stopping"], listed["running"]) == (False, [])
    _settle(sim, worker={"name": "w", "pid": 7})  # what is left out stays
    assert {field: _listed(sim)[field] for field in said} == said


def test_a_worker_that_said_its_queues_serves_them_whatever_one_call_takes_from(sim):
    """Where queues have slots of their own, the worker asks for the tasks of each in calls of their own."""
    _settle(sim, worker={"name": "w", "queues": ["q", "r"]}, dequeue={"queues": ["r"]})
    assert _listed(sim)["queues"] == ["q", "r"]
    _poll(sim, worker="plain")
    assert _listed(sim, "plain")["queues"] == ["q"]


def test_a_worker_that_says_bye_is_listed_no_more(sim):
    _hello(sim)
    _hello(sim, bye=True)
    assert _listed(sim) is None
    assert sim.call("quiet_worker", "w").status == 404


@pytest.mark.parametrize("command", ["quiet_worker", "resume_worker", "stop_worker"])
def test_an_unknown_worker_is_not_found(sim, command):
    assert sim.call(command, "nobody").status == 404


def test_control_is_there_only_where_the_settle_names_its_worker(sim):
    assert "control" not in _settle(sim)
    assert "control" not in _settle(sim, dequeue={"queues": ["q"]})
    assert _settle(sim, dequeue={"queues": ["q"], "worker": "w"})["control"] == CARRY_ON
    assert _hello(sim)["control"] == CARRY_ON


def test_a_quiet_worker_gets_no_tasks_until_it_is_resumed(sim):
    _hello(sim)
    sim.call("enqueue", "q", {})
    assert sim.call("quiet_worker", "w").json() == QUIET
    assert _poll(sim).json() == {"tasks": [], "control": QUIET}
    reply = _settle(sim, worker={"name": "w"}, dequeue={"queues": ["q"]})
    assert (reply["tasks"], reply["control"]) == ([], QUIET)
    assert len(_poll(sim, worker="other").json()["tasks"]) == 1
    sim.call("enqueue", "q", {})
    assert sim.call("resume_worker", "w").json() == CARRY_ON
    reply = _poll(sim).json()
    assert (len(reply["tasks"]), reply["control"]) == (1, CARRY_ON)
    assert _poll(sim).json() == {"tasks": []}  # it knows


@pytest.mark.parametrize(
    ("command", "control"), [("quiet_worker", QUIET), ("stop_worker", {"quiet": False, "stop": True})]
)
def test_a_poll_that_waits_is_answered_at_once(sim, command, control):
    poll = _poll(sim, wait_ms=10_000)
    other = _poll(sim, worker="other", wait_ms=10_000)
    settle = sim.submit(
        "settle", "", {"worker": {"name": "w"}, "dequeue": {"queues": ["q"], "wait_ms": 10_000}}
    )
    sim.turn()
    assert (poll.status, settle.status) == (0, 0)
    sim.call(command, "w")
    assert poll.json() == {"tasks": [], "control": control}
    assert (settle.json()["tasks"], settle.json()["control"]) == ([], control)
    assert other.status == 0


def test_a_quiet_worker_that_knows_may_wait_and_stands_in_nobodys_way(sim):
    _hello(sim)
    sim.call("quiet_worker", "w")
    assert _poll(sim, wait_ms=10_000).json()["control"] == QUIET  # it learns of it at once
    waits = _poll(sim, wait_ms=10_000)
    other = _poll(sim, worker="other", wait_ms=10_000)
    sim.call("enqueue", "q", {})
    assert (waits.status, len(other.json()["tasks"])) == (0, 1)
    sim.call("resume_worker", "w")
    assert waits.json() == {"tasks": [], "control": CARRY_ON}


def test_a_quiet_workers_poll_ends_with_its_time(sim):
    _hello(sim)
    sim.call("quiet_worker", "w")
    _poll(sim)
    waits = _poll(sim, wait_ms=1_000)
    sim.advance(1_000)
    sim.settle()
    assert waits.json() == {"tasks": [], "control": QUIET}


def test_a_heartbeat_tells_the_holder_of_the_lease(sim):
    sim.call("enqueue", "q", {})
    (task,) = _poll(sim).json()["tasks"]

    def beat():
        return set(sim.call("heartbeat", task["id"], {"lease": task["lease"]}).json())

    assert beat() == {"lease_expires_at", "cancel"}
    sim.call("quiet_worker", "w")
    assert beat() == {"lease_expires_at", "cancel", "quiet"}
    sim.call("stop_worker", "w")
    assert beat() == {"lease_expires_at", "cancel", "quiet", "stop"}
    sim.call("resume_worker", "w")
    assert beat() == {"lease_expires_at", "cancel"}


@pytest.mark.parametrize("change", [{"pid": 2}, {"started_at": 6}])
def test_a_stop_is_forgotten_when_another_process_comes_under_the_name(sim, change):
    _hello(sim)
    sim.call("stop_worker", "w")
    assert _hello(sim)["control"]["stop"] is True
    assert _listed(sim)["stopping"] is True
    assert _hello(sim, **change)["control"] == CARRY_ON
    assert _listed(sim)["stopping"] is False


def test_quietness_outlives_a_restart_of_the_server_since_the_worker_tells_it(sim):
    _hello(sim)
    sim.call("quiet_worker", "w")
    assert _hello(sim, quiet=True)["control"] == QUIET
    sim.crash()
    assert _listed(sim) is None
    assert _hello(sim, quiet=True)["control"] == QUIET
    sim.call("resume_worker", "w")
    assert _hello(sim, quiet=True)["control"] == CARRY_ON  # told otherwise
    assert _listed(sim)["quiet"] is True  # it has not obeyed yet
    assert _hello(sim, quiet=False)["control"] == CARRY_ON
    assert _listed(sim)["quiet"] is False


def test_a_worker_known_by_its_leases_alone_can_be_asked(sim):
    sim.call("enqueue", "q", {})
    (task,) = _poll(sim).json()["tasks"]
    sim.crash()
    assert [each["id"] for each in _listed(sim)["running"]] == [task["id"]]
    assert sim.call("stop_worker", "w").json() == {"quiet": False, "stop": True}


def test_a_full_list_makes_room_for_new_names(sim, monkeypatch):
    monkeypatch.setattr("taskqueuex.engine.workers.WORKERS_MAX", 2)
    for name in ("a", "b", "c"):
        _hello(sim, name)
    assert (_listed(sim, "b") is not None, _listed(sim, "c")) == (True, None)
    sim.advance(300_001)
    _hello(sim, "c")
    assert _listed(sim, "c") is not None
