"""Produce: enqueue, batch, workflow."""

import json

import pytest


def test_an_enqueued_task_is_ready_and_can_be_read(api, queue):
    answer = api.good("POST", f"/v1/queues/{queue}/tasks", {"payload": {"n": 1}}, 201)
    assert set(answer) == {"id", "state"} and answer["state"] == "ready"
    task = api.task(answer["id"])
    assert (task["queue"], task["state"], task["payload"]) == (queue, "ready", {"n": 1})


def test_the_reply_names_its_durability(api, queue):
    reply = api.call("POST", f"/v1/queues/{queue}/tasks", {})
    assert reply.headers["durability"] == "durable"


def test_every_field_of_a_task_is_kept(api, queue, now_ms):
    parent = api.enqueue(queue + "-parent")
    fields = {
        "name": "trades.settle",
        "priority": -7,
        "group": "eur/usd",
        "group_weight": 3,
        "ttl_ms": 600_000,
        "timeout_ms": 5_000,
        "lease_ms": 7_000,
        "max_attempts": 9,
        "backoff": {"base_ms": 10, "factor": 1.5, "max_ms": 100, "jitter": 0.0},
        "depends_on": [parent],
        "on_dependency_failure": "hold",
        "unique_key": "k",
        "tags": ["a", "b"],
        "meta": {"traceparent": "00-1"},
        "result_ttl_ms": 1_000,
        "payload": None,
    }
    before = now_ms()
    task = api.task(api.enqueue(queue, **fields))
    assert task["state"] == "blocked"
    for name in ("name", "priority", "group", "max_attempts", "tags", "meta", "depends_on", "payload"):
        assert task[name] == fields[name], name
    assert before <= task["created_at"] <= now_ms(slack_ms=20)
    assert before + 600_000 <= task["expires_at"] <= now_ms(slack_ms=20) + 600_000
    assert (task["attempt"], task["failures"], task["errors"]) == (0, 0, [])
    assert task["id"] in api.task(parent)["children"]


def test_defaults_are_as_described(api, queue):
    task = api.task(api.enqueue(queue))
    assert task["payload"] is None and task["priority"] == 0 and task["max_attempts"] == 5
    assert task["expires_at"] is None


@pytest.mark.parametrize(
    "payload",
    [
        b"null",
        b'"text"',
        b"1.0",
        b"1e400",
        b'{"b":1,  "a":2, "b":3}',
        b"[ 1 ,2 ]",
        b'"\\u00e9\\/"',
        '"é☃"'.encode(),
        b"12345678901234567890123",
        b'{"deep":' + b"[" * 60 + b"]" * 60 + b"}",
    ],
    ids=lambda payload: payload[:20].decode(),
)
def test_a_payload_is_kept_byte_for_byte(api, queue, payload):
    reply = api.call("POST", f"/v1/queues/{queue}/tasks", b'{"payload": ' + payload + b' ,"name":"n"}')
    assert reply.status == 201
    assert b'"payload":' + payload in api.call("GET", f"/v1/tasks/{reply.json['id']}").body
    assert b'"payload":' + payload in api.call("POST", f"/v1/queues/{queue}/dequeue", {}).body


def test_a_delayed_task_is_scheduled_and_comes_when_due(api, queue, now_ms):
    before = now_ms()
    answer = api.good("POST", f"/v1/queues/{queue}/tasks", {"delay_ms": 300}, 201)
    assert answer["state"] == "scheduled"
    assert before + 300 <= api.task(answer["id"])["run_at"] <= now_ms(slack_ms=20) + 300
    assert api.dequeue(queue) == []
    assert api.take(queue)["id"] == answer["id"]
    assert now_ms(slack_ms=20) >= before + 300


def test_run_at_is_not_before(api, queue, now_ms):
    at = now_ms() + 300
    id = api.enqueue(queue, run_at=at)
    assert (api.state(id), api.task(id)["run_at"]) == ("scheduled", at)
    assert api.take(queue)["id"] == id
    assert now_ms(slack_ms=20) >= at


def test_a_run_at_in_the_past_is_now(api, queue):
    assert api.state(api.enqueue(queue, run_at=1_000)) == "ready"


def test_a_task_that_is_not_started_in_time_expires(api, queue):
    id = api.enqueue(queue, ttl_ms=50)
    task = api.task(id, wait_ms=10_000)
    assert task["state"] == "expired"
    assert api.dequeue(queue) == []


def test_expires_at_in_the_past_is_never_handed_out(api, queue):
    reply = api.call("POST", f"/v1/queues/{queue}/tasks", {"expires_at": 1_000})
    assert reply.status in (201, 422)
    assert api.dequeue(queue) == []


def test_a_started_task_does_not_expire(api, queue):
    id = api.enqueue(queue, ttl_ms=200)
    task = api.take(queue)
    assert api.task(id, wait_ms=500)["state"] == "running"
    assert api.ack(task) == {"state": "completed"}


def test_a_batch_is_kept_in_order(api, queue):
    ids = api.batch(queue, [{"payload": number} for number in range(100)])
    assert len(ids) == len(set(ids)) == 100
    tasks = api.dequeue(queue, max=100)
    assert [task["id"] for task in tasks] == ids
    assert [task["payload"] for task in tasks] == list(range(100))


def test_ten_thousand_tasks_fit_one_batch(api, queue):
    assert len(api.batch(queue, [{}] * 10_000)) == 10_000
    assert api.queue(queue)["counts"]["ready"] == 10_000


