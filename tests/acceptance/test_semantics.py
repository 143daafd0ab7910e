"""Semantics: attempts, repeats, unique keys, dependencies, cancel and kill."""

import pytest

# -- attempts -------------------------------------------------------------------------------------


def test_attempts_grow_with_every_lease_and_never_fall(api, queue):
    api.enqueue(queue, max_attempts=2)
    for attempt in (1, 2, 3):
        task = api.take(queue)
        assert task["attempt"] == attempt
        api.release(task)
    api.fail(api.take(queue), delay_ms=0)
    last = api.take(queue)
    assert last["attempt"] == 5
    assert api.fail(last)["state"] == "dead"
    assert api.steer(last["id"], "retry")["state"] == "ready"
    again = api.take(queue)
    assert again["attempt"] == 6
    assert api.task(again["id"])["failures"] == 0, "a retry resets the failures, not the attempts"


def test_max_attempts_is_compared_with_failures(api, queue):
    id = api.enqueue(queue, max_attempts=2)
    assert api.fail(api.take(queue), delay_ms=0)["state"] in ("retrying", "ready")
    assert api.fail(api.take(queue))["state"] == "dead"
    task = api.task(id)
    assert (task["state"], task["failures"]) == ("dead", 2)


def test_an_expired_lease_adds_a_failure_and_is_ready_at_once(api, queue):
    id = api.enqueue(queue, lease_ms=50, backoff={"base_ms": 3_600_000})
    api.take(queue)
    assert api.take(queue, lease_ms=60_000)["attempt"] == 2
    assert api.task(id)["failures"] == 1


def test_an_expired_lease_of_the_last_attempt_is_dead(api, queue):
    id = api.enqueue(queue, lease_ms=50, max_attempts=1)
    api.take(queue)
    assert api.task(id, wait_ms=10_000)["state"] == "dead"


def test_the_length_of_a_lease_is_the_dequeues_else_the_tasks_else_the_queues(api, queue, now_ms):
    api.put_queue(queue, lease_ms=100_000)
    for task_says, dequeue_says, length in (
        (None, None, 100_000),
        (50_000, None, 50_000),
        (50_000, 20_000, 20_000),
    ):
        api.enqueue(queue, **({"lease_ms": task_says} if task_says else {}))
        before = now_ms()
        task = api.take(queue, **({"lease_ms": dequeue_says} if dequeue_says else {}))
        assert before + length <= task["lease_expires_at"] <= now_ms(slack_ms=20) + length
        before = now_ms()
        assert before + length <= api.heartbeat(task)["lease_expires_at"] <= now_ms(slack_ms=20) + length


def test_a_timeout_fails_the_attempt_heartbeats_or_not(api, queue):
    id = api.enqueue(queue, timeout_ms=300, max_attempts=1)
    task = api.take(queue, lease_ms=60_000)
    api.heartbeat(task, extend_ms=60_000)
    ended = api.task(id, wait_ms=10_000)
    assert (ended["state"], ended["failures"]) == ("dead", 1)


def test_an_expiry_binds_every_attempt(api, queue):
    id = api.enqueue(queue, ttl_ms=300)
    api.fail(api.take(queue), delay_ms=60_000)
    assert api.task(id, wait_ms=10_000)["state"] == "expired"


def test_time_blocked_and_paused_counts_for_the_expiry(api, queue):
    parent = api.enqueue(queue + "-parent")
    blocked = api.enqueue(queue, depends_on=[parent], ttl_ms=50)
    api.put_queue(queue + "-paused")
    api.good("POST", f"/v1/queues/{queue}-paused/pause")
    paused = api.enqueue(queue + "-paused", ttl_ms=50)
    for id in (blocked, paused):
        assert api.task(id, wait_ms=10_000)["state"] == "expired"


def test_blocked_comes_before_scheduled(api, queue):
    parent = api.enqueue(queue)
    child = api.enqueue(queue, depends_on=[parent], delay_ms=400)
    assert api.state(child) == "blocked"
    api.ack(api.take(queue))
    assert api.state(child) == "scheduled"
    assert api.take(queue)["id"] == child


# -- repeats --------------------------------------------------------------------------------------


def test_a_repeated_ack_answers_as_the_first(api, queue):
    api.enqueue(queue)
    task = api.take(queue)
    assert api.ack(task, result=1) == api.ack(task, result=1) == {"state": "completed"}


def test_a_repeated_ack_answers_although_the_result_is_not_kept(api, queue, check):
    id = api.enqueue(queue, result_ttl_ms=0)
    task = api.take(queue)
    assert api.ack(task) == api.ack(task) == {"state": "completed"}
    check.problem(api.call("GET", f"/v1/tasks/{id}"), 410, "gone")


