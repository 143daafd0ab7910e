"""Bodies and queries: what is refused, with which code, naming which field."""

import json

import msgspec
import pytest

from taskqueuex.commands import COMMANDS, consume, produce, queues, schedules, tasks
from taskqueuex.errors import Invalid, InvalidJson
from taskqueuex.network.checks import is_too_deep
from taskqueuex.network.decode import BodyReader, read_no_body, read_query

ID = "01890a5d-ac96-774b-bcce-b302099a8057"
MIB = 1 << 20


def read(name, body):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return BodyReader(COMMANDS[name].body, COMMANDS[name].body_required)(raw)


def fields_refused(name, body):
    with pytest.raises(Invalid) as caught:
        read(name, body)
    assert caught.value.status == 422
    return [error.field for error in caught.value.errors]


@pytest.mark.parametrize(
    ("name", "body", "field"),
    [
        ("enqueue", [], "body"),
        ("enqueue", 5, "body"),
        ("enqueue", None, "body"),
        ("enqueue", {"prioritty": 1}, "prioritty"),
        ("enqueue", {"priority": "1"}, "priority"),
        ("enqueue", {"priority": True}, "priority"),
        ("enqueue", {"priority": 1.5}, "priority"),
        ("enqueue", {"priority": None}, "priority"),
        ("enqueue", {"priority": 1001}, "priority"),
        ("enqueue", {"priority": -1001}, "priority"),
        ("enqueue", {"priority": 10**30}, "priority"),
        ("enqueue", b'{"priority":1e400}', "priority"),
        ("enqueue", {"name": "a" * 257}, "name"),
        ("enqueue", {"name": "\u00e9" * 129}, "name"),
        ("enqueue", json.dumps({"name": "\u00e9" * 129}, ensure_ascii=False).encode(), "name"),
        ("enqueue", {"group": "\u20ac" * 86}, "group"),
        ("enqueue", {"group": 1}, "group"),
        ("enqueue", {"group_weight": 0}, "group_weight"),
        ("enqueue", {"group_weight": 101}, "group_weight"),
        ("enqueue", {"unique_key": ""}, "unique_key"),
        ("enqueue", {"unique_key": "\u20ac" * 86}, "unique_key"),
        ("enqueue", {"on_conflict": "explode"}, "on_conflict"),
        ("enqueue", {"delay_ms": -1}, "delay_ms"),
        ("enqueue", {"ttl_ms": 0}, "ttl_ms"),
        ("enqueue", {"run_at": 10**18}, "run_at"),
        ("enqueue", {"max_attempts": 0}, "max_attempts"),
        ("enqueue", {"backoff": {"factor": 0.5}}, "backoff.factor"),
        ("enqueue", {"backoff": {"jitters": 1}}, "backoff.jitters"),
        ("enqueue", {"backoff": 3}, "backoff"),
        ("enqueue", {"tags": ["a" * 65]}, "tags[0]"),
        ("enqueue", {"tags": ["a", "\u00e9" * 33]}, "tags[1]"),
        ("enqueue", {"tags": ["\u20ac" * 22]}, "tags[0]"),
        ("enqueue", {"tags": ["a"] * 33}, "tags"),
        ("enqueue", {"tags": "a"}, "tags"),
        ("enqueue", {"meta": {"a": 1}}, "meta"),
        ("enqueue", {"meta": {str(number): "" for number in range(33)}}, "meta"),
        ("enqueue", {"meta": {"a": "b" * 4096}}, "meta"),
        ("enqueue", {"depends_on": [1]}, "depends_on[0]"),
        ("enqueue", {"depends_on": [{"id": ID, "on_failure": "x"}]}, "depends_on[0].on_failure"),
        ("enqueue", {"depends_on": [ID] * 1001}, "depends_on"),
        ("enqueue", {"payload": "a" * (MIB - 1)}, "payload"),
        ("enqueue_batch", {}, "tasks"),
        ("enqueue_batch", {"tasks": []}, "tasks"),
        ("enqueue_batch", {"tasks": [{}] * 10_001}, "tasks"),
        ("enqueue_batch", {"tasks": [{}, {}, {"priority": 5000}]}, "tasks[2].priority"),
        ("enqueue_batch", {"tasks": [{}, {"prio": 1}]}, "tasks[1].prio"),
        ("enqueue_batch", {"tasks": [{}, {"name": "\u00e9" * 129}]}, "tasks[1].name"),
        ("enqueue_batch", {"tasks": [{}, {"payload": "a" * MIB}]}, "tasks[1].payload"),
        ("enqueue_batch", {"tasks": [7]}, "tasks[0]"),
        ("create_workflow", {"tasks": [{"queue": "q"}]}, "tasks[0].ref"),
        ("create_workflow", {"tasks": [{"ref": "a"}]}, "tasks[0].queue"),
        ("create_workflow", {"tasks": [{"ref": "a", "queue": "b c"}]}, "tasks[0].queue"),
        ("create_workflow", {"tasks": [{"ref": "a", "queue": "q\n"}]}, "tasks[0].queue"),
        ("create_workflow", {"tasks": [{"ref": "\u00e9" * 129, "queue": "q"}]}, "tasks[0].ref"),
        ("create_workflow", {"tasks": [{"ref": "a", "queue": "q"}], "name": "\u00e9" * 129}, "name"),
        ("dequeue", {}, "queues"),
        ("dequeue", {"queues": []}, "queues"),
        ("dequeue", {"queues": {}}, "queues"),
        ("dequeue", {"queues": "q"}, "queues"),
        ("dequeue", {"queues": ["q", "a b"]}, "queues[1]"),
        ("dequeue", {"queues": {"q": 0}}, "queues"),
        ("dequeue", {"queues": {"a b": 1}}, "queues"),
        ("dequeue", {"queues": ["q"], "max": 0}, "max"),
        ("dequeue", {"queues": ["q"], "max": 1001}, "max"),
        ("dequeue", {"queues": ["q"], "wait_ms": 60_001}, "wait_ms"),
        ("dequeue_queue", {"lease_ms": 0}, "lease_ms"),
        ("dequeue_queue", {"worker": "\u00e9" * 129}, "worker"),
        ("dequeue_queue", {"queues": ["q"]}, "queues"),
        ("ack", {}, "lease"),
        ("ack", {"lease": ""}, "lease"),
        ("ack", {"lease": 5}, "lease"),
        ("ack", {"lease": "x", "result": "a" * MIB}, "result"),
        ("fail", {"lease": "x", "error": "boom"}, "error"),
        ("fail", {"lease": "x", "error": {"kind": "boom"}}, "error.kind"),
        ("fail", {"lease": "x", "error": {"type": "\u00e9" * 129}}, "error.type"),
        ("fail", {"lease": "x", "retryable": 1}, "retryable"),
        ("release", {"lease": "x", "delay_ms": -1}, "delay_ms"),
        ("heartbeat", {"lease": "x", "extend_ms": 0}, "extend_ms"),
        ("heartbeat", {"lease": "x", "progress": "a" * MIB}, "progress"),
        ("settle", {"ack": [{"lease": "x"}]}, "ack[0].id"),
        ("settle", {"ack": [{"id": "x", "lease": "x"}]}, "ack[0].id"),
        ("settle", {"ack": [{"id": ID + "\n", "lease": "x"}]}, "ack[0].id"),
        ("settle", {"fail": [{"id": ID, "lease": "x"}, {"id": ID}]}, "fail[1].lease"),
        ("settle", {"ack": [{"id": ID, "lease": "x", "result": "a" * MIB}]}, "ack[0].result"),
        ("settle", {"heartbeat": [{"id": ID, "lease": "x", "progress": "a" * MIB}]}, "heartbeat[0].progress"),
        (
            "settle",
            {"fail": [{"id": ID, "lease": "x", "error": {"type": "\u00e9" * 129}}]},
            "fail[0].error.type",
        ),
        ("settle", {"dequeue": {"queues": ["q"], "worker": "\u00e9" * 129}}, "dequeue.worker"),
        ("settle", {"wait": "never"}, "wait"),
        ("edit_task", {"state": "ready"}, "state"),
        ("edit_task", {"payload": "a" * MIB}, "payload"),
        ("bulk", {"action": "retry"}, "filter"),
        ("bulk", {"action": "explode", "filter": {}}, "action"),
        ("bulk", {"action": "retry", "filter": {}}, "filter"),
        ("bulk", {"action": "retry", "filter": {"name": "\u00e9" * 129}}, "filter.name"),
        ("bulk", {"action": "retry", "filter": {"id": ["x"]}}, "filter.id[0]"),
        ("put_queue", {"discipline": "random"}, "discipline"),
        ("put_queue", {"partitions": 0}, "partitions"),
        ("put_queue", {"rate_limit": {"burst": 1}}, "rate_limit.per_second"),
        ("put_queue", {"paused": True}, "paused"),
        ("backup", {"path": ""}, "path"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_bad_field_is_named(name, body, field):
    assert fields_refused(name, body) == [field]


@pytest.mark.parametrize("prefix", ["", "tasks[1]."])
@pytest.mark.parametrize("pair", [("delay_ms", "run_at"), ("ttl_ms", "expires_at")])
def test_fields_that_exclude_each_other_are_both_named(prefix, pair):
    task = dict.fromkeys(pair, 1_000)
    name, body = ("enqueue_batch", {"tasks": [{}, task]}) if prefix else ("enqueue", task)
    assert fields_refused(name, body) == [prefix + field for field in pair]


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("enqueue", {"name": "a" * 256, "group": "\u00e9" * 128, "unique_key": "k" * 256}),
        ("enqueue", {"tags": ["a" * 64] * 32, "meta": {"a": "b" * 4095}}),
        ("enqueue", {"payload": "a" * (MIB - 2)}),
        ("enqueue", {"delay_ms": None, "run_at": 5}),
        ("enqueue_batch", {"tasks": [{}] * 10_000}),
        ("ack", {"lease": "x", "result": None}),
        ("dequeue", {"queues": {"a": 3, "b": 1}, "max": 1000, "wait_ms": 60_000, "lease_ms": None}),
        ("put_queue", {"max_tasks": None, "rate_limit": {"per_second": 0.5}}),
        ("settle", {}),
    ],
)
def test_what_is_at_a_limit_is_accepted(name, body):
    assert read(name, body) is not None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"nonsense",
        b'{"payload":}',
        b'{"payload":1}x',
        b"{'payload':1}",
        b'{"payload":01}',
        b'{"payload":NaN}',
        b'{"payload":"\xff"}',
        b'{"payload":"\xed\xa0\x80"}',
        b'{"payload":"\\ud800"}',
        b'{"payload":"a\nb"}',
        b'{"name":"\xff"}',
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\x00}\x00",
        b'{"priority":"wrong too"',
    ],
    ids=repr,
)
def test_broken_json_is_400_whatever_else_is_wrong(body):
    with pytest.raises(InvalidJson):
        read("enqueue", body)


