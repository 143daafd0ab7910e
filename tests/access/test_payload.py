"""The scope payload: which answers show payloads and results, and to whom.

Which commands those are is found in the structs of their answers, so that a new one cannot be forgotten.
"""

import asyncio
import json
import re
import typing

import msgspec
import pytest

from taskqueuex import App, ResultTimeout, TaskFailed, group
from taskqueuex.cli.app import run
from taskqueuex.client import Client
from taskqueuex.commands import COMMANDS
from taskqueuex.commands.openapi import document
from taskqueuex.errors import Forbidden
from taskqueuex.testing import assert_enqueued

QUEUE, OTHER = "orders.a", "mail"
PAYLOAD, RESULT = {"of": "the-secret-payload"}, "the-secret-result"
SECRET = b"the-secret"
# What a consumer is handed has the payload, and results of parents.
HANDED = {"dequeue", "dequeue_queue", "settle"}
# Fields of answers that are JSON of any kind. Whoever adds one says here what it may hold.
OPAQUE = {
    "TaskView.payload", "TaskView.result", "ScheduledTaskView.payload",  # shown with the scope payload
    "LeasedTask.payload", "LeasedTask.parents",  # handed to consumers
    "AuditEntry.what",  # names of fields, to admin
    "TaskView.progress",  # shown to who may read, as docs/security.md says
    "PartialReply.results", "SettleReply.ack", "SettleReply.fail", "SettleReply.release",
    "SettleReply.heartbeat",  # of each item its answer, or a problem
}  # fmt: skip
SENSITIVE = {"payload", "result", "parents"}


def structs_in(kind, found):
    """All structs that a type of an answer can hold."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        if kind not in found:
            found.add(kind)
            for hint in typing.get_type_hints(kind).values():
                structs_in(hint, found)
        return
    for part in typing.get_args(kind):
        structs_in(part, found)


def structs_of(row):
    found = set()
    for kind in row.replies.values():
        structs_in(kind, found)
    return found


def holds_raw(kind):
    return kind is msgspec.Raw or kind is typing.Any or any(map(holds_raw, typing.get_args(kind)))


@pytest.mark.parametrize("row", COMMANDS.values(), ids=lambda row: row.name)
def test_the_table_says_of_every_answer_whether_it_has_payloads(row):
    structs = structs_of(row)
    fields = {(struct, name) for struct in structs for name in struct.__struct_fields__ if name in SENSITIVE}
    if row.name in HANDED:
        assert fields and not row.payloads
        return
    assert row.payloads is bool(fields)
    for struct, name in fields:
        hints = typing.get_args(typing.get_type_hints(struct)[name])
        assert msgspec.UnsetType in hints, f"{struct.__name__}.{name} cannot be left out"


def test_no_other_field_of_an_answer_may_hold_any_json():
    found = set()
    for row in COMMANDS.values():
        for struct in structs_of(row):
            hints = typing.get_type_hints(struct)
            found |= {f"{struct.__name__}.{name}" for name, hint in hints.items() if holds_raw(hint)}
    assert found == OPAQUE


SHOWN_BY = [row for row in COMMANDS.values() if row.payloads and row.name != "list_workflows"]
SCHEDULE = {"queue": QUEUE, "cron": "@yearly", "task": {"payload": PAYLOAD}}
# What is asked, of every command that is not of consumers and not of admin; {id} and the like are made anew.
BODIES = {
    "enqueue": {"payload": PAYLOAD, "unique_key": "k", "on_conflict": "existing"},
    "enqueue_batch": {"tasks": [{"payload": PAYLOAD}]},
    "create_workflow": {"tasks": [{"ref": "a", "queue": QUEUE, "payload": PAYLOAD}]},
    "edit_task": {"payload": PAYLOAD},
    "bulk": {"action": "retry", "filter": {"queue": QUEUE, "state": "dead"}},
    "put_schedule": SCHEDULE,
}
QUERIES = {"delete_queue": "?force=true", "events": "?follow=false&since=0", "metrics_history": "?range=1h"}
ASKED = [row for row in COMMANDS.values() if row.scope in ("produce", "read", "operate")]


@pytest.fixture
def filled(admin):
    """Tasks with payloads and results in two queues, in a workflow too, and a schedule in each."""
    ids = {}
    for queue in (QUEUE, OTHER):
        task = {"payload": PAYLOAD, "name": "n", "tags": ["t"]}
        ids[queue] = admin.good("POST", f"/v1/queues/{queue}/tasks", task)["id"]
        (leased,) = admin.good("POST", f"/v1/queues/{queue}/dequeue", {})["tasks"]
        done = {"lease": leased["lease"], "result": RESULT}
        admin.good("POST", f"/v1/tasks/{ids[queue]}/ack", done)
        admin.good("PUT", f"/v1/schedules/of-{queue}", {**SCHEDULE, "queue": queue})
    both = [{"ref": queue, "queue": queue, "payload": PAYLOAD} for queue in (QUEUE, OTHER)]
    ids["workflow"] = admin.good("POST", "/v1/workflows", {"tasks": both})["id"]
    return ids


def request_of(row, admin, filled):
    path = row.path.replace("{queue}", QUEUE)
    if row.target == "task":
        id = filled[QUEUE]
        if row.scope == "operate":
            id = admin.good("POST", f"/v1/queues/{QUEUE}/tasks", {"payload": PAYLOAD})["id"]
        path = path.replace("{id}", id)
    elif row.target == "workflow":
        path = path.replace("{id}", filled["workflow"])
    elif row.target == "schedule":
        admin.good("PUT", f"/v1/schedules/of-{QUEUE}", SCHEDULE)
        path = path.replace("{name}", f"of-{QUEUE}")
    else:
        path = path.replace("{name}", "nobody")
    return row.method, path + QUERIES.get(row.name, ""), BODIES.get(row.name)


def tasks_in(answer):
    """Queue and fields of every task, and of every schedule's task, that an answer shows."""
    if isinstance(answer, list):
        return [each for part in answer for each in tasks_in(part)]
    if not isinstance(answer, dict):
        return []
    if isinstance(answer.get("task"), dict):
        return [(answer["queue"], answer["task"])]
    if "max_attempts" in answer and "queue" in answer:
        return [(answer["queue"], answer)]
    return [each for part in answer.values() for each in tasks_in(part)]


