"""Why a queue is slow: each reason is there while its cause is, and gone with it."""

import re

import pytest

from taskqueuex.engine import queue_why as module
from taskqueuex.testing import Simulator


@pytest.fixture
def sim():
    sim = Simulator(hot_width=64)
    sim.call("put_queue", "q", {})
    return sim


def _reasons(sim, queue="q"):
    call = sim.call("queue_why", queue)
    assert call.status == 200, call.outcome
    return {reason["code"]: reason for reason in call.json()["reasons"]}


def _codes(sim, queue="q"):
    return list(_reasons(sim, queue))


def _enqueue(sim, count=1, queue="q", **fields):
    for _ in range(count):
        assert sim.call("enqueue", queue, fields).status == 201


def _take(sim, count=1, worker="", queue="q"):
    tasks = sim.call("dequeue_queue", queue, {"max": count, "worker": worker}).json()["tasks"]
    assert len(tasks) == count
    return tasks


def _end(sim, tasks, how="ack"):
    for task in tasks:
        assert sim.call(how, task["id"], {"lease": task["lease"]}).status == 200


def _poll(sim, worker="", queue="q", wait_ms=50_000):
    call = sim.submit("dequeue_queue", queue, {"worker": worker, "wait_ms": wait_ms})
    sim.turn()
    sim.write()
    return call


def _hello(sim, name="w", **info):
    sim.call("settle", "", {"worker": {"name": name, "pid": 1, "queues": ["q"], **info}})


def _next_second(sim):
    """Rates are of whole seconds that are over."""
    _reasons(sim)
    sim.advance(1_000)
    return _reasons(sim)


def _let_rates_pass(sim):
    _reasons(sim)
    sim.advance(20_000)


def test_an_unknown_queue_is_not_found(sim):
    assert sim.call("queue_why", "other").status == 404


def test_an_empty_queue_has_no_reasons(sim):
    assert _codes(sim) == []
    _poll(sim)
    assert _codes(sim) == []


def test_a_pause_comes_first_with_how_many_wait(sim):
    _enqueue(sim, 2)
    _enqueue(sim, delay_ms=1_000)
    sim.call("pause_queue", "q")
    reasons = _reasons(sim)
    assert next(iter(reasons)) == "paused"
    assert "3 tasks waiting" in reasons["paused"]["detail"]
    sim.call("resume_queue", "q")
    assert "paused" not in _codes(sim)


def test_a_changed_discipline_is_told_while_it_is_applied(sim):
    _enqueue(sim, 5)
    sim.submit("put_queue", "q", {"discipline": "priority"})
    sim.turn()
    why = sim.submit("queue_why", "q")
    sim.turn()
    assert "resorting" in [reason.code for reason in why.outcome.reasons]
    sim.settle()
    assert "resorting" not in _codes(sim)


# Who takes from it


def test_ready_tasks_that_nobody_takes(sim):
    _enqueue(sim, 3)
    assert "3 tasks are ready" in _reasons(sim)["no_consumer"]["detail"]
    tasks = _take(sim, 3, "w")
    assert "no_consumer" not in _codes(sim)
    _end(sim, tasks)
    assert "no_consumer" not in _codes(sim)


def test_a_known_worker_takes_from_it_until_it_was_not_heard_of_for_a_while(sim):
    _hello(sim)
    _enqueue(sim)
    assert "no_consumer" not in _codes(sim)
    sim.advance(module.HEARD_LATELY_MS + 1)
    assert "no_consumer" in _codes(sim)
    _hello(sim)
    assert "no_consumer" not in _codes(sim)
    _hello(sim, bye=True)
    assert "no_consumer" in _codes(sim)


def test_a_worker_of_another_queue_does_not_count(sim):
    _hello(sim, queues=["other"])
    _enqueue(sim)
    assert "no_consumer" in _codes(sim)


def test_a_silent_worker_is_there_while_its_lease_holds(sim):
    sim.call("put_queue", "q", {"lease_ms": 600_000})
    _enqueue(sim, 2)
    _take(sim, 1, "w")
    sim.advance(300_000)
    assert _codes(sim) == ["workers_busy"]
    sim.advance(400_000)
    sim.settle()
    assert "no_consumer" in _codes(sim)