def nested(depth):
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize("name", ["enqueue", "enqueue_batch", "ack", "settle"])
def test_64_levels_are_read_and_65_are_not(name):
    def body(value):
        return {
            "enqueue": b'{"payload":%b}',
            "enqueue_batch": b'{"tasks":[{},{"payload":%b}]}',
            "ack": b'{"lease":"x","result":%b}',
            "settle": b'{"ack":[{"id":"' + ID.encode() + b'","lease":"x","result":%b}]}',
        }[name] % value

    base = 1 if name in ("enqueue", "ack") else 3
    assert read(name, body(nested(64 - base)))
    for depth in (65 - base, 1_000, 100_000):
        with pytest.raises(InvalidJson):
            read(name, body(nested(depth)))


def test_brackets_in_strings_and_side_by_side_are_not_depth():
    assert not is_too_deep(json.dumps(["[" * 500, '"[{\\' * 500, "\\\\"] * 3).encode())
    assert not is_too_deep(json.dumps([[{}]] * 5_000).encode())
    assert is_too_deep(b'{"a\\"[":' * 65 + b"1" + b"}" * 65)
    assert not is_too_deep(b'{"a\\"[":' * 64 + b"1" + b"}" * 64)


def test_a_payload_is_kept_byte_for_byte():
    raw = '{"payload":  {"b":1.0,"a" : [1e2, "\\u00e9", "é"]} }'.encode()
    assert bytes(read("enqueue", raw).payload) == raw[12:-2].strip()


