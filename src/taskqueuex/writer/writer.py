"""The turn: drain the inbox, apply, commit, release.

Once per turn of the event loop the inbox is drained and every call applied; the rows of all of
them are one batch, one write and one sync. No answer leaves before the batch that made it true is
as safe as its queue asks, answers that only read included: they may have seen what is not safe yet.

`inline`: write and sync on the loop, so that the calls that arrive meanwhile are the next batch.
`thread`: the sync runs on the storage thread while the next batch grows; a write never runs beside
a sync (it was measured to stall). A failed write or sync ends this writer's memory: held answers
say `unknown`, and all is read anew from storage. Nothing is ever rolled back by hand.
"""

import asyncio
import logging
import os
import random
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from taskqueuex.access import Auditor
from taskqueuex.access.overload import POLL, Overload, OverloadConfig
from taskqueuex.clock import Clock
from taskqueuex.commands.call import Call, Sink
from taskqueuex.engine import LEVEL_DURABLE, LEVEL_MEMORY, LEVEL_RELAXED, Engine, Need
from taskqueuex.errors import Draining, Overloaded, RequestTimeout, StorageUnavailable, TaskQueueError
from taskqueuex.model.access import TokenRecord
from taskqueuex.model.events import SERVER_STOPPING
from taskqueuex.model.reads import ReadLater, ReadRequest
from taskqueuex.model.rows import Batch
from taskqueuex.storage import StorageError, StoreStalled
from taskqueuex.storage.maintenance import write_backup
from taskqueuex.telemetry import Point
from taskqueuex.writer.events import EventConfig, EventLog
from taskqueuex.writer.idempotency import IdempotencyKeys
from taskqueuex.writer.metrics import WriterMetrics
from taskqueuex.writer.queries import Query, is_query
from taskqueuex.writer.stores import Tiers, answer_inline, run_read

__all__ = ["CommitMode", "Writer", "WriterConfig"]

_log = logging.getLogger("taskqueuex.writer")

CommitMode = Literal["inline", "thread"]

CALLS_A_TURN = 1_000
RELAXED_SYNC_S = 0.05
RELAXED_MAX_US = 100_000
TRIM_TURNS = 256
STOP_S = 8.0
STALL_RETRY_S = 0.01
LATER_S = 0.005
_NAMES = ("memory", "relaxed", "durable")


class WriterConfig(NamedTuple):
    """How a writer commits, and what it bounds."""

    commit: CommitMode = "inline"
    inbox_max: int = 20_000
    pool_size: int = 2
    events: EventConfig = EventConfig()


class Held(NamedTuple):
    """An answer that waits for its batch."""

    call: Call
    status: int
    body: Any
    level: int


