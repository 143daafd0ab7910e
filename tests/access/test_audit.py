"""The audit: who did what, with what outcome; what is never in it; how it survives and ends."""

import signal
import threading

import pytest
from access_wire import token_of

from taskqueuex.access.audit import REFUSED_MAX

DAY_S = 86_400


def entries(wire, query=""):
    return wire.good("GET", f"/v1/audit{query}")["entries"]


def test_a_change_is_told_with_who_where_and_how_it_ended(admin):
    admin.good("PUT", "/v1/queues/q", {"max_tasks": 10, "discipline": "lifo"})
    assert admin.call("DELETE", "/v1/queues/nothing?force=true").status == 404
    failed, made, first = entries(admin)
    root = {"id": admin.token.split("_")[1], "name": "root", "kind": "token"}
    assert {key: made[key] for key in made if key != "at"} == {
        "who": root,
        "address": "127.0.0.1",
        "command": "put_queue",
        "target": "q",
        "what": {"fields": ["discipline", "max_tasks"]},
        "status": 201,
        "code": None,
    }
    assert (failed["command"], failed["status"], failed["code"]) == ("delete_queue", 404, "not_found")
    assert failed["what"] == {"fields": ["force"]}
    assert (first["command"], first["who"]["kind"], first["target"]) == ("create_token", "anyone", root["id"])


def test_what_is_put_in_taken_out_or_looked_at_is_not_in_it(admin):
    admin.good("POST", "/v1/queues/q/tasks", {})
    (task,) = admin.good("POST", "/v1/queues/q/dequeue", {})["tasks"]
    admin.good("POST", f"/v1/tasks/{task['id']}/ack", {"lease": task["lease"]})
    admin.good("GET", "/v1/queues")
    admin.good("GET", "/v1/tokens")
    assert [each["command"] for each in entries(admin)] == ["create_token"]


def test_values_are_not_in_it_but_for_the_filter_of_a_bulk(admin):
    id = admin.good("POST", "/v1/queues/q/tasks", {"payload": "secret-one", "delay_ms": 60_000})["id"]
    admin.good("PATCH", f"/v1/tasks/{id}", {"payload": "secret-two", "priority": 3})
    admin.good(
        "PUT", "/v1/schedules/s", {"queue": "q", "cron": "@daily", "task": {"payload": "secret-three"}}
    )
    wanted = {"queue": "q", "id": [id] * 12}
    admin.good("POST", "/v1/bulk", {"action": "cancel", "filter": wanted})
    reply = admin.call("GET", "/v1/audit")
    assert b"secret-" not in reply.body
    bulk, schedule, edit = reply.json["entries"][:3]
    assert edit["what"] == {"fields": ["priority", "payload"]}
    assert schedule["what"] == {"fields": ["queue", "task", "cron"]}
    filtered = {"queue": "q", "id": [*[id] * 10, "and 2 more"]}
    assert bulk["what"] == {"action": "cancel", "dry_run": False, "filter": filtered}
    assert bulk["status"] == 200


def test_the_servers_own_commands_are_in_it(admin):
    assert admin.call("POST", "/v1/admin/backup", {"path": "relative"}).status == 422
    (entry, *_) = entries(admin)
    assert (entry["command"], entry["status"], entry["code"]) == ("backup", 422, "invalid")


def test_what_is_refused_is_in_it_a_few_times_a_minute(server, admin, as_holder):
    holder = as_holder("operate:a.*", "read", name="ops")
    for _ in range(3 * REFUSED_MAX):
        assert holder.call("POST", "/v1/queues/b/pause").status == 403
    task = admin.good("POST", "/v1/queues/b/tasks", {})["id"]
    server.clock.advance(60)
    assert holder.call("POST", f"/v1/tasks/{task}/kill").status == 403, "known to the engine alone"
    assert holder.call("GET", "/v1/tokens").status == 403
    assert holder.call("POST", "/v1/queues/b/tasks", {}).status == 403, "not steering"
    found = entries(admin, "?who=ops")
    assert [each["command"] for each in found[:2]] == ["list_tokens", "kill_task"]
    assert [each["command"] for each in found[2:]] == ["pause_queue"] * REFUSED_MAX
    assert {(each["status"], each["code"]) for each in found} == {(403, "forbidden")}


