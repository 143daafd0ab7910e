"""A producer for an event loop that batches on its own."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from taskqueuex.client.batching import Batch, Batcher, Outcome, check_bounds, deliver, encode_task
from taskqueuex.client.request import Request
from taskqueuex.commands.produce import EnqueueReply
from taskqueuex.errors import CallTimeout, ClientError, TaskQueueError

__all__ = ["AsyncBufferedProducer"]

Answer = asyncio.Future[EnqueueReply]
AsyncSend = Callable[[Request[Any]], Awaitable[Any]]


class AsyncBufferedProducer:
    """As `BufferedProducer`, for the tasks of one event loop. Made by `AsyncClient.buffered`.

    A future may be cancelled; its task is sent all the same.
    """

    def __init__(
        self,
        send: AsyncSend,
        *,
        linger_ms: float = 5.0,
        max_batch: int = 1_000,
        max_pending: int = 100_000,
        in_flight: int = 4,
        enqueue_timeout_s: float | None = None,
    ) -> None:
        check_bounds(max_pending, in_flight)
        self._send = send
        self._batcher: Batcher[Answer] = Batcher(linger_ms, max_batch)
        self._max_pending = max_pending
        self._in_flight = in_flight
        self._enqueue_timeout_s = enqueue_timeout_s
        self._ready: deque[Batch[Answer]] = deque()
        self._sending: set[asyncio.Task[None]] = set()
        self._unsettled: set[Batch[Answer]] = set()
        self._pending = 0
        self._watchers: list[asyncio.Future[None]] = []  # who waits for a batch to be settled
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def enqueue(self, queue: str, *, payload: Any = None, **fields: Any) -> Answer:
        """Puts a task into the next batch; returns its future. `fields` are those of `AsyncClient.enqueue`.

        Waits while `max_pending` tasks are without an outcome. Raises Invalid or TypeError for what no server
        would take, CallTimeout when there was no room in time, ClientError when it is closed.
        """
        item, partial = encode_task(payload, fields)
        if self._pending >= self._max_pending:
            await self._wait_room()
        if self._closed:
            raise ClientError("the producer is closed")
        batch = self._batcher.filling.get(queue)
        if batch is None or not self._batcher.has_room(batch, len(item)):
            batch = self._start(queue, batch)
        future: Answer = asyncio.get_running_loop().create_future()
        self._pending += 1
        if self._batcher.add(batch, item, partial, future):
            self._ready.append(batch)
            self._pump()
        return future

    def _start(self, queue: str, full: Batch[Answer] | None) -> Batch[Answer]:
        if full is not None:
            del self._batcher.filling[queue]
            self._ready.append(full)
        batch = self._batcher.start(queue, time.monotonic(), None)
        self._unsettled.add(batch)
        self._pump()
        return batch

    def _pump(self) -> None:
        """Sends what is ready, and sets the timer for what is not."""
        loop = asyncio.get_running_loop()
        while self._ready and len(self._sending) < self._in_flight:
            task = loop.create_task(self._carry(self._ready.popleft()))
            self._sending.add(task)
            task.add_done_callback(self._on_carried)
        due_s = self._batcher.next_due_s
        if self._timer is None and due_s is not None:
            self._timer = loop.call_later(max(0.0, due_s - time.monotonic()), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._ready.extend(self._batcher.take_due(time.monotonic() + 0.001))
        self._pump()

    def _on_carried(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        self._pump()

    async def _carry(self, batch: Batch[Answer]) -> None:
        outcomes: list[Outcome] = []
        try:
            outcomes = await self._deliver(batch)
        finally:
            if len(outcomes) != len(batch.futures):
                fault = ClientError("there was no outcome of this task", outcome="unknown")
                outcomes = [fault] * len(batch.futures)
            self._settle(batch, outcomes)

    async def _deliver(self, batch: Batch[Answer]) -> list[Outcome]:
        delivery = deliver(batch.queue, batch.items, batch.partial)
        try:
            request = next(delivery)
            while True:
                try:
                    reply = await self._send(request)
                except TaskQueueError as error:
                    request = delivery.throw(error)
                else:
                    request = delivery.send(reply)
        except StopIteration as end:
            outcomes: list[Outcome] = end.value
            return outcomes

    def _settle(self, batch: Batch[Answer], outcomes: list[Outcome]) -> None:
        for future, outcome in zip(batch.futures, outcomes, strict=True):
            if future.done():
                continue
            if isinstance(outcome, TaskQueueError):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
        self._unsettled.discard(batch)
        self._pending -= len(batch.futures)
        self._wake()

    def _wake(self) -> None:
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            if not watcher.done():
                watcher.set_result(None)

    async def _wait(self, predicate: Callable[[], bool]) -> None:
        while not predicate():
            watcher: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._watchers.append(watcher)
            await watcher

    async def _wait_room(self) -> None:
        try:
            async with asyncio.timeout(self._enqueue_timeout_s):
                await self._wait(lambda: self._pending < self._max_pending or self._closed)
        except TimeoutError:
            raise CallTimeout(f"{self._max_pending} tasks had no outcome for so long") from None

    async def flush(self, timeout_s: float | None = None) -> None:
        """Sends what is there, and returns when all of it has an outcome: the futures tell which.

        Raises CallTimeout where that takes longer than `timeout_s`; the tasks stay on their way.
        """
        self._ready.extend(self._batcher.take_due(None))
        self._pump()
        awaited = set(self._unsettled)
        try:
            async with asyncio.timeout(timeout_s):
                await self._wait(lambda: awaited.isdisjoint(self._unsettled))
        except TimeoutError:
            text = "the producer has tasks that are not settled yet"
            raise CallTimeout(text, outcome="unknown") from None

    async def close(self, timeout_s: float | None = None) -> None:
        """Takes no more tasks, and flushes. What is not settled within `timeout_s` fails."""
        self._closed = True
        self._wake()
        try:
            await self.flush(timeout_s)
        except CallTimeout:
            left, self._ready = list(self._ready), deque()
            for batch in left:
                self._settle(batch, [ClientError("the producer was closed") for _ in batch.items])
            for task in self._sending:
                task.cancel()
        if self._sending:
            await asyncio.wait(self._sending)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def __aenter__(self) -> "AsyncBufferedProducer":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()