def test_a_repeated_fail_or_release_gets_its_first_answer_until_the_next_lease(api, queue, check):
    api.enqueue(queue)
    task = api.take(queue)
    first = api.fail(task, delay_ms=100)
    assert api.fail(task, delay_ms=5_000) == first
    api.take(queue)
    check.problem(
        api.call("POST", f"/v1/tasks/{task['id']}/fail", {"lease": task["lease"]}), 409, "lease_lost"
    )
    api.enqueue(queue + "-r")
    task = api.take(queue + "-r")
    assert api.release(task) == api.release(task)
    api.take(queue + "-r")
    check.problem(
        api.call("POST", f"/v1/tasks/{task['id']}/release", {"lease": task["lease"]}), 409, "lease_lost"
    )


def test_an_ack_behind_a_fail_is_refused(api, queue, check):
    api.enqueue(queue)
    task = api.take(queue)
    api.fail(task, delay_ms=60_000)
    check.problem(
        api.call("POST", f"/v1/tasks/{task['id']}/ack", {"lease": task["lease"]}), 409, "lease_lost"
    )


def test_an_ended_task_is_forgotten_after_its_ttl(api, queue, check):
    id = api.enqueue(queue, result_ttl_ms=0)
    api.steer(id, "cancel")
    check.problem(api.call("GET", f"/v1/tasks/{id}"), 410, "gone")


def test_an_idempotent_ack_is_answered_the_same(api, queue):
    id = api.enqueue(queue)
    body = {"lease": api.take(queue)["lease"]}
    replies = [api.call("POST", f"/v1/tasks/{id}/ack", body, Idempotency_Key=queue) for _ in range(2)]
    assert [reply.status for reply in replies] == [200, 200]
    assert replies[0].body == replies[1].body


# -- unique keys ----------------------------------------------------------------------------------


def put(api, queue, status, **fields):
    return api.good("POST", f"/v1/queues/{queue}/tasks", {"unique_key": "k", **fields}, status)


def test_existing_answers_the_live_task(api, queue):
    first = put(api, queue, 201, payload=1)
    second = put(api, queue, 200, payload=2)
    assert second["id"] == first["id"] and second["duplicate"] is True
    assert api.task(first["id"])["payload"] == 1
    assert put(api, queue + "-2", 201)["id"] != first["id"], "unique is per queue"


def test_a_key_is_free_when_its_task_has_ended(api, queue):
    first = put(api, queue, 201)
    running = api.take(queue)
    assert put(api, queue, 200)["id"] == first["id"]
    api.ack(running)
    assert put(api, queue, 201)["id"] != first["id"]


def test_reject_is_a_conflict(api, queue, check):
    put(api, queue, 201)
    body = {"unique_key": "k", "on_conflict": "reject"}
    check.problem(api.call("POST", f"/v1/queues/{queue}/tasks", body), 409, "conflict")
    assert api.queue(queue)["counts"]["ready"] == 1


def test_replace_gives_a_waiting_holder_the_new_fields_in_its_place(api, queue):
    first = put(api, queue, 201, payload=1)
    other = api.enqueue(queue)
    answer = put(api, queue, 200, payload=2, priority=5, on_conflict="replace")
    assert (answer["id"], answer["duplicate"], answer["replaced"]) == (first["id"], True, True)
    tasks = api.dequeue(queue, max=2)
    assert [task["id"] for task in tasks] == [first["id"], other]
    assert (tasks[0]["payload"], tasks[0]["priority"]) == (2, 5)


def test_replace_gives_a_running_holder_one_successor(api, queue):
    first = put(api, queue, 201, payload=1)
    running = api.take(queue)
    second = put(api, queue, 201, payload=2, on_conflict="replace")
    assert second["id"] != first["id"] and second["state"] == "blocked"
    third = put(api, queue, 200, payload=3, on_conflict="replace")
    assert third["id"] == second["id"], "the successor is itself replaceable"
    assert api.dequeue(queue) == []
    api.ack(running)
    task = api.take(queue)
    assert (task["id"], task["payload"]) == (second["id"], 3)


def test_a_holder_with_a_successor_is_cancelled_instead_of_retried(api, queue):
    first = put(api, queue, 201)
    running = api.take(queue)
    second = put(api, queue, 201, on_conflict="replace")
    assert api.fail(running)["state"] == "cancelled"
    assert api.state(first["id"]) == "cancelled"
    assert api.take(queue)["id"] == second["id"]


