"""Errors as a client sees them: problem+json, its headers, and the request headers that are honoured."""

import pytest

from taskqueuex.errors import Draining, FieldError, Invalid, QueueFull

ENQUEUE = "/v1/queues/orders/tasks"
ID = "01890a5d-ac96-774b-bcce-b302099a8057"


def problem(reply, status, code):
    assert (reply.status, reply.json["status"], reply.json["code"]) == (status, status, code)
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json["type"] == f"https://taskqueuex.dev/errors/{code}"
    assert reply.json["title"] and reply.json["detail"]
    assert reply.json["outcome"] in ("not_applied", "unknown")
    return reply


def fields(reply):
    return [error["field"] for error in problem(reply, 422, "invalid").json["errors"]]


def test_an_unknown_path_is_404(wire):
    problem(wire.request("GET", "/v1/nothing"), 404, "not_found")


def test_another_method_is_405_and_names_the_allowed(wire):
    reply = problem(wire.request("PUT", ENQUEUE), 405, "method_not_allowed")
    assert reply.headers["allow"] == "POST"


def test_head_is_405_without_a_body(wire):
    wire.send(b"HEAD /healthz HTTP/1.1\r\nHost: t\r\n\r\n")
    reply = wire.receive(with_body=False)
    assert (reply.status, reply.headers["allow"]) == (405, "GET")
    assert wire.request("GET", "/healthz").status == 200


def test_a_method_that_does_not_exist_is_405(wire):
    wire.send(b"BREW /healthz HTTP/1.1\r\nHost: t\r\n\r\n")
    assert "POST" in problem(wire.receive(), 405, "method_not_allowed").headers["allow"]


def test_broken_json_is_400_and_the_connection_goes_on(wire):
    problem(wire.request("POST", ENQUEUE, b"{"), 400, "invalid_json")
    problem(wire.request("POST", ENQUEUE), 400, "invalid_json")
    assert wire.request("POST", ENQUEUE, {}).status == 200


def test_a_bad_field_is_422_and_nothing_is_submitted(wire, app):
    assert fields(wire.request("POST", ENQUEUE, {"priority": "high"})) == ["priority"]
    assert app.calls.empty()


def test_a_bad_target_is_422(wire):
    assert fields(wire.request("POST", "/v1/queues/a%20b/tasks", {})) == ["queue"]
    assert fields(wire.request("POST", "/v1/tasks/nonsense/ack", {"lease": "x"})) == ["id"]
    assert fields(wire.request("POST", "/v1/workflows/7/cancel")) == ["id"]


def test_a_bad_query_is_422(wire):
    assert fields(wire.request("GET", "/v1/tasks?limit=0")) == ["limit"]
    assert fields(wire.request("GET", "/healthz?verbose=1")) == ["verbose"]


@pytest.mark.parametrize("media", ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON"])
def test_json_is_accepted_under_its_name(wire, media):
    assert wire.request("POST", ENQUEUE, {}, Content_Type=media).status == 200


@pytest.mark.parametrize(
    "media", ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", "x"]
)
def test_another_content_type_is_415(wire, media):
    problem(wire.request("POST", ENQUEUE, {}, Content_Type=media), 415, "unsupported_media_type")


def test_a_content_type_without_a_body_does_not_matter(wire):
    assert wire.request("GET", "/healthz", Content_Type="text/plain").status == 200


def test_a_command_without_a_body_takes_an_empty_one(wire, app):
    assert wire.request("POST", f"/v1/tasks/{ID}/cancel").status == 200
    assert wire.request("POST", f"/v1/tasks/{ID}/cancel", {}).status == 200
    assert fields(wire.request("POST", f"/v1/tasks/{ID}/cancel", {"force": 1})) == ["force"]


def test_a_dequeue_may_come_without_a_body(wire, app):
    assert wire.request("POST", "/v1/queues/q/dequeue").status == 200
    assert app.next_call().body.max == 1


@pytest.mark.parametrize("key", ["", "a b", "\u00e9", "k" * 256, "a\tb"])
def test_a_bad_idempotency_key_is_named(wire, key):
    assert fields(wire.request("POST", ENQUEUE, {}, Idempotency_Key=key)) == ["Idempotency-Key"]


def test_a_key_is_refused_where_it_could_not_be_kept(wire, app):
    key = {"Idempotency_Key": "k"}
    assert fields(wire.request("POST", "/v1/queues/q/dequeue", {}, **key)) == ["Idempotency-Key"]
    assert fields(wire.request("POST", "/v1/dequeue", {"queues": ["q"]}, **key)) == ["Idempotency-Key"]
    settle = {"dequeue": {"queues": ["q"]}}
    assert fields(wire.request("POST", "/v1/settle", settle, **key)) == ["Idempotency-Key"]
    assert wire.request("POST", "/v1/settle", {}, **key).status == 200
    assert app.next_call().key == "k"
    assert wire.request("GET", "/v1/queues", **key).status == 200, "a read is repeatable anyway"


@pytest.mark.parametrize("value", ["", "0", "-1", "1.5", "soon", "86400001", "9" * 30])
def test_a_bad_timeout_is_named(wire, value):
    assert fields(wire.request("POST", ENQUEUE, {}, Request_Timeout_Ms=value)) == ["Request-Timeout-Ms"]


def test_an_error_of_the_application_becomes_its_problem(wire, app):
    app.status, app.body = 429, QueueFull("At its limit of 5 tasks", retry_after_s=0.2)
    reply = problem(wire.request("POST", ENQUEUE, {}), 429, "queue_full")
    assert reply.headers["retry-after"] == "1"
    assert reply.json["detail"] == "At its limit of 5 tasks"
    assert "errors" not in reply.json


def test_an_error_that_is_raised_becomes_its_problem(wire, app):
    app.raises = Draining(outcome="not_applied", retry_after_s=3)
    assert problem(wire.request("POST", ENQUEUE, {}), 503, "draining").headers["retry-after"] == "3"


def test_an_error_lists_every_field(wire, app):
    app.status = 422
    app.body = Invalid("two", errors=(FieldError("a", "is wrong"), FieldError("b", "too")))
    reply = problem(wire.request("POST", ENQUEUE, {}), 422, "invalid")
    assert reply.json["errors"] == [{"field": "a", "message": "is wrong"}, {"field": "b", "message": "too"}]
