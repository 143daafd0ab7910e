"""The turn and its commit: nothing is shown before it is safe, nothing is lost after it was shown."""

import asyncio
from types import SimpleNamespace

import pytest
from writer_harness import Harness, Session, turns

from taskqueuex.access.overload import ENQUEUE
from taskqueuex.engine.engine import Engine
from taskqueuex.model.states import STATE_NAMES
from taskqueuex.testing import EIO, ENOSPC
from taskqueuex.writer import writer as writer_module
from taskqueuex.writer.writer import Writer


async def nothing_is_answered_before_its_sync(commit: str = "thread") -> None:
    harness = Harness(commit)
    first = await harness.call("enqueue", "q", {"payload": 1})
    assert (first.status, first.durability) == (201, "durable")
    harness.rows.sync_gate.clear()
    try:
        calls = [harness.submit(Session(), "enqueue", "q", {"payload": 2})[0]]
        await turns()
        shown = [
            harness.submit(Session(), "get_queue", "q")[0],
            harness.submit(Session(), "get_task", "01890000-0000-7000-8000-000000000000")[0],
            harness.submit(Session(), "list_tasks", query={"queue": "q"})[0],
            harness.submit(Session(), "dequeue_queue", "q", {})[0],
        ]
        await turns()
        assert [call.status for call in calls + shown] == [0] * 5, "answered before it was synced"
    finally:
        harness.rows.sync_gate.set()
    for call in calls + shown:
        if not call.status:
            await asyncio.wait_for(call.sink.expect(call), 10)
    assert [call.status for call in calls + shown] == [201, 200, 404, 200, 200]
    assert harness.failures == []
    await harness.writer.stop()


def test_no_answer_leaves_before_the_sync_of_what_it_tells_of():
    asyncio.run(nothing_is_answered_before_its_sync())


def test_mutant_a_writer_that_answers_after_the_write(monkeypatch):
    honest = Writer._release_held

    def hasty(self):
        held, self._held = self._held, []
        self._release(held)
        honest(self)

    monkeypatch.setattr(Writer, "_release_held", hasty)
    with pytest.raises(AssertionError, match="before it was synced"):
        asyncio.run(nothing_is_answered_before_its_sync())


@pytest.mark.parametrize("commit", ["inline", "thread"])
def test_after_a_failed_sync_the_outcome_is_unknown_and_nothing_shown_is_lost(commit):
    async def run():
        harness = Harness(commit)
        shown = (await harness.call("enqueue", "q", {"payload": 1})).json()["id"]
        harness.rows.fail_sync = EIO
        writing, reading = Session(), Session()
        one, answered_one = harness.submit(writing, "enqueue", "q", {"payload": 2})
        two, answered_two = harness.submit(reading, "list_queues")
        await asyncio.wait_for(asyncio.gather(answered_one, answered_two), 10)
        assert [one.status, two.status] == [503, 503]
        assert (one.outcome.code, one.outcome.outcome) == ("storage_unavailable", "unknown")
        assert len(harness.failures) == 1
        late = await harness.call("enqueue", "q", {})
        assert (late.status, late.outcome.outcome) == (503, "not_applied")
        harness.recover(power_cut=True)
        assert (await harness.call("get_task", shown)).status == 200
        counts = (await harness.call("get_queue", "q")).json()["counts"]
        assert counts["ready"] == 1
        await harness.writer.stop()

    asyncio.run(run())


@pytest.mark.parametrize("fault", ["fail_write", "fail_after_write"])
@pytest.mark.parametrize("error", [EIO, ENOSPC], ids=["EIO", "ENOSPC"])
def test_a_failed_write_is_unknown_and_a_repeat_with_the_key_settles_it(fault, error):
    async def run():
        harness = Harness()
        await harness.call("put_queue", "q", {})
        setattr(harness.rows, fault, error)
        body = {"payload": "once"}
        lost = await harness.call("enqueue", "q", body, key="k1")
        assert (lost.status, lost.outcome.outcome) == (503, "unknown")
        harness.recover()
        again = await harness.call("enqueue", "q", body, key="k1")
        assert again.status == 201
        assert (await harness.call("get_queue", "q")).json()["counts"]["ready"] == 1
        await harness.writer.stop()

    asyncio.run(run())


