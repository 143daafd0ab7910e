"""Look and steer: tasks, lists, history, why, edit, bulk, workflows, dead letters, the server itself."""

import pytest
from prometheus_client.parser import text_string_to_metric_families


def listed(api, query):
    """All pages of a list."""
    found, cursor = [], None
    while True:
        answer = api.good("GET", f"/v1/tasks?{query}" + (f"&cursor={cursor}" if cursor else ""))
        assert {"tasks", "cursor", "scanned"} <= set(answer)
        found += answer["tasks"]
        cursor = answer["cursor"]
        if cursor is None:
            return found


def test_a_task_has_the_shape_described(api, queue):
    task = api.task(api.enqueue(queue))
    fields = "id queue name state priority group attempt failures max_attempts created_at run_at started_at"
    fields += (
        " ended_at expires_at lease_expires_at worker progress result errors reason tags meta depends_on"
    )
    fields += " children workflow payload"
    assert set(fields.split()) <= set(task)


def test_a_look_may_wait_for_the_end(api, queue):
    id = api.enqueue(queue)
    waiting = api.connect()
    waiting.send("GET", f"/v1/tasks/{id}?wait_ms=20000")
    api.ack(api.take(queue), result=1)
    assert (reply := waiting.receive().json)["state"] == "completed" and reply["result"] == 1


def test_a_look_that_waits_in_vain_shows_what_is(api, queue, now_ms):
    id = api.enqueue(queue)
    before = now_ms()
    assert api.task(id, wait_ms=200)["state"] == "ready"
    assert now_ms(slack_ms=20) - before >= 200


def test_the_last_ten_errors_are_kept(api, queue):
    id = api.enqueue(queue, max_attempts=20)
    for number in range(12):
        api.fail(api.take(queue), error={"type": f"E{number}"}, delay_ms=0)
    errors = api.task(id)["errors"]
    assert [error["type"] for error in errors] == [f"E{number}" for number in range(2, 12)]
    assert {"at", "attempt", "type", "message", "traceback", "worker"} <= set(errors[0])


def test_a_history_tells_who_when_and_which_attempt(api, queue):
    id = api.enqueue(queue)
    api.fail(api.take(queue, worker="w1"), error={"type": "Boom"}, delay_ms=0)
    api.ack(api.take(queue, worker="w2"))
    events = api.good("GET", f"/v1/tasks/{id}/history")
    assert all({"at", "event", "attempt", "worker", "detail"} <= set(event) for event in events)
    assert [event["at"] for event in events] == sorted(event["at"] for event in events)
    assert {("w1", 1), ("w2", 2)} <= {(event["worker"], event["attempt"]) for event in events}
    assert "Boom" in str(events)


def why(api, id):
    answer = api.good("GET", f"/v1/tasks/{id}/why")
    assert all(reason["code"] and reason["detail"] for reason in answer["reasons"])
    return answer["state"], {reason["code"] for reason in answer["reasons"]}


def test_why_says_what_a_task_waits_for(api, queue):
    parent = api.enqueue(queue)
    assert why(api, api.enqueue(queue, depends_on=[parent]))[0] == "blocked"
    for fields in ({"delay_ms": 60_000}, {"depends_on": [parent]}):
        assert why(api, api.enqueue(queue, **fields))[1], "a reason is given"
    api.good("POST", f"/v1/queues/{queue}/pause")
    state, codes = why(api, parent)
    assert state == "ready" and any("pause" in code for code in codes)


def test_why_tells_what_runs_and_what_has_ended(api, queue):
    id = api.enqueue(queue)
    task = api.take(queue)
    assert why(api, id)[0] == "running"
    api.ack(task)
    assert why(api, id)[0] == "completed"


def test_tasks_are_listed_by_every_filter(api, queue, now_ms):
    before = now_ms()
    plain = api.enqueue(queue)
    special = api.enqueue(queue, name="n.x", group="g", tags=["t", "u"])
    scheduled = api.enqueue(queue, delay_ms=60_000)
    dead = api.enqueue(queue, name="n.x")
    ids = [plain, special, scheduled, dead]
    for task in api.dequeue(queue, max=10):
        if task["id"] == dead:
            api.fail(task, error={"type": "Boom"}, retryable=False)
        else:
            api.release(task)

    def found(query):
        return sorted(
            task["id"] for task in listed(api, f"queue={queue}&{query}" if query else f"queue={queue}")
        )

    assert found("") == sorted(ids)
    assert found("state=ready") == sorted([plain, special])
    assert found("state=scheduled") == [scheduled]
    assert found("state=dead") == [dead]
    assert found("name=n.x") == sorted([special, dead])
    assert found("group=g") == found("tag=u") == [special]
    assert found("error=Boom") == [dead]
    assert found(f"id={plain},{dead}") == sorted([plain, dead])
    assert found(f"after={before}&before={now_ms() + 1}") == sorted(ids)
    assert found(f"after={now_ms() + 60_000}") == found("name=nobody") == []


