"""The load of `tqx bench`: operations on a queue, timed, over connections of their own.

An operation's latency counts from when it was due. Without a rate it is due when the one before it on its
connection has ended. With a rate it is due at its place in the timetable, whether or not a connection was
free then: time that it waited for one belongs to the server, or the figures would be of the operations that
a slow server let through (G. Tene, "How NOT to Measure Latency", 2013, on coordinated omission).
"""

import asyncio
import contextlib
import random
import string
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Literal

from taskqueuex.cli.connection import Connection
from taskqueuex.client import AsyncClient, RetryPolicy
from taskqueuex.client.credentials import is_secure
from taskqueuex.client.tls import context_of
from taskqueuex.errors import ClientError, TaskQueueError
from taskqueuex.telemetry import Histogram

__all__ = ["NAME", "Load", "Operation", "Tally", "run_load"]

Operation = Literal["enqueue", "pair", "batch"]
Perform = Callable[[AsyncClient, str], Awaitable[None]]

NAME: Final = "tqx-bench"  # of the tasks: by it they are found again
_TIMEOUT_S: Final = 10.0
_PAUSE_S: Final = 0.05  # of a connection after an error, so that a refusal is not a busy loop
_PAYLOADS_BYTES: Final = 1 << 20  # held in memory, to be drawn from
_ALPHABET: Final = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True)
class Load:
    """What is done, and how much of it. `rate`: operations a second, None as many as there can be."""

    queue: str
    operation: Operation
    duration_s: float
    connections: int
    payload_bytes: int
    batch_size: int
    rate: float | None


@dataclass(slots=True)
class Tally:
    """What was done so far. Written by the loop of the load alone."""

    latency: Histogram = field(default_factory=Histogram)
    latency_us_max: int = 0
    operations: int = 0  # that succeeded
    errors: Counter[str] = field(default_factory=Counter)  # by code
    missed: int = 0  # due within the time, and not begun
    elapsed_s: float = 0.0
    cpu_s: float = 0.0  # of this process

    def add(self, latency_s: float) -> None:
        """Counts an operation that succeeded."""
        latency_us = int(latency_s * 1_000_000)
        self.latency.record(latency_us)
        self.latency_us_max = max(self.latency_us_max, latency_us)
        self.operations += 1


async def run_load(server: Connection, load: Load, tally: Tally, stop: asyncio.Event) -> None:
    """Works until the time is over or `stop` is set; what has begun is finished.

    Raises TaskQueueError when the server cannot be reached to begin with, or its address is none.
    """
    perform = _perform(load)
    retry = RetryPolicy(attempts_max=1, idempotency="never")  # what fails is to be seen
    # One for all: to read what the system trusts takes a while.
    context = context_of(server.tls) if is_secure(server.server) else None
    async with contextlib.AsyncExitStack() as stack:
        clients = [
            # One connection each: a client with many would pipeline on the first.
            await stack.enter_async_context(
                AsyncClient(
                    server.server,
                    token=server.token,
                    tls=context,
                    pool_size=1,
                    timeout_s=_TIMEOUT_S,
                    retry=retry,
                )
            )
            for _ in range(load.connections)
        ]
        for client in clients:
            await client.healthz()  # connects: that is not to be measured
        begun_s, cpu_begun_s = time.monotonic(), time.process_time()
        timetable = _Timetable(begun_s, load)
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(_work(client, load.queue, perform, timetable, tally, stop))
        tally.elapsed_s = time.monotonic() - begun_s
        tally.cpu_s = time.process_time() - cpu_begun_s
        if not stop.is_set():
            tally.missed = timetable.left()


class _Timetable:
    """When operations are due, in seconds of the monotonic clock."""

    def __init__(self, begun_s: float, load: Load) -> None:
        self._begun_s = begun_s
        self._end_s = begun_s + load.duration_s
        self._rate = load.rate
        self._total = 0 if load.rate is None else max(1, int(load.rate * load.duration_s))
        self._given = 0

    def next_due_s(self) -> float | None:
        """When the caller's next operation is due; None when the time is over."""
        now_s = time.monotonic()
        if now_s >= self._end_s:
            return None
        if self._rate is None:
            return now_s
        if self._given == self._total:
            return None
        self._given += 1
        return self._begun_s + (self._given - 1) / self._rate

    def left(self) -> int:
        """Operations that were due and nobody came for."""
        return self._total - self._given


async def _work(
    client: AsyncClient,
    queue: str,
    perform: Perform,
    timetable: _Timetable,
    tally: Tally,
    stop: asyncio.Event,
) -> None:
    while not stop.is_set() and (due_s := timetable.next_due_s()) is not None:
        if await _stopped_before(due_s, stop):
            return
        try:
            await perform(client, queue)
        except TaskQueueError as error:
            tally.errors[error.code] += 1
            await asyncio.sleep(_PAUSE_S)
        else:
            tally.add(time.monotonic() - due_s)


async def _stopped_before(due_s: float, stop: asyncio.Event) -> bool:
    """Waits until it is due; True if `stop` was set before. The loop's timers come up to 1 ms late."""
    wait_s = due_s - time.monotonic()
    if wait_s > 0:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), wait_s)
    return stop.is_set()


def _perform(load: Load) -> Perform:
    """One operation; raises TaskQueueError."""
    payloads = _payloads(load.payload_bytes)

    async def enqueue(client: AsyncClient, queue: str) -> None:
        await client.enqueue(queue, name=NAME, payload=random.choice(payloads))

    async def pair(client: AsyncClient, queue: str) -> None:
        await enqueue(client, queue)
        reply = await client.dequeue_queue(queue, worker=NAME)
        if not reply.tasks:
            raise _Empty
        task = reply.tasks[0]
        await client.ack(task.id, lease=task.lease)

    async def batch(client: AsyncClient, queue: str) -> None:
        tasks = [{"name": NAME, "payload": random.choice(payloads)} for _ in range(load.batch_size)]
        await client.enqueue_batch(queue, tasks=tasks)

    return {"enqueue": enqueue, "pair": pair, "batch": batch}[load.operation]


class _Empty(ClientError):
    """A task was put in, and none was there to take: others work on the queue, or it is paused."""

    code, title = "empty", "The queue was empty"


def _payloads(size: int) -> list[str]:
    """Texts of so many bytes as JSON; different ones, so that the store cannot press them into one."""
    chance = random.Random(size)  # the same in each run
    count = max(1, min(64, _PAYLOADS_BYTES // size))
    return ["".join(chance.choices(_ALPHABET, k=size - 2)) for _ in range(count)]
