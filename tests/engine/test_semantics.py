"""Sentences of the interface's semantics that need time to pass, or a restart, to be proved."""

import pytest

from taskqueuex.storage.check import check_storage
from taskqueuex.testing import Simulator


def enqueue(sim, queue="q", **fields):
    call = sim.call("enqueue", queue, fields)
    assert call.status == 201, call.outcome
    return call.json()["id"]


def take(sim, queue="q", **fields):
    call = sim.call("dequeue_queue", queue, fields)
    assert call.status == 200, call.outcome
    return call.json()["tasks"]


def ids_of(tasks):
    return [task["id"] for task in tasks]


def settle(sim, verb, task, **fields):
    call = sim.call(verb, task["id"], {"lease": task["lease"], **fields})
    assert call.status == 200, call.outcome
    return call.json()


def look(sim, task_id):
    return sim.call("get_task", task_id).json()


def check(sim):
    sim.settle()
    assert check_storage(sim.tiers.durable).problems == []


# Attempts


def test_an_attempt_is_counted_by_every_lease_and_kept_by_a_retry_and_a_restart():
    sim = Simulator()
    task_id = enqueue(sim, max_attempts=2)
    for expected, failures in ((1, 0), (2, 0), (3, 1)):
        (task,) = take(sim)
        assert (task["attempt"], task.get("failures", 0)) == (expected, failures)
        if expected == 1:
            settle(sim, "release", task)
        elif expected == 2:
            settle(sim, "fail", task, delay_ms=0)
            sim.settle()
        else:
            assert settle(sim, "fail", task)["state"] == "dead"
    assert sim.call("retry_task", task_id).status == 200
    sim.settle()
    sim.crash()
    (task,) = take(sim)
    assert (task["attempt"], task.get("failures", 0)) == (4, 0)
    check(sim)


def test_a_failure_is_counted_by_fail_expiry_and_timeout_alike():
    sim = Simulator()
    enqueue(sim, max_attempts=4, backoff={"base_ms": 10, "jitter": 0}, timeout_ms=5_000)
    (task,) = take(sim, lease_ms=1_000)
    sim.advance(1_001)
    sim.settle()
    (task,) = take(sim, lease_ms=60_000)
    assert task.get("failures", 0) == 1
    sim.advance(4_999)
    settle(sim, "heartbeat", task)
    sim.advance(1)
    sim.settle()
    assert look(sim, task["id"])["state"] == "retrying"
    sim.advance(20)
    sim.settle()
    (task,) = take(sim)
    assert task.get("failures", 0) == 2
    settle(sim, "fail", task)
    sim.advance(40)
    sim.settle()
    (task,) = take(sim, lease_ms=1_000)
    assert task.get("failures", 0) == 3
    sim.advance(1_000)
    sim.settle()
    assert look(sim, task["id"])["state"] == "dead"
    check(sim)


def test_a_lease_ends_at_the_moment_that_was_said_and_not_before():
    sim = Simulator()
    task_id = enqueue(sim)
    (task,) = take(sim, lease_ms=1_000)
    sim.advance(task["lease_expires_at"] - sim.now_ms - 1)
    sim.settle()
    assert look(sim, task_id)["state"] == "running"
    sim.advance(1)
    sim.settle()
    assert look(sim, task_id)["state"] == "ready"


def test_the_length_of_a_lease_is_the_dequeues_else_the_tasks_else_the_queues():
    sim = Simulator()
    sim.call("put_queue", "q", {"lease_ms": 7_000})
    for task_ms, dequeue_ms, length in ((None, None, 7_000), (5_000, None, 5_000), (5_000, 3_000, 3_000)):
        enqueue(sim, lease_ms=task_ms)
        (task,) = take(sim, lease_ms=dequeue_ms)
        assert task["lease_expires_at"] == sim.now_ms + length
        assert settle(sim, "heartbeat", task)["lease_expires_at"] == sim.now_ms + length


def test_a_heartbeat_that_says_nothing_gives_the_leases_own_length():
    sim = Simulator()
    enqueue(sim)
    (task,) = take(sim, lease_ms=2_000)
    assert settle(sim, "heartbeat", task, extend_ms=90_000)["lease_expires_at"] == sim.now_ms + 90_000
    sim.advance(10)
    assert settle(sim, "heartbeat", task)["lease_expires_at"] == sim.now_ms + 2_000