def test_a_body_may_be_absent_where_all_of_it_has_defaults():
    assert read("dequeue_queue", b"").max == 1
    assert read("put_queue", b"").discipline is msgspec.UNSET


@pytest.mark.parametrize("body", [b"", b"{}", b" {} ", b"  "])
def test_a_command_without_a_body_takes_none_or_an_empty_object(body):
    read_no_body(body)


def test_a_command_without_a_body_refuses_fields():
    with pytest.raises(Invalid) as caught:
        read_no_body(b'{"force":true}')
    assert caught.value.errors[0].field == "force"
    with pytest.raises(InvalidJson):
        read_no_body(b"{")


@pytest.mark.parametrize(
    ("name", "query", "field"),
    [
        ("list_tasks", b"limit=0", "limit"),
        ("list_tasks", b"limit=x", "limit"),
        ("list_tasks", b"limit=5&limit=6", "limit"),
        ("list_tasks", b"colour=red", "colour"),
        ("list_tasks", b"state=asleep", "state"),
        ("list_tasks", b"queue=a%20b", "queue"),
        ("list_tasks", b"workflow=x", "workflow"),
        ("list_tasks", b"id=" + ID.encode() + b",x", "id"),
        ("list_tasks", b"name=" + b"%C3%A9" * 129, "name"),
        ("list_tasks", b"name=%ff", "query"),
        ("list_tasks", b"after=-1", "after"),
        ("get_task", b"wait_ms=60001", "wait_ms"),
        ("get_queue", b"force=true", "force"),
        ("delete_queue", b"force=yes", "force"),
        ("metrics_history", b"range=2h", "range"),
    ],
)
def test_a_bad_parameter_is_named(name, query, field):
    with pytest.raises(Invalid) as caught:
        read_query(query, COMMANDS[name].query)
    assert [error.field for error in caught.value.errors] == [field]