def test_a_stalled_write_is_repeated_and_nobody_is_refused():
    async def run():
        harness = Harness()
        harness.rows.stalls = 3
        call = await harness.call("enqueue", "q", {})
        assert call.status == 201 and harness.metrics.stalls == 3 and harness.failures == []
        await harness.writer.stop()

    asyncio.run(run())


def test_a_key_gives_its_first_answer_again_and_refuses_another_body():
    async def run():
        harness = Harness()
        first = await harness.call("enqueue", "q", {"payload": 1}, key="k")
        again = await harness.call("enqueue", "q", {"payload": 1}, key="k")
        assert again.json() == first.json() and again.status == 201
        other = await harness.call("enqueue", "q", {"payload": 2}, key="k")
        assert (other.status, other.outcome.code) == (422, "idempotency_mismatch")
        assert (await harness.call("enqueue", "r", {"payload": 1}, key="k")).json() != first.json()
        harness.recover(power_cut=True)
        later = await harness.call("enqueue", "q", {"payload": 1}, key="k")
        assert later.json() == first.json()
        assert (await harness.call("get_queue", "q")).json()["counts"]["ready"] == 1
        await harness.writer.stop()

    asyncio.run(run())


def test_two_calls_with_one_key_at_the_same_time_are_one():
    async def run():
        harness = Harness()
        await harness.call("enqueue_batch", "q", {"tasks": [{}] * 10})
        one, first = harness.submit(Session(), "purge_queue", "q", None, key="k")
        two, second = harness.submit(Session(), "purge_queue", "q", None, key="k")
        await asyncio.wait_for(asyncio.gather(first, second), 10)
        assert one.json() == two.json() == {"matched": 10, "changed": 10}
        await harness.writer.stop()

    asyncio.run(run())


def test_memory_answers_at_once_relaxed_after_the_write_and_both_say_so():
    async def run():
        harness = Harness("thread")
        await harness.call("put_queue", "m", {"durability": "memory", "max_tasks": 10})
        await harness.call("put_queue", "r", {"durability": "relaxed"})
        syncs = harness.rows.syncs
        harness.rows.sync_gate.clear()
        try:
            memory = await harness.call("enqueue", "m", {})
            relaxed = await harness.call("enqueue", "r", {})
            assert (memory.status, memory.durability) == (201, "memory")
            assert (relaxed.status, relaxed.durability) == (201, "relaxed")
        finally:
            harness.rows.sync_gate.set()
        while harness.rows.syncs == syncs:
            await asyncio.sleep(0.01)
        harness.recover(power_cut=True)
        assert (await harness.call("get_queue", "r")).json()["counts"]["ready"] == 1
        assert (await harness.call("get_queue", "m")).json()["counts"]["ready"] == 0
        await harness.writer.stop()

    asyncio.run(run())


def test_relaxed_stops_acknowledging_when_the_sync_does_not_keep_up():
    async def run():
        harness = Harness("thread")
        await harness.call("put_queue", "r", {"durability": "relaxed"})
        harness.rows.sync_gate.clear()
        try:
            assert (await harness.call("enqueue", "r", {})).status == 201
            while not harness.writer._syncing:
                await asyncio.sleep(0.01)
            late, _ = harness.submit(Session(), "enqueue", "r", {})
            await turns()
            assert late.status == 0
        finally:
            harness.rows.sync_gate.set()
        await asyncio.wait_for(late.sink.expect(late), 10)
        assert late.status == 201
        await harness.writer.stop()

    asyncio.run(run())