def check(answer, sees):
    """`payload` and `result` are there for the queues that are seen, and not at all for others."""
    found = tasks_in(answer)
    assert found
    for queue, shown in found:
        if queue in sees:
            assert shown["payload"] == PAYLOAD
            if "state" in shown:
                assert shown["result"] == (RESULT if shown["state"] == "completed" else None)
        else:
            assert "payload" not in shown and "result" not in shown, (queue, shown)
    return {queue for queue, _ in found}


@pytest.mark.parametrize("row", SHOWN_BY, ids=lambda row: row.name)
def test_a_payload_is_shown_for_the_queues_of_the_scope(filled, admin, as_holder, row):
    base = row.scope
    for scopes, sees in (
        ([base], set()),
        ([base, "payload:nothing"], set()),
        ([base, f"payload:{OTHER}"], {OTHER}),
        ([base, "payload:orders.*"], {QUEUE}),
        ([base, "payload"], {QUEUE, OTHER}),
        (["admin"], {QUEUE, OTHER}),
    ):
        answer = as_holder(*scopes).good(*request_of(row, admin, filled))
        seen = check(answer, sees)
        assert QUEUE in seen and (row.queues in ("task", "schedule") or OTHER in seen), scopes
    assert as_holder("payload").call(*request_of(row, admin, filled)).status == 403
    own = as_holder(f"{base}:{OTHER}", "payload").call(*request_of(row, admin, filled))
    assert own.status == 403 or check(own.json, {OTHER}) == {OTHER}, "it needs read as well"


