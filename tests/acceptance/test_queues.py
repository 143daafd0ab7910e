"""Queues: settings, counts, pause, purge, delete."""

import pytest

SETTINGS = {
    "discipline": "fifo",
    "partitions": 1,
    "max_tasks": None,
    "overflow": "reject",
    "lease_ms": 30_000,
    "max_attempts": 5,
    "backoff": {"base_ms": 1_000, "factor": 2.0, "max_ms": 3_600_000, "jitter": 0.1},
    "result_ttl_ms": 600_000,
    "dead_ttl_ms": 30 * 86_400_000,
    "rate_limit": None,
    "max_running": None,
    "max_running_per_group": None,
    "ordered_groups": False,
    "durability": "durable",
}


def test_a_queue_is_created_with_defaults_by_its_first_task(api, queue, check):
    check.problem(api.call("GET", f"/v1/queues/{queue}"), 404, "not_found")
    api.enqueue(queue)
    seen = api.queue(queue)
    assert {name: seen[name] for name in SETTINGS} == SETTINGS
    assert (seen["name"], seen["paused"], seen["counts"]["ready"]) == (queue, False, 1)


def test_a_dequeue_creates_no_queue(api, queue, check):
    api.dequeue(queue)
    check.problem(api.call("GET", f"/v1/queues/{queue}"), 404, "not_found")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("discipline", "priority"),
        ("partitions", 4),
        ("max_tasks", 100),
        ("lease_ms", 5_000),
        ("max_attempts", 9),
        ("backoff", {"base_ms": 1, "factor": 1.0, "max_ms": 10, "jitter": 0.0}),
        ("result_ttl_ms", 0),
        ("dead_ttl_ms", 1_000),
        ("rate_limit", {"per_second": 2.5, "burst": 7}),
        ("max_running", 3),
        ("max_running_per_group", 1),
        ("ordered_groups", True),
        ("durability", "relaxed"),
    ],
)
def test_a_setting_is_changed_alone_and_null_restores_it(api, queue, name, value):
    api.put_queue(queue, lease_ms=7_000)
    changed = api.put_queue(queue, **{name: value})
    assert changed[name] == value
    assert name == "lease_ms" or changed["lease_ms"] == 7_000
    assert api.queue(queue)[name] == value
    assert api.put_queue(queue, **{name: None})[name] == SETTINGS[name]


def test_overflow_is_changed_and_restored(api, queue):
    assert api.put_queue(queue, max_tasks=5, overflow="drop_oldest")["overflow"] == "drop_oldest"
    assert api.put_queue(queue, overflow=None)["overflow"] == "reject"


def test_a_put_creates_or_changes(api, queue):
    assert api.call("PUT", f"/v1/queues/{queue}", {}).status == 201
    assert api.call("PUT", f"/v1/queues/{queue}", {}).status == 200


def test_the_settings_of_a_queue_are_the_defaults_of_its_tasks(api, queue):
    api.put_queue(queue, max_attempts=1)
    id = api.enqueue(queue)
    assert api.task(id)["max_attempts"] == 1
    assert api.fail(api.take(queue)) == {"state": "dead"}


def test_partitions_of_a_queue_that_is_not_empty_cannot_change(api, queue, check):
    api.enqueue(queue)
    check.problem(api.call("PUT", f"/v1/queues/{queue}", {"partitions": 2}), 409, "conflict")
    assert api.queue(queue)["partitions"] == 1


def test_queues_are_listed_by_name(api, queue):
    api.put_queue(queue + "-b")
    api.put_queue(queue + "-a")
    names = [each["name"] for each in api.good("GET", "/v1/queues")["queues"]]
    assert names == sorted(names) and {queue + "-a", queue + "-b"} <= set(names)


