"""The log of events, and those who follow it.

What happens in a turn is one row, in the batch of the changes themselves: an event is told if and only if
what it tells of is kept. It is published when the answers of its turn are released. Nobody who follows can
hold up a turn: who reads too slowly is told so and sent away, who asks for a rate gets no more than that, and
who resumes is read to from the store, off the loop, until the present is reached.

The id of an event is the key of its row (milliseconds, and a count that tells rows of one millisecond apart)
and its place in the row. Ids rise, over restarts and clocks that are set back as well.

The format is that of server-sent events (WHATWG HTML, 9.2). Beside events, a stream has comments that keep
proxies from closing it, ids without data that move the place to resume at, and the notices `gap` (some of
what was asked for is no longer kept), `skipped` (so many were left out for the rate), `stats`, and `end`.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, Final, NamedTuple

import msgspec

from taskqueuex.commands.call import Call, Channel, Sink, Stream
from taskqueuex.commands.events import EventsQuery, EventView
from taskqueuex.commands.table import command
from taskqueuex.engine import Engine
from taskqueuex.errors import Forbidden, Overloaded
from taskqueuex.model.events import CHANGES, NOTICES, EventRecord
from taskqueuex.model.ids import format_id, parse_id
from taskqueuex.model.rows import Batch
from taskqueuex.model.states import RUNNING, STATE_NAMES, STATE_NUMBERS
from taskqueuex.storage import Storage

__all__ = ["EventConfig", "EventLog"]

_log = logging.getLogger("taskqueuex.writer")

CONTENT_TYPE: Final = "text/event-stream"
STREAMS_MAX: Final = 1_000
UNSENT_MAX: Final = 256 << 10  # bytes that a reader may be behind
UNSENT_PAGE: Final = 64 << 10  # bytes unsent below which it is read to from the store
PAGE: Final = 64  # rows of one read
PENDING_MAX: Final = 2_000  # turns that are kept for one that is read to from the store
QUIET_S: Final = 15  # without a byte, after which a comment is sent
CHUNK: Final = 10_000  # events between two places at which the log can be cut
CUT_EVERY_S: Final = 60
_KEPT: Final = "events_kept"  # the row that says about how many there are

Turn = tuple[bytes, list[EventRecord]]
_encode = msgspec.json.Encoder().encode


class EventConfig(NamedTuple):
    """What is kept of the past: so many events, of so many milliseconds."""

    kept_max: int = 2_000_000
    kept_ms: int = 86_400_000


class Follower:
    """One who follows. `pending` is None as soon as what happens is sent at once."""

    __slots__ = (
        "call",
        "channel",
        "ended",
        "follow",
        "left",
        "of_tasks",
        "pending",
        "position",
        "quiet_s",
        "rate",
        "skipped",
        "slow",
        "stats",
        "wants",
    )

    def __init__(self, call: Call, channel: Channel) -> None:
        query: EventsQuery = call.query
        self.call = call
        self.channel = channel
        self.wants = _wants(call)
        self.of_tasks = query.kind is None or "task" in query.kind.split(",")
        self.rate = query.rate
        self.left = query.rate or 0
        self.skipped = 0
        self.stats = query.stats
        self.follow = query.follow
        self.quiet_s = 0
        self.position = b""  # the row that it has had
        self.pending: deque[Turn] | None = None
        self.slow = False  # it was ended because it reads too slowly
        self.ended = False

    def send(self, data: bytes) -> None:
        """Sends, and sends it away where it does not take it."""
        if data and not self.ended:
            self.quiet_s = 0
            self.channel.send(data)
            if self.channel.unsent() > UNSENT_MAX:
                self.slow = True
                self.end("this client reads too slowly")

    def end(self, why: str) -> None:
        """Tells it why, and ends the stream."""
        if not self.ended:
            self.ended = True
            self.channel.send(_notice("end", {"reason": why}))
            self.channel.end()


class EventLog:
    """Keeps and publishes; the `Sink` of what it holds back until it is true."""

    def __init__(
        self,
        storage: Storage,
        loop: asyncio.AbstractEventLoop,
        pool: Executor,
        config: EventConfig,
    ) -> None:
        self.closed = False
        self.blocked_by: Call | None = None
        self.call = Call(command("events"), "", None, None, self, 0)  # in whose name turns are published
        self.published_total = 0
        self.streams_total = 0
        self.slow_total = 0
        self._storage = storage
        self._loop = loop
        self._pool = pool
        self._config = config
        self._followers: dict[int, Follower] = {}  # by the identity of their sinks
        self._tasks: set[asyncio.Task[None]] = set()
        self._published = storage.newest_events()  # the row that was published last
        self._at_ms = int.from_bytes(self._published[:8], "big")
        self._count = int.from_bytes(self._published[8:], "big")
        self._kept = int(storage.get_meta(_KEPT) or 0)
        oldest = storage.scan_events(b"", 1)
        self._oldest = oldest[0][0] if oldest else self._published  # what is before it is not kept
        # Where the log can be cut, and how many events are before it.
        self._cuts: deque[tuple[bytes, int]] = deque([(self._published, self._kept)])
        self._cut_in_s = CUT_EVERY_S

    # -- keeping -----------------------------------------------------------------------------------

    def keep(self, engine: Engine, batch: Batch) -> Turn | None:
        """Adds the events of a turn to its batch. Returns what to publish when it is released."""
        stored, passing = engine.core.events
        if not stored and not passing:
            return None
        engine.core.events = ([], [])
        if engine.core.now_ms > self._at_ms:
            self._at_ms, self._count = engine.core.now_ms, 0
        else:
            self._count += 1
        key = self._at_ms.to_bytes(8, "big") + self._count.to_bytes(4, "big")
        if not self._config.kept_max:
            self._oldest = key
        elif stored:
            batch.put_events(key, stored)
            self._kept += len(stored)
            if self._kept - self._cuts[-1][1] >= CHUNK:
                self._cuts.append((key, self._kept))
        return key, stored + passing if passing else stored

    def cut(self, batch: Batch) -> None:
        """Once a second: ends what is too old, or too much, every now and then."""
        self._cut_in_s -= 1
        if self._cut_in_s > 0:
            return
        self._cut_in_s = CUT_EVERY_S
        cuts, gone = self._cuts, 0
        oldest = max(0, self._at_ms - self._config.kept_ms).to_bytes(8, "big")
        before = b""
        while len(cuts) > 1 and (self._kept - cuts[0][1] >= self._config.kept_max or cuts[1][0] < oldest):
            before, gone = cuts.popleft()
        before = max(before, oldest)
        if before > self._oldest:
            self._oldest = before
            batch.drop_events(before)
        if gone:
            self._kept -= gone
            self._cuts = deque((key, count - gone) for key, count in cuts)
        batch.put_meta(_KEPT, str(self._kept).encode())

    # -- publishing --------------------------------------------------------------------------------

    def on_reply(self, call: Call, status: int, body: Any, durability: str | None) -> bool:
        """See `Sink`: a turn was released, or has failed."""
        if status == 200:
            self._publish(body)
        return True

    def _publish(self, turn: Turn) -> None:
        self._published, records = turn
        self.published_total += len(records)
        if not self._followers:
            return
        frames: dict[int, bytes] = {}
        # Of most turns there is nothing to tell to who follows the server and its queues only.
        noted = any(record[0] >= NOTICES for record in turn[1])
        for follower in list(self._followers.values()):
            if follower.pending is None:
                if noted or follower.of_tasks:
                    follower.send(_select(follower, turn, frames))
            else:
                follower.pending.append(turn)

    def tell_stats(self, encoded: Callable[[], bytes]) -> None:
        """Once a second: sends the server's figures to those who asked for them."""
        wanting = [each for each in self._followers.values() if each.stats]
        if wanting:
            frame = b"event: stats\ndata: %b\n\n" % encoded()
            for follower in wanting:
                follower.send(frame)

    def tick(self) -> None:
        """Once a second: rates begin anew, the quiet ones hear of us, whoever may no longer is sent away."""
        for follower in list(self._followers.values()):
            if follower.ended:
                continue
            if follower.call.principal.ended:
                follower.end("the token was revoked, or has expired")
                continue
            if follower.skipped:
                follower.send(_notice("skipped", {"count": follower.skipped}))
                follower.skipped = 0
            follower.left = follower.rate or 0
            follower.quiet_s += 1
            if follower.quiet_s >= QUIET_S:
                follower.send(_place(self._published) if follower.pending is None else b":\n\n")

    # -- those who follow --------------------------------------------------------------------------

    def open(self, call: Call) -> Stream:
        """The answer to a call of `events`. Raises Forbidden, Overloaded."""
        if call.query.stats and not call.principal.has_all("read"):
            raise Forbidden("stats: the figures of the server need the scope read for all queues")
        if len(self._followers) >= STREAMS_MAX:
            raise Overloaded(f"There are {STREAMS_MAX} streams of events already", retry_after_s=5)
        return Stream(CONTENT_TYPE, lambda channel: self._opened(call, channel))

    def _opened(self, call: Call, channel: Channel) -> None:
        follower = Follower(call, channel)
        self.streams_total += 1
        if self.closed:
            follower.end("the server reopens its store")
            return
        self._followers[id(call.sink)] = follower
        query: EventsQuery = call.query
        if query.after is None and query.since is None and query.follow:
            follower.send(b"retry: 1000\n" + _place(self._published))
            return
        follower.send(b"retry: 1000\n\n")
        follower.pending = deque()
        task = self._loop.create_task(self._catch_up(follower))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def drop(self, sink: Sink) -> None:
        """A connection is gone."""
        follower = self._followers.pop(id(sink), None)
        if follower is not None:
            self.slow_total += follower.slow
            follower.ended = True

    def close(self, why: str) -> None:
        """Ends all streams. Their clients come back, and go on where they were."""
        self.closed = True
        for follower in list(self._followers.values()):
            follower.end(why)

    @property
    def streams(self) -> int:
        """How many follow."""
        return len(self._followers)

    async def _catch_up(self, follower: Follower) -> None:
        try:
            await self._read_past(follower)
        except Exception:  # the store was closed, or fails: whoever writes to it will say so
            if not self.closed:
                _log.exception("the log of events could not be read")
            follower.end("the log cannot be read")

    async def _read_past(self, follower: Follower) -> None:
        """Sends what is kept, page by page, and then what has happened meanwhile."""
        query: EventsQuery = follower.call.query
        start, beyond = _start_of(query)
        assert follower.pending is not None
        until = self._published
        if query.after is not None and start < self._oldest:
            follower.send(_notice("gap", {"after": query.after}))
        while not follower.ended:
            rows = await self._loop.run_in_executor(self._pool, self._storage.scan_events, start, PAGE)
            for key, records in rows:
                if key > until:
                    break
                follower.send(_frames(follower, key, records, beyond if key == start else -1))
                follower.position = key
            if len(rows) < PAGE or rows[-1][0] >= until:
                break
            start, beyond = rows[-1][0] + b"\0", -1
            while follower.channel.unsent() > UNSENT_PAGE and not follower.ended:
                await asyncio.sleep(0.02)
            if len(follower.pending) > PENDING_MAX:
                follower.pending.clear()  # it is read from the store, as the rest
                until = self._published
        follower.position = max(follower.position, until)
        if not follower.follow:
            follower.end("this is all that is kept")
            return
        for turn in follower.pending:
            if turn[0] > follower.position:
                follower.send(_select(follower, turn, {}))
        follower.pending = None
        follower.send(_place(self._published))