def test_a_worker_that_is_unheard_of_since_a_restart_is_there_while_its_lease_holds(sim):
    _enqueue(sim, 2)
    (task,) = _take(sim, 1, "w")
    sim.crash()
    assert "workers_busy" in _codes(sim)  # by whom that one is run is not known yet
    sim.call("get_task", task["id"])
    assert "1 worker takes" in _reasons(sim)["workers_busy"]["detail"]
    _let_rates_pass(sim)
    sim.advance(200_000)
    sim.settle()
    assert "no_consumer" in _codes(sim)


def test_workers_without_a_name_are_seen_by_what_they_run(sim):
    _enqueue(sim, 2)
    tasks = _take(sim)
    _let_rates_pass(sim)
    assert "workers_busy" in _codes(sim)
    _end(sim, tasks)
    _reasons(sim)
    sim.advance(1_000)
    assert "no_consumer" not in _codes(sim)  # somebody was there a moment ago
    sim.advance(20_000)
    assert "no_consumer" in _codes(sim)


@pytest.mark.parametrize("command", ["quiet_worker", "stop_worker"])
def test_workers_that_all_rest(sim, command):
    _hello(sim, "a")
    _hello(sim, "b")
    _enqueue(sim)
    sim.call(command, "a")
    assert "workers_quiet" not in _codes(sim)
    sim.call(command, "b")
    reasons = _reasons(sim)
    assert "2 workers" in reasons["workers_quiet"]["detail"]
    assert not reasons.keys() & {"no_consumer", "workers_busy"}
    sim.call("resume_worker", "b")
    assert "workers_quiet" not in _codes(sim)


def test_a_worker_that_says_itself_that_it_is_quiet_rests(sim):
    _hello(sim, quiet=True)
    _enqueue(sim)
    assert "workers_quiet" in _codes(sim)


def test_no_reason_names_a_worker(sim):
    _hello(sim, "secret-name")
    _enqueue(sim, 3)
    _take(sim, 1, "secret-name")
    told = str(_reasons(sim))
    sim.call("quiet_worker", "secret-name")
    told += str(_reasons(sim))
    assert "workers_quiet" in told and "workers_busy" in told
    assert "secret-name" not in told


def test_busy_workers_with_what_they_run_and_how_long_it_takes(sim):
    sim.call("put_queue", "other", {})
    _hello(sim, "a", concurrency=2, queues=["q", "other"])
    _hello(sim, "b", concurrency=3)
    _enqueue(sim, 9)
    _enqueue(sim, queue="other")
    tasks = _take(sim, 4, "b")
    sim.advance(2_000)
    _end(sim, tasks)
    _take(sim, 1, "a", queue="other")
    _take(sim, 3, "b")
    detail = _reasons(sim)["workers_busy"]["detail"]
    assert "2 tasks are ready" in detail
    assert "2 workers take from it and run 4 of at most 5 tasks" in detail
    assert "3 tasks of this queue run" in detail
    assert "2 s (p50) to 2 s (p99)" in detail
    assert "about 1.5 a second" in detail  # three at once, for 2 s each
    _take(sim, 2, "b")
    assert "workers_busy" not in _codes(sim)


def test_a_poll_that_waits_is_no_busy_worker(sim):
    sim.call("put_queue", "q", {"max_running": 1})
    _enqueue(sim, 2)
    _take(sim, 1, "w")
    assert "workers_busy" not in _codes(sim)  # more of them would not help
    poll = _poll(sim, "w")
    assert "workers_busy" not in _codes(sim)
    assert not poll.status


def test_what_is_beyond_the_bound_of_a_walk_is_not_told(sim, monkeypatch):
    _hello(sim, concurrency=2)
    _enqueue(sim, 4)
    _take(sim, 3, "w")
    assert "run" in _reasons(sim)["workers_busy"]["detail"].partition(";")[0]
    monkeypatch.setattr(module, "LEASES_SEEN", 2)
    detail = _reasons(sim)["workers_busy"]["detail"]
    assert "at least 1 worker takes from it; 3 tasks of this queue run" in detail
    _hello(sim, bye=True)
    assert "no_consumer" not in _codes(sim)  # some of them are of somebody


