"""Schedules and worker control, over a socket."""

import signal
from itertools import pairwise

import pytest

CARRY_ON = {"quiet": False, "stop": False}
QUIET = {"quiet": True, "stop": False}


@pytest.fixture
def put(api, queue):
    """Makes a schedule named like the queue; it is deleted with the test."""

    def made(status=201, **fields):
        body = {"queue": queue, "every_ms": 100, **fields}
        return api.good("PUT", f"/v1/schedules/{queue}", body, status)

    yield made
    api.call("DELETE", f"/v1/schedules/{queue}")


def test_a_schedule_fires_by_itself(api, queue, put, now_ms):
    before = now_ms()
    made = put(task={"payload": {"n": 1}, "name": "tick", "meta": {"k": "v"}})
    assert set(made) == {
        *("name", "cron", "every_ms", "timezone", "queue", "task", "overlap", "catch_up", "paused"),
        *("created_at", "next_at", "next_runs", "last", "fired", "skipped", "missed", "refused"),
    }
    assert made["task"] == {"payload": {"n": 1}, "name": "tick", "meta": {"k": "v"}}
    due = []
    for _ in range(3):
        task = api.take(queue)
        assert (task["payload"], task["name"]) == ({"n": 1}, "tick")
        assert task["meta"]["k"] == "v" and task["meta"]["schedule"] == queue
        due.append(int(task["meta"]["scheduled_at"]))
        api.ack(task)
    assert due == sorted(set(due)) and all(at % 100 == 0 and at >= before for at in due)
    seen = api.good("GET", f"/v1/schedules/{queue}")
    assert seen["fired"] >= 3 and seen["last"]["outcome"] in ("fired", "skipped")


def test_a_cron_expression_in_a_time_zone_shows_its_next_runs(api, queue, put):
    made = put(cron="30 2 * * *", every_ms=None, timezone="Europe/Berlin")
    runs = made["next_runs"]
    assert len(runs) == 5 and made["next_at"] == runs[0]
    assert all(run % 1_800_000 == 0 for run in runs)
    assert all(80_000_000 < later - run < 95_000_000 for run, later in pairwise(runs))


def test_the_same_definition_again_is_taken_as_it_is(api, queue, put):
    made = put(every_ms=86_400_000)
    assert put(status=200, every_ms=86_400_000) == made
    changed = put(status=200, every_ms=43_200_000)
    assert changed["every_ms"] == 43_200_000 and changed["created_at"] == made["created_at"]


def test_pause_resume_trigger_and_delete(api, queue, put):
    put(every_ms=86_400_000)
    path = f"/v1/schedules/{queue}"
    assert api.good("POST", f"{path}/pause")["paused"] is True
    fired = api.good("POST", f"{path}/trigger", status=201)
    assert set(fired) == {"id", "state"} and fired["state"] == "ready"
    again = api.call("POST", f"{path}/trigger")
    assert (again.status, again.json["code"]) == (409, "conflict")
    assert api.take(queue)["id"] == fired["id"]
    resumed = api.good("POST", f"{path}/resume")
    assert (resumed["paused"], resumed["fired"]) == (False, 1) and resumed["next_at"] > 0
    assert queue in [each["name"] for each in api.good("GET", "/v1/schedules?limit=1000")["schedules"]]
    assert api.good("DELETE", path) == {"deleted": True}
    assert api.call("GET", path).status == 404


def test_a_list_comes_in_pages(api, queue):
    names = [f"{queue[:100]}-{each}" for each in range(3)]
    for name in names:
        api.good("PUT", f"/v1/schedules/{name}", {"queue": queue, "cron": "0 0 1 1 *"}, 201)
    found, cursor = [], ""
    while cursor is not None:
        page = api.good("GET", f"/v1/schedules?limit=2&cursor={cursor}")
        assert len(page["schedules"]) <= 2
        found += [each["name"] for each in page["schedules"]]
        cursor = page["cursor"]
    assert found == sorted(found) and set(names) <= set(found)
    for name in names:
        api.good("DELETE", f"/v1/schedules/{name}")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"cron": "* * * *"}, "cron"),
        ({"cron": "0 0 30 2 *"}, "cron"),
        ({"cron": "* * * * *", "every_ms": 100}, "cron"),
        ({}, "cron"),
        ({"every_ms": 99}, "every_ms"),
        ({"every_ms": 100, "timezone": "Mars/Olympus"}, "timezone"),
        ({"every_ms": 100, "overlap": "both"}, "overlap"),
        ({"every_ms": 100, "task": {"priority": 5_000}}, "task.priority"),
        ({"every_ms": 100, "task": {"run_at": 1}}, "task.run_at"),
        ({"every_ms": 100, "task": {"name": "é" * 200}}, "task.name"),
        ({"every_ms": 100, "task": {"payload": "p" * (1 << 20)}}, "task.payload"),
        ({"every_ms": 100, "task": {"meta": {"scheduled_at": "1"}}}, "task.meta.scheduled_at"),
        ({"every_ms": 100, "queue": "a b"}, "queue"),
        ({"every_ms": 100, "colour": "red"}, "colour"),
    ],
)
def test_a_wrong_definition_names_its_field(api, queue, check, fields, field):
    check.field(api.call("PUT", f"/v1/schedules/{queue}", {"queue": queue, **fields}), field)
    assert api.call("GET", f"/v1/schedules/{queue}").status == 404