def test_twins_within_a_batch_are_duplicates(api, queue):
    first = put(api, queue, 201)
    tasks = [{}, {"unique_key": "k"}, {"unique_key": "new"}, {"unique_key": "new"}]
    answer = api.good("POST", f"/v1/queues/{queue}/tasks/batch", {"tasks": tasks}, 201)
    assert answer["duplicates"] == [1, 3]
    assert answer["ids"][1] == first["id"] and answer["ids"][3] == answer["ids"][2]
    assert len(set(answer["ids"])) == 3


# -- dependencies ---------------------------------------------------------------------------------


def family(api, queue, **fields):
    parent = api.enqueue(queue)
    return parent, api.enqueue(queue + "-child", depends_on=[parent], **fields)


def test_a_child_waits_for_its_parent(api, queue):
    parent, child = family(api, queue)
    assert (api.state(parent), api.state(child)) == ("ready", "blocked")
    api.ack(api.take(queue))
    assert api.take(queue + "-child")["id"] == child


def test_a_child_waits_for_all_parents(api, queue):
    parents = api.batch(queue, [{}] * 3)
    child = api.enqueue(queue + "-child", depends_on=parents)
    for task in api.dequeue(queue, max=3):
        assert api.state(child) == "blocked"
        api.ack(task)
    assert api.take(queue + "-child")["id"] == child


def test_a_parent_that_has_completed_does_not_block(api, queue):
    parent = api.enqueue(queue)
    api.ack(api.take(queue))
    assert api.state(api.enqueue(queue, depends_on=[parent])) == "ready"


def test_a_child_of_a_failed_parent_is_cancelled_and_so_on_down(api, queue):
    parent, child = family(api, queue)
    grandchild = api.enqueue(queue, depends_on=[child])
    api.steer(parent, "kill")
    for id in (child, grandchild):
        assert api.task(id, wait_ms=10_000)["state"] == "cancelled"
    api.steer(parent, "retry")
    assert api.state(child) == "cancelled", "retrying a parent revives no cancelled child"


def test_run_takes_any_end(api, queue):
    parent, child = family(api, queue, on_dependency_failure="run")
    api.steer(parent, "kill")
    assert api.take(queue + "-child")["id"] == child


def test_hold_waits_until_the_parent_completes_after_all(api, queue):
    parent, child = family(api, queue, on_dependency_failure="hold")
    api.steer(parent, "kill")
    assert api.state(child) == "blocked"
    api.steer(parent, "retry")
    api.ack(api.take(queue))
    assert api.take(queue + "-child")["id"] == child


def test_hold_is_let_go_by_unblock(api, queue):
    parent, child = family(api, queue, on_dependency_failure="hold")
    api.steer(parent, "kill")
    assert api.steer(child, "unblock")["state"] == "ready"
    assert api.take(queue + "-child")["id"] == child


def test_a_deleted_parent_cancels_what_holds(api, queue):
    parent, child = family(api, queue, on_dependency_failure="hold")
    api.steer(parent, "kill")
    api.good("DELETE", f"/v1/tasks/{parent}")
    assert api.task(child, wait_ms=10_000)["state"] == "cancelled"


def test_edges_may_differ(api, queue):
    a, b = api.batch(queue, [{}, {}])
    child = api.enqueue(queue + "-child", depends_on=[{"id": a, "on_failure": "run"}, b])
    api.steer(a, "kill")
    assert api.state(child) == "blocked"
    api.steer(b, "kill")
    assert api.task(child, wait_ms=10_000)["state"] == "cancelled"


@pytest.mark.parametrize("how", ["unknown", "forgotten", "malformed"])
def test_a_parent_that_is_not_there_is_422(api, queue, check, unknown_id, how):
    parent = {"unknown": unknown_id, "malformed": "nonsense"}.get(how)
    if parent is None:
        parent = api.enqueue(queue, result_ttl_ms=0)
        api.ack(api.take(queue))
    check.problem(api.call("POST", f"/v1/queues/{queue}/tasks", {"depends_on": [parent]}), 422, "invalid")
    assert api.dequeue(queue) == []


def test_a_parent_and_its_result_are_kept_until_its_children_end(api, queue, check):
    parent = api.enqueue(queue, result_ttl_ms=0)
    api.enqueue(queue + "-child", depends_on=[parent], with_parents=True)
    api.ack(api.take(queue), result={"v": 1.50})
    assert api.task(parent)["state"] == "completed"
    child = api.take(queue + "-child")
    assert child["parents"] == {parent: {"v": 1.5}}
    api.ack(child)
    check.problem(api.call("GET", f"/v1/tasks/{parent}"), 410, "gone")


