"""A writer on faulty storage, and sessions that note what they are answered."""

import asyncio
import random

import msgspec

from taskqueuex.clock import SystemClock
from taskqueuex.storage import memory_storage
from taskqueuex.testing import SimulatedCall, faulty_storage
from taskqueuex.writer import IdempotencyKeys, Tiers, Writer, WriterConfig, WriterMetrics, open_engine


class Session:
    """A sink of several calls, answered in any order."""

    def __init__(self) -> None:
        self.closed = False
        self.blocked_by = None
        self.answers: list[SimulatedCall] = []
        self._waiting: dict[int, asyncio.Future] = {}

    def on_reply(self, call, status, body, durability) -> bool:
        assert not call.status, "answered twice"
        call.status, call.outcome, call.durability = status, body, durability
        self.answers.append(call)
        future = self._waiting.pop(id(call), None)
        if future is not None and not future.done():
            future.set_result(call)
        return not self.closed

    def expect(self, call) -> asyncio.Future:
        future = asyncio.get_running_loop().create_future()
        self._waiting[id(call)] = future
        return future


class NotedCall(SimulatedCall):
    """A call that remembers its durability, and reads bodies that are bytes already."""

    __slots__ = ("durability",)

    def json(self):
        body = self.outcome
        return msgspec.json.decode(body if isinstance(body, bytes) else msgspec.json.encode(body))


class Harness:
    """A writer that can be lost and found again."""

    def __init__(self, commit: str = "inline", **config) -> None:
        self.storage, self.rows = faulty_storage()
        self.commit = commit
        self.config = config
        self.failures: list[Exception] = []
        self.open()

    def open(self) -> None:
        clock = SystemClock()
        self.tiers = Tiers(self.storage, memory_storage())
        engine = open_engine(self.tiers, clock.now_ms(), random.Random(5).getrandbits)
        keys = IdempotencyKeys(self.storage, 1_000, clock.now_ms())
        self.metrics = WriterMetrics()
        self.writer = Writer(
            engine,
            self.tiers,
            keys,
            clock,
            WriterConfig(self.commit, **self.config),
            asyncio.get_running_loop(),
            self.metrics,
            self.failures.append,
        )

    def recover(self, *, power_cut: bool = False) -> None:
        self.writer.close()
        if power_cut:
            self.rows.cut_power()
        self.open()

    def submit(self, session: Session, name: str, target: str = "", body=None, query=None, key: str = ""):
        call = NotedCall(name, target, body, query)
        call.sink = session
        if key:
            call.key, call.raw = key, msgspec.json.encode(body)
        answered = session.expect(call)
        self.writer.submit(call)
        return call, answered

    async def call(self, name: str, target: str = "", body=None, query=None, key: str = "", session=None):
        call, answered = self.submit(session or Session(), name, target, body, query, key)
        await asyncio.wait_for(answered, 10)
        return call


async def turns(count: int = 20) -> None:
    """Lets the loop go round, so that whatever could be answered is."""
    for _ in range(count):
        await asyncio.sleep(0)
