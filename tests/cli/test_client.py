"""The command line against a real server: what each command does, says, and ends with."""

import contextlib
import io
import json
import re
import sys

import pytest

from taskqueuex.cli.connection import Connection
from taskqueuex.cli.http import Client

UNKNOWN = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.fixture
def queue(request):
    return re.sub(r"[^a-z0-9]", "-", request.node.name)[:100]


def kill(tqx, queue, *options):
    id = tqx.asked("enqueue", queue, "1", *options)["id"]
    tqx("task", "kill", id)
    return id


def test_a_task_is_put_in_with_all_its_options(tqx, queue):
    parent = tqx.asked("enqueue", queue)["id"]
    options = (
        "--name n --priority 5 --group g --group-weight 2 --delay-ms 60000 --ttl-ms 90000 --timeout-ms 1000"
    )
    options += (
        f" --lease-ms 2000 --max-attempts 3 --depends-on {parent} --on-dependency-failure run --unique-key u"
    )
    options += " --on-conflict reject --tag a --tag b --meta k=v=w --result-ttl-ms 5000 --with-parents"
    answer = tqx.asked("enqueue", queue, '{"x":  1}', *options.split(), "--backoff", '{"base_ms":5}')
    task = tqx.asked("task", "show", answer["id"])
    assert task["payload"] == {"x": 1}
    assert (task["name"], task["priority"], task["group"], task["unique_key"]) == ("n", 5, "g", "u")
    assert (task["tags"], task["meta"], task["depends_on"]) == (["a", "b"], {"k": "v=w"}, [parent])
    assert (task["max_attempts"], task["timeout_ms"], task["state"]) == (3, 1000, "blocked")


def test_a_payload_may_come_from_standard_input(tqx, queue, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b' {"from": "stdin"}\n')))
    id = tqx("enqueue", queue, "-").split()[0]
    assert tqx.asked("task", "show", id)["payload"] == {"from": "stdin"}


def test_a_repeat_with_an_idempotency_key_is_the_same_task(tqx, queue):
    first, second = (tqx("enqueue", queue, "1", "--idempotency-key", queue) for _ in range(2))
    assert first == second


def test_an_existing_unique_task_is_said(tqx, queue):
    tqx("enqueue", queue, "--unique-key", "k")
    assert "already there" in tqx("enqueue", queue, "--unique-key", "k")
    tqx("enqueue", queue, "--unique-key", "k", "--on-conflict", "reject", code=4)


def test_a_refused_field_is_named(tqx, queue):
    assert "priority" in tqx("enqueue", queue, "--priority", "5000", code=2)


def test_a_queue_lives_its_life(tqx, queue):
    tqx("queue", "show", queue, code=3)
    tqx("queue", "set", queue, "--lease-ms", "5", code=3)
    created = tqx.asked(
        "queue", "create", queue, "--discipline", "priority", "--max-tasks", "7", "--lease-ms", "5000"
    )
    assert (created["discipline"], created["max_tasks"], created["lease_ms"]) == ("priority", 7, 5000)
    tqx("queue", "create", queue, code=4)
    changed = tqx.asked("queue", "set", queue, "--reset", "lease-ms", "--rate-limit", '{"per_second":5}')
    assert (changed["lease_ms"], changed["max_tasks"]) == (30_000, 7)
    assert changed["rate_limit"]["per_second"] == 5
    assert tqx.asked("queue", "pause", queue)["paused"] is True
    assert "served" in tqx("queue", "resume", queue)
    tqx("enqueue", queue)
    assert queue in tqx("queue", "list") and "priority" in tqx("queue", "show", queue)
    tqx("queue", "delete", queue, "--yes", code=4)
    assert tqx.asked("queue", "purge", queue, "--yes") == {"matched": 1, "changed": 1}
    tqx("queue", "delete", queue, "--yes")
    tqx("queue", "show", queue, code=3)


def test_queues_at_rest_are_left_out_when_asked(tqx, queue):
    tqx("queue", "create", queue)
    assert queue in tqx("queue", "list")
    assert queue not in tqx("queue", "list", "--active")
    tqx("enqueue", queue, "1")
    assert queue in {each["name"] for each in tqx.asked("queue", "list", "--active")["queues"]}


def test_why_a_queue_is_slow_is_told(tqx, queue):
    tqx("queue", "why", queue, code=3)
    tqx("queue", "create", queue)
    assert f"nothing holds {queue} up" in tqx("queue", "why", queue)
    tqx("enqueue", queue, "--delay-ms", "60000")
    assert re.search(
        r"^not_due: none is ready: 1 task is .* \(until 20\d\d-.*Z\)$", tqx("queue", "why", queue), re.M
    )
    tqx("queue", "pause", queue)
    reasons = tqx.asked("queue", "why", queue)["reasons"]
    assert [reason["code"] for reason in reasons] == ["paused", "not_due"]