def test_a_lease_of_before_a_restart_holds_for_the_longest_that_was_promised():
    for extend_ms, holds in ((None, 2_000), (50_000, 50_000)):
        sim = Simulator()
        task_id = enqueue(sim)
        (task,) = take(sim, lease_ms=2_000)
        if extend_ms:
            settle(sim, "heartbeat", task, extend_ms=extend_ms)
        sim.settle()
        sim.advance(100_000)  # the downtime
        sim.crash()
        assert look(sim, task_id)["state"] == "running"  # from now on it is in memory
        sim.advance(holds - 1)
        sim.settle()
        assert look(sim, task_id)["state"] == "running", extend_ms
        sim.advance(1)
        sim.settle()
        assert look(sim, task_id)["state"] == "ready", extend_ms


def test_a_task_is_not_leased_at_or_after_its_expiry():
    sim = Simulator()
    last, gone = enqueue(sim, ttl_ms=100), enqueue(sim, ttl_ms=99)
    sim.advance(99)
    assert ids_of(take(sim, max=5)) == [last]
    assert look(sim, gone)["state"] == "expired"
    check(sim)


def test_an_attempt_that_fails_after_the_expiry_is_the_last():
    sim = Simulator()
    enqueue(sim, ttl_ms=100)
    (task,) = take(sim)
    sim.advance(100)
    assert settle(sim, "fail", task)["state"] == "expired"
    check(sim)


# Repeats and retention


@pytest.mark.parametrize(
    ("end", "ttl"),
    [("completed", 100_000), ("cancelled", 100_000), ("expired", 100_000), ("dead", 500_000)],
)
def test_an_end_is_shown_for_its_time_and_its_tombstone_for_a_minute(end, ttl):
    for shown_ms in (ttl, 0):
        sim = Simulator()
        result_ttl = shown_ms if end != "dead" else 7
        sim.call("put_queue", "q", {"result_ttl_ms": result_ttl, "dead_ttl_ms": shown_ms})
        task_id = enqueue(sim, ttl_ms=10 if end == "expired" else None)
        if end == "completed":
            (task,) = take(sim)
            settle(sim, "ack", task)
        elif end == "expired":
            sim.advance(10)
            sim.settle()
        else:
            sim.call("cancel_task" if end == "cancelled" else "kill_task", task_id)
        ended_at = sim.now_ms
        if shown_ms:
            assert look(sim, task_id)["state"] == end
            sim.advance(shown_ms - 1)
            sim.settle()
            assert look(sim, task_id)["ended_at"] == ended_at
        sim.advance(ended_at + max(shown_ms, 59_999) - sim.now_ms)
        sim.turn()
        assert sim.call("get_task", task_id).status in ((410,) if not shown_ms else (404, 410))
        if end == "completed" and not shown_ms:
            assert settle(sim, "ack", task) == {"state": "completed"}
        sim.advance(ended_at + max(shown_ms, 60_000) + 1 - sim.now_ms)
        sim.settle()
        assert sim.call("get_task", task_id).status == 404
        check(sim)


# Order


@pytest.mark.parametrize("discipline", ["fifo", "lifo", "priority"])
def test_a_retried_task_takes_its_original_place(discipline):
    sim = Simulator()
    sim.call("put_queue", "q", {"discipline": discipline})
    ids = [enqueue(sim) for _ in range(3)]
    first, second = take(sim), take(sim)
    settle(sim, "fail", second[0], delay_ms=10)
    settle(sim, "fail", first[0], delay_ms=20)
    newer = enqueue(sim)
    sim.advance(30)
    sim.settle()
    expected = [*ids, newer]
    assert ids_of(take(sim, max=9)) == (expected[::-1] if discipline == "lifo" else expected)
    check(sim)


@pytest.mark.parametrize("discipline", ["fifo", "lifo", "priority"])
def test_groups_are_nothing_to_an_order_that_does_not_look_at_them(discipline):
    sim = Simulator()
    sim.call("put_queue", "q", {"discipline": discipline})
    ids = [enqueue(sim, group=group, group_weight=9) for group in "aabab"]
    assert ids_of(take(sim, max=9)) == (ids[::-1] if discipline == "lifo" else ids)


def test_the_latest_weight_of_a_group_holds():
    sim = Simulator()
    sim.call("put_queue", "q", {"discipline": "round_robin"})
    for n in range(4):
        enqueue(sim, group="a", group_weight=1 if n < 3 else 2)
        enqueue(sim, group="b")
    sim.settle()
    sim.crash()
    groups = [take(sim)[0]["group"] for _ in range(8)]
    assert groups == ["a", "b", "a", "a", "b", "a", "b", "b"]
    check(sim)


def test_a_blocked_task_does_not_block_its_group():
    sim = Simulator()
    sim.call("put_queue", "q", {"ordered_groups": True})
    parent = enqueue(sim, "other")
    enqueue(sim, group="a", depends_on=[parent])
    ready = enqueue(sim, group="a")
    assert ids_of(take(sim, max=5)) == [ready]
    check(sim)


# Partitions