def test_a_query_is_read_by_its_types():
    query = read_query(b"queue=q&limit=5&name=a%20b+c&cursor=", COMMANDS["list_tasks"].query)
    assert (query.queue, query.limit, query.name, query.cursor) == ("q", 5, "a b c", "")
    assert read_query(b"force=true", COMMANDS["delete_queue"].query).force is True
    assert read_query(b"", COMMANDS["get_queue"].query) is None


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (produce.EnqueueTask(priority=3), {"payload": None, "priority": 3}),
        (
            produce.EnqueueBatch([produce.EnqueueTask(delay_ms=0)]),
            {"tasks": [{"payload": None, "delay_ms": 0}]},
        ),
        (
            consume.Settle(worker=consume.WorkerInfo(name="w", quiet=False)),
            {"worker": {"name": "w", "quiet": False}},
        ),
        (consume.Dequeue(queues=["q"]), {"queues": ["q"]}),
        (tasks.Bulk("retry", tasks.BulkFilter(queue="q")), {"action": "retry", "filter": {"queue": "q"}}),
        (queues.PutQueue(max_tasks=None), {"max_tasks": None}),
        (
            schedules.PutSchedule(queue="q", every_ms=100),
            {"queue": "q", "task": {"payload": None}, "every_ms": 100},
        ),
    ],
)
def test_a_request_is_encoded_with_what_was_set(body, sent):
    encoded = msgspec.json.encode(body)
    assert msgspec.json.decode(encoded) == sent
    assert msgspec.json.decode(encoded, type=type(body)) == body