def test_a_batch_is_all_or_nothing(api, queue, check):
    api.enqueue(queue, unique_key="taken")
    tasks = [{}, {"unique_key": "taken", "on_conflict": "reject"}]
    check.problem(api.call("POST", f"/v1/queues/{queue}/tasks/batch", {"tasks": tasks}), 409, "conflict")
    check.field(
        api.call("POST", f"/v1/queues/{queue}/tasks/batch", {"tasks": [{}, {"priority": 5000}]}),
        "tasks[1].priority",
    )
    assert api.queue(queue)["counts"]["ready"] == 1


def test_a_partial_batch_answers_per_item(api, queue, unknown_id):
    first = api.enqueue(queue, unique_key="taken")
    tasks = [
        {"payload": 1},
        {"unique_key": "taken", "on_conflict": "reject"},
        {"unique_key": "taken"},
        {"depends_on": [unknown_id]},
    ]
    answer = api.good("POST", f"/v1/queues/{queue}/tasks/batch", {"tasks": tasks, "partial": True})
    good, conflict, duplicate, orphan = answer["results"]
    assert good["state"] == "ready" and api.state(good["id"]) == "ready"
    assert (conflict["status"], conflict["code"]) == (409, "conflict")
    assert (duplicate["id"], duplicate["duplicate"]) == (first, True)
    assert orphan["status"] == 422
    assert api.queue(queue)["counts"]["ready"] == 2


def workflow(api, tasks, status=201, **fields):
    reply = api.call("POST", "/v1/workflows", {"tasks": tasks, **fields})
    assert reply.status == status, reply
    return reply


def test_a_workflow_runs_in_the_order_of_its_references(api, queue):
    answer = workflow(
        api,
        [
            {"ref": "c", "queue": queue, "depends_on": ["a", {"id": "b", "on_failure": "run"}]},
            {"ref": "a", "queue": queue, "payload": 1},
            {"ref": "b", "queue": queue + "-other"},
        ],
    ).json
    assert set(answer) == {"id", "ids"} and set(answer["ids"]) == {"a", "b", "c"}
    ids = answer["ids"]
    assert api.state(ids["c"]) == "blocked"
    assert set(api.task(ids["c"])["depends_on"]) == {ids["a"], ids["b"]}
    assert {api.task(id)["workflow"] for id in ids.values()} == {answer["id"]}
    api.ack(api.take(queue))
    assert api.state(ids["c"]) == "blocked"
    api.fail(api.take(queue + "-other"), retryable=False)
    assert api.take(queue)["id"] == ids["c"]


def test_a_workflow_may_depend_on_tasks_that_exist(api, queue):
    parent = api.enqueue(queue)
    ids = workflow(api, [{"ref": "a", "queue": queue, "depends_on": [parent]}]).json["ids"]
    assert api.state(ids["a"]) == "blocked"
    api.ack(api.take(queue))
    assert api.take(queue)["id"] == ids["a"]


def test_a_cycle_is_refused_and_nothing_is_applied(api, queue, check):
    tasks = [
        {"ref": "a", "queue": queue, "depends_on": ["c"]},
        {"ref": "b", "queue": queue, "depends_on": ["a"]},
        {"ref": "c", "queue": queue, "depends_on": ["b"]},
        {"ref": "d", "queue": queue},
    ]
    check.problem(workflow(api, tasks, 422), 422, "cycle")
    check.problem(workflow(api, [{"ref": "a", "queue": queue, "depends_on": ["a"]}], 422), 422, "cycle")
    assert api.dequeue(queue) == []


def test_references_must_be_known_and_differ(api, queue, check, unknown_id):
    for tasks in (
        [{"ref": "a", "queue": queue, "depends_on": ["nobody"]}],
        [{"ref": "a", "queue": queue, "depends_on": [unknown_id]}],
        [{"ref": "a", "queue": queue}, {"ref": "a", "queue": queue}],
    ):
        check.problem(workflow(api, tasks, 422), 422, "invalid")
    assert api.dequeue(queue) == []


def test_an_idempotency_key_covers_a_whole_batch(api, queue, check):
    path, body, key = f"/v1/queues/{queue}/tasks/batch", {"tasks": [{}, {}]}, {"Idempotency_Key": queue}
    first, second = (api.call("POST", path, body, **key) for _ in range(2))
    assert (first.status, second.status, first.body) == (201, 201, second.body)
    assert api.queue(queue)["counts"]["ready"] == 2
    check.problem(api.call("POST", path, {"tasks": [{}]}, **key), 422, "idempotency_mismatch")
    other = api.call("POST", f"/v1/queues/{queue}-2/tasks/batch", body, **key)
    assert other.status == 201 and other.body != first.body, "the scope of a key is its path too"


def test_only_success_is_stored_under_an_idempotency_key(api, queue, check):
    path, key = f"/v1/queues/{queue}/tasks", {"Idempotency_Key": queue}
    check.field(api.call("POST", path, {"priority": 5000}, **key), "priority")
    assert api.call("POST", path, {"priority": 5}, **key).status == 201


def test_a_payload_of_one_mebibyte_is_taken(api, queue):
    payload = "x" * ((1 << 20) - 2)
    id = api.enqueue(queue, payload=payload)
    assert api.task(id)["payload"] == payload
    assert api.take(queue)["payload"] == payload
    assert json.loads(api.call("GET", f"/v1/tasks/{id}").body)["payload"] == payload


@pytest.mark.parametrize("durability", ["durable", "relaxed"])
def test_a_key_costs_no_more_than_its_queue_promises(api, queue, durability):
    api.call("PUT", f"/v1/queues/{queue}", {"durability": durability})
    reply = api.call("POST", f"/v1/queues/{queue}/tasks", {"payload": 1}, Idempotency_Key=queue)
    assert reply.status == 201 and reply.headers["durability"] == durability
