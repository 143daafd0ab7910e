"""Errors: every status and code that is in scope, and bad input of every kind."""

import json

import pytest

from taskqueuex.commands import COMMANDS

MIB = 1 << 20
ID = "01890a5d-ac96-774b-bcce-b302099a8057"

OUT_OF_RANGE = {
    "name": ["a" * 257, "é" * 129, 5, None, ["x"]],
    "priority": [-1001, 1001, 1.5, "1", None, True, 10**40],
    "group": ["a" * 257, 5, {}],
    "group_weight": [0, 101, "1", 1.5],
    "delay_ms": [-1, 1.5, "1", 10**20],
    "run_at": [-1, "now", 10**20],
    "ttl_ms": [0, -1, "1"],
    "expires_at": [-1, "now"],
    "timeout_ms": [0, "1"],
    "lease_ms": [0, -5, "1"],
    "max_attempts": [0, "1", 1.5],
    "backoff": [5, [], "x"],
    "depends_on": ["x", {}, [ID] * 1_001],
    "on_dependency_failure": ["explode", 5, None],
    "unique_key": ["", "a" * 257, 5],
    "on_conflict": ["explode", 5, None],
    "tags": ["x", ["t"] * 33, {}],
    "meta": ["x", [], {str(number): "" for number in range(33)}, {"a": "b" * 4_096}, {"a": 1}],
    "result_ttl_ms": [-1, "1"],
    "with_parents": [1, "true"],
    "payload": ["x" * MIB],
    "nonsense": [1],
    "Priority": [1],
}
NESTED = [
    ({"backoff": {"base_ms": -1}}, "backoff.base_ms"),
    ({"backoff": {"factor": 0.5}}, "backoff.factor"),
    ({"backoff": {"jitter": 1.5}}, "backoff.jitter"),
    ({"backoff": {"nonsense": 1}}, "backoff.nonsense"),
    ({"tags": ["ok", "t" * 65]}, "tags[1]"),
    ({"tags": ["ok", 5]}, "tags[1]"),
    ({"depends_on": [5]}, "depends_on[0]"),
    ({"depends_on": [{"id": ID, "on_failure": "x"}]}, "depends_on[0].on_failure"),
    ({"delay_ms": 1, "run_at": 1}, "delay_ms"),
    ({"ttl_ms": 1, "expires_at": 1}, "ttl_ms"),
]
BAD_TASKS = [({field: value}, field) for field, values in OUT_OF_RANGE.items() for value in values] + NESTED


def short(value):
    return str(value)[:40]


def nothing_was_applied(api, queue, check):
    check.problem(api.call("GET", f"/v1/queues/{queue}"), 404, "not_found")


