"""Consume: dequeue, ack, fail, release, heartbeat, settle, and what a lease is."""

import threading


def test_a_leased_task_has_all_that_a_worker_needs(api, queue, now_ms):
    id = api.enqueue(queue, name="n", payload=[1], priority=3, group="g", meta={"a": "b"}, lease_ms=5_000)
    before = now_ms()
    task = api.take(queue, worker="w1")
    assert {
        "id",
        "queue",
        "name",
        "payload",
        "attempt",
        "lease",
        "lease_expires_at",
        "priority",
        "group",
        "meta",
    } <= set(task)
    assert (task["id"], task["queue"], task["name"], task["payload"]) == (id, queue, "n", [1])
    assert (task["attempt"], task["priority"], task["group"], task["meta"]) == (1, 3, "g", {"a": "b"})
    assert before + 5_000 <= task["lease_expires_at"] <= now_ms(slack_ms=20) + 5_000
    seen = api.task(id)
    assert (seen["state"], seen["attempt"], seen["worker"]) == ("running", 1, "w1")
    assert seen["lease_expires_at"] == task["lease_expires_at"]
    assert task["lease"] not in str(seen), "the lease token is shown to its holder alone"


def test_an_empty_queue_answers_empty_after_wait_ms(api, queue, now_ms):
    assert api.dequeue(queue) == []
    before = now_ms()
    assert api.dequeue(queue, wait_ms=200) == []
    assert now_ms(slack_ms=20) - before >= 200


def test_a_poll_that_waits_is_woken_by_an_enqueue(api, queue):
    waiting = api.connect()
    waiting.send("POST", f"/v1/queues/{queue}/dequeue", {"wait_ms": 20_000})
    id = api.enqueue(queue)
    assert [task["id"] for task in waiting.receive().json["tasks"]] == [id]


def test_at_most_max_tasks_are_handed_out_and_it_does_not_wait_to_fill(api, queue):
    ids = api.batch(queue, [{}] * 5)
    assert [task["id"] for task in api.dequeue(queue, max=3, wait_ms=10_000)] == ids[:3]
    assert [task["id"] for task in api.dequeue(queue, max=3, wait_ms=10_000)] == ids[3:]


def test_a_list_of_queues_is_served_in_its_order(api, queue):
    first, second = queue + "-1", queue + "-2"
    late = api.enqueue(second)
    early = api.enqueue(first)
    tasks = api.good("POST", "/v1/dequeue", {"queues": [first, second, "unknown-" + queue], "max": 2})[
        "tasks"
    ]
    assert [task["id"] for task in tasks] == [early, late]


def test_queues_by_weight_are_drawn_by_weight(api, queue):
    heavy, light = queue + "-heavy", queue + "-light"
    api.batch(heavy, [{}] * 400)
    api.batch(light, [{}] * 400)
    tasks = api.good("POST", "/v1/dequeue", {"queues": {heavy: 9, light: 1}, "max": 200})["tasks"]
    count = sum(task["queue"] == heavy for task in tasks)
    assert 150 <= count < 200, "9 of 10, give or take"
    more = api.good("POST", "/v1/dequeue", {"queues": {light: 1, queue + "-none": 1_000}, "max": 10})["tasks"]
    assert len(more) == 10, "only queues that can serve are drawn"


def test_an_unknown_queue_wakes_the_poll_when_it_appears(api, queue):
    waiting = api.connect()
    waiting.send("POST", "/v1/dequeue", {"queues": [queue + "-a", queue + "-b"], "wait_ms": 20_000})
    id = api.enqueue(queue + "-b")
    assert waiting.receive().json["tasks"][0]["id"] == id


def test_an_ack_completes_and_keeps_the_result(api, queue):
    id = api.enqueue(queue)
    assert api.ack(api.take(queue), result={"sum": 1.0}) == {"state": "completed"}
    task = api.task(id)
    assert (task["state"], task["result"], task["lease_expires_at"]) == ("completed", {"sum": 1.0}, None)
    assert task["started_at"] <= task["ended_at"]


def test_a_failed_attempt_is_retried_after_its_backoff(api, queue, now_ms):
    id = api.enqueue(queue, backoff={"base_ms": 200, "factor": 2.0, "max_ms": 10_000, "jitter": 0.0})
    error = {"type": "ValueError", "message": "boom", "traceback": "at line 1"}
    before = now_ms()
    answer = api.fail(api.take(queue, worker="w"), error=error)
    assert answer["state"] == "retrying"
    assert before + 200 <= answer["run_at"] <= now_ms(slack_ms=20) + 200
    task = api.task(id)
    assert (task["state"], task["failures"], task["attempt"]) == ("retrying", 1, 1)
    kept = task["errors"][0]
    assert {name: kept[name] for name in error} == error
    assert (kept["attempt"], kept["worker"]) == (1, "w") and kept["at"] >= before
    again = api.take(queue)
    assert (again["id"], again["attempt"]) == (id, 2)
    before = now_ms()
    assert before + 400 <= api.fail(again)["run_at"] <= now_ms(slack_ms=20) + 400