def test_a_list_is_read_page_by_page(api, queue):
    ids = api.batch(queue, [{}] * 25)
    page = api.good("GET", f"/v1/tasks?queue={queue}&limit=10")
    assert len(page["tasks"]) == 10 and page["cursor"]
    assert sorted(task["id"] for task in listed(api, f"queue={queue}&limit=10")) == sorted(ids)


def test_a_cursor_that_is_rubbish_is_422(api, check):
    reply = api.call("GET", "/v1/tasks?cursor=rubbish")
    check.field(reply, "cursor")


def test_a_waiting_task_can_be_edited(api, queue, now_ms):
    api.put_queue(queue, discipline="priority")
    first = api.enqueue(queue, payload="first")
    id = api.enqueue(queue, payload="second")
    later = now_ms() + 60_000
    answer = api.good(
        "PATCH", f"/v1/tasks/{id}", {"priority": 10, "payload": {"new": 1}, "expires_at": later}
    )
    assert answer["state"] == "ready"
    task = api.task(id)
    assert (task["priority"], task["payload"], task["expires_at"]) == (10, {"new": 1}, later)
    assert [each["id"] for each in api.dequeue(queue, max=2)] == [id, first]


def test_an_edited_run_at_schedules_and_makes_due(api, queue, now_ms):
    id = api.enqueue(queue)
    assert api.good("PATCH", f"/v1/tasks/{id}", {"run_at": now_ms() + 60_000})["state"] == "scheduled"
    assert api.dequeue(queue) == []
    api.good("PATCH", f"/v1/tasks/{id}", {"run_at": now_ms()})
    assert api.take(queue)["id"] == id


def test_a_task_that_runs_or_has_ended_cannot_be_edited(api, queue, check):
    id = api.enqueue(queue)
    task = api.take(queue)
    check.problem(api.call("PATCH", f"/v1/tasks/{id}", {"priority": 1}), 409, "conflict")
    api.ack(task)
    check.problem(api.call("PATCH", f"/v1/tasks/{id}", {"priority": 1}), 409, "conflict")


@pytest.mark.parametrize(
    ("action", "state", "after"),
    [
        ("cancel", "ready", "cancelled"),
        ("kill", "ready", "dead"),
        ("retry", "dead", "ready"),
        ("delete", "dead", None),
    ],
)
def test_bulk_acts_on_all_tasks_of_a_filter(api, queue, action, state, after):
    ids = api.batch(queue, [{"tags": ["x"]}] * 5)
    other = api.enqueue(queue)
    if state == "dead":
        for id in ids:
            api.steer(id, "kill")
    body = {"action": action, "filter": {"queue": queue, "state": state, "tag": "x"}}
    assert api.good("POST", "/v1/bulk", {**body, "dry_run": True}) == {"matched": 5, "changed": 0}
    assert {api.state(id) for id in ids} == {state}
    assert api.good("POST", "/v1/bulk", body) == {"matched": 5, "changed": 5}
    if after is None:
        assert all(api.call("GET", f"/v1/tasks/{id}").status in (404, 410) for id in ids)
    else:
        assert {api.state(id) for id in ids} == {after}
    assert api.state(other) == "ready"


def test_bulk_runs_over_thousands(api, queue):
    api.batch(queue, [{}] * 2_500)
    body = {"action": "cancel", "filter": {"queue": queue}}
    assert api.good("POST", "/v1/bulk", body) == {"matched": 2_500, "changed": 2_500}
    assert api.queue(queue)["counts"]["ready"] == 0


def test_bulk_takes_ids(api, queue, unknown_id):
    ids = api.batch(queue, [{}] * 3)
    body = {"action": "cancel", "filter": {"id": [ids[0], ids[2], unknown_id]}}
    assert api.good("POST", "/v1/bulk", body)["changed"] == 2
    assert [api.state(id) for id in ids] == ["cancelled", "ready", "cancelled"]