def test_a_group_or_a_key_always_goes_to_one_partition_and_a_batch_of_neither_to_one():
    sim = Simulator()
    sim.call("put_queue", "q", {"partitions": 3})
    partitions = sim.engine.core.queues["q"].partitions

    def places(**fields):
        """In which partitions tasks end up."""
        before = [sum(each.counts) for each in partitions]
        for n in range(6):
            more = {
                name: value.format(n) if isinstance(value, str) else value for name, value in fields.items()
            }
            enqueue(sim, **more)
        return [sum(each.counts) - was for each, was in zip(partitions, before, strict=True)]

    assert sorted(places(group="g")) == [0, 0, 6]
    assert places() == [2, 2, 2]
    assert sorted(places(group="h", unique_key="k{}")) == [0, 0, 6]
    before = [sum(each.counts) for each in partitions]
    sim.call("enqueue_batch", "q", {"tasks": [{}] * 5})
    assert sorted(sum(each.counts) - was for each, was in zip(partitions, before, strict=True)) == [0, 0, 5]
    check(sim)


def test_with_partitions_a_key_is_unique_within_its_group():
    sim = Simulator()
    sim.call("put_queue", "q", {"partitions": 3})
    first = enqueue(sim, unique_key="k", group="a")
    other = enqueue(sim, unique_key="k", group="b")
    alone = enqueue(sim, unique_key="k")
    for group, holder in (("a", first), ("b", other), (None, alone)):
        again = sim.call("enqueue", "q", {"unique_key": "k", "group": group})
        assert (again.status, again.json()["id"]) == (200, holder)


def test_a_bound_holds_for_each_partition_and_the_running_limit_for_all():
    sim = Simulator()
    sim.call("put_queue", "q", {"partitions": 3, "max_tasks": 2, "max_running": 4})
    for _ in range(6):
        enqueue(sim)
    assert sim.call("enqueue", "q", {}).status == 429
    tasks = take(sim, max=9)
    assert len(tasks) == 4 and take(sim) == []
    settle(sim, "ack", tasks[0])
    assert len(take(sim, max=9)) == 1


# Limits


def test_children_of_a_dropped_task_follow_their_policy():
    sim = Simulator()
    sim.call("put_queue", "q", {"max_tasks": 1, "overflow": "drop_oldest"})
    oldest = enqueue(sim)
    cancelled = enqueue(sim, "kids", depends_on=[oldest])
    run = enqueue(sim, "kids", depends_on=[oldest], on_dependency_failure="run")
    enqueue(sim)
    assert (look(sim, oldest)["state"], look(sim, oldest)["reason"]) == ("cancelled", "dropped")
    assert [look(sim, child)["state"] for child in (cancelled, run)] == ["cancelled", "ready"]
    check(sim)


def test_a_rate_is_kept_over_a_restart():
    sim = Simulator()
    sim.call("put_queue", "q", {"rate_limit": {"per_second": 1, "burst": 3}})
    for _ in range(9):
        enqueue(sim)
    assert len(take(sim, max=9)) == 3
    sim.settle()
    sim.crash()
    assert take(sim, max=9) == []
    sim.advance(1_000)
    assert len(take(sim, max=9)) == 1
    sim.advance(100_000)
    assert len(take(sim, max=9)) == 3, "never more than a burst at once"


# Unique keys


def test_a_successor_is_itself_replaceable_and_follows_any_end():
    for end in ("ack", "fail", "release", "expiry", "kill"):
        sim = Simulator()
        holder = enqueue(sim, unique_key="k")
        (task,) = take(sim, lease_ms=1_000)
        key = {"unique_key": "k", "on_conflict": "replace"}
        successor = enqueue(sim, **key, payload=1)
        again = sim.call("enqueue", "q", {**key, "payload": 2})
        assert (again.status, again.json()["id"], again.json()["replaced"]) == (200, successor, True)
        assert look(sim, successor)["state"] == "blocked"
        if end == "expiry":
            sim.advance(1_000)
            sim.settle()
        elif end == "kill":
            sim.call("kill_task", holder)
        else:
            settle(sim, end, task)
        assert look(sim, holder)["state"] == {"ack": "completed", "kill": "dead"}.get(end, "cancelled")
        (next_task,) = take(sim)
        assert (next_task["id"], next_task["payload"]) == (successor, 2)
        assert sim.call("enqueue", "q", {"unique_key": "k"}).json()["id"] == successor
        check(sim)


def test_reject_fails_the_whole_batch():
    sim = Simulator()
    enqueue(sim, unique_key="k")
    reject = {"unique_key": "k", "on_conflict": "reject"}
    assert sim.call("enqueue_batch", "q", {"tasks": [{}, reject]}).status == 409
    twins = [{"unique_key": "n", "on_conflict": "reject"}] * 2
    assert sim.call("enqueue_batch", "q", {"tasks": twins}).status == 409
    twins = [{"ref": name, "queue": "q", "unique_key": "n"} for name in "ab"]
    assert sim.call("create_workflow", body={"tasks": twins}).status == 409
    assert sim.call("get_queue", "q").json()["counts"]["ready"] == 1
    check(sim)