@pytest.mark.parametrize(("body", "field"), BAD_TASKS, ids=short)
def test_a_bad_field_of_a_task_is_named_and_nothing_applied(api, queue, check, body, field):
    check.field(api.call("POST", f"/v1/queues/{queue}/tasks", body), field)
    check.field(
        api.call("POST", f"/v1/queues/{queue}/tasks/batch", {"tasks": [{}, body]}), f"tasks[1].{field}"
    )
    workflow = {"tasks": [{"ref": "a", "queue": queue, **body}]}
    check.field(api.call("POST", "/v1/workflows", workflow), f"tasks[0].{field}")
    nothing_was_applied(api, queue, check)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("queues/{q}/tasks/batch", {}, "tasks"),
        ("queues/{q}/tasks/batch", {"tasks": []}, "tasks"),
        ("queues/{q}/tasks/batch", {"tasks": {}}, "tasks"),
        ("queues/{q}/tasks/batch", {"tasks": [5]}, "tasks[0]"),
        ("queues/{q}/tasks/batch", {"tasks": [{}] * 10_001}, "tasks"),
        ("queues/{q}/tasks/batch", {"tasks": [{}], "partial": 1}, "partial"),
        ("queues/{q}/tasks/batch", {"tasks": [{}], "extra": 1}, "extra"),
        ("workflows", {"tasks": [{"ref": "a"}]}, "tasks[0].queue"),
        ("workflows", {"tasks": [{"queue": "{q}"}]}, "tasks[0].ref"),
        ("workflows", {"tasks": [{"ref": "a", "queue": "a b"}]}, "tasks[0].queue"),
        ("workflows", {"tasks": [{"ref": "", "queue": "{q}"}]}, "tasks[0].ref"),
        ("dequeue", {}, "queues"),
        ("dequeue", {"queues": []}, "queues"),
        ("dequeue", {"queues": "q"}, "queues"),
        ("dequeue", {"queues": ["a b"]}, "queues[0]"),
        ("dequeue", {"queues": ["a" * 129]}, "queues[0]"),
        ("dequeue", {"queues": {"{q}": 0}}, "queues"),
        ("dequeue", {"queues": {"a b": 1}}, "queues"),
        ("dequeue", {"queues": ["{q}"], "extra": 1}, "extra"),
        ("queues/{q}/dequeue", {"max": 0}, "max"),
        ("queues/{q}/dequeue", {"max": 1_001}, "max"),
        ("queues/{q}/dequeue", {"max": "1"}, "max"),
        ("queues/{q}/dequeue", {"wait_ms": -1}, "wait_ms"),
        ("queues/{q}/dequeue", {"wait_ms": 60_001}, "wait_ms"),
        ("queues/{q}/dequeue", {"lease_ms": 0}, "lease_ms"),
        ("queues/{q}/dequeue", {"worker": "w" * 257}, "worker"),
        ("queues/{q}/dequeue", {"worker": "é" * 129}, "worker"),
        ("queues/{q}/dequeue", {"queues": ["q"]}, "queues"),
        ("tasks/{id}/ack", {}, "lease"),
        ("tasks/{id}/ack", {"lease": 5}, "lease"),
        ("tasks/{id}/ack", {"lease": "x", "result": "r" * MIB}, "result"),
        ("tasks/{id}/ack", {"lease": "x", "extra": 1}, "extra"),
        ("tasks/{id}/fail", {"lease": "x", "error": "boom"}, "error"),
        ("tasks/{id}/fail", {"lease": "x", "error": {"kind": "x"}}, "error.kind"),
        ("tasks/{id}/fail", {"lease": "x", "error": {"type": "t" * 257}}, "error.type"),
        ("tasks/{id}/fail", {"lease": "x", "retryable": "no"}, "retryable"),
        ("tasks/{id}/fail", {"lease": "x", "delay_ms": -1}, "delay_ms"),
        ("tasks/{id}/release", {"delay_ms": 5}, "lease"),
        ("tasks/{id}/release", {"lease": "x", "delay_ms": -1}, "delay_ms"),
        ("tasks/{id}/heartbeat", {"lease": "x", "extend_ms": 0}, "extend_ms"),
        ("tasks/{id}/heartbeat", {"lease": "x", "progress": "p" * MIB}, "progress"),
        ("tasks/{id}/cancel", {"extra": 1}, "extra"),
        ("settle", {"ack": [{"id": ID}]}, "ack[0].lease"),
        ("settle", {"ack": [{"id": "x", "lease": "x"}]}, "ack[0].id"),
        ("settle", {"ack": {}}, "ack"),
        ("settle", {"fail": [{"id": ID, "lease": "x"}, {"lease": "x"}]}, "fail[1].id"),
        ("settle", {"dequeue": {"queues": ["{q}"], "max": 0}}, "dequeue.max"),
        ("settle", {"wait": "never"}, "wait"),
        ("settle", {"extra": 1}, "extra"),
        ("bulk", {"action": "explode", "filter": {"queue": "{q}"}}, "action"),
        ("bulk", {"action": "cancel"}, "filter"),
        ("bulk", {"action": "cancel", "filter": {"colour": "red"}}, "filter.colour"),
        ("bulk", {"action": "cancel", "filter": {"state": "asleep"}}, "filter.state"),
        ("bulk", {"action": "cancel", "filter": {"id": ["x"]}}, "filter.id[0]"),
        ("bulk", {"action": "cancel", "filter": {"queue": "{q}"}, "dry_run": "yes"}, "dry_run"),
        ("admin/backup", {}, "path"),
    ],
    ids=short,
)
def test_a_bad_field_is_named_and_nothing_applied(api, queue, check, path, body, field):
    text = json.dumps(body).replace("{q}", queue)
    check.field(
        api.call("POST", "/v1/" + path.replace("{q}", queue).replace("{id}", ID), text.encode()), field
    )
    nothing_was_applied(api, queue, check)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"discipline": "random"}, "discipline"),
        ({"partitions": 0}, "partitions"),
        ({"partitions": "1"}, "partitions"),
        ({"max_tasks": 0}, "max_tasks"),
        ({"overflow": "burst"}, "overflow"),
        ({"lease_ms": 0}, "lease_ms"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"backoff": {"factor": 0}}, "backoff.factor"),
        ({"result_ttl_ms": -1}, "result_ttl_ms"),
        ({"dead_ttl_ms": -1}, "dead_ttl_ms"),
        ({"rate_limit": {"per_second": 0}}, "rate_limit.per_second"),
        ({"rate_limit": {"burst": 1}}, "rate_limit.per_second"),
        ({"max_running": 0}, "max_running"),
        ({"max_running_per_group": 0}, "max_running_per_group"),
        ({"ordered_groups": 1}, "ordered_groups"),
        ({"durability": "eternal"}, "durability"),
        ({"paused": True}, "paused"),
        ([], "body"),
    ],
    ids=short,
)
def test_a_bad_setting_is_named_and_nothing_applied(api, queue, check, body, field):
    check.field(api.call("PUT", f"/v1/queues/{queue}", body), field)
    nothing_was_applied(api, queue, check)