def test_the_groups_of_a_queue_are_told(tqx, queue):
    tqx("queue", "create", queue)
    assert "does not look at groups" in tqx("queue", "groups", queue)
    tqx("queue", "set", queue, "--discipline", "round_robin", "--max-running-per-group", "1")
    for group, weight in (("acme", "3"), ("acme", "3"), ("initech", "1")):
        tqx("enqueue", queue, "--group", group, "--group-weight", weight)
    shown = tqx("queue", "groups", queue)
    assert re.search(r"acme +3 +2 +0 +0 +75\.0%", shown) and re.search(r"initech +1 +1 +0 +0 +25\.0%", shown)
    answer = tqx.asked("queue", "groups", queue, "--limit", "1")
    assert [each["group"] for each in answer["groups"]] == ["acme"]
    tqx("queue", "groups", queue, "--limit", "0", code=2)


def test_a_queue_with_tasks_is_deleted_by_force(tqx, queue):
    tqx("enqueue", queue)
    assert "1 tasks cancelled" in tqx("queue", "delete", queue, "--force", "--yes")


def test_what_cannot_be_undone_is_not_done_unasked(tqx, queue):
    tqx("enqueue", queue)
    assert "1 tasks" in tqx("queue", "purge", queue, code=2)
    assert "1 task?" in tqx("bulk", "cancel", "--queue", queue, code=2)
    assert tqx.asked("queue", "show", queue)["counts"]["ready"] == 1


def test_tasks_are_listed_by_filter_and_page(tqx, queue):
    ids = [tqx.asked("enqueue", queue, str(number), "--name", f"n{number % 2}")["id"] for number in range(5)]
    assert [task["id"] for task in tqx.asked("task", "list", "--queue", queue)["tasks"]] == ids
    assert len(tqx.asked("task", "list", "--queue", queue, "--name", "n1")["tasks"]) == 2
    page = tqx.asked("task", "list", "--queue", queue, "--limit", "2")
    rest = tqx.asked("task", "list", "--queue", queue, "--cursor", page["cursor"])
    assert [task["id"] for task in page["tasks"] + rest["tasks"]] == ids
    assert ids[0] in tqx("task", "list", "--queue", queue)


def test_a_task_is_looked_at_and_steered(tqx, queue):
    id = tqx.asked("enqueue", queue, "1")["id"]
    assert id in tqx("task", "show", id)
    assert "enqueued" in tqx("task", "history", id)
    assert "is ready" in tqx("task", "why", id)
    later = tqx.asked("enqueue", queue, "2", "--delay-ms", "3600000")["id"]
    assert re.search(r"^  [a-z_]+: .* \(until 20\d\d-.*Z\)$", tqx("task", "why", later), re.M)
    tqx("task", "edit", id, "--priority", "9", "--payload", '"new"')
    task = tqx.asked("task", "show", id)
    assert (task["priority"], task["payload"]) == (9, "new")
    assert tqx("task", "cancel", id) == f"{id} cancelled\n"
    tqx("task", "cancel", id, code=4)
    assert tqx("task", "delete", id) == f"{id} deleted\n"
    assert tqx("task", "show", UNKNOWN, code=3)
    assert tqx("task", "show", "nonsense", code=2)


def test_several_tasks_are_steered_and_the_refused_are_told(tqx, queue):
    ids = [tqx.asked("enqueue", queue)["id"] for _ in range(2)]
    assert UNKNOWN in tqx("task", "cancel", ids[0], UNKNOWN, ids[1], code=3)
    assert [tqx.asked("task", "show", id)["state"] for id in ids] == ["cancelled"] * 2


def test_dead_letters_are_grouped_retried_and_deleted(tqx, queue):
    first, second = kill(tqx, queue), kill(tqx, queue)
    groups = tqx.asked("dead", "list", "--queue", queue)["groups"]
    assert [group["count"] for group in groups] == [2]
    assert queue in tqx("dead", "list")
    assert tqx.asked("dead", "retry", "--queue", queue, "--dry-run") == {"matched": 2, "changed": 0}
    tqx("task", "retry", first)
    assert "1 of 1 changed" in tqx("dead", "delete", "--queue", queue, "--yes")
    tqx("task", "show", second, code=3)