@pytest.mark.parametrize("name", ["a%20b", "a" * 129])
def test_a_wrong_name_is_named(api, check, name):
    check.field(api.call("GET", f"/v1/schedules/{name}"), "name")


def _settle(api, **body):
    return api.good("POST", "/v1/settle", body)


def test_a_worker_learns_at_once_what_is_asked_of_it(api, queue):
    worker = {"name": f"w {queue[:90]}", "host": "h", "pid": 7, "queues": [queue], "concurrency": 2}
    path = f"/v1/workers/w%20{queue[:90]}"
    assert api.call("POST", f"{path}/quiet").status == 404
    assert _settle(api, worker=worker)["control"] == CARRY_ON
    poll = api.connect()
    dequeue = {"queues": [queue], "wait_ms": 60_000, "worker": worker["name"]}
    poll.send("POST", "/v1/dequeue", dequeue)
    while not api.good("GET", "/v1/stats")["waiters"]:  # until its poll has arrived
        pass
    assert api.good("POST", f"{path}/quiet") == QUIET
    assert poll.receive().json == {"tasks": [], "control": QUIET}
    view = _view(api, worker["name"])
    assert (view["quiet"], view["stopping"], view["concurrency"]) == (True, False, 2)
    assert api.good("POST", f"{path}/stop") == {"quiet": True, "stop": True}
    assert _settle(api, worker=worker)["control"] == {"quiet": True, "stop": True}
    assert _settle(api, worker={**worker, "pid": 8})["control"] == QUIET
    assert api.good("POST", f"{path}/resume") == CARRY_ON
    assert _settle(api, worker={**worker, "bye": True})["control"] == CARRY_ON
    assert _view(api, worker["name"]) is None


def _view(api, name):
    return {each["name"]: each for each in api.good("GET", "/v1/workers")["workers"]}.get(name)


@pytest.mark.parametrize(
    ("worker", "field"),
    [
        ({}, "worker.name"),
        ({"name": ""}, "worker.name"),
        ({"name": "é" * 200}, "worker.name"),
        ({"name": "w", "host": "h" * 257}, "worker.host"),
        ({"name": "w", "pid": -1}, "worker.pid"),
        ({"name": "w", "queues": ["a b"]}, "worker.queues[0]"),
        ({"name": "w", "colour": "red"}, "worker.colour"),
    ],
)
def test_what_a_worker_says_wrongly_is_named(api, check, worker, field):
    check.field(api.call("POST", "/v1/settle", {"worker": worker}), field)


def test_kills_neither_double_an_occurrence_nor_stop_a_schedule(own_server, connect):
    """SIGKILL, five times, while occurrences come and are worked on."""
    seen = []
    server = own_server()
    api = connect(server)
    for name, catch_up in (("caught", True), ("missed", False)):
        body = {"queue": name, "every_ms": 100, "catch_up": catch_up}
        api.good("PUT", f"/v1/schedules/{name}", body, 201)
    for _ in range(5):
        _work(api, seen)
        server.process.send_signal(signal.SIGKILL)
        assert server.process.wait(20) == -signal.SIGKILL
        server = own_server(server.data)
        api = connect(server)
    _work(api, seen)
    for name in ("caught", "missed"):
        _check_occurrences(api, name, {at for of, at in seen if of == name})
    assert api.good("GET", "/v1/schedules/missed")["missed"] > 0


def _work(api, seen):
    for _ in range(4):
        for name in ("caught", "missed"):
            task = api.take(name, wait_ms=20_000)
            seen.append((name, int(task["meta"]["scheduled_at"])))
            api.ack(task)


def _check_occurrences(api, name, seen):
    schedule = api.good("POST", f"/v1/schedules/{name}/pause")
    tasks, cursor = [], ""
    while cursor is not None:
        page = api.good("GET", f"/v1/tasks?queue={name}&limit=1000&cursor={cursor}")
        tasks += page["tasks"]
        cursor = page["cursor"]
    due = [int(task["meta"]["scheduled_at"]) for task in tasks]
    assert len(due) == len(set(due)) == schedule["fired"]
    assert seen <= set(due)
    decided = schedule["fired"] + schedule["skipped"] + schedule["missed"] + schedule["refused"]
    first = (schedule["created_at"] // 100 + 1) * 100
    assert decided == (schedule["last"]["at"] - first) // 100 + 1