def test_jitter_stays_within_its_share(api, queue, now_ms):
    api.batch(
        queue, [{"backoff": {"base_ms": 100_000, "factor": 1.0, "max_ms": 100_000, "jitter": 0.5}}] * 20
    )
    delays = []
    for task in api.dequeue(queue, max=20):
        before = now_ms()
        delays.append(api.fail(task)["run_at"] - before)
    assert all(49_000 <= delay <= 151_000 for delay in delays)
    assert len(set(delays)) > 5


def test_a_fail_may_say_its_delay(api, queue, now_ms):
    api.enqueue(queue)
    before = now_ms()
    answer = api.fail(api.take(queue), delay_ms=50_000)
    assert before + 50_000 <= answer["run_at"] <= now_ms(slack_ms=20) + 50_000


def test_a_fail_that_is_not_retryable_is_dead(api, queue):
    id = api.enqueue(queue)
    assert api.fail(api.take(queue), retryable=False) == {"state": "dead"}
    assert api.state(id) == "dead"


def test_a_release_puts_the_task_back_uncounted(api, queue):
    id = api.enqueue(queue)
    api.release(api.take(queue))
    task = api.take(queue)
    assert (task["id"], task["attempt"]) == (id, 2)
    assert api.task(id)["failures"] == 0
    assert api.release(task, delay_ms=60_000)
    assert api.state(id) in ("scheduled", "retrying")
    assert api.dequeue(queue) == []


def test_a_heartbeat_extends_the_lease_and_shows_progress(api, queue, now_ms):
    id = api.enqueue(queue, lease_ms=1_000)
    task = api.take(queue)
    before = now_ms()
    answer = api.heartbeat(task, extend_ms=60_000, progress={"done": 5})
    assert answer["cancel"] is False
    assert before + 60_000 <= answer["lease_expires_at"] <= now_ms(slack_ms=20) + 60_000
    seen = api.task(id)
    assert (seen["lease_expires_at"], seen["progress"]) == (answer["lease_expires_at"], {"done": 5})
    before = now_ms()
    assert before + 1_000 <= api.heartbeat(task)["lease_expires_at"] <= now_ms(slack_ms=20) + 1_000
    assert api.task(id)["progress"] == {"done": 5}, "a heartbeat without progress leaves it"


def test_a_lease_that_another_holds_is_lost_and_changes_nothing(api, queue, check):
    id = api.enqueue(queue)
    task = api.take(queue)
    wrong = {"lease": task["lease"][:-1] + ("0" if task["lease"][-1] != "0" else "1")}
    for verb in ("ack", "fail", "release", "heartbeat"):
        problem = check.problem(api.call("POST", f"/v1/tasks/{id}/{verb}", wrong), 409, "lease_lost")
        assert problem["outcome"] == "not_applied"
        check.problem(api.call("POST", f"/v1/tasks/{id}/{verb}", {"lease": "rubbish"}), 409, "lease_lost")
    assert api.state(id) == "running"
    assert api.ack(task)["state"] == "completed"


def test_a_late_ack_of_an_expired_lease_is_refused(api, queue, check):
    id = api.enqueue(queue, lease_ms=50)
    late = api.take(queue)
    current = api.take(queue, lease_ms=60_000)
    assert (current["id"], current["attempt"]) == (id, 2)
    check.problem(api.call("POST", f"/v1/tasks/{id}/ack", {"lease": late["lease"]}), 409, "lease_lost")
    assert api.ack(current)["state"] == "completed"


def test_an_unknown_task_is_404(api, check, unknown_id):
    for verb in ("ack", "fail", "release", "heartbeat"):
        check.problem(api.call("POST", f"/v1/tasks/{unknown_id}/{verb}", {"lease": "x"}), 404, "not_found")