@pytest.mark.parametrize(
    "body", [{"priority": 5_000}, {"state": "ready"}, {"run_at": None}, {"payload": "p" * MIB}], ids=short
)
def test_a_bad_edit_is_named_and_nothing_applied(api, queue, check, body):
    id = api.enqueue(queue, payload=1)
    check.field(api.call("PATCH", f"/v1/tasks/{id}", body), next(iter(body)))
    assert (api.task(id)["priority"], api.task(id)["payload"]) == (0, 1)


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("tasks?limit=0", "limit"),
        ("tasks?limit=1001", "limit"),
        ("tasks?limit=many", "limit"),
        ("tasks?state=asleep", "state"),
        ("tasks?queue=a%20b", "queue"),
        ("tasks?colour=red", "colour"),
        ("tasks?after=now", "after"),
        ("tasks?id=x", "id"),
        ("tasks?workflow=x", "workflow"),
        ("tasks?limit=1&limit=2", "limit"),
        (f"tasks/{ID}?wait_ms=60001", "wait_ms"),
        (f"tasks/{ID}?verbose=1", "verbose"),
        ("tasks/nonsense", "id"),
        ("workflows/nonsense", "id"),
        ("workflows?limit=0", "limit"),
        ("queues/a%20b", "queue"),
        ("queues/" + "a" * 129, "queue"),
        ("metrics/history?range=1y", "range"),
        ("dead/groups?limit=0", "limit"),
    ],
)
def test_a_bad_parameter_is_named(api, check, path, field):
    check.field(api.call("GET", f"/v1/{path}"), field)


BODIES = [row for row in COMMANDS.values() if row.body is not None]


def path_of(row, queue):
    return row.path.replace("{queue}", queue).replace("{id}", ID).replace("{name}", "nobody")


@pytest.mark.parametrize("row", BODIES, ids=lambda row: row.name)
@pytest.mark.parametrize(
    "body", [b"{", b"nonsense", b'{"a":1}}', b'{"payload":"\xff"}', b"[" * 100 + b"]" * 100], ids=short
)
def test_broken_json_is_400(api, queue, check, row, body):
    reply = api.call(row.method, path_of(row, queue), body)
    if body.startswith(b"[["):
        assert reply.status in (400, 422)
    else:
        check.problem(reply, 400, "invalid_json")


def test_json_that_is_too_deep_is_400(api, queue, check):
    for depth in (70, 5_000, 100_000):
        body = b'{"payload":' + b"[" * depth + b"]" * depth + b"}"
        check.problem(api.call("POST", f"/v1/queues/{queue}/tasks", body), 400, "invalid_json")
    nothing_was_applied(api, queue, check)


@pytest.mark.parametrize("row", BODIES, ids=lambda row: row.name)
def test_another_content_type_is_415(api, queue, check, row):
    reply = api.call(row.method, path_of(row, queue), b"{}", Content_Type="text/plain")
    check.problem(reply, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "row",
    [
        row
        for row in COMMANDS.values()
        if row.target in ("task", "workflow", "schedule", "worker") and row.name != "put_schedule"
    ],
    ids=lambda row: row.name,
)
def test_an_unknown_id_or_name_is_404(api, check, row):
    body = {"lease": "x"} if row.scope == "consume" else {"priority": 1} if row.name == "edit_task" else None
    check.problem(api.call(row.method, path_of(row, ""), body), 404, "not_found")