def test_a_repeat_by_its_key_is_told_once(admin):
    for _ in range(2):
        admin.good("POST", "/v1/queues/q/tasks", {})
        admin.good("POST", "/v1/queues/q/purge", Idempotency_Key="k")
    assert [each["command"] for each in entries(admin)] == ["purge_queue", "create_token"]


def test_it_is_read_in_pages_by_who_command_and_time(server, admin, as_holder):
    holder = as_holder("operate", name="ops")
    for number in range(7):
        (holder if number % 2 else admin).good("PUT", f"/v1/queues/q{number}", {})
    server.clock.advance(10)
    split = server.clock.now_ms()
    admin.good("POST", "/v1/queues/q0/pause")
    found, cursor = [], ""
    while cursor is not None:
        page = admin.good("GET", f"/v1/audit?limit=2&command=put_queue{cursor and '&cursor=' + cursor}")
        assert len(page["entries"]) <= 2
        found += page["entries"]
        cursor = page["cursor"]
    assert [each["target"] for each in found] == [f"q{number}" for number in reversed(range(7))]
    assert [each["target"] for each in entries(admin, "?who=ops")] == ["q5", "q3", "q1"]
    assert [each["command"] for each in entries(admin, f"?after={split}")] == ["pause_queue"]
    assert len(entries(admin, f"?before={split}")) == 9
    assert admin.call("GET", "/v1/audit?cursor=nonsense").status == 422


def test_rows_end_after_their_time(server, admin):
    admin.good("PUT", "/v1/queues/q", {})
    server.clock.advance(89 * DAY_S)
    admin.good("POST", "/v1/queues/q/pause")
    server.clock.advance(2 * DAY_S)
    while "put_queue" in [each["command"] for each in entries(admin)]:
        pass  # it is looked after once a second
    assert [each["command"] for each in entries(admin)] == ["pause_queue"]


@pytest.mark.parametrize("round_", range(3))
def test_after_sigkill_the_rows_are_those_of_the_changes_that_are_there(start, connect, round_):
    """The kill comes at any time: of every queue its settings and its row are there, or neither is."""
    server = start()
    wire = connect(url=server.url)
    wire.token = token_of(wire, "admin")["token"]
    answered = threading.Event()
    known = []

    def work():
        try:
            for number in range(10_000):
                wire.good("PUT", f"/v1/queues/q{number}", {"max_tasks": 5})
                known.append(f"q{number}")
                if number == 20 + 13 * round_:
                    answered.set()
        except OSError:
            return

    worker = threading.Thread(target=work)
    worker.start()
    assert answered.wait(30)
    server.end(signal.SIGKILL)
    worker.join()

    again = connect(wire.token, start().url)
    queues = {each["name"] for each in again.good("GET", "/v1/queues")["queues"]}
    told, cursor = set(), ""
    while cursor is not None:
        page = again.good("GET", f"/v1/audit?command=put_queue{cursor and '&cursor=' + cursor}")
        told |= {each["target"] for each in page["entries"]}
        cursor = page["cursor"]
    assert told == queues
    assert told >= set(known), "and of all that was answered"


def test_what_takes_many_turns_has_its_row_from_the_first_on(start, connect):
    server = start()
    wire = connect(url=server.url)
    wire.token = token_of(wire, "admin")["token"]
    for _ in range(3):
        wire.good("POST", "/v1/queues/q/tasks/batch", {"tasks": [{"unique_key": None}] * 10_000})
    other = connect(wire.token, server.url)
    wire.send("POST", "/v1/queues/q/purge")
    while not (found := entries(other, "?command=purge_queue")):
        pass
    server.end(signal.SIGKILL)
    again = connect(wire.token, start().url)
    assert found[0]["status"] in (None, 200)
    (entry,) = entries(again, "?command=purge_queue")
    assert entry["at"] == found[0]["at"] and entry["status"] in (None, 200)
    counts = again.good("GET", "/v1/queues/q")["counts"]
    assert counts["cancelled"] or counts["ready"], "it began, and goes on"