def _start_of(query: EventsQuery) -> tuple[bytes, int]:
    """The row to begin at, and the place in it behind which to begin."""
    if query.after is None:
        return (query.since or 0).to_bytes(8, "big"), -1
    at_ms, count, index = (int(part, 16) for part in query.after.split("-"))
    return at_ms.to_bytes(8, "big") + count.to_bytes(4, "big"), index


def _wants(call: Call) -> Callable[[EventRecord], bool] | None:
    """Which events one gets; None for all of them."""
    query: EventsQuery = call.query
    principal = call.principal
    kinds = set(query.kind.split(",")) if query.kind is not None else None
    if query.state is not None or query.name is not None or query.id is not None:
        kinds = {"task"} if kinds is None else kinds & {"task"}
    ids = {parse_id(text) for text in query.id.split(",")} if query.id is not None else None
    state = STATE_NUMBERS[query.state] if query.state is not None else None
    everywhere = principal.has_all("read")
    if kinds is None and query.queue is None and everywhere:
        return None

    def wants(record: EventRecord) -> bool:
        what, task_id, queue, _, name, _ = record
        if query.queue is not None and queue != query.queue:
            return False
        if state is not None and what != state:
            return False
        if ids is not None and task_id not in ids:
            return False
        if query.name is not None and name != query.name:
            return False
        if kinds is not None and ("task" if what < NOTICES else CHANGES[what][0]) not in kinds:
            return False
        return everywhere or (queue != "" and principal.allows("read", queue.partition("\0")[0]))

    return wants