def test_workflows_are_listed_shown_and_cancelled(api, queue, check, unknown_id):
    tasks = [{"ref": "a", "queue": queue}, {"ref": "b", "queue": queue, "depends_on": ["a"]}]
    made = api.good("POST", "/v1/workflows", {"tasks": tasks, "name": queue[:100]}, 201)
    seen = api.good("GET", f"/v1/workflows/{made['id']}")
    assert (seen["id"], seen["name"]) == (made["id"], queue[:100])
    assert {state: count for state, count in seen["counts"].items() if count} == {"ready": 1, "blocked": 1}
    assert sorted(task["id"] for task in seen["tasks"]) == sorted(made["ids"].values())
    assert made["id"] in [each["id"] for each in api.good("GET", "/v1/workflows")["workflows"]]
    found = listed(api, f"workflow={made['id']}")
    assert sorted(task["id"] for task in found) == sorted(made["ids"].values())
    assert api.good("POST", f"/v1/workflows/{made['id']}/cancel") == {"matched": 2, "changed": 2}
    assert {api.state(id) for id in made["ids"].values()} == {"cancelled"}
    for method, path in (("GET", ""), ("POST", "/cancel")):
        check.problem(api.call(method, f"/v1/workflows/{unknown_id}{path}"), 404, "not_found")


def test_dead_letters_are_grouped_by_error(api, queue):
    for kind in ("A", "A", "B"):
        api.enqueue(queue, name="n")
        api.fail(api.take(queue), error={"type": kind, "message": "m"}, retryable=False)
    groups = api.good("GET", f"/v1/dead/groups?queue={queue}")["groups"]
    assert [(group["queue"], group["name"], group["error"], group["count"]) for group in groups] == [
        (queue, "n", "A", 2),
        (queue, "n", "B", 1),
    ]
    # Where nothing failed, the reason stands for the error, and a filter knows it too.
    killed = api.enqueue(queue, name="n")
    api.good("POST", f"/v1/tasks/{killed}/kill")
    groups = api.good("GET", f"/v1/dead/groups?queue={queue}")["groups"]
    reason = next(group["error"] for group in groups if group["example"] == killed)
    for error, count in ((reason, 1), ("A", 2)):
        wanted = {"queue": queue, "state": "dead", "error": error}
        reply = api.good("POST", "/v1/bulk", {"action": "retry", "filter": wanted, "dry_run": True})
        assert reply["matched"] == count


def test_workers_are_seen_with_what_they_run(api, queue):
    id = api.enqueue(queue, name="n")
    api.take(queue, worker=queue[:60])
    workers = {worker["name"]: worker for worker in api.good("GET", "/v1/workers")["workers"]}
    worker = workers[queue[:60]]
    assert [(task["id"], task["name"]) for task in worker["running"]] == [(id, "n")]
    assert queue in worker["queues"] and worker["last_seen_at"] > 0


# -- the server itself ----------------------------------------------------------------------------


def test_the_server_says_that_it_is_alive_and_ready(api):
    assert api.good("GET", "/healthz")["status"] == "ok"
    assert api.good("GET", "/readyz")["status"] == "ok"


def test_stats_show_the_server_in_one_look(api, queue):
    api.enqueue(queue)
    stats = api.good("GET", "/v1/stats")
    assert stats["uptime_ms"] > 0 and stats["counts"]["ready"] >= 1 and stats["connections"] >= 1
    assert stats["totals"] and stats["latency_ms"] and stats["process"] and stats["host"]


def test_metrics_are_in_the_prometheus_text_format(api, queue):
    api.enqueue(queue)
    reply = api.call("GET", "/metrics")
    assert reply.status == 200 and reply.headers["content-type"].startswith("text/plain")
    families = list(text_string_to_metric_families(reply.body.decode()))
    assert len(families) > 20 and all(family.name.startswith("taskqueuex_") for family in families)
    samples = [sample for family in families for sample in family.samples]
    assert any(sample.labels.get("queue") == queue for sample in samples)


@pytest.mark.parametrize(("span", "step"), [("1h", 10_000), ("24h", 60_000), ("30d", 900_000)])
def test_the_history_of_metrics_is_in_steps(api, span, step):
    answer = api.good("GET", f"/v1/metrics/history?range={span}")
    assert answer["step_ms"] == step
    assert [point["at"] for point in answer["points"]] == sorted(point["at"] for point in answer["points"])


def test_a_backup_is_refused_where_something_is(api, tmp_path, check):
    check.problem(api.call("POST", "/v1/admin/backup", {"path": str(tmp_path)}), 409, "conflict")
    for path in ("relative", str(tmp_path / "a" / "b")):
        check.field(api.call("POST", "/v1/admin/backup", {"path": path}), "path")


def test_a_wrong_question_beside_a_memory_queue_is_only_refused(api, queue, check, unknown_id):
    api.put_queue(queue, durability="memory", max_tasks=10)
    check.field(api.call("GET", "/v1/workflows?cursor=rubbish"), "cursor")
    check.problem(api.call("GET", f"/v1/workflows/{unknown_id}"), 404, "not_found")
    assert api.good("GET", "/readyz")["status"] == "ok", "a client's mistake is no failure of the store"