@pytest.mark.parametrize("row", ASKED, ids=lambda row: row.name)
def test_no_answer_has_a_payload_for_who_lacks_the_scope(filled, admin, as_holder, row):
    holder = as_holder("produce", "read", "operate")
    request = request_of(row, admin, filled)
    reply = holder.call(*request)
    again = holder.call(*request)  # after a refusal or a change it answers otherwise
    assert reply.status < 300 or row.target == "worker" or row.name in ("retry_task", "unblock_task"), reply
    assert SECRET not in reply.body + again.body


def test_a_list_of_workflows_has_no_tasks(filled, admin):
    assert tasks_in(admin.good("GET", "/v1/workflows")) == []


def test_a_task_shows_all_else(filled, as_holder):
    shown = as_holder("read").good("GET", f"/v1/tasks/{filled[QUEUE]}")
    whole = as_holder("read", "payload").good("GET", f"/v1/tasks/{filled[QUEUE]}")
    assert {**shown, "payload": PAYLOAD, "result": RESULT} == whole


def test_null_is_shown_as_null(admin, as_holder):
    id = admin.good("POST", f"/v1/queues/{QUEUE}/tasks", {})["id"]
    admin.good("PUT", "/v1/schedules/s", {"queue": QUEUE, "cron": "@yearly"})
    shown = as_holder("read", "payload").good("GET", f"/v1/tasks/{id}")
    assert shown["payload"] is None and shown["result"] is None
    assert as_holder("read", "payload").good("GET", "/v1/schedules/s")["task"] == {"payload": None}
    assert as_holder("read").good("GET", "/v1/schedules/s")["task"] == {}


@pytest.mark.parametrize("scopes", [["read"], ["read", "payload"]])
def test_who_waits_for_the_end_is_shown_what_its_scopes_say(admin, as_holder, scopes):
    id = admin.good("POST", f"/v1/queues/{QUEUE}/tasks", {"payload": PAYLOAD})["id"]
    holder = as_holder(*scopes)
    holder.send("GET", f"/v1/tasks/{id}?wait_ms=30000")
    (task,) = admin.good("POST", f"/v1/queues/{QUEUE}/dequeue", {})["tasks"]
    assert task["payload"] == PAYLOAD
    admin.good("POST", f"/v1/tasks/{id}/ack", {"lease": task["lease"], "result": RESULT})
    answer = holder.receive().json
    assert answer["state"] == "completed"
    check(answer, {QUEUE} if "payload" in scopes else set())


def test_a_worker_is_handed_payloads_without_the_scope(filled, admin, as_holder):
    admin.good("POST", f"/v1/queues/{QUEUE}/tasks", {"depends_on": [filled[QUEUE]], "with_parents": True})
    tasks = as_holder("consume").good("POST", f"/v1/queues/{QUEUE}/dequeue", {"max": 2})["tasks"]
    assert [each["payload"] for each in tasks] == [PAYLOAD, None]
    assert tasks[1]["parents"] == {filled[QUEUE]: RESULT}


def test_admin_with_limits_sees_payloads_as_well(filled, as_holder):
    holder = as_holder("admin", rate_limit={"per_second": 1_000})
    check(holder.good("GET", f"/v1/tasks/{filled[QUEUE]}"), {QUEUE})


def test_a_web_session_sees_what_its_token_does(filled, connect, new_token):
    wire = connect()
    for scopes, sees in ((["read"], set()), (["read", "payload"], {QUEUE})):
        reply = wire.call("POST", "/v1/session", {"token": new_token(*scopes)["token"]})
        assert reply.json["scopes"] == scopes
        cookie = reply.headers["set-cookie"].partition(";")[0]
        check(wire.good("GET", f"/v1/tasks/{filled[QUEUE]}", Cookie=cookie), sees)


def test_a_large_payload_that_is_not_in_memory_is_not_read_for_who_may_not_see_it(admin, as_holder):
    large = "x" * 100_000
    id = admin.good("POST", f"/v1/queues/{QUEUE}/tasks", {"payload": large})["id"]
    assert "payload" not in as_holder("read").good("GET", f"/v1/tasks/{id}")
    assert as_holder("read", "payload").good("GET", f"/v1/tasks/{id}")["payload"] == large