def test_a_lease_whose_connection_closed_before_the_answer_is_given_back():
    async def run():
        harness = Harness("thread")
        task_id = (await harness.call("enqueue", "q", {})).json()["id"]
        harness.rows.sync_gate.clear()
        session = Session()
        _, answered = harness.submit(session, "dequeue_queue", "q", {})
        await turns()
        session.closed = True
        harness.writer.on_disconnect(session)
        harness.rows.sync_gate.set()
        await asyncio.wait_for(answered, 10)
        again = await harness.call("dequeue_queue", "q", {"wait_ms": 5_000})
        (task,) = again.json()["tasks"]
        assert (task["id"], task["attempt"], task.get("failures", 0)) == (task_id, 2, 0)
        await harness.writer.stop()

    asyncio.run(run())


def test_calls_behind_a_poll_of_the_same_session_wait_for_it():
    async def run():
        harness = Harness()
        session = Session()
        poll, polled = harness.submit(session, "dequeue_queue", "q", {"wait_ms": 10_000})
        behind, answered = harness.submit(session, "enqueue", "other", {})
        await turns()
        assert (poll.status, behind.status) == (0, 0)
        assert (await harness.call("enqueue", "q", {})).status == 201
        await asyncio.wait_for(asyncio.gather(polled, answered), 10)
        assert [call.command.name for call in session.answers] == ["dequeue_queue", "enqueue"]
        await harness.writer.stop()

    asyncio.run(run())


def test_a_mistake_in_a_handler_costs_its_turn_and_not_the_store(monkeypatch):
    async def run():
        harness = Harness()
        await harness.call("enqueue", "q", {"payload": 1})

        def broken(self, call):
            raise ZeroDivisionError("a mistake")

        with monkeypatch.context() as patch:
            patch.setattr(Engine, "apply", broken)
            call = await harness.call("enqueue", "q", {"payload": 2})
        assert (call.status, call.outcome.outcome) == (503, "unknown")
        assert isinstance(harness.failures[0], ZeroDivisionError)
        harness.recover()
        assert (await harness.call("get_queue", "q")).json()["counts"]["ready"] == 1
        await harness.writer.stop()

    asyncio.run(run())


def test_a_full_inbox_refuses_and_says_that_nothing_was_applied():
    async def run():
        harness = Harness(inbox_max=5)
        calls = [harness.submit(Session(), "enqueue", "q", {})[0] for _ in range(9)]
        await turns()
        assert [call.status for call in calls] == [201] * 5 + [503] * 4
        assert (calls[-1].outcome.code, calls[-1].outcome.outcome) == ("overloaded", "not_applied")
        await harness.writer.stop()

    asyncio.run(run())


def test_work_whose_caller_has_gone_is_not_started():
    async def run():
        harness = Harness()
        call, answered = harness.submit(Session(), "enqueue", "q", {})
        call.deadline_us = 1
        await asyncio.wait_for(answered, 10)
        assert (call.status, call.outcome.outcome) == (408, "not_applied")
        assert (await harness.call("list_queues")).json()["queues"] == []
        await harness.writer.stop()

    asyncio.run(run())


def test_stopping_answers_the_polls_and_commits_what_was_taken():
    async def run():
        harness = Harness()
        poll, polled = harness.submit(Session(), "dequeue_queue", "q", {"wait_ms": 60_000})
        await turns()
        call, answered = harness.submit(Session(), "enqueue", "other", {})
        await harness.writer.stop()
        assert polled.done() and poll.json() == {"tasks": []}
        assert answered.done() and call.status == 201
        harness.recover(power_cut=True)
        assert (await harness.call("get_queue", "other")).json()["counts"]["ready"] == 1
        await harness.writer.stop()

    asyncio.run(run())


