"""Order and limits: disciplines, groups, ordered groups, bounded queues, rate and running limits."""

import pytest


def payloads(api, queue, max=100):
    return [task["payload"] for task in api.dequeue(queue, max=max)]


def test_fifo_serves_in_the_order_of_commit(api, queue):
    for number in range(10):
        api.enqueue(queue, payload=number, priority=number)
    assert payloads(api, queue) == list(range(10))


def test_lifo_serves_in_the_reverse_order(api, queue):
    api.put_queue(queue, discipline="lifo")
    api.batch(queue, [{"payload": number} for number in range(10)])
    assert payloads(api, queue) == list(reversed(range(10)))


def test_priority_serves_higher_first_and_fifo_within_a_level(api, queue):
    api.put_queue(queue, discipline="priority")
    levels = [0, 5, -5, 5, 0, 1000, -1000]
    api.batch(queue, [{"priority": level, "payload": [level, number]} for number, level in enumerate(levels)])
    assert payloads(api, queue) == sorted(
        ([level, number] for number, level in enumerate(levels)), key=lambda each: (-each[0], each[1])
    )


def test_round_robin_serves_one_of_each_group_in_turn(api, queue):
    api.put_queue(queue, discipline="round_robin")
    api.batch(queue, [{"group": group, "payload": f"{group}{n}"} for group in "abc" for n in range(3)])
    assert payloads(api, queue) == ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2"]


def test_round_robin_honours_weights_and_priority_within_a_group(api, queue):
    api.put_queue(queue, discipline="round_robin")
    api.batch(queue, [{"group": "a", "group_weight": 2, "payload": f"a{n}", "priority": n} for n in range(4)])
    api.batch(queue, [{"group": "b", "payload": f"b{n}"} for n in range(2)])
    assert payloads(api, queue) == ["a3", "a2", "b0", "a1", "a0", "b1"]


def test_no_group_is_a_group_of_its_own_and_a_group_that_was_empty_rejoins_last(api, queue):
    api.put_queue(queue, discipline="round_robin")
    api.batch(queue, [{"payload": 1}, {"group": "", "payload": 2}, {"group": "a", "payload": 3}])
    assert payloads(api, queue) == [1, 3, 2]
    api.batch(
        queue, [{"group": "a", "payload": 4}, {"group": "a", "payload": 5}, {"group": "b", "payload": 6}]
    )
    assert payloads(api, queue, max=1) == [4]
    api.enqueue(queue, payload=7)
    assert payloads(api, queue) == [6, 5, 7]


def test_a_released_task_takes_its_original_place(api, queue):
    api.batch(queue, [{"payload": number} for number in range(4)])
    first, second = api.dequeue(queue, max=2)
    api.release(second)
    api.release(first)
    assert payloads(api, queue) == [0, 1, 2, 3]


def test_a_released_task_of_lifo_does_not_go_to_the_top(api, queue):
    api.put_queue(queue, discipline="lifo")
    api.batch(queue, [{"payload": number} for number in range(3)])
    top, below = api.dequeue(queue, max=2)
    assert (top["payload"], below["payload"]) == (2, 1)
    api.release(below)
    api.enqueue(queue, payload=3)
    assert payloads(api, queue) == [3, 1, 0]


def test_a_due_task_takes_its_original_place(api, queue):
    early = api.enqueue(queue, payload="early", delay_ms=200)
    api.enqueue(queue, payload="late")
    api.put_queue(queue + "-clock")
    api.enqueue(queue + "-clock", delay_ms=250)
    api.take(queue + "-clock")
    assert api.state(early) == "ready"
    assert payloads(api, queue) == ["early", "late"]


def test_an_unblocked_task_takes_its_original_place(api, queue):
    parent = api.enqueue(queue + "-parent")
    api.enqueue(queue, payload="child", depends_on=[parent])
    api.enqueue(queue, payload="other")
    api.ack(api.take(queue + "-parent"))
    assert payloads(api, queue) == ["child", "other"]


def test_ordered_groups_run_one_task_of_a_group_at_a_time(api, queue):
    api.put_queue(queue, ordered_groups=True)
    tasks = [("a", 1), ("a", 2), ("b", 3), (None, 4), (None, 5)]
    api.batch(queue, [{"group": group, "payload": number} for group, number in tasks])
    first = api.dequeue(queue, max=10)
    assert [task["payload"] for task in first] == [1, 3, 4, 5]
    assert api.dequeue(queue, max=10) == []
    api.fail(first[0], delay_ms=300)
    assert api.dequeue(queue, max=10) == [], "a retrying task blocks its group"
    again = api.take(queue)
    assert again["payload"] == 1
    api.ack(again)
    assert api.take(queue)["payload"] == 2


def test_a_scheduled_task_does_not_block_its_group(api, queue):
    api.put_queue(queue, ordered_groups=True)
    api.batch(queue, [{"group": "a", "payload": 1, "delay_ms": 60_000}, {"group": "a", "payload": 2}])
    assert payloads(api, queue) == [2]


def test_a_changed_discipline_re_sorts_what_waits(api, queue):
    api.batch(queue, [{"payload": number, "priority": number % 3} for number in range(6)])
    api.put_queue(queue, discipline="priority")
    found = []
    while len(found) < 6:
        found += [task["payload"] for task in api.dequeue(queue, max=10, wait_ms=1_000)]
    assert found == [2, 5, 1, 4, 0, 3]