@pytest.mark.parametrize("verb", ["", "/history", "/why"])
def test_an_ended_and_forgotten_task_is_410(api, queue, check, verb):
    id = api.enqueue(queue, result_ttl_ms=0)
    api.ack(api.take(queue))
    check.problem(api.call("GET", f"/v1/tasks/{id}{verb}"), 410, "gone")


@pytest.mark.parametrize("path", ["/nothing", "/v1", "/v1/queues/q/nothing", "/v2/queues", "/v1/tasks/x/y/z"])
def test_an_unknown_path_is_404(api, check, path):
    check.problem(api.call("GET", path), 404, "not_found")


@pytest.mark.parametrize("row", COMMANDS.values(), ids=lambda row: row.name)
def test_another_method_is_405_and_names_the_allowed(api, queue, check, row):
    reply = api.call("OPTIONS", path_of(row, queue))
    check.problem(reply, 405, "method_not_allowed")
    assert row.method in reply.headers["allow"].split(", ")


def test_a_body_over_sixteen_mebibytes_is_413(api, queue, check):
    connection = api.connect()
    head = f"POST /v1/queues/{queue}/tasks HTTP/1.1\r\nHost: t\r\nContent-Length: {(16 << 20) + 1}\r\n\r\n"
    connection.socket.sendall(head.encode())
    check.problem(connection.receive(), 413, "payload_too_large")


def test_a_request_line_that_is_too_long_is_414(api, check):
    check.problem(api.connect().call("GET", "/" + "a" * 9_000), 414, "uri_too_long")


def test_headers_that_are_too_large_are_431(api, check):
    check.problem(api.connect().call("GET", "/healthz", X="a" * 20_000), 431, "headers_too_large")


def test_what_is_not_http_is_400(api, check):
    connection = api.connect()
    connection.socket.sendall(b"GET /healthz HTTP/1.1\r\nContent-Length: x\r\n\r\n")
    check.problem(connection.receive(), 400, "bad_request")


@pytest.mark.parametrize("key", ["a b", "k" * 256])
def test_a_bad_idempotency_key_is_named(api, queue, check, key):
    check.field(api.call("POST", f"/v1/queues/{queue}/tasks", {}, Idempotency_Key=key), "Idempotency-Key")
    nothing_was_applied(api, queue, check)


def test_an_idempotency_key_is_refused_on_dequeue(api, queue, check):
    key = {"Idempotency_Key": "k"}
    check.problem(api.call("POST", f"/v1/queues/{queue}/dequeue", {}, **key), 422, "invalid")
    check.problem(api.call("POST", "/v1/dequeue", {"queues": [queue]}, **key), 422, "invalid")
    check.problem(api.call("POST", "/v1/settle", {"dequeue": {"queues": [queue]}}, **key), 422, "invalid")
    assert api.call("POST", "/v1/settle", {}, Idempotency_Key=queue).status == 200


def test_the_same_key_with_another_body_is_a_mismatch(api, queue, check):
    path = f"/v1/queues/{queue}/tasks"
    assert api.call("POST", path, {"payload": 1}, Idempotency_Key=queue).status == 201
    problem = check.problem(
        api.call("POST", path, {"payload": 2}, Idempotency_Key=queue), 422, "idempotency_mismatch"
    )
    assert problem["outcome"] == "not_applied"
    assert api.queue(queue)["counts"]["ready"] == 1


def test_a_bad_timeout_is_named(api, queue, check):
    check.field(
        api.call("POST", f"/v1/queues/{queue}/tasks", {}, Request_Timeout_Ms="soon"), "Request-Timeout-Ms"
    )


def test_work_whose_caller_has_gone_is_not_started(api, queue, check):
    pipelined = api.connect()
    pipelined.send("POST", f"/v1/queues/{queue}-poll/dequeue", {"wait_ms": 400})
    pipelined.send("POST", f"/v1/queues/{queue}/tasks", {}, Request_Timeout_Ms="50")
    assert pipelined.receive().json == {"tasks": []}
    reply = pipelined.receive()
    assert reply.status >= 400 and reply.json["outcome"] == "not_applied"
    nothing_was_applied(api, queue, check)


def test_a_request_with_time_left_is_done(api, queue):
    assert api.call("POST", f"/v1/queues/{queue}/tasks", {}, Request_Timeout_Ms="5000").status == 201
