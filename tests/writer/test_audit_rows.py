"""Rows of the audit and of tokens go into the batch of the change that they tell of."""

import asyncio

import pytest
from writer_harness import Harness, Session, turns

from taskqueuex.access import make_token
from taskqueuex.commands.access import CreateToken
from taskqueuex.errors import StorageUnavailable
from taskqueuex.testing import EIO, SimulatedCall
from taskqueuex.writer.writer import Writer


def told(harness) -> list[tuple[str, str, int]]:
    rows = harness.storage.scan_audit(b"", b"", 1_000)
    return [(record.command, record.target, record.status) for _, record in reversed(rows)]


def test_a_change_and_its_row_are_lost_together_or_kept_together():
    async def run():
        harness = Harness("thread")
        await harness.call("put_queue", "kept", {})
        harness.rows.sync_gate.clear()
        try:
            harness.submit(Session(), "put_queue", "lost", {})
            await turns()
            assert [target for _, target, _ in told(harness)] == ["kept", "lost"], "it was written"
        finally:
            harness.rows.fail_sync = EIO
            harness.rows.sync_gate.set()
        while not harness.failures:
            await asyncio.sleep(0)
        harness.recover(power_cut=True)
        queues = [each["name"] for each in (await harness.call("list_queues")).json()["queues"]]
        assert queues == ["kept"]
        assert told(harness) == [("put_queue", "kept", 201)]
        await harness.writer.stop()

    asyncio.run(run())


async def every_batch_has_both():
    """No write has a change without its row: looked at after each."""
    harness = Harness()
    write = harness.rows.write

    def looked_at(rows):
        write(rows)
        names = {record.name for record in harness.storage.load_queues()}
        assert names == {target for _, target, _ in told(harness)}, "one is there without the other"

    harness.rows.write = looked_at
    for number in range(5):
        await harness.call("put_queue", f"q{number}", {})
    await harness.writer.stop()
    assert harness.failures == []


def test_no_write_has_one_without_the_other():
    asyncio.run(every_batch_has_both())


def test_mutant_an_audit_in_a_batch_of_its_own(monkeypatch):
    honest = Writer._answer

    def late(self, call, status, body, level):
        auditor = self.auditor

        class Late:
            @staticmethod
            def put(_, *rest):
                self.loop.call_soon(lambda: auditor.put(self._batch, *rest))

        self.auditor = Late
        honest(self, call, status, body, level)
        self.auditor = auditor

    monkeypatch.setattr(Writer, "_answer", late)
    with pytest.raises(AssertionError):
        asyncio.run(every_batch_has_both())


def test_what_takes_many_turns_has_a_row_from_the_first_which_says_its_end_in_time():
    async def run():
        harness = Harness()
        await harness.call("enqueue_batch", "q", {"tasks": [{}] * 1_000})
        seen = []
        write = harness.rows.write

        def looked_at(rows):
            write(rows)
            seen.append((told(harness), [job.action for _, job in harness.storage.load_jobs()]))

        harness.rows.write = looked_at
        call = await harness.call("bulk", "", {"action": "cancel", "filter": {"queue": "q"}})
        assert call.json() == {"matched": 1_000, "changed": 1_000}
        began = next(index for index, (_, jobs) in enumerate(seen) if jobs)
        assert seen[began][0] == [("bulk", "", 0)], "the job and the row that it was begun are one batch"
        assert seen[-1] == ([("bulk", "", 200)], [])
        await harness.writer.stop()

    asyncio.run(run())


def test_a_change_of_a_queue_in_memory_is_told_of_too():
    async def run():
        harness = Harness()
        await harness.call("put_queue", "m", {"durability": "memory", "max_tasks": 5})
        task = (await harness.call("enqueue", "m", {})).json()["id"]
        killed = await harness.call("kill_task", task)
        assert killed.durability == "relaxed", "it is worth no more than its row"
        assert told(harness)[-1] == ("kill_task", task, 200)
        await harness.writer.stop()

    asyncio.run(run())


# Tokens


def token_call():
    return SimulatedCall("create_token", "", {"name": "t", "scopes": ["admin"]})


def test_rows_of_a_call_are_durable_when_it_is_told_so():
    async def run():
        harness = Harness("thread")
        record, _ = make_token(CreateToken(name="t", scopes=["admin"]), 1, lambda count: bytes(range(count)))
        harness.rows.sync_gate.clear()
        try:
            change = asyncio.ensure_future(
                harness.writer.committed(token_call(), lambda batch: batch.put_token(record))
            )
            await turns()
            assert not change.done(), "before the sync"
        finally:
            harness.rows.sync_gate.set()
        await asyncio.wait_for(change, 10)
        harness.recover(power_cut=True)
        assert harness.storage.load_tokens() == [record]
        await harness.writer.stop()

    asyncio.run(run())


def test_rows_whose_sync_fails_have_an_unknown_outcome_and_later_ones_none():
    async def run():
        harness = Harness()
        harness.rows.fail_sync = EIO
        with pytest.raises(StorageUnavailable) as failed:
            await harness.writer.committed(token_call(), lambda batch: batch.put_meta("a", b"1"))
        assert failed.value.outcome == "unknown"
        with pytest.raises(StorageUnavailable) as refused:
            await harness.writer.committed(token_call(), lambda batch: batch.put_meta("b", b"1"))
        assert refused.value.outcome == "not_applied"
        harness.recover(power_cut=True)
        assert harness.storage.get_meta("b") is None
        await harness.writer.stop()

    asyncio.run(run())