def test_of_more_workers_than_are_looked_at_none_is_said_to_be_missing(sim, monkeypatch):
    monkeypatch.setattr(module, "WORKERS_SEEN", 2)
    _hello(sim, "a", queues=["other"])
    _hello(sim, "b")
    _enqueue(sim)
    sim.call("quiet_worker", "b")
    assert "workers_quiet" in _codes(sim)
    _hello(sim, "c")
    assert "workers_quiet" not in _codes(sim)
    assert "workers_busy" in _codes(sim)
    _hello(sim, "c", bye=True)
    _hello(sim, "b", bye=True)
    assert "no_consumer" in _codes(sim)


# What it is told to do


def test_max_running_with_how_many_run(sim):
    sim.call("put_queue", "q", {"max_running": 2})
    _enqueue(sim, 3)
    tasks = _take(sim, 2, "w")
    assert "2 of 2" in _reasons(sim)["max_running"]["detail"]
    _end(sim, tasks[:1])
    assert "max_running" not in _codes(sim)


def test_max_running_holds_nothing_up_where_nothing_is_ready(sim):
    sim.call("put_queue", "q", {"max_running": 1})
    _enqueue(sim)
    _take(sim)
    assert _codes(sim) == []


def test_a_rate_limit_until_its_next_token(sim):
    sim.call("put_queue", "q", {"rate_limit": {"per_second": 2, "burst": 1}})
    _enqueue(sim, 2)
    assert "rate_limit" not in _codes(sim)
    _take(sim, 1, "w")
    reason = _reasons(sim)["rate_limit"]
    assert "2 tasks a second" in reason["detail"]
    assert 500 <= reason["until"] - sim.now_ms <= 501
    poll = _poll(sim)
    sim.advance(reason["until"] - sim.now_ms)
    sim.settle()
    assert len(poll.json()["tasks"]) == 1
    _enqueue(sim)
    sim.advance(20_000)
    assert "rate_limit" not in _codes(sim)


def test_a_rate_limit_that_is_made_full_use_of(sim):
    """At the moment of the look there may be a token: that tasks end as fast as it allows tells."""
    sim.call("put_queue", "q", {"rate_limit": {"per_second": 2, "burst": 100}})
    _enqueue(sim, 30)
    _reasons(sim)
    for _ in range(10):
        _end(sim, _take(sim, 2, "w"))
        reasons = _next_second(sim)
    assert "until" not in reasons["rate_limit"]
    sim.advance(20_000)
    assert "rate_limit" not in _codes(sim)


def test_a_rate_limit_that_gave_a_token_between_two_turns(sim):
    sim.call("put_queue", "q", {"rate_limit": {"per_second": 1_000, "burst": 1}})
    _enqueue(sim, 2)
    _take(sim, 1, "w")
    sim.advance(5)
    assert "until" not in _reasons(sim)["rate_limit"]
    sim.advance(module._EMPTIED_LATELY_MS)
    assert "rate_limit" not in _codes(sim)  # nobody has asked for what it would give


def test_a_full_queue_and_what_becomes_of_new_tasks(sim):
    sim.call("put_queue", "q", {"max_tasks": 2})
    _enqueue(sim, 2)
    assert re.search("2 tasks.*refused", _reasons(sim)["full"]["detail"])
    sim.call("put_queue", "q", {"overflow": "drop_oldest"})
    assert "drops the oldest" in _reasons(sim)["full"]["detail"]
    _end(sim, _take(sim))
    assert "full" not in _codes(sim)
    _enqueue(sim, delay_ms=99_000)
    _take(sim)
    _enqueue(sim, delay_ms=99_000)
    assert "none is ready to be dropped" in _reasons(sim)["full"]["detail"]


def test_one_full_partition_of_several(sim):
    sim.call("put_queue", "p", {"partitions": 2, "max_tasks": 1})
    _enqueue(sim, 1, "p", group="a")
    assert "1 of its 2 partitions" in _reasons(sim, "p")["full"]["detail"]


