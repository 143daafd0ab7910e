"""Schedules on the simulator: what is enqueued when, and that a crash at any point changes nothing of it."""

import pytest

from taskqueuex.engine import schedules
from taskqueuex.storage.check import check_storage
from taskqueuex.testing import Simulator

START = 1_700_000_000_000
SECOND = 1_000


@pytest.fixture
def sim():
    return Simulator()


def put(sim, name="s", **fields):
    body = {"every_ms": SECOND, "queue": "q", **fields}
    call = sim.call("put_schedule", name, body)
    assert call.status in (200, 201), call.outcome
    return call.json()


def view(sim, name="s"):
    return sim.call("get_schedule", name).json()


def advance(sim, ms, step=SECOND):
    for _ in range(ms // step):
        sim.advance(step)
        sim.settle()
        sim.advance(1)  # reads that a turn asked for are back a moment later
        sim.settle()
        sim.now_ms -= 1
        sim.engine.core.now_ms = sim.now_ms


def take(sim, most=1_000, queue="q"):
    return sim.call("dequeue_queue", queue, {"max": most}).json()["tasks"]


def ack(sim, tasks):
    for task in tasks:
        assert sim.call("ack", task["id"], {"lease": task["lease"]}).status == 200


def at_of(tasks):
    return [int(task["meta"]["scheduled_at"]) for task in tasks]


def work(sim):
    """Takes and acks all that is there; returns when each was due."""
    found = []
    while tasks := take(sim):
        ack(sim, tasks)
        found += at_of(tasks)
    return found


def test_each_occurrence_is_enqueued_when_it_is_due(sim):
    shown = put(sim, task={"payload": {"a": [1]}, "name": "n", "priority": 3, "meta": {"k": "v"}})
    assert (shown["next_at"], shown["last"], shown["fired"]) == (START + SECOND, None, 0)
    assert shown["next_runs"] == [START + each * SECOND for each in range(1, 6)]
    sim.advance(SECOND - 1)
    sim.settle()
    assert take(sim) == []
    sim.advance(1)
    sim.settle()
    (task,) = take(sim)
    assert (task["payload"], task["name"], task["priority"]) == ({"a": [1]}, "n", 3)
    assert task["meta"] == {"k": "v", "schedule": "s", "scheduled_at": str(START + SECOND)}
    seen = view(sim)
    assert seen["last"] == {"at": START + SECOND, "outcome": "fired", "task": task["id"], "detail": None}
    assert (seen["fired"], seen["next_at"]) == (1, START + 2 * SECOND)
    assert check_storage(sim.tiers.durable).problems == []


def test_the_payload_is_kept_byte_for_byte(sim):
    call = sim.submit("put_schedule", "s", {"every_ms": SECOND, "queue": "q"})
    raw = b'{"a" : 1.50, "b":[ ]}'
    call.body.task.payload = type(call.body.task.payload)(raw)
    sim.settle()
    sim.crash()
    sim.advance(SECOND)
    sim.settle()
    taken = sim.call("dequeue_queue", "q").outcome.tasks
    assert bytes(taken[0].payload) == raw


def test_skip_leaves_out_occurrences_while_the_one_before_has_not_ended(sim):
    put(sim)
    advance(sim, 3 * SECOND)
    seen = view(sim)
    assert (seen["fired"], seen["skipped"]) == (1, 2)
    assert seen["last"]["outcome"] == "skipped" and "has not ended" in seen["last"]["detail"]
    ack(sim, take(sim))
    advance(sim, SECOND)
    assert at_of(take(sim)) == [START + 4 * SECOND]


def test_queue_lets_occurrences_run_one_after_the_other(sim):
    put(sim, overlap="queue")
    advance(sim, 3 * SECOND)
    for second in (1, 2, 3):
        tasks = take(sim)
        assert at_of(tasks) == [START + second * SECOND]
        if second == 1:  # any end of the one before will do
            fail = {"lease": tasks[0]["lease"], "retryable": False}
            assert sim.call("fail", tasks[0]["id"], fail).json() == {"state": "dead"}
        else:
            ack(sim, tasks)
        sim.settle()
    assert take(sim) == []


@pytest.mark.parametrize(("catch_up", "expected"), [(False, []), (True, [2, 3, 4, 5])])
def test_occurrences_that_fall_into_a_time_when_the_server_was_down(sim, catch_up, expected):
    put(sim, catch_up=catch_up)
    advance(sim, SECOND)
    assert work(sim) == [START + SECOND]
    sim.advance(4 * SECOND + 10)
    sim.crash()
    sim.settle()
    sim.advance(1)
    sim.settle()
    assert work(sim) == [START + each * SECOND for each in expected]
    seen = view(sim)
    assert (seen["missed"], seen["fired"]) == (4 - len(expected), 1 + len(expected))
    assert seen["next_at"] == START + 6 * SECOND


def test_what_is_caught_up_runs_in_order_one_after_the_other(sim):
    put(sim, catch_up=True)
    sim.advance(3 * SECOND)
    sim.crash()
    sim.settle()
    for second in (1, 2, 3):
        tasks = take(sim)
        assert at_of(tasks) == [START + second * SECOND]
        ack(sim, tasks)


def test_at_most_a_thousand_are_caught_up_and_the_older_are_missed(sim):
    put(sim, catch_up=True, task={"meta": {"x": "y"}})
    sim.advance(1_500 * SECOND)
    sim.crash()
    sim.settle()
    seen = view(sim)
    assert (seen["fired"], seen["missed"]) == (schedules.CAUGHT_UP_MAX, 500)
    assert work(sim) == [START + each * SECOND for each in range(501, 1_501)]


@pytest.mark.parametrize("timing", [{"every_ms": 100}, {"cron": "* * * * *", "every_ms": None}])
def test_a_long_time_down_is_missed_without_a_long_turn(sim, timing):
    put(sim, **timing)
    due = view(sim)["next_at"]
    sim.advance(4 * 86_400_000)
    sim.crash()
    sim.settle()
    step = timing["every_ms"] or 60_000
    seen = view(sim)
    assert seen["missed"] == -((due - sim.now_ms) // step) and seen["next_at"] > sim.now_ms


def test_a_paused_schedule_enqueues_nothing_and_never_catches_up(sim):
    put(sim, catch_up=True)
    paused = sim.call("pause_schedule", "s").json()
    assert (paused["paused"], paused["next_at"]) == (True, None)
    assert paused["next_runs"][0] == START + SECOND
    advance(sim, 3 * SECOND)
    sim.crash()
    sim.advance(SECOND)
    sim.settle()
    assert work(sim) == []
    sim.advance(10)
    resumed = sim.call("resume_schedule", "s").json()
    assert (resumed["paused"], resumed["next_at"]) == (False, START + 5 * SECOND)
    advance(sim, SECOND)
    assert work(sim) == [START + 5 * SECOND]
    assert view(sim)["missed"] == 4


def test_put_may_pause_and_leaves_it_as_it_is_where_it_says_nothing(sim):
    assert put(sim, paused=True)["paused"] is True
    assert put(sim)["paused"] is True
    assert put(sim, task={"name": "other"})["paused"] is True
    assert put(sim, paused=False)["next_at"] == START + SECOND


def test_a_definition_that_is_there_already_changes_nothing(sim):
    first = put(sim)
    sim.advance(300)
    sim.turn()
    sim.submit("put_schedule", "s", {"every_ms": SECOND, "queue": "q"})
    sim.turn()
    assert len(sim.batch) == 0
    assert put(sim) == first


def test_another_definition_keeps_the_counts_and_takes_its_own_times(sim):
    put(sim)
    advance(sim, SECOND)
    work(sim)
    changed = put(sim, every_ms=10 * SECOND)
    assert (changed["fired"], changed["created_at"]) == (1, START)
    assert changed["next_at"] == START + 10 * SECOND
    advance(sim, 8 * SECOND)
    assert work(sim) == []
    assert put(sim, queue="other", every_ms=10 * SECOND)["next_at"] == START + 10 * SECOND
    advance(sim, SECOND)
    assert [at_of(take(sim, queue="other")), take(sim)] == [[START + 10 * SECOND], []]


def test_a_trigger_enqueues_now_also_while_paused_and_moves_nothing(sim):
    put(sim, paused=True)
    sim.advance(10)
    call = sim.call("trigger_schedule", "s")
    assert (call.status, call.json()["state"]) == (201, "ready")
    assert at_of(take(sim)) == [START + 10]
    seen = view(sim)
    assert (seen["fired"], seen["last"]["task"], seen["paused"]) == (1, call.json()["id"], True)
    again = sim.call("trigger_schedule", "s")
    assert (again.status, again.outcome.code) == (409, "conflict")
    put(sim, overlap="queue")
    assert sim.call("trigger_schedule", "s").json()["state"] == "blocked"


def test_a_deleted_schedule_is_gone_and_its_tasks_stay(sim):
    put(sim)
    advance(sim, SECOND)
    assert sim.call("delete_schedule", "s").json() == {"deleted": True}
    advance(sim, 3 * SECOND)
    assert at_of(take(sim)) == [START + SECOND]
    for command in (
        "get_schedule", "delete_schedule", "pause_schedule", "resume_schedule", "trigger_schedule",
    ):  # fmt: skip
        assert sim.call(command, "s").status == 404
    sim.crash()
    assert sim.call("list_schedules").json() == {"schedules": [], "cursor": None}


def test_a_refusal_is_recorded_and_the_schedule_goes_on(sim):
    sim.call("put_queue", "q", {"max_tasks": 1})
    (other,) = [sim.call("enqueue", "q", {})]
    put(sim)
    advance(sim, 2 * SECOND)
    seen = view(sim)
    assert (seen["refused"], seen["fired"], seen["last"]["outcome"]) == (2, 0, "refused")
    assert seen["last"]["detail"].startswith("queue_full: ")
    assert sim.call("trigger_schedule", "s").status == 429
    ack(sim, take(sim))
    advance(sim, SECOND)
    assert view(sim)["fired"] == 1 and other.status == 201


def test_a_disk_that_is_nearly_full_refuses_occurrences_too(sim):
    put(sim)
    sim.engine.core.refuses_tasks = True
    advance(sim, SECOND)
    assert view(sim)["last"]["detail"] == "storage_unavailable: the disk is nearly full"
    assert sim.call("trigger_schedule", "s").status == 503
    sim.engine.core.refuses_tasks = False
    advance(sim, SECOND)
    assert (view(sim)["refused"], view(sim)["fired"]) == (1, 1)


def test_a_unique_key_that_is_taken_makes_it_a_skip(sim):
    put(sim, task={"unique_key": "k"})
    holder = sim.call("enqueue", "q", {"unique_key": "k"}).json()["id"]
    advance(sim, SECOND)
    seen = view(sim)
    assert (seen["skipped"], seen["fired"], seen["last"]["task"]) == (1, 0, holder)


def test_a_task_of_before_that_is_not_in_memory_is_looked_up(sim):
    put(sim)
    advance(sim, SECOND)
    sim.crash()
    advance(sim, SECOND)
    assert (view(sim)["fired"], view(sim)["skipped"]) == (1, 1)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"every_ms": None, "cron": "60 * * * *"}, "cron"),
        ({"every_ms": None, "cron": "0 0 30 2 *"}, "cron"),
        ({"every_ms": None, "cron": "0 0 31 4,6 */8"}, "cron"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"task": {"meta": {"schedule": "x"}}}, "task.meta.schedule"),
        ({"task": {"meta": {str(each): "" for each in range(31)}}}, "task.meta"),
        ({"task": {"meta": {"k": "v" * 3_900}}}, "task.meta"),
        ({"task": {"unique_key": "k"}, "overlap": "queue"}, "task.unique_key"),
    ],
)
def test_a_wrong_definition_is_refused_by_its_field_and_leaves_nothing(sim, fields, field):
    call = sim.call("put_schedule", "s", {"every_ms": SECOND, "queue": "q", **fields})
    assert (call.status, call.outcome.errors[0].field) == (422, field)
    assert sim.call("get_schedule", "s").status == 404