def test_calls_behind_a_wait_for_an_end_are_answered_after_it():
    async def run():
        harness = Harness()
        task_id = (await harness.call("enqueue", "q", {})).json()["id"]
        session = Session()
        wait, waited = harness.submit(session, "get_task", task_id, query={"wait_ms": 60_000})
        behind, answered = harness.submit(session, "enqueue", "other", {})
        third, last = harness.submit(session, "list_queues")
        await turns()
        assert (wait.status, behind.status) == (0, 0)
        assert (await harness.call("cancel_task", task_id)).status == 200
        await asyncio.wait_for(asyncio.gather(waited, answered, last), 10)
        assert [call.command.name for call in session.answers] == ["get_task", "enqueue", "list_queues"]
        assert wait.json()["state"] == "cancelled" and third.status == 200
        await harness.writer.stop()

    asyncio.run(run())


def test_every_call_is_answered_when_the_turn_that_resumes_them_fails(monkeypatch):
    async def run():
        harness = Harness()
        task_id = (await harness.call("enqueue", "q", {"payload": 1})).json()["id"]
        harness.recover()
        calls = [harness.submit(Session(), "get_task", task_id) for _ in range(3)]
        honest = Engine.apply
        applied = []

        def breaks(self, call):
            applied.append(call)
            if len(applied) == 4:  # the first that is resumed
                raise ZeroDivisionError("a mistake")
            return honest(self, call)

        with monkeypatch.context() as patch:
            patch.setattr(Engine, "apply", breaks)
            await asyncio.wait_for(asyncio.gather(*(answered for _, answered in calls)), 10)
        assert len(applied) == 4, "they were to be parked"
        assert [call.status for call, _ in calls] == [503] * 3
        harness.recover()
        await harness.writer.stop()

    asyncio.run(run())


def test_every_call_is_answered_when_the_end_of_a_turn_fails(monkeypatch):
    async def run():
        harness = Harness()
        task_id = (await harness.call("enqueue", "q", {})).json()["id"]
        polls = [harness.submit(Session(), "get_task", task_id, query={"wait_ms": 60_000}) for _ in range(2)]
        polls += [harness.submit(Session(), "dequeue_queue", "r", {"wait_ms": 60_000})]
        await turns()

        def breaks(self):
            raise ZeroDivisionError("a mistake")

        with monkeypatch.context() as patch:
            patch.setattr(Engine, "_flush", breaks)
            enqueued = harness.submit(Session(), "enqueue", "r", {})
            cancelled = harness.submit(Session(), "cancel_task", task_id)
            answers = [answered for _, answered in [*polls, enqueued, cancelled]]
            await asyncio.wait_for(asyncio.gather(*answers), 10)
        assert {call.status for call, _ in [*polls, enqueued, cancelled]} == {503}
        assert polls[2][0].outcome.outcome == "unknown", "a task had been leased for it"
        harness.recover()
        assert (await harness.call("get_task", task_id)).json()["state"] == "ready"
        await harness.writer.stop()

    asyncio.run(run())


def test_a_repeat_is_not_left_behind_by_a_batch_whose_caller_has_gone():
    async def run():
        harness = Harness()
        session = Session()
        body = {"tasks": [{} for _ in range(3_000)]}
        first, _ = harness.submit(session, "enqueue_batch", "q", body, key="k")
        while not harness.writer.engine.core.staged:
            await asyncio.sleep(0)
        repeat, repeated = harness.submit(Session(), "enqueue_batch", "q", body, key="k")
        await asyncio.sleep(0)
        session.closed = True
        harness.writer.on_disconnect(session)
        assert (await harness.call("delete_queue", "q", query={"force": True})).status == 200
        await asyncio.wait_for(repeated, 10)
        assert first.status == 0 and repeat.status == 201
        assert (await harness.call("get_queue", "q")).json()["counts"]["ready"] == 3_000
        await harness.writer.stop()

    asyncio.run(run())