def _select(follower: Follower, turn: Turn, made: dict[int, bytes]) -> bytes:
    """What one gets of a turn that is published; `made` has the frames that others got of it already."""
    key, records = turn
    wants, parts = follower.wants, []
    if follower.rate is not None and not follower.left and wants is None:
        follower.skipped += len(records)
        return b""
    for index, record in enumerate(records):
        if wants is not None and not wants(record):
            continue
        if follower.rate is not None:
            if not follower.left:
                follower.skipped += 1
                continue
            follower.left -= 1
        frame = made.get(index)
        if frame is None:
            frame = made[index] = _frame(key, index, record)
        parts.append(frame)
    return b"".join(parts)


def _frames(follower: Follower, key: bytes, records: list[EventRecord], beyond: int) -> bytes:
    """What one gets of a row that is read, behind a place in it."""
    wants = follower.wants
    return b"".join(
        _frame(key, index, record)
        for index, record in enumerate(records)
        if index > beyond and (wants is None or wants(record))
    )


def _frame(key: bytes, index: int, record: EventRecord) -> bytes:
    what, task_id, queue, attempt, name, detail = record
    at_ms = int.from_bytes(key[:8], "big")
    if what < NOTICES:
        running = what == RUNNING
        kind = "task"
        view = EventView(
            at_ms,
            "task",
            state=STATE_NAMES[what],
            queue=queue.partition("\0")[0],
            id=format_id(task_id),
            name=name or None,
            attempt=attempt,
            worker=(detail or None) if running else None,
            detail=None if running else detail or None,
        )
    else:
        about, change = CHANGES[what]
        kind = about
        view = EventView(
            at_ms,
            about,  # type: ignore[arg-type]
            change=change,
            queue=queue or None,
            worker=name or None,
            detail=detail or None,
        )
    return b"id: %x-%x-%x\nevent: %b\ndata: %b\n\n" % (
        at_ms,
        int.from_bytes(key[8:], "big"),
        index,
        kind.encode(),
        _encode(view),
    )


def _place(key: bytes) -> bytes:
    """An id without an event: where to resume behind."""
    if not key:
        return b":\n\n"
    return b"id: %x-%x-%x\n\n" % (int.from_bytes(key[:8], "big"), int.from_bytes(key[8:], "big"), 0xFFFFFFFF)


def _notice(name: str, data: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), _encode(data))