def test_there_is_an_end_to_how_many_there_may_be_and_how_large(sim, monkeypatch):
    monkeypatch.setattr(schedules, "SCHEDULES_MAX", 2)
    monkeypatch.setattr(schedules, "TASK_BYTES_MAX", 1_000)
    put(sim, "a")
    put(sim, "b", task={"payload": "x" * 500})
    call = sim.call("put_schedule", "c", {"every_ms": SECOND, "queue": "q"})
    assert (call.status, call.outcome.errors[0].field) == (422, "name")
    large = {"every_ms": SECOND, "queue": "q", "task": {"payload": "x" * 900}}
    assert sim.call("put_schedule", "a", large).outcome.errors[0].field == "task"
    sim.call("delete_schedule", "b")
    assert sim.call("put_schedule", "a", large).status == 200


def test_a_list_comes_in_pages_by_name(sim):
    for name in ("b", "a", "c"):
        put(sim, name)
    page = sim.call("list_schedules", query={"limit": 2}).json()
    assert [each["name"] for each in page["schedules"]] == ["a", "b"] and page["cursor"] == "b"
    rest = sim.call("list_schedules", query={"limit": 2, "cursor": "b"}).json()
    assert [each["name"] for each in rest["schedules"]] == ["c"] and rest["cursor"] is None