# Dependencies


def test_a_retried_parent_lets_go_what_holds_and_revives_no_cancelled_child():
    sim = Simulator()
    parent = enqueue(sim)
    cancelled = enqueue(sim, "kids", depends_on=[parent])
    held = enqueue(sim, "kids", depends_on=[{"id": parent, "on_failure": "hold"}])
    sim.call("kill_task", parent)
    assert [look(sim, child)["state"] for child in (cancelled, held)] == ["cancelled", "blocked"]
    sim.settle()
    sim.crash()
    sim.call("retry_task", parent)
    (task,) = take(sim)
    settle(sim, "ack", task)
    sim.settle()
    assert [look(sim, child)["state"] for child in (cancelled, held)] == ["cancelled", "ready"]
    check(sim)


def test_a_parent_and_its_result_are_there_until_its_last_child_has_ended():
    sim = Simulator()
    sim.call("put_queue", "q", {"result_ttl_ms": 1_000})
    parent = enqueue(sim)
    child = enqueue(sim, "kids", depends_on=[parent], delay_ms=500_000, with_parents=True)
    (task,) = take(sim)
    settle(sim, "ack", task, result={"kept": [1.50]})
    for _ in range(6):
        sim.advance(70_000)
        sim.settle()
        sim.crash()
    assert look(sim, parent)["result"] == {"kept": [1.5]}
    assert enqueue(sim, "kids", depends_on=[parent], delay_ms=100_000)
    sim.advance(90_000)
    sim.settle()
    (leased,) = take(sim, "kids", max=5)
    assert leased["id"] == child and leased["parents"] == {parent: {"kept": [1.5]}}
    check(sim)


# Clocks


def test_a_clock_that_is_put_back_changes_no_order_and_serves_all():
    sim = Simulator()
    ids = [enqueue(sim) for _ in range(3)]
    sim.settle()
    sim.advance(-50_000)
    sim.crash()
    ids += [enqueue(sim) for _ in range(3)]
    assert ids == sorted(ids)
    assert [task["id"] for _ in ids for task in take(sim)] == ids
    check(sim)


# Waiting


def test_those_who_wait_longest_are_served_first_and_one_task_goes_to_one():
    sim = Simulator()
    polls = [sim.submit("dequeue_queue", "q", {"wait_ms": 60_000}) for _ in range(3)]
    polls.append(sim.submit("dequeue", body={"queues": ["other", "q"], "wait_ms": 60_000}))
    sim.settle()
    for at in range(4):
        task_id = enqueue(sim)
        sim.settle()
        assert [bool(poll.status) for poll in polls] == [True] * (at + 1) + [False] * (3 - at)
        assert ids_of(polls[at].json()["tasks"]) == [task_id]


def test_one_whose_connection_has_closed_is_passed_over():
    sim = Simulator()
    gone, here = (sim.submit("dequeue_queue", "q", {"wait_ms": 60_000}) for _ in range(2))
    sim.settle()
    gone.closed = True  # and nobody has said so yet
    task_id = enqueue(sim)
    sim.settle()
    (task,) = here.json()["tasks"]
    assert (task["id"], task["attempt"], gone.status) == (task_id, 1, 0)


def test_one_who_waits_at_a_paused_or_limited_queue_is_served_when_that_is_over():
    for fields, free in (
        ({"max_running": 1}, lambda sim, task: settle(sim, "ack", task)),
        ({"max_running": 1}, lambda sim, task: settle(sim, "fail", task)),
        ({"max_running": 1}, lambda sim, task: sim.call("kill_task", task["id"])),
        ({"max_running": 1}, lambda sim, task: sim.call("put_queue", "q", {"max_running": None})),
        ({"ordered_groups": True}, lambda sim, task: settle(sim, "ack", task)),
        (
            {"max_running_per_group": 1},
            lambda sim, task: sim.call("put_queue", "q", {"max_running_per_group": 2}),
        ),
    ):
        sim = Simulator()
        sim.call("put_queue", "q", {**fields, "backoff": {"base_ms": 60_000}})
        first, second = enqueue(sim, group="g"), enqueue(sim, group="g")
        (task,) = take(sim, max=5)
        poll = sim.submit("dequeue_queue", "q", {"wait_ms": 50_000})
        sim.settle()
        assert not poll.status and task["id"] == first
        free(sim, task)
        sim.settle()
        assert ids_of(poll.json()["tasks"]) == [second], fields