class Promise:
    """A sink that a coroutine waits at, for one answer."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.closed = False
        self.blocked_by: Call | None = None
        self.future: asyncio.Future[None] = loop.create_future()

    def on_reply(self, call: Call, status: int, body: Any, durability: str | None) -> bool:
        """See `Sink`."""
        if not self.future.done():
            if isinstance(body, TaskQueueError):
                self.future.set_exception(body)
            else:
                self.future.set_result(None)
        return True


class Writer:
    """The one that writes. Every method is called on the loop's thread."""

    def __init__(
        self,
        engine: Engine,
        tiers: Tiers,
        keys: IdempotencyKeys,
        clock: Clock,
        config: WriterConfig,
        loop: asyncio.AbstractEventLoop,
        metrics: WriterMetrics,
        on_failure: Callable[[Exception], None],
        auditor: Auditor | None = None,
        overload: Overload | None = None,
    ) -> None:
        self.engine = engine
        self.tiers = tiers
        self.keys = keys
        self.clock = clock
        self.config = config
        self.loop = loop
        self.metrics = metrics
        self.draining = False
        self.refuse_enqueues = False  # the disk is nearly full
        self._on_failure = on_failure
        self.auditor = auditor or Auditor(os.urandom(4))
        self.overload = overload or Overload(OverloadConfig(), random.random)
        self._emptied_us = 0  # when the inbox was drained; 0: some calls were left in it
        self._inbox: deque[Call] = deque()
        self._behind: dict[int, deque[Call]] = {}  # sink -> calls behind one that is not answered
        self._parked: list[tuple[Call, set[ReadRequest]]] = []
        self._resumed: deque[Call] = deque()  # parked ones whose reads have landed in this turn
        self._answers: list[tuple[ReadRequest, Any]] = []  # of reads, for the next turn
        self._reading: set[ReadRequest] = set()
        self._wanted: list[ReadRequest] = []  # to start when the growing batch is written
        self._held: list[Held] = []  # of the growing batch
        self._undelivered: list[Any] = []
        self._pending_keys: dict[bytes, list[Call]] = {}  # calls with a key that are not answered yet
        self._batch = tiers.durable.new_batch()
        self._volatile = tiers.volatile.new_batch()
        self._unsynced_since_us = 0  # when the oldest unsynced write was made; 0: there is none
        self._applying: Call | None = None  # the call under way, for a failure to answer
        self._syncing = False
        self.synced_sequence = 0  # of storage: all up to it survives a power cut
        self._written_sequence = 0
        self._scheduled = False
        self._failed = False
        self._stopped = False
        self._idle: list[asyncio.Future[None]] = []
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0
        self._relaxed_timer: asyncio.TimerHandle | None = None
        self._pool = ThreadPoolExecutor(config.pool_size, "tqx-read")
        self._sync_thread = ThreadPoolExecutor(1, "tqx-sync") if config.commit == "thread" else None
        self.events = EventLog(tiers.durable, loop, self._pool, config.events)

    # From outside

    def submit(self, call: Call) -> None:
        """Takes a call; it is answered through its sink, always."""
        if self._failed or self._stopped:
            error = Draining() if self._stopped else StorageUnavailable(retry_after_s=1)
            call.sink.on_reply(call, error.status, error, None)
        elif len(self._inbox) >= self.config.inbox_max:
            self.metrics.shed += 1
            call.sink.on_reply(call, 503, Overloaded("the inbox is full", retry_after_s=1), None)
        else:
            self._inbox.append(call)
            if not self._scheduled:
                self._schedule()

    def on_disconnect(self, sink: Sink) -> None:
        """A connection is gone: what it waits for waits no longer."""
        self.engine.drop_sink(sink)
        sink.blocked_by = None
        self._behind.pop(id(sink), None)
        self.events.drop(sink)

    def poke(self) -> None:
        """Makes a turn happen soon."""
        if not self._scheduled and not self._failed:
            self._schedule()

    def inbox_calls(self) -> int:
        """Calls that wait for their turn."""
        return len(self._inbox)

    def _busy(self) -> bool:
        return bool(
            self._inbox or self._parked or self._answers or self._reading or self._held or self._syncing
            or self._unsynced_since_us or len(self._batch) or self.engine.more or any(self.engine.core.events)
        )  # fmt: skip

    async def answer_waiters(self) -> None:
        """Answers long polls with nothing, and returns when all that was taken is committed.

        Work that takes longer than STOP_S (a large sweep, a re-sort) is not waited for: it has rows,
        and goes on after the next start.
        """
        self.draining = True
        self.engine.waiters.hurry()
        self.notice(SERVER_STOPPING)
        await self._settled(STOP_S)
        self.events.close("the server stops")

    async def stop(self) -> None:
        """Commits what was taken, and takes no more."""
        await self.answer_waiters()
        self._stopped = True
        self.close()

    async def _settled(self, timeout_s: float = 60.0) -> None:
        until_us = self.clock.monotonic_us() + int(timeout_s * 1_000_000)
        while self._busy() and not self._failed and self.clock.monotonic_us() < until_us:
            future = self.loop.create_future()
            self._idle.append(future)
            self._sync_relaxed()
            self.poke()
            await asyncio.wait([future], timeout=0.05)

    async def caught_up(self, timeout_s: float) -> None:
        """Returns when all that is due by now has been done, with the reads that it takes.

        For a clock that was turned by hand. Under load there is always more to do: then it returns after
        `timeout_s`.
        """
        until_s = self.loop.time() + timeout_s
        while (self._busy() or self._is_due()) and not self._failed and not self._stopped:
            if self.loop.time() >= until_s:
                return
            self.poke()
            await asyncio.sleep(0.001)

    def _is_due(self) -> bool:
        """Whether a timer is due, or will be in a millisecond: so long one waits that has to be read."""
        at_ms = self.engine.next_alarm_ms()
        return at_ms is not None and at_ms <= self.clock.now_ms() + 1

    async def backup(self, path: Path) -> int:
        """A consistent copy of the store in a directory that does not exist yet; returns its bytes.

        Raises StorageError. What was acknowledged before the call is in it: that is written, and a
        checkpoint takes in all that is written, while more is.
        """
        await self.loop.run_in_executor(self._pool, write_backup, self.tiers.durable, path)
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())

    def put_points(self, points: Iterable[Point], expired_before: dict[int, int]) -> None:
        """Adds points of the metrics history to the batch that grows."""
        for point in points:
            self._batch.put_point(point.tier, point.at_ms, point.values)
        for tier, before_ms in expired_before.items():
            self._batch.drop_points(tier, before_ms)
        self.poke()

    def put_tokens(self, records: Iterable[TokenRecord]) -> None:
        """Adds rows that say when tokens were used to the batch that grows."""
        for record in records:
            self._batch.put_token(record)
        self.poke()

    def drop_audit(self, before_ms: int) -> None:
        """Ends the audit of long ago with the batch that grows."""
        self._batch.drop_audit(before_ms)
        self.poke()

    async def committed(self, call: Call, put: Callable[[Batch], None]) -> None:
        """Adds rows on behalf of a call, and returns when they survive a power cut.

        Raises StorageUnavailable; by its `outcome` they may be there all the same.
        """
        if self._failed or self._stopped:
            raise StorageUnavailable("the store is being reopened", retry_after_s=1)
        put(self._batch)
        promise = Promise(self.loop)
        self._held.append(Held(Call(call.command, "", None, None, promise, 0), 200, None, LEVEL_DURABLE))
        self.poke()
        await promise.future

    def audit(self, call: Call, status: int, body: Any, target: str | None = None) -> None:
        """Adds a row of what was answered elsewhere than here."""
        if not self._failed and not self._stopped:
            self.auditor.put(self._batch, call, status, body, self.clock.now_ms(), target)
            self.poke()

    def notice(self, what: int, detail: str = "") -> None:
        """An event about the server."""
        if not self._failed and not self._stopped:
            self.engine.core.tell(what, detail=detail)
            self.poke()

    def cut_events(self) -> None:
        """Once a second: the log of events is kept within its bounds."""
        self.events.cut(self._batch)
        if len(self._batch):
            self.poke()

    def close(self) -> None:
        """Lets go of timers and threads; the stores are the caller's."""
        self.events.close("the server reopens its store")
        for timer in (self._alarm, self._relaxed_timer):
            if timer is not None:
                timer.cancel()
        self._pool.shutdown(wait=True)
        if self._sync_thread is not None:
            self._sync_thread.shutdown(wait=True)

    # The turn

    def _schedule(self) -> None:
        self._scheduled = True
        self.loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        if self._failed or self._stopped:
            return
        try:
            self._run_turn()
        except Exception as error:
            # The store failed, or a mistake of ours left memory half changed: nothing of this turn
            # was written, so what storage has is the truth, and all is read anew from it.
            if not isinstance(error, StorageError):
                _log.exception("a turn failed")
            self._fail(error)

    def _run_turn(self) -> None:
        started_us = self.clock.monotonic_us()
        engine = self.engine
        engine.core.refuses_tasks = self.refuse_enqueues
        engine.begin(self.clock.now_ms(), (self._batch, self._volatile))
        if self._undelivered:
            engine.give_back(self._undelivered)
            self._undelivered.clear()
        if self._answers:
            self._deliver()
        self._drain(started_us)
        for call, status, body, level in engine.end():
            if status:
                self._answer(call, status, body, level)
            else:
                self._unblock(call.sink, call)
                if call.sink.closed:
                    self._wake_repeats(call)  # nothing is started for it; a repeat is the first now
                else:
                    self._inbox.appendleft(call)
        self._wanted += engine.take_reads()
        turn = self.events.keep(engine, self._batch)
        if turn is not None:
            self._held.append(Held(self.events.call, 200, turn, LEVEL_RELAXED))
        self.metrics.turns += 1
        if not self._syncing:
            self._set_out()
        self.metrics.turn_us.record(self.clock.monotonic_us() - started_us)
        if self._failed:
            return
        if self._inbox or engine.more or self._answers:
            if not self._scheduled:
                self._schedule()
        else:
            self._set_alarm()
        if self._idle and not self._busy():
            self._wake_idle()

    def _wake_idle(self) -> None:
        waiting, self._idle = self._idle, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def _drain(self, now_us: int) -> None:
        inbox = self._inbox
        first_us = inbox[0].received_us if inbox else 0
        applied = units = 0
        while inbox and units < CALLS_A_TURN:
            call = inbox.popleft()
            sink = call.sink
            if sink.blocked_by is not None:
                self._behind.setdefault(id(sink), deque()).append(call)
                continue
            if sink.closed:
                continue  # nobody would read the answer; nothing is started for it
            applied += 1
            units += call.units
            if call.deadline_us and now_us > call.deadline_us:
                self._answer(call, 408, RequestTimeout("the request's time had passed before its turn"), 0)
                continue
            self._apply(call)
        self.metrics.applied += applied
        if first_us:
            now_us = self.clock.monotonic_us()
            # A call that stood behind another of its connection, or in the waiting room, came long ago, and
            # did not wait for this turn.
            longest_us = now_us - max(first_us, self._emptied_us)
            self._emptied_us = 0 if inbox else now_us
            self.overload.on_turn(now_us, longest_us, units)

    def _apply(self, call: Call) -> None:
        self._applying = call
        try:
            if call.principal.ended:
                call.principal.require_current()
            if call.key and self._repeats(call):
                return
            if is_query(call):
                self._park(call, [Query(self.engine.core, call)])
                return
            if self.refuse_enqueues and call.command.scope == "produce":
                raise StorageUnavailable("the disk is nearly full", retry_after_s=5)
            if self.overload.sheds_polls and getattr(call.body, "wait_ms", None):
                call.body = msgspec.structs.replace(call.body, wait_ms=0)
                applied = self._without_waiting(self.engine.apply(call))
            else:
                applied = self.engine.apply(call)
        except Need as need:
            self._park(call, need.reads)
        except TaskQueueError as error:
            self._answer(call, error.status, error, self.engine.core.level or LEVEL_DURABLE)
        else:
            if applied is None:
                self._wait(call)
            else:
                self._answer(call, applied[0], applied[1], self.engine.core.level)
        self._applying = None

    def _without_waiting(self, applied: tuple[int, Any] | None) -> tuple[int, Any] | None:
        """The answer of a poll that may not wait: one that found nothing is sent away."""
        if applied is not None and not applied[1].tasks:
            self.overload.shed[POLL] += 1
            raise Overloaded("No more polls can wait now", retry_after_s=self.overload.retry_after_s())
        return applied

    def shed_polls(self) -> None:
        """Answers the polls that wait with nothing: they take memory."""
        self.engine.waiters.hurry()
        self.poke()

    def _wait(self, call: Call) -> None:
        call.sink.blocked_by = call
        if call.command.audited:  # its changes take several turns: the first of them says whose they are
            self.auditor.begin(self._batch, call, self.engine.core.now_ms)
        if call.key:
            self._pending_keys.setdefault(IdempotencyKeys.hash_of(call), [])

    def _repeats(self, call: Call) -> bool:
        """Whether a call with a key was answered by the first answer to it, or waits for that one."""
        key_hash = IdempotencyKeys.hash_of(call)
        answer = self.keys.find(key_hash, call)
        if answer is not None:
            self._hold(call, answer.status, answer.body, LEVEL_DURABLE)
            return True
        waiting = self._pending_keys.get(key_hash)
        if waiting is not None and call.sink.blocked_by is not call:
            call.sink.blocked_by = call
            waiting.append(call)
            return True
        return False

    def _park(self, call: Call, reads: list[ReadRequest]) -> None:
        """A call waits for reads; later ones of its session wait behind it."""
        again = all(read.inline for read in reads)
        if again:
            for read in reads:
                self.engine.deliver(read, run_read(self.tiers, read))
            self._apply(call)
            return
        self.metrics.parked += 1
        call.sink.blocked_by = call
        self._parked.append((call, set(reads)))
        self._wanted += reads

    def _answer(self, call: Call, status: int, body: Any, level: int) -> None:
        if call.key and status < 300 and not isinstance(body, TaskQueueError):
            body = msgspec.json.encode(body)
            key_hash = IdempotencyKeys.hash_of(call)
            self.keys.keep(self._batch, key_hash, call, status, body, self.engine.core.now_ms)
            # The key is in the same batch as the change, and is worth what that is worth: they are lost or
            # kept together. It has a row even where the change has none.
            level = max(level, LEVEL_RELAXED)
        if call.command.audited:
            self.auditor.put(self._batch, call, status, body, self.engine.core.now_ms)
            level = max(level, LEVEL_RELAXED)  # as with keys
        self._wake_repeats(call)
        self._hold(call, status, body, level)

    def _wake_repeats(self, call: Call) -> None:
        if call.key:
            for repeat in self._pending_keys.pop(IdempotencyKeys.hash_of(call), ()):
                self._unblock(repeat.sink, repeat)
                self._inbox.appendleft(repeat)

    def _hold(self, call: Call, status: int, body: Any, level: int) -> None:
        if call.sink.blocked_by is call:
            self._unblock(call.sink, call)
        self._held.append(Held(call, status, body, level))

    def _unblock(self, sink: Sink, call: Call) -> None:
        sink.blocked_by = None
        behind = self._behind.pop(id(sink), None)
        if behind:
            self._inbox.extendleft(reversed(behind))
            self.poke()

    # Reads

    def _deliver(self) -> None:
        answers, self._answers = self._answers, []
        replaced: dict[ReadRequest, ReadRequest] = {}
        landed: set[ReadRequest] = set()
        for read, answer in answers:
            if isinstance(read, Query):
                read.answer = answer
            else:
                again = self.engine.deliver(read, answer)
                if again is not None:
                    replaced[read] = again
                    self._wanted.append(again)
                    continue
            landed.add(read)
        runnable: list[Call] = []
        waiting: list[tuple[Call, set[ReadRequest]]] = []
        for call, reads in self._parked:
            reads = {_latest(replaced, read) for read in reads} - landed
            if reads:
                waiting.append((call, reads))
            else:
                runnable.append(call)
        self._parked = waiting
        self._resumed.extend(runnable)
        while self._resumed:
            self._apply_parked(self._resumed.popleft(), landed)

    def _apply_parked(self, call: Call, landed: set[ReadRequest]) -> None:
        if call.sink.closed:
            call.sink.blocked_by = None
            return
        if is_query(call):
            query = next(read for read in landed if isinstance(read, Query) and read.call is call)
            if isinstance(query.answer, TaskQueueError):
                self._answer(call, query.answer.status, query.answer, LEVEL_DURABLE)
            else:
                self._answer(call, 200, query.answer, LEVEL_DURABLE)
            return
        self._apply(call)

    def _start_reads(self) -> None:
        wanted, self._wanted = self._wanted, []
        for read in dict.fromkeys(wanted):
            if read in self._reading:
                continue
            if isinstance(read, ReadLater):
                self._reading.add(read)
                self.loop.call_later(LATER_S, self._read_landed, read, None)
                continue
            if isinstance(read, Query) and read.inline_only:
                self._reading.add(read)
                try:
                    answer = read.run(self.tiers)
                except TaskQueueError as error:
                    answer = error
                self._read_landed(read, answer)
                continue
            done, answer = (False, None) if isinstance(read, Query) else answer_inline(self.tiers, read)
            self._reading.add(read)
            if done:
                self._read_landed(read, answer)
            else:
                self._pool.submit(self._run_read, read)

    def _run_read(self, read: ReadRequest) -> None:
        """On a thread of the pool."""
        try:
            answer = read.run(self.tiers) if isinstance(read, Query) else run_read(self.tiers, read)
        except TaskQueueError as error:
            answer = error
        except Exception as error:
            self.loop.call_soon_threadsafe(self._fail, error)
            return
        self.loop.call_soon_threadsafe(self._read_landed, read, answer)

    def _read_landed(self, read: ReadRequest, answer: Any) -> None:
        self._reading.discard(read)
        self._answers.append((read, answer))
        self.poke()

    # The commit

    def _set_out(self) -> None:
        """Writes the grown batch, starts what waited for that, releases what is safe enough."""
        batch, volatile = self._batch, self._volatile
        wrote = len(batch)
        if wrote:
            started_us = self.clock.monotonic_us()
            try:
                self.tiers.durable.write(batch)
            except StoreStalled:
                self.metrics.stalls += 1
                self.overload.on_stall(started_us)
                self.loop.call_later(STALL_RETRY_S, self.poke)
                return
            self.metrics.commit_us.record(self.clock.monotonic_us() - started_us)
            self.overload.on_written()
            self.metrics.commits += 1
            self.metrics.rows += wrote
            self._batch = self.tiers.durable.new_batch()
            self._written_sequence = self.tiers.durable.sequence()
            if not self._unsynced_since_us:
                self._unsynced_since_us = started_us
        if len(volatile):
            self.tiers.volatile.write(volatile)
            self._volatile = self.tiers.volatile.new_batch()
        self.engine.on_batch()
        self.engine.on_written()
        self.keys.on_batch()
        self.keys.on_written()
        if self._wanted:
            self._start_reads()
        if self.metrics.turns % TRIM_TURNS == 0:
            self.engine.trim()
        self._release_held()

    def _release_held(self) -> None:
        held, self._held = self._held, []
        if not self._unsynced_since_us:
            self._release(held)
            return
        late = self.clock.monotonic_us() - self._unsynced_since_us > RELAXED_MAX_US
        if late or any(each.level == LEVEL_DURABLE for each in held):
            self._sync(held)
            return
        self._release(held)
        if self._relaxed_timer is None:
            self._relaxed_timer = self.loop.call_later(RELAXED_SYNC_S, self._sync_relaxed)

    def _sync_relaxed(self) -> None:
        self._relaxed_timer = None
        if self._unsynced_since_us and not self._syncing and not self._failed:
            self._sync([])

    def _sync(self, held: list[Held]) -> None:
        started_us = self.clock.monotonic_us()
        if self._sync_thread is not None:
            early = [each for each in held if each.level == LEVEL_MEMORY]
            if early:
                self._release(early)
                held = [each for each in held if each.level != LEVEL_MEMORY]
            self._syncing = True
            self._sync_thread.submit(self._sync_on_thread, held, started_us)
            return
        try:
            self.tiers.durable.sync()
        except StorageError as error:
            self._held = held + self._held
            self._fail(error)
            return
        self._synced(held, started_us)

    def _sync_on_thread(self, held: list[Held], started_us: int) -> None:
        try:
            self.tiers.durable.sync()
        except Exception as error:
            self.loop.call_soon_threadsafe(self._sync_failed, held, error)
        else:
            self.loop.call_soon_threadsafe(self._synced_on_thread, held, started_us)

    def _sync_failed(self, held: list[Held], error: Exception) -> None:
        self._syncing = False
        self._held = held + self._held
        self._fail(error)

    def _synced_on_thread(self, held: list[Held], started_us: int) -> None:
        self._syncing = False
        self._synced(held, started_us)
        if self._failed:
            return
        if len(self._batch) or len(self._volatile) or self._held or self._wanted:
            try:
                self._set_out()
            except StorageError as error:
                self._fail(error)
        if self._idle and not self._busy():
            self._wake_idle()

    def _synced(self, held: list[Held], started_us: int) -> None:
        self.metrics.on_sync(self.clock.monotonic_us() - started_us)
        self._unsynced_since_us = 0
        self.synced_sequence = self._written_sequence
        self._release(held)
        if self._idle and not self._busy():
            self._wake_idle()

    def _release(self, held: list[Held]) -> None:
        for call, status, body, level in held:
            durability = _NAMES[level] if call.command.method != "GET" and status < 300 else None
            delivered = call.sink.on_reply(call, status, body, durability)
            if not delivered and (tasks := getattr(body, "tasks", None)) and call.command.scope == "consume":
                self._undelivered += tasks
        if self._undelivered:
            self.poke()

    # Time and failure

    def _set_alarm(self) -> None:
        at_ms = self.engine.next_alarm_ms()
        if at_ms is None:
            return
        if self._alarm is not None:
            if self._alarm_at <= at_ms and not self._alarm.cancelled():
                return
            self._alarm.cancel()
        self._alarm_at = at_ms
        delay_s = max(0.0, (at_ms - self.clock.now_ms()) / 1000)
        self._alarm = self.loop.call_later(min(delay_s, 60.0), self._on_alarm)

    def _on_alarm(self) -> None:
        self._alarm = None
        self.poke()

    def _fail(self, error: Exception) -> None:
        """Storage failed: what is held may or may not be there, and memory is not to be trusted."""
        if self._failed:
            return
        self._failed = True
        self.metrics.failures += 1
        unknown = StorageUnavailable(f"storage failed: {error}", outcome="unknown", retry_after_s=1)
        if self._applying is not None:
            self._applying.sink.on_reply(self._applying, 503, unknown, None)
        for each in self._held:
            each.call.sink.on_reply(each.call, 503, unknown, None)
        self._held = []
        untouched = StorageUnavailable("storage failed before the request's turn", retry_after_s=1)
        jobs = [job.call for job in self.engine.core.jobs.values() if job.call is not None]
        waiting = [waiter.call for line in self.engine.waiters.by_sink.values() for waiter in line]
        behind = [call for line in self._behind.values() for call in line]
        repeats = [call for line in self._pending_keys.values() for call in line]
        core = self.engine.core
        done = [*(call for call, *_ in core.answers), *core.again]  # in the turn that failed
        parked = [*self._resumed, *(call for call, _ in self._parked)]
        for call in [*done, *jobs, *waiting, *parked, *self._inbox, *behind, *repeats]:
            call.sink.blocked_by = None
            begun = call in jobs or call in done or call.settled is not None
            call.sink.on_reply(call, 503, unknown if begun else untouched, None)
        self._inbox.clear()
        self._parked.clear()
        self._resumed.clear()
        self._behind.clear()
        self._wake_idle()
        self._on_failure(error)


def _latest(replaced: dict[ReadRequest, ReadRequest], read: ReadRequest) -> ReadRequest:
    """The read that stands for another which came too late, as that one may have in its turn."""
    while read in replaced:
        read = replaced[read]
    return read