def test_the_agenda_does_not_grow_with_schedules_that_come_and_go(sim):
    for each in range(500):
        put(sim, f"s{each}", every_ms=86_400_000)
        sim.call("delete_schedule", f"s{each}")
    assert len(sim.engine.core.agenda) <= 64


def test_many_that_are_due_at_once_are_decided_over_several_turns(sim):
    for each in range(450):
        sim.submit("put_schedule", f"s{each}", {"every_ms": SECOND, "queue": "q"})
    sim.settle()
    sim.advance(SECOND)
    sim.turn()
    assert 0 < sim.engine.core.queues["q"].partitions[0].waiting <= schedules.DECIDED_A_TURN
    sim.settle()
    assert len(work(sim)) == 450


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("overlap", ["skip", "queue"])
def test_a_crash_at_any_point_neither_loses_nor_doubles_an_occurrence(seed, overlap):
    sim = Simulator(seed)
    put(sim, catch_up=True, overlap=overlap, every_ms=100)
    since = sim.now_ms
    for _ in range(150):
        choice = sim.random.random()
        if choice < 0.3:
            sim.advance(sim.random.randrange(120))
        elif choice < 0.4:
            sim.submit("dequeue_queue", "q", {"max": 3})
        elif choice < 0.5:
            sim.crash()
        else:
            sim.step()
    sim.settle()
    sim.advance(2)
    sim.settle()
    listed = _all_tasks(sim)
    due = sorted(int(record.meta["scheduled_at"]) for record in listed)
    assert len(due) == len(set(due))
    seen = view(sim)
    decided = range((since // 100 + 1) * 100, sim.now_ms + 1, 100)
    assert seen["fired"] == len(due)
    assert seen["fired"] + seen["skipped"] + seen["missed"] + seen["refused"] == len(decided)
    assert set(due) <= set(decided) and seen["missed"] == 0
    if overlap == "queue":
        assert due == list(decided)
    assert check_storage(sim.tiers.durable).problems == []


def _all_tasks(sim):
    store = sim.tiers.durable
    place = sim.engine.core.queues["q"].partitions[0].place
    ids = store.scan_tasks(place.slot, b"", 10_000)
    return [task.record for task in store.get_tasks(ids).values()]


@pytest.mark.parametrize("seed", range(10))
def test_an_engine_that_is_loaded_anew_equals_the_one_that_ran(seed):
    sim = Simulator(seed)
    for each in range(6):
        put(sim, f"s{each}", every_ms=100 * (each + 1), overlap=sim.random.choice(["skip", "queue"]))
    for _ in range(60):
        name = f"s{sim.random.randrange(6)}"
        command = sim.random.choice(["pause_schedule", "resume_schedule", "trigger_schedule", "get_schedule"])
        sim.call(command, name)
        sim.advance(sim.random.randrange(150))
        sim.settle()
    sim.advance(2)
    sim.settle()
    before = {name: (each.record, each.state) for name, each in sim.engine.core.schedules.items()}
    sim.crash()
    after = {name: (each.record, each.state) for name, each in sim.engine.core.schedules.items()}
    assert after == before