# -- limits ---------------------------------------------------------------------------------------


def test_a_full_queue_refuses_with_429(api, queue, check):
    api.put_queue(queue, max_tasks=2)
    api.batch(queue, [{}, {}])
    reply = api.call("POST", f"/v1/queues/{queue}/tasks", {})
    assert check.problem(reply, 429, "queue_full")["outcome"] == "not_applied"
    assert int(reply.headers["retry-after"]) >= 1
    check.problem(api.call("POST", f"/v1/queues/{queue}/tasks/batch", {"tasks": [{}]}), 429, "queue_full")
    api.take(queue)
    api.enqueue(queue)


def test_max_tasks_counts_what_waits_and_never_refuses_a_release(api, queue):
    api.put_queue(queue, max_tasks=1)
    api.enqueue(queue)
    task = api.take(queue)
    api.enqueue(queue, delay_ms=60_000)
    assert api.call("POST", f"/v1/queues/{queue}/tasks", {}).status == 429
    api.release(task)
    assert api.take(queue)["id"] == task["id"]


def test_a_batch_that_does_not_fit_is_refused_whole(api, queue):
    api.put_queue(queue, max_tasks=3)
    assert api.call("POST", f"/v1/queues/{queue}/tasks/batch", {"tasks": [{}] * 4}).status == 429
    assert api.queue(queue)["counts"]["ready"] == 0
    api.batch(queue, [{}] * 3)


def test_drop_oldest_makes_room(api, queue):
    api.put_queue(queue, max_tasks=2, overflow="drop_oldest")
    first = api.enqueue(queue, payload=1)
    child = api.enqueue(queue + "-child", depends_on=[first])
    api.enqueue(queue, payload=2)
    api.enqueue(queue, payload=3)
    task = api.task(first)
    assert (task["state"], task["reason"]) == ("cancelled", "dropped")
    assert api.task(child, wait_ms=10_000)["state"] == "cancelled"
    assert payloads(api, queue) == [2, 3]


def test_drop_oldest_with_nothing_ready_is_429(api, queue):
    api.put_queue(queue, max_tasks=1, overflow="drop_oldest")
    api.enqueue(queue, delay_ms=60_000)
    assert api.call("POST", f"/v1/queues/{queue}/tasks", {}).status == 429


@pytest.mark.parametrize("discipline", ["lifo", "priority", "round_robin"])
def test_drop_oldest_drops_the_lowest_sequence_in_every_discipline(api, queue, discipline):
    api.put_queue(queue, discipline=discipline, max_tasks=3, overflow="drop_oldest")
    ids = [api.enqueue(queue, priority=9 - n, group=str(n)) for n in range(5)]
    assert [api.state(id) for id in ids] == ["cancelled", "cancelled", "ready", "ready", "ready"]


def test_a_rate_limit_bounds_hand_outs(api, queue, now_ms):
    api.put_queue(queue, rate_limit={"per_second": 10, "burst": 3})
    api.batch(queue, [{}] * 5)
    assert len(api.dequeue(queue, max=10)) == 3
    before = now_ms()
    assert len(api.dequeue(queue, max=1, wait_ms=10_000)) == 1
    assert len(api.dequeue(queue, max=1, wait_ms=10_000)) == 1
    assert now_ms(slack_ms=20) - before >= 100


def test_max_running_bounds_what_runs(api, queue):
    api.put_queue(queue, max_running=2)
    api.batch(queue, [{}] * 5)
    running = api.dequeue(queue, max=5)
    assert len(running) == 2 and api.dequeue(queue) == []
    waiting = api.connect()
    waiting.send("POST", f"/v1/queues/{queue}/dequeue", {"wait_ms": 20_000})
    api.ack(running[0])
    assert len(waiting.receive().json["tasks"]) == 1


def test_tasks_at_their_groups_limit_are_skipped(api, queue):
    api.put_queue(queue, max_running_per_group=1)
    api.batch(
        queue, [{"group": "a", "payload": 1}, {"group": "a", "payload": 2}, {"group": "b", "payload": 3}]
    )
    assert payloads(api, queue) == [1, 3]


@pytest.mark.parametrize("level", ["relaxed", "memory"])
def test_the_durability_of_a_queue_is_named(api, queue, level):
    api.put_queue(queue, durability=level, max_tasks=100)
    assert api.call("POST", f"/v1/queues/{queue}/tasks", {}).headers["durability"] == level
    api.enqueue(queue + "-durable")
    both = {"queues": [queue, queue + "-durable"], "max": 2}
    reply = api.call("POST", "/v1/dequeue", both)
    assert len(reply.json["tasks"]) == 2
    assert reply.headers["durability"] == "durable", "the strictest among them"


def test_memory_needs_a_bound(api, queue, check):
    reply = api.call("PUT", f"/v1/queues/{queue}", {"durability": "memory"})
    check.problem(reply, 422, "invalid")


def test_a_group_is_strict_over_partitions(api, queue):
    api.put_queue(queue, partitions=4)
    api.batch(queue, [{"group": f"g{n % 7}", "payload": n} for n in range(70)])
    tasks = api.dequeue(queue, max=100)
    assert len(tasks) == 70
    for group in {task["group"] for task in tasks}:
        numbers = [task["payload"] for task in tasks if task["group"] == group]
        assert numbers == sorted(numbers)