def test_bulk_acts_on_a_filter(tqx, queue):
    for number in range(3):
        tqx("enqueue", queue, "--tag", f"t{number % 2}")
    words = ("bulk", "cancel", "--queue", queue, "--state", "ready", "--tag", "t0")
    assert "2 tasks would be touched" in tqx(*words, "--dry-run")
    assert tqx.asked(*words, "--yes") == {"matched": 2, "changed": 2}


def test_stats_and_workflows_are_shown(tqx):
    assert "TaskQueueX" in tqx("stats")
    assert tqx.asked("stats")["version"]
    assert "workflows" in tqx.asked("workflow", "list")
    assert "state" in tqx("workflow", "list")
    tqx("workflow", "show", UNKNOWN, code=3)
    tqx("workflow", "cancel", UNKNOWN, code=3)


def test_a_backup_is_checked_and_restored(tqx, tmp_path, queue):
    id = tqx.asked("enqueue", queue, '"kept"')["id"]
    backup, data = str(tmp_path / "backup"), str(tmp_path / "data")
    assert tqx.asked("backup", backup)["bytes"] > 0
    tqx("backup", backup, code=4)
    tqx("restore", backup, "--data", data)
    tqx("restore", backup, "--data", data, code=1)
    assert " 0 problems" in tqx("storage", "check", "--data", data)
    assert id


def test_output_is_json_before_and_behind_the_command(tqx, queue, monkeypatch):
    assert json.loads(tqx("enqueue", queue, "-o", "json"))["state"] == "ready"
    assert json.loads(tqx("-o", "json", "enqueue", queue))["state"] == "ready"
    monkeypatch.setenv("TQX_OUTPUT", "json")
    assert json.loads(tqx("enqueue", queue))["state"] == "ready"


def test_a_schedule_lives_its_life(tqx, queue):
    name = f"s-{queue}"
    tqx("schedule", "show", name, code=3)
    words = ["schedule", "set", name, '{"x": 1}', "--queue", queue, "--timezone", "Europe/Berlin"]
    tqx(*words, "--cron", "nonsense", code=2)
    options = "--name n --priority 3 --tag t --meta k=v --overlap queue --catch-up --ttl-ms 5000 --group g"
    made = tqx.asked(*words, "--cron", "30 2 * * *", *options.split())
    assert made["task"] == {
        "payload": {"x": 1}, "name": "n", "priority": 3, "tags": ["t"], "meta": {"k": "v"}, "ttl_ms": 5_000,
        "group": "g",
    }  # fmt: skip
    assert (made["overlap"], made["catch_up"], made["paused"]) == ("queue", True, False)
    assert name in tqx("schedule", "list") and "30 2 * * * (Europe/Berlin)" in tqx("schedule", "list")
    assert name in [each["name"] for each in tqx.asked("schedule", "list")["schedules"]]
    assert tqx("schedule", "pause", name) == f"{name} is paused\n"
    assert "paused" in tqx("schedule", "list")
    id, state = tqx("schedule", "trigger", name).split()
    assert state == "ready" and id in tqx("schedule", "show", name)
    assert tqx.asked("schedule", "trigger", name)["state"] == "blocked"
    assert "runs next at" in tqx("schedule", "resume", name)
    assert tqx.asked("schedule", "pause", name)["paused"] is True
    assert "every 60000 ms" not in tqx("schedule", "list")
    assert "60000" in tqx("schedule", "set", name, "--queue", queue, "--every-ms", "60000")
    tqx("schedule", "delete", name, code=2)
    assert tqx("schedule", "delete", name, "--yes") == f"{name} is deleted\n"
    tqx("schedule", "trigger", name, code=3)


def test_workers_are_listed_and_asked(tqx, queue, server):
    name = f"w {queue}"
    tqx("workers", "stop", name, code=3)
    said = {"name": name, "host": "h", "pid": 7, "version": "1.2", "queues": [queue], "concurrency": 4}
    with contextlib.closing(Client(Connection(server))) as client:
        client.ask("settle", body={"worker": said})
    assert "1.2" in tqx("workers", "list") and name in tqx("workers", "list")
    assert tqx("workers", "quiet", name) == f"{name} takes no more tasks\n"
    assert "quiet" in tqx("workers", "list")
    assert tqx.asked("workers", "stop", name) == {"quiet": True, "stop": True}
    assert "stopping" in tqx("workers", "list")
    assert tqx.asked("workers", "resume", name) == {"quiet": False, "stop": False}
    listed = {each["name"]: each for each in tqx.asked("workers", "list")["workers"]}[name]
    assert {field: listed[field] for field in said} == said