def test_parents_are_shown_when_the_queue_says_so(api, queue):
    api.put_queue(queue + "-child", with_parents=True)
    parent, _ = family(api, queue)
    api.ack(api.take(queue), result=[7])
    assert api.take(queue + "-child")["parents"] == {parent: [7]}


def test_a_fan_out_of_a_thousand_children_is_released(api, queue):
    parent = api.enqueue(queue)
    children = api.batch(queue + "-child", [{"depends_on": [parent]}] * 1_000)
    assert api.queue(queue + "-child")["counts"]["blocked"] == 1_000
    api.ack(api.take(queue))
    found = []
    while len(found) < 1_000:
        tasks = api.dequeue(queue + "-child", max=1_000, wait_ms=10_000)
        assert tasks
        found += [task["id"] for task in tasks]
    assert found == children


def test_a_chain_of_ten_thousand_is_cancelled_to_its_end(api, queue):
    tasks = [{"ref": "0", "queue": queue}]
    tasks += [{"ref": str(n), "queue": queue, "depends_on": [str(n - 1)]} for n in range(1, 10_000)]
    ids = api.good("POST", "/v1/workflows", {"tasks": tasks}, 201)["ids"]
    assert api.queue(queue)["counts"]["blocked"] == 9_999
    api.steer(ids["0"], "kill")
    assert api.task(ids["9999"], wait_ms=30_000)["state"] == "cancelled"
    counts = api.queue(queue)["counts"]
    assert (counts["dead"], counts["cancelled"], counts["blocked"]) == (1, 9_999, 0)


# -- cancel and kill ------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [{}, {"delay_ms": 60_000}])
def test_a_waiting_task_is_cancelled_at_once(api, queue, fields):
    id = api.enqueue(queue, **fields)
    assert api.steer(id, "cancel") == {"state": "cancelled"}
    assert api.state(id) == "cancelled" and api.dequeue(queue) == []


def test_a_running_task_learns_of_its_cancellation(api, queue):
    id = api.enqueue(queue)
    task = api.take(queue)
    assert api.steer(id, "cancel") == {"state": "running", "cancel_requested": True}
    assert api.heartbeat(task)["cancel"] is True
    assert api.ack(task)["state"] == "completed"


@pytest.mark.parametrize("verb", ["fail", "release"])
def test_a_cancelled_run_that_does_not_complete_is_cancelled(api, queue, verb):
    id = api.enqueue(queue)
    task = api.take(queue)
    api.steer(id, "cancel")
    assert api.settle_one(verb, task)["state"] == "cancelled"
    assert api.state(id) == "cancelled"


def test_a_cancelled_run_whose_lease_expires_is_cancelled(api, queue):
    id = api.enqueue(queue, lease_ms=100)
    api.take(queue)
    api.steer(id, "cancel")
    assert api.task(id, wait_ms=10_000)["state"] == "cancelled"


def test_an_ended_task_cannot_be_cancelled(api, queue, check):
    id = api.enqueue(queue)
    api.ack(api.take(queue))
    check.problem(api.call("POST", f"/v1/tasks/{id}/cancel"), 409, "conflict")


def test_a_kill_revokes_the_lease_at_once(api, queue, check):
    id = api.enqueue(queue)
    task = api.take(queue)
    assert api.steer(id, "kill")["state"] == "dead"
    check.problem(api.call("POST", f"/v1/tasks/{id}/ack", {"lease": task["lease"]}), 409, "lease_lost")
    assert api.state(id) == "dead"


def test_a_running_task_cannot_be_deleted(api, queue, check):
    id = api.enqueue(queue)
    task = api.take(queue)
    check.problem(api.call("DELETE", f"/v1/tasks/{id}"), 409, "conflict")
    api.ack(task)
    api.good("DELETE", f"/v1/tasks/{id}")
    assert api.call("GET", f"/v1/tasks/{id}").status in (404, 410)


def test_a_waiting_task_can_be_deleted(api, queue):
    id = api.enqueue(queue)
    api.good("DELETE", f"/v1/tasks/{id}")
    assert api.call("GET", f"/v1/tasks/{id}").status in (404, 410)
    assert api.dequeue(queue) == []


def test_only_a_dead_task_is_retried(api, queue, check):
    id = api.enqueue(queue)
    check.problem(api.call("POST", f"/v1/tasks/{id}/retry"), 409, "conflict")
    api.steer(id, "kill")
    assert api.steer(id, "retry")["state"] == "ready"