# Groups


def test_groups_at_their_limit(sim):
    sim.call("put_queue", "q", {"max_running_per_group": 1})
    for group in "ab":
        _enqueue(sim, 2, group=group)
    a = _take(sim, 1, "w")
    assert "max_running_per_group" not in _codes(sim)  # there is another
    _take(sim, 1, "w")
    reason = _reasons(sim)["max_running_per_group"]
    assert "2 of 2 groups with waiting tasks are held up: 1 task of each runs" in reason["detail"]
    _end(sim, a)
    assert "max_running_per_group" not in _codes(sim)


def test_nearly_all_groups_at_their_limit(sim):
    sim.call("put_queue", "q", {"discipline": "round_robin", "max_running_per_group": 1})
    for number in range(19):
        _enqueue(sim, 2, group=str(number))
    _take(sim, 19, "w")
    _enqueue(sim, group="free")
    assert "19 of 20 groups" in _reasons(sim)["max_running_per_group"]["detail"]
    _enqueue(sim, group="free too")
    assert "19 of 21 groups" in _reasons(sim)["max_running_per_group"]["detail"]
    _enqueue(sim, group="and a third")
    assert "max_running_per_group" not in _codes(sim)


def test_ordered_groups_that_run_or_retry(sim):
    sim.call("put_queue", "q", {"ordered_groups": True, "backoff": {"base_ms": 1_000, "jitter": 0}})
    for group in "ab":
        _enqueue(sim, 2, group=group)
    a, b = _take(sim, 2, "w")
    assert "2 of 2 groups" in _reasons(sim)["group_running"]["detail"]
    sim.call("fail", a["id"], {"lease": a["lease"], "error": {"type": "E"}})
    reasons = _reasons(sim)
    assert "1 of 2 groups" in reasons["group_running"]["detail"]
    assert "1 of 2 groups" in reasons["group_retrying"]["detail"]
    _end(sim, [b])
    assert not {"group_running", "group_retrying"} & _reasons(sim).keys()


def test_groups_that_were_not_looked_at_since_a_restart_are_not_counted(sim):
    sim.call("put_queue", "q", {"max_running_per_group": 1})
    _enqueue(sim, 2, group="a")
    _take(sim, 1, "w")
    sim.crash()
    assert "all groups with waiting tasks" in _reasons(sim)["max_running_per_group"]["detail"]


def test_tasks_of_no_group_are_not_held_up(sim):
    sim.call("put_queue", "q", {"max_running_per_group": 1})
    _enqueue(sim, 2, group="a")
    _take(sim, 1, "w")
    _enqueue(sim)
    assert "max_running_per_group" not in _codes(sim)


def test_more_groups_than_are_looked_at_are_told_as_at_least(sim, monkeypatch):
    monkeypatch.setattr(module, "GROUPS_SEEN", 3)
    sim.call("put_queue", "q", {"max_running_per_group": 1})
    for number in range(5):
        _enqueue(sim, 2, group=str(number))
    _take(sim, 5, "w")
    assert "at least 3 groups" in _reasons(sim)["max_running_per_group"]["detail"]


# How it goes


def test_more_that_comes_in_than_goes_out(sim):
    _reasons(sim)
    for _ in range(5):
        _enqueue(sim, 4)
        _end(sim, _take(sim, 1, "w"))
        reasons = _next_second(sim)
    assert "4 tasks a second come in, and 1 tasks a second are completed" in reasons["growing"]["detail"]
    assert "draining" not in reasons
    sim.advance(20_000)
    assert "growing" not in _codes(sim)


def test_a_few_tasks_are_no_backlog(sim):
    _enqueue(sim, 5)
    assert "growing" not in _next_second(sim)
    _end(sim, _take(sim, 2, "w"))
    sim.advance(20_000)
    assert "draining" not in _next_second(sim)