def test_a_settle_is_a_whole_round_trip(api, queue, unknown_id):
    ids = api.batch(queue, [{"payload": number, "backoff": {"jitter": 0}} for number in range(6)])
    a, b, c, d = api.dequeue(queue, max=4)
    answer = api.good(
        "POST",
        "/v1/settle",
        {
            "ack": [{"id": a["id"], "lease": a["lease"], "result": "r"}, {"id": unknown_id, "lease": "x"}],
            "fail": [{"id": b["id"], "lease": b["lease"], "error": {"type": "E"}}],
            "release": [{"id": c["id"], "lease": c["lease"], "delay_ms": 60_000}],
            "heartbeat": [{"id": d["id"], "lease": d["lease"]}, {"id": d["id"], "lease": "stale"}],
            "dequeue": {"queues": [queue], "max": 2},
        },
    )
    assert set(answer) == {"ack", "fail", "release", "heartbeat", "tasks"}
    assert answer["ack"][0] == {"state": "completed"}
    assert (answer["ack"][1]["status"], answer["ack"][1]["code"]) == (404, "not_found")
    assert answer["fail"][0]["state"] == "retrying"
    assert len(answer["release"]) == 1 and "status" not in answer["release"][0]
    assert answer["heartbeat"][0]["cancel"] is False
    assert (answer["heartbeat"][1]["status"], answer["heartbeat"][1]["code"]) == (409, "lease_lost")
    assert [task["id"] for task in answer["tasks"]] == ids[4:]
    assert api.task(a["id"])["result"] == "r"


def test_the_dequeue_of_a_settle_sees_its_effect(api, queue):
    id = api.enqueue(queue)
    task = api.take(queue)
    answer = api.good(
        "POST",
        "/v1/settle",
        {"release": [{"id": id, "lease": task["lease"]}], "dequeue": {"queues": [queue]}},
    )
    assert [(each["id"], each["attempt"]) for each in answer["tasks"]] == [(id, 2)]


def test_a_settle_with_items_does_not_wait_unless_told(api, queue, now_ms):
    api.enqueue(queue)
    task = api.take(queue)
    beat = {"heartbeat": [{"id": task["id"], "lease": task["lease"]}]}
    wait = {"dequeue": {"queues": [queue], "wait_ms": 20_000}}
    before = now_ms()
    assert api.good("POST", "/v1/settle", {**beat, **wait})["tasks"] == []
    assert now_ms() - before < 5_000
    waiting = api.connect()
    waiting.send("POST", "/v1/settle", {**beat, **wait, "wait": "always"})
    id = api.enqueue(queue)
    answer = waiting.receive().json
    assert [each["id"] for each in answer["tasks"]] == [id] and answer["heartbeat"][0]["cancel"] is False
    waiting.send("POST", "/v1/settle", wait)
    other = api.enqueue(queue)
    assert [each["id"] for each in waiting.receive().json["tasks"]] == [other], "without items it waits"


def test_an_empty_settle_answers_empty(api):
    assert api.good("POST", "/v1/settle", {}) == {
        "ack": [],
        "fail": [],
        "release": [],
        "heartbeat": [],
        "tasks": [],
    }


def test_requests_behind_a_poll_wait_for_it(api, queue):
    pipelined = api.connect()
    pipelined.send("POST", f"/v1/queues/{queue}/dequeue", {"wait_ms": 20_000})
    pipelined.send("GET", "/healthz")
    pipelined.send("POST", f"/v1/queues/{queue}-2/tasks", {})
    id = api.enqueue(queue)
    assert pipelined.receive().json["tasks"][0]["id"] == id
    assert [pipelined.receive().status, pipelined.receive().status] == [200, 201]


def test_a_task_is_not_lost_to_a_client_that_has_gone(api, queue):
    gone = api.connect()
    gone.send("POST", f"/v1/queues/{queue}/dequeue", {"wait_ms": 20_000})
    gone.close()
    id = api.enqueue(queue, lease_ms=60_000)
    assert api.take(queue)["id"] == id


def test_every_task_goes_to_one_of_many_consumers(api, queue):
    ids = api.batch(queue, [{}] * 200)
    found, connections = [], [api.connect() for _ in range(4)]

    def consume(connection):
        while tasks := connection.call("POST", f"/v1/queues/{queue}/dequeue", {"max": 7}).json["tasks"]:
            found.extend(task["id"] for task in tasks)

    threads = [threading.Thread(target=consume, args=(each,)) for each in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(ids)


def test_a_reply_stops_at_sixteen_mebibytes(api, queue):
    payload = "x" * 1_000_000
    for _ in range(20):
        api.enqueue(queue, payload=payload)
    reply = api.call("POST", f"/v1/queues/{queue}/dequeue", {"max": 1_000})
    assert len(reply.body) <= 16 << 20
    tasks = reply.json["tasks"]
    assert 10 <= len(tasks) < 20
    assert len(tasks) + len(api.dequeue(queue, max=1_000)) == 20