def test_a_call_over_several_queues_is_answered_at_the_strictest_level_among_them():
    async def run():
        harness = Harness("thread")
        await harness.call("put_queue", "m", {"durability": "memory", "max_tasks": 10})
        await harness.call("put_queue", "r", {"durability": "relaxed"})
        await harness.call("enqueue_batch", "m", {"tasks": [{}] * 4})
        await harness.call("enqueue", "d", {})
        for queues, level in ((["m"], "memory"), (["m", "r"], "relaxed"), (["m", "r", "d"], "durable")):
            call = await harness.call("dequeue", body={"queues": queues})
            assert (len(call.json()["tasks"]), call.durability) == (1, level)
        poll, polled = harness.submit(
            Session(), "dequeue", body={"queues": ["r", "d2", "d"], "wait_ms": 9_000}
        )
        await harness.call("dequeue_queue", "d", {})
        await harness.call("enqueue", "r", {})
        await asyncio.wait_for(polled, 10)
        assert poll.durability == "durable"
        await harness.writer.stop()

    asyncio.run(run())


def test_a_listing_leaves_out_what_has_ended_and_is_not_shown_any_more():
    async def run():
        harness = Harness()
        for ttl in (0, 60_000):
            task_id = (await harness.call("enqueue", "q", {"result_ttl_ms": ttl, "name": "n"})).json()["id"]
            await harness.call("cancel_task", task_id)
        for query in ({"queue": "q"}, {"queue": "q", "state": "cancelled"}, {"name": "n"}, {"id": task_id}):
            found = (await harness.call("list_tasks", query=query)).json()["tasks"]
            assert [task["id"] for task in found] == [task_id], query
        await harness.writer.stop()

    asyncio.run(run())


def test_a_listing_by_state_finds_every_task_of_it_over_queues_of_every_kind():
    kinds = {
        "plain": {},
        "none": {},
        "spread": {"partitions": 3},
        "grouped": {"discipline": "round_robin"},
        "volatile": {"durability": "memory", "max_tasks": 100},
    }

    async def run():
        harness = Harness()
        expected: dict[str, set[str]] = {name: set() for name in STATE_NAMES}
        for queue, config in kinds.items():
            await harness.call("put_queue", queue, config)
            if queue == "none":
                continue
            fields = {"group": "g"} if queue == "grouped" else {}
            parent = (await harness.call("enqueue", queue, {"delay_ms": 60_000, **fields})).json()["id"]
            await harness.call("enqueue", queue, {"depends_on": [parent], **fields})
            for _ in range(5):
                await harness.call("enqueue", queue, fields)
            leased = (await harness.call("dequeue_queue", queue, {"max": 4})).json()["tasks"]
            for task, fate in zip(leased, ("ack", "retry", "die"), strict=False):
                body = {"lease": task["lease"]}
                if fate != "ack":
                    body |= {"error": {"type": "Boom"}, "retryable": fate == "retry", "delay_ms": 60_000}
                await harness.call("ack" if fate == "ack" else "fail", task["id"], body)
        for task in (await harness.call("list_tasks", query={"limit": 1_000})).json()["tasks"]:
            expected[task["state"]].add(task["id"])
        assert all(expected[state] for state in STATE_NAMES if state not in ("cancelled", "expired"))
        for state, ids in expected.items():
            found = (await harness.call("list_tasks", query={"state": state, "limit": 1_000})).json()["tasks"]
            assert {task["id"] for task in found} == ids, state
        groups = (await harness.call("dead_groups")).json()["groups"]
        assert {each["queue"] for each in groups} == set(kinds) - {"none"}
        await harness.writer.stop()

    asyncio.run(run())


def test_a_relaxed_answer_waits_for_a_sync_when_the_oldest_change_is_too_old(monkeypatch):
    async def run():
        monkeypatch.setattr(writer_module, "RELAXED_SYNC_S", 3_600)
        harness = Harness()
        await harness.call("put_queue", "r", {"durability": "relaxed"})
        before = harness.rows.syncs
        for _ in range(3):
            assert (await harness.call("enqueue", "r", {})).durability == "relaxed"
        assert harness.rows.syncs == before, "a relaxed answer does not wait for a sync"
        clock, honest = harness.writer.clock, harness.writer.clock.monotonic_us
        monkeypatch.setattr(clock, "monotonic_us", lambda: honest() + 101_000)
        assert (await harness.call("enqueue", "r", {})).durability == "relaxed"
        assert harness.rows.syncs == before + 1
        assert (await harness.call("enqueue", "r", {})).status == 201
        assert harness.rows.syncs == before + 1, "the oldest that is not synced is young again"
        await harness.writer.stop()

    asyncio.run(run())