def test_queues_in_memory_are_no_exception(admin, as_holder):
    admin.good("PUT", f"/v1/queues/{QUEUE}", {"durability": "memory", "max_tasks": 10})
    admin.good("POST", f"/v1/queues/{QUEUE}/tasks", {"payload": PAYLOAD})
    check(as_holder("read").good("GET", "/v1/tasks"), set())
    check(as_holder("read", "payload:orders.*").good("GET", "/v1/tasks"), {QUEUE})


def test_who_steers_without_the_scope_changes_payloads_and_sees_none(filled, admin, as_holder):
    holder = as_holder("operate")
    id = admin.good("POST", f"/v1/queues/{QUEUE}/tasks", {})["id"]
    assert holder.good("PATCH", f"/v1/tasks/{id}", {"payload": PAYLOAD}).keys() == {"id", "state"}
    check(admin.good("GET", f"/v1/tasks/{id}"), {QUEUE})
    for path in ("pause", "resume"):
        check(holder.good("POST", f"/v1/schedules/of-{QUEUE}/{path}"), set())
    check(admin.good("GET", f"/v1/schedules/of-{QUEUE}"), {QUEUE})


# Repeats


def test_a_repeat_of_another_token_gets_its_own_answer(filled, as_holder):
    path, key = f"/v1/schedules/of-{QUEUE}/pause", {"Idempotency_Key": "k"}
    seeing, blind = as_holder("operate", "payload"), as_holder("operate")
    for _ in range(2):
        check(seeing.good("POST", path, **key), {QUEUE})
        check(blind.good("POST", path, **key), set())


# Clients

LACKS = "the token lacks the scope payload for queue 'orders.a'"


@pytest.fixture
def shop(server, new_token):
    """Makes an app with a token of some scopes, and its two tasks; closed with the test."""
    made = []

    def app_of(*scopes):
        app = App(server.url, token=new_token(*scopes)["token"])
        made.append(app)

        @app.task(name="add", queue=QUEUE)
        def add(one: int, two: int) -> int:
            return one + two

        @app.task(name="nothing", queue=OTHER, max_attempts=1)
        def nothing(fails: bool = False) -> None:
            if fails:
                raise ValueError("on purpose")

        return app, add, nothing

    yield app_of
    for each in made:
        each.close()


def test_a_result_that_is_not_shown_is_an_error_that_names_the_scope(shop):
    root, *_ = shop("admin")
    _, add, nothing = shop("produce", "read", f"payload:{OTHER}")
    sum_of, none, failed = add.enqueue(1, 2), nothing.enqueue(), nothing.enqueue(fails=True)
    both = group(add.s(1, 2), nothing.s()).enqueue()
    root.run_until_idle()
    assert none.result(30) is None
    for result in (sum_of.result, both.result):
        with pytest.raises(Forbidden, match=LACKS) as raised:
            result(30)
        assert raised.value.outcome == "not_applied"
    assert sum_of.wait(30).state == "completed", "that it has ended is shown"
    with pytest.raises(TaskFailed, match="on purpose"):
        failed.result(30)
    _, seeing, _ = shop("read", "payload:orders.*")
    assert seeing.handle(sum_of.id).result(30) == 3


def test_an_async_app_is_told_the_same(shop):
    root, *_ = shop("admin")
    app, add, _ = shop("produce", "read")

    async def ask():
        handle = await add.enqueue_async(1, 2)
        await root.run_until_idle_async()
        with pytest.raises(Forbidden, match=LACKS):
            await handle.result_async(30)
        await app.close_async()
        await root.close_async()

    asyncio.run(ask())


def test_nobody_waits_long_for_a_result_that_will_not_be_shown(shop):
    _, add, _ = shop("produce", "read")
    handle = add.enqueue(1, 2)
    with pytest.raises(Forbidden, match=LACKS):
        handle.result(0)
    _, seeing, _ = shop("read", "payload")
    with pytest.raises(ResultTimeout):
        seeing.handle(handle.id).result(0)