def test_a_backlog_that_shrinks_and_how_long_it_takes(sim):
    _enqueue(sim, 30)
    _let_rates_pass(sim)
    for _ in range(10):
        _end(sim, _take(sim, 1, "w"))
        reasons = _next_second(sim)
    assert list(reasons)[-1] == "draining"
    assert "the 20 tasks that are ready will be done in about 20 s" in reasons["draining"]["detail"]
    sim.call("pause_queue", "q")
    assert "draining" not in _codes(sim)
    sim.call("resume_queue", "q")
    _end(sim, _take(sim, 20, "w"))
    assert "draining" not in _codes(sim)


def test_attempts_that_fail_with_their_share(sim):
    _enqueue(sim, 10)
    _let_rates_pass(sim)
    _end(sim, _take(sim, 6, "w"))
    for task in _take(sim, 2, "w"):
        sim.call("fail", task["id"], {"lease": task["lease"], "error": {"type": "E"}})
    detail = _next_second(sim)["failing"]["detail"]
    assert "25% of the attempts" in detail and "2 tasks wait for another" in detail
    sim.advance(20_000)
    assert "failing" not in _codes(sim)


def test_few_failures_are_nothing_to_name(sim):
    _enqueue(sim, 30)
    _end(sim, _take(sim, 20, "w"))
    (task,) = _take(sim, 1, "w")
    sim.call("fail", task["id"], {"lease": task["lease"], "error": {"type": "E"}})
    assert "failing" not in _next_second(sim)


def test_many_that_wait_for_another_attempt_long_after_they_failed(sim):
    _enqueue(sim, 4)
    for task in _take(sim, 3, "w"):
        body = {"lease": task["lease"], "error": {"type": "E"}, "delay_ms": 600_000}
        sim.call("fail", task["id"], body)
    _let_rates_pass(sim)
    assert "3 tasks wait for another attempt" in _reasons(sim)["failing"]["detail"]
    _enqueue(sim, 3)
    sim.advance(1)
    assert "failing" not in _codes(sim)


# Nothing is ready


def test_tasks_that_are_scheduled_and_when_the_next_is_due(sim):
    _enqueue(sim, delay_ms=90_000)
    _enqueue(sim, delay_ms=60_000)
    reason = _reasons(sim)["not_due"]
    assert "2 tasks are scheduled" in reason["detail"]
    assert reason["until"] == sim.now_ms + 60_000
    _enqueue(sim)
    assert "not_due" not in _codes(sim)


def test_tasks_that_retry_and_when_the_next_is_due(sim):
    _enqueue(sim, ttl_ms=5_000)  # a deadline is no due time
    _enqueue(sim)
    _enqueue(sim, delay_ms=10_000)
    for task, delay_ms in zip(_take(sim, 2), (20_000, 30_000), strict=True):
        body = {"lease": task["lease"], "error": {"type": "E"}, "delay_ms": delay_ms}
        if delay_ms == 20_000:
            _end(sim, [task])
        else:
            sim.call("fail", task["id"], body)
    reasons = _reasons(sim)
    assert "1 task waits" in reasons["backoff"]["detail"]
    assert reasons["backoff"]["until"] == sim.now_ms + 30_000
    assert reasons["not_due"]["until"] == sim.now_ms + 10_000


def test_tasks_that_are_blocked(sim):
    sim.call("put_queue", "parents", {})
    parent = sim.call("enqueue", "parents", {}).json()["id"]
    _enqueue(sim, depends_on=[parent])
    assert "1 task waits for other tasks" in _reasons(sim)["waits_for"]["detail"]
    _end(sim, _take(sim, queue="parents"))
    assert "waits_for" not in _codes(sim)


def test_the_next_due_time_is_left_out_where_it_is_not_in_memory(sim):
    _enqueue(sim, delay_ms=60_000)
    sim.crash()
    assert "until" not in _reasons(sim)["not_due"]


def test_a_look_reads_nothing_and_changes_nothing(sim):
    sim.call("put_queue", "q", {"discipline": "round_robin", "max_running_per_group": 1})
    for number in range(50):
        _enqueue(sim, 2, group=str(number))
    _take(sim, 5, "w")
    sim.settle()
    call = sim.submit("queue_why", "q")
    sim.turn()
    assert call.status == 200
    assert not (sim.wanted or sim.parked or len(sim.batch))
