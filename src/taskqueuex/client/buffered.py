"""A producer for threads that batches on its own."""

import atexit
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

from taskqueuex.client.batching import Batch, Batcher, Outcome, check_bounds, deliver, encode_task
from taskqueuex.client.request import Request
from taskqueuex.client.task_future import TaskFuture, settle_futures
from taskqueuex.commands.produce import EnqueueReply
from taskqueuex.errors import CallTimeout, ClientError, TaskQueueError

__all__ = ["BufferedProducer"]

EXIT_FLUSH_S: Final = 10.0
Send = Callable[[Request[Any]], Any]


class BufferedProducer:
    """Collects tasks and sends them in batches, a few at once. Made by `Client.buffered`.

    Any number of threads may use it. Each task has a future, which says honestly how that task fared. When
    the interpreter ends, what is there is sent, for ten seconds at most; what is left then fails. After a
    fork it is of no use in the child.

    Args:
        linger_ms: how long the first task of a batch waits for others.
        max_batch: tasks of a batch, at most 10,000; a batch has 8 MiB at most as well.
        max_pending: tasks without an outcome; `enqueue` waits while there are as many.
        in_flight: batches that are on their way at once, each with a thread.
        enqueue_timeout_s: how long `enqueue` waits for room; None: as long as it takes.
    """

    def __init__(
        self,
        send: Send,
        *,
        linger_ms: float = 5.0,
        max_batch: int = 1_000,
        max_pending: int = 100_000,
        in_flight: int = 4,
        enqueue_timeout_s: float | None = None,
    ) -> None:
        check_bounds(max_pending, in_flight)
        self._send = send
        self._batcher: Batcher[TaskFuture] = Batcher(linger_ms, max_batch)
        self._max_pending = max_pending
        self._enqueue_timeout_s = enqueue_timeout_s
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)  # there is something to send, or its time is known
        self._progress = threading.Condition(self._lock)  # something has an outcome
        self._ready: deque[Batch[TaskFuture]] = deque()
        self._unsettled: set[Batch[TaskFuture]] = set()
        self._pending = 0  # tasks of all batches that are not settled
        self._watched = 0  # threads in `flush`, or waiting for room
        self._closed = False
        self._forked = False
        self._threads = [
            threading.Thread(target=self._run, name=f"taskqueuex-producer-{number}", daemon=True)
            for number in range(in_flight)
        ]
        for thread in self._threads:
            thread.start()
        _producers.add(self)

    def enqueue(self, queue: str, *, payload: Any = None, **fields: Any) -> Future[EnqueueReply]:
        """Puts a task into the next batch; returns its future. `fields` are those of `Client.enqueue`.

        Waits while `max_pending` tasks are without an outcome. Raises Invalid or TypeError for what no server
        would take, CallTimeout when there was no room in time, ClientError when it is closed.
        """
        item, partial = encode_task(payload, fields)
        if self._forked:
            raise ClientError("this producer was made before a fork: make one in each process")
        with self._lock:
            if self._pending >= self._max_pending:
                self._wait_room()
            if self._closed:
                raise ClientError("the producer is closed")
            batch = self._batcher.filling.get(queue)
            if batch is None or not self._batcher.has_room(batch, len(item)):
                batch = self._start(queue, batch)
            future = TaskFuture(batch.shared)
            self._pending += 1
            if self._batcher.add(batch, item, partial, future):
                self._ready.append(batch)
                self._work.notify()
        return future

    def _start(self, queue: str, full: Batch[TaskFuture] | None) -> Batch[TaskFuture]:
        if full is not None:
            del self._batcher.filling[queue]
            self._ready.append(full)
        batch = self._batcher.start(queue, time.monotonic(), threading.Condition())
        self._unsettled.add(batch)
        self._work.notify()
        return batch

    def _wait_room(self) -> None:
        until_s = None if self._enqueue_timeout_s is None else time.monotonic() + self._enqueue_timeout_s
        if not self._wait(lambda: self._pending < self._max_pending or self._closed, until_s):
            raise CallTimeout(f"{self._max_pending} tasks had no outcome for so long")

    def _wait(self, predicate: Callable[[], bool], until_s: float | None) -> bool:
        """Waits under the lock until something is so; False when the time is over."""
        self._watched += 1
        try:
            left_s = None if until_s is None else max(0.0, until_s - time.monotonic())
            return self._progress.wait_for(predicate, left_s)
        finally:
            self._watched -= 1

    def flush(self, timeout_s: float | None = None) -> None:
        """Sends what is there, and returns when all of it has an outcome: the futures tell which.

        Raises CallTimeout where that takes longer than `timeout_s`; the tasks stay on their way.
        """
        if self._forked:
            raise ClientError("this producer was made before a fork: make one in each process")
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        with self._lock:
            self._ready.extend(self._batcher.take_due(None))
            self._work.notify_all()
            awaited = set(self._unsettled)
            if not self._wait(lambda: awaited.isdisjoint(self._unsettled), until_s):
                raise CallTimeout("the producer has tasks that are not settled yet", outcome="unknown")

    def close(self, timeout_s: float | None = None) -> None:
        """Takes no more tasks, and flushes. What is not settled within `timeout_s` fails."""
        if self._forked:
            return
        with self._lock:
            self._closed = True
            self._progress.notify_all()
        try:
            self.flush(timeout_s)
        except CallTimeout:
            self._give_up()
        with self._lock:
            self._work.notify_all()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(0 if timeout_s is not None else None)

    def _give_up(self) -> None:
        """Fails what was not sent; what is on its way is settled by its own end."""
        with self._lock:
            left = list(self._ready)
            self._ready.clear()
        for batch in left:
            self._settle(batch, [ClientError("the producer was closed") for _ in batch.items])

    def __enter__(self) -> "BufferedProducer":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # The threads

    def _run(self) -> None:
        while (batch := self._next()) is not None:
            self._settle(batch, self._deliver(batch))

    def _next(self) -> Batch[TaskFuture] | None:
        """The next batch to send, waited for; None at the end."""
        with self._lock:
            while True:
                if not self._ready:
                    self._ready.extend(self._batcher.take_due(time.monotonic()))
                if self._ready:
                    batch = self._ready.popleft()
                    if self._ready or self._batcher.filling:
                        self._work.notify()  # another thread looks after the rest
                    return batch
                if self._closed and not self._batcher.filling:
                    return None
                due_s = self._batcher.next_due_s
                self._work.wait(None if due_s is None else max(0.0, due_s - time.monotonic()))

    def _deliver(self, batch: Batch[TaskFuture]) -> list[Outcome]:
        delivery = deliver(batch.queue, batch.items, batch.partial)
        try:
            request = next(delivery)
            while True:
                try:
                    reply = self._send(request)
                except TaskQueueError as error:
                    request = delivery.throw(error)
                else:
                    request = delivery.send(reply)
        except StopIteration as end:
            outcomes: list[Outcome] = end.value
            return outcomes
        except Exception as error:  # a bug must not leave futures without an outcome
            fault = ClientError(f"the producer failed: {error!r}", outcome="unknown")
            fault.__cause__ = error
            return [fault] * len(batch.items)

    def _settle(self, batch: Batch[TaskFuture], outcomes: list[Outcome]) -> None:
        if len(outcomes) != len(batch.futures):
            fault = ClientError("the answer is not of as many tasks as were sent", outcome="unknown")
            outcomes = [fault] * len(batch.futures)
        try:
            settle_futures(batch.futures, outcomes)
        finally:
            with self._lock:
                self._unsettled.discard(batch)
                self._pending -= len(batch.futures)
                if self._watched:
                    self._progress.notify_all()


_producers: "weakref.WeakSet[BufferedProducer]" = weakref.WeakSet()


def _on_fork() -> None:
    for producer in list(_producers):
        producer._forked = True


def _on_exit() -> None:
    for producer in list(_producers):
        producer.close(EXIT_FLUSH_S)


os.register_at_fork(after_in_child=_on_fork)
atexit.register(_on_exit)