def test_counts_are_per_state(api, queue):
    parent = api.enqueue(queue)
    api.enqueue(queue, depends_on=[parent])
    api.enqueue(queue, delay_ms=60_000)
    api.kill_new(queue)
    api.steer(api.enqueue(queue), "cancel")
    api.take(queue)
    api.enqueue(queue)
    counts = api.queue(queue)["counts"]
    wanted = {"running": 1, "blocked": 1, "scheduled": 1, "dead": 1, "cancelled": 1, "ready": 1}
    assert {state: count for state, count in counts.items() if count} == wanted
    assert set(counts) >= {"retrying", "completed", "expired"}


def test_a_queue_shows_its_age_rates_and_percentiles(api, queue):
    api.enqueue(queue)
    seen = api.queue(queue)
    assert seen["oldest_ready_age_ms"] >= 0
    assert set(seen["rates"]) == {"in", "out", "failed"}
    api.ack(api.take(queue))
    seen = api.queue(queue)
    assert seen["oldest_ready_age_ms"] is None
    assert seen["wait_ms"]["p50"] >= 0 and seen["run_ms"]["p99"] >= 0


def test_a_paused_queue_hands_out_nothing_and_takes_in(api, queue):
    api.enqueue(queue)
    running = api.take(queue)
    assert api.good("POST", f"/v1/queues/{queue}/pause")["paused"] is True
    id = api.enqueue(queue)
    assert api.dequeue(queue) == []
    assert api.ack(running)["state"] == "completed", "what runs goes on"
    waiting = api.connect()
    waiting.send("POST", f"/v1/queues/{queue}/dequeue", {"wait_ms": 20_000})
    assert api.good("POST", f"/v1/queues/{queue}/resume")["paused"] is False
    assert waiting.receive().json["tasks"][0]["id"] == id


def test_a_purge_cancels_what_waits_and_not_what_runs(api, queue):
    api.batch(queue, [{}, {}, {"delay_ms": 60_000}])
    running = api.take(queue)
    assert api.good("POST", f"/v1/queues/{queue}/purge") == {"matched": 2, "changed": 2}
    assert api.dequeue(queue) == []
    assert api.ack(running)["state"] == "completed"


def test_a_purge_counts_only_what_waits(api, queue):
    for _ in range(3):
        api.steer(api.enqueue(queue), "cancel")
    api.enqueue(queue)
    assert api.good("POST", f"/v1/queues/{queue}/purge") == {"matched": 1, "changed": 1}


def test_a_purge_of_thousands_is_whole(api, queue):
    api.batch(queue, [{}] * 3_500)
    assert api.good("POST", f"/v1/queues/{queue}/purge") == {"matched": 3_500, "changed": 3_500}
    counts = api.queue(queue)["counts"]
    assert (counts["ready"], counts["cancelled"]) == (0, 3_500)


def test_a_queue_with_live_tasks_is_deleted_by_force_only(api, queue, check):
    waiting = api.batch(queue, [{}, {}])
    task = api.take(queue)
    check.problem(api.call("DELETE", f"/v1/queues/{queue}"), 409, "conflict")
    answer = api.good("DELETE", f"/v1/queues/{queue}?force=true")
    assert answer["changed"] == 2
    check.problem(api.call("GET", f"/v1/queues/{queue}"), 404, "not_found")
    check.problem(
        api.call("POST", f"/v1/tasks/{task['id']}/ack", {"lease": task["lease"]}), 409, "lease_lost"
    )
    reply = api.call("GET", f"/v1/tasks/{waiting[1]}")
    assert reply.status in (404, 410) or reply.json["state"] == "cancelled"


def test_an_empty_queue_is_deleted_and_its_settings_forgotten(api, queue, check):
    api.put_queue(queue, discipline="lifo")
    api.good("DELETE", f"/v1/queues/{queue}")
    check.problem(api.call("DELETE", f"/v1/queues/{queue}"), 404, "not_found")
    api.enqueue(queue)
    assert api.queue(queue)["discipline"] == "fifo"


@pytest.mark.parametrize("verb", ["pause", "resume", "purge"])
def test_an_unknown_queue_is_404(api, queue, check, verb):
    check.problem(api.call("POST", f"/v1/queues/{queue}/{verb}"), 404, "not_found")