def test_a_disk_that_is_nearly_full_takes_no_tasks_of_schedules_either():
    async def run():
        harness = Harness()
        await harness.call("put_schedule", "s", {"queue": "q", "every_ms": 86_400_000})
        harness.writer.refuse_enqueues = True
        assert (await harness.call("trigger_schedule", "s")).status == 503
        assert (await harness.call("enqueue", "q", {})).status == 503
        harness.writer.refuse_enqueues = False
        assert (await harness.call("trigger_schedule", "s")).status == 201
        await harness.writer.stop()

    asyncio.run(run())


@pytest.mark.parametrize("length", [300, 301, 500, 1_000])
def test_a_cascade_does_not_rest_before_its_end(length, monkeypatch):
    """Jobs that the end of a turn makes are gone on with at once, not when some alarm is due."""
    monkeypatch.setattr(Writer, "_set_alarm", lambda self: None)

    async def run():
        harness = Harness()
        tasks = [{"ref": "0", "queue": "q"}]
        tasks += [{"ref": str(n), "queue": "q", "depends_on": [str(n - 1)]} for n in range(1, length)]
        ids = (await harness.call("create_workflow", body={"tasks": tasks})).json()["ids"]
        last = harness.submit(Session(), "get_task", ids[str(length - 1)], query={"wait_ms": 20_000})[1]
        await harness.call("kill_task", ids["0"])
        assert (await asyncio.wait_for(last, 15)).json()["state"] == "cancelled"
        await harness.writer.stop()

    asyncio.run(run())


def test_a_turn_takes_fewer_calls_where_they_are_large():
    async def run():
        harness = Harness()
        before = harness.metrics.turns
        calls = [harness.submit(Session(), "enqueue", "q", {"payload": n}) for n in range(20)]
        for call, _ in calls:
            call.units = 500
        await asyncio.gather(*(answered for _, answered in calls))
        assert harness.metrics.turns - before >= 10
        await harness.writer.stop()

    asyncio.run(run())


def test_while_the_store_stalls_no_more_tasks_are_taken():
    async def run():
        harness = Harness()
        harness.rows.stalls = 3
        overload = harness.writer.overload
        _, answered = harness.submit(Session(), "enqueue", "q", {"payload": 1})
        await turns()
        assert overload.active
        assert not overload.admits(ENQUEUE)
        assert not overload.refuses(ENQUEUE), "a short stall is waited for"
        assert (await asyncio.wait_for(answered, 10)).status == 201
        assert not overload.active
        await harness.writer.stop()

    asyncio.run(run())


def test_calls_that_come_from_the_waiting_room_have_not_waited_for_their_turn():
    """Else the server would look overloaded for as long as anybody waits there."""

    async def run():
        harness = Harness()
        longest = []
        later = []

        def on_turn(now_us, longest_us, units):
            longest.append(longest_us)
            if len(longest) == 1:
                call, answered = harness.submit(Session(), "enqueue", "q", {"payload": 2})
                call.received_us = now_us - 10_000_000
                later.append(answered)

        harness.writer.overload = SimpleNamespace(on_turn=on_turn, sheds_polls=False, on_written=lambda: None)
        call, answered = harness.submit(Session(), "enqueue", "q", {"payload": 1})
        call.received_us = harness.writer.clock.monotonic_us() - 20_000
        await answered
        await later[0]
        assert longest[0] >= 20_000
        assert longest[1] < 10_000_000
        await harness.writer.stop()

    asyncio.run(run())