def test_arguments_that_are_not_shown_are_not_taken_for_none(shop):
    _, add, _ = shop("produce", "read")
    add.enqueue(1, 2)
    with pytest.raises(Forbidden, match=LACKS):
        assert_enqueued(add)


def test_a_client_tells_what_is_not_shown_from_null(server, filled, new_token):
    for scopes, shown in ((["read"], False), (["read", "payload"], True)):
        with Client(server.url, token=new_token(*scopes)["token"]) as client:
            views = [client.get_task(filled[QUEUE]), *client.iterate_tasks(queue=QUEUE)]
            views += client.iterate_workflow_tasks(filled["workflow"])
            views.append(client.get_schedule(f"of-{QUEUE}").task)
            views += [each.task for each in client.iterate_schedules()]
            assert len(views) > 6
            assert all((view.payload is not msgspec.UNSET) is shown for view in views)
            assert (client.get_task(filled[QUEUE]).result is not msgspec.UNSET) is shown


@pytest.fixture
def tqx(server, new_token, capsys, monkeypatch):
    """Runs a command with a token of some scopes: what it wrote on standard output."""
    monkeypatch.setenv("TQX_SERVER", server.url)

    def call(scopes, *words):
        monkeypatch.setenv("TQX_TOKEN", new_token(*scopes)["token"])
        capsys.readouterr()
        assert run(list(words)) == 0
        return capsys.readouterr().out

    return call


NOT_SHOWN = "(not shown: needs the scope payload)"


def test_the_command_line_says_what_is_not_shown(filled, tqx):
    blind, seeing = ["read", "operate"], ["read", "operate", "payload"]
    told = tqx(blind, "task", "show", filled[QUEUE])
    assert re.search(r"^result +\(not shown: needs the scope payload\)$", told, re.MULTILINE)
    assert re.search(r"^payload +\(not shown: needs the scope payload\)$", told, re.MULTILINE)
    whole = tqx(seeing, "task", "show", filled[QUEUE])
    assert NOT_SHOWN not in whole and whole.count("the-secret") == 2
    listed = tqx(blind, "task", "list", "--queue", QUEUE).splitlines()
    assert len(listed) == 3 and all(line.rstrip().endswith(" -") for line in listed[1:])
    assert tqx(seeing, "task", "list", "--queue", QUEUE).count("the-secret-payload") == 2
    definition = ("schedule", "set", f"of-{QUEUE}", '"the-secret"', "--queue", QUEUE, "--cron", "@yearly")
    for words in (("schedule", "show", f"of-{QUEUE}"), definition):
        told = tqx(blind, *words)
        assert re.search(r"^its payload +\(not shown", told, re.MULTILINE) and "the-secret" not in told
        assert NOT_SHOWN not in tqx(seeing, *words)
    assert filled[QUEUE] not in tqx(blind, "workflow", "show", filled["workflow"])


def test_its_json_leaves_out_what_is_not_shown(filled, tqx):
    for scopes, sees in ((["read"], set()), (["read", "payload"], {QUEUE, OTHER})):
        for words in (
            ("task", "show", filled[QUEUE]),
            ("task", "list"),
            ("workflow", "show", filled["workflow"]),
            ("schedule", "show", f"of-{QUEUE}"),
            ("schedule", "list"),
        ):
            check(json.loads(tqx(scopes, "-o", "json", *words)), sees)


def test_the_document_of_the_interface_says_that_they_may_be_absent():
    schemas = document("1")["components"]["schemas"]
    assert not {"payload", "result"} & {*schemas["TaskView"]["required"]}
    assert {"payload", "result"} < {*schemas["TaskView"]["properties"]}
    assert "payload" not in schemas["ScheduledTaskView"].get("required", ())
    assert "payload" in schemas["LeasedTask"]["required"]
