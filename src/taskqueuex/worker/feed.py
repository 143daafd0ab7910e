"""The round trips: one call carries what ended and brings what comes next.

While there is nothing to do, a poll of each lane waits at the server; what ends meanwhile is settled
beside it. What could not be told is told again, for as long as the worker lives: a repeated ack is
answered the same, and a lease that was lost meanwhile is not harmed by it.
"""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec

from taskqueuex.app.attempt import Item
from taskqueuex.client import AsyncClient
from taskqueuex.commands.consume import (
    AckItem,
    Dequeue,
    FailItem,
    LeasedTask,
    ReleaseItem,
    SettleReply,
    WorkerControl,
    WorkerInfo,
)
from taskqueuex.commands.problem import Problem
from taskqueuex.errors import BadRequest, Forbidden, Invalid, PayloadTooLarge, TaskQueueError, Unauthenticated
from taskqueuex.worker.config import WorkerConfig
from taskqueuex.worker.slots import Lane

__all__ = ["Feed"]

_log = logging.getLogger("taskqueuex.worker")

SETTLE_MAX = 500  # items in one call
SETTLE_BYTES_MAX = 4 << 20
SETTLES_AT_ONCE = 2  # so that one is answered while the tasks of the other run
SECOND_AT = 20  # items that are worth a second call
DEQUEUE_MAX = 500
BACKOFF_MAX_S = 5.0
_COMPLETED = b'{"state":"completed"}'
_decode_problem = msgspec.json.Decoder(Problem).decode


class Feed:
    """The calls of one worker."""

    def __init__(
        self,
        client: AsyncClient,
        config: WorkerConfig,
        lanes: Sequence[Lane],
        info: Callable[[], WorkerInfo],
        on_tasks: Callable[[Sequence[LeasedTask]], None],
        on_control: Callable[[WorkerControl], None],
    ) -> None:
        self.open = False  # whether tasks are asked for
        self._client = client
        self._name = config.name
        self._poll_ms = round(config.poll_s * 1000)
        self._lease_ms = None if config.lease_s is None else round(config.lease_s * 1000)
        self._lanes = list(lanes)
        self._slots = {slots for lane in lanes for slots in lane.slots}
        self._info = info
        self._on_tasks = on_tasks
        self._on_control = on_control
        self._items: deque[Item] = deque()
        self._settling = 0
        self._failures = 0  # calls in a row
        self._failed_by: type[Exception] | None = None  # told of once
        self._calls: set[asyncio.Task[None]] = set()
        self._polls: dict[Lane, asyncio.Task[None]] = {}
        self._loop = asyncio.get_running_loop()

    def settle(self, item: Item) -> None:
        """Tells the server how a task ended, soon."""
        self._items.append(item)
        self.pump()

    def pump(self) -> None:
        """Makes the calls that there is something to say or to ask with."""
        if self._items and self._may_settle():
            self._settling += 1
            self._call(self._settle())
        elif self.open and not self._settling:
            for lane in self._lanes:
                if not lane.polling and lane.free() > 0:
                    lane.polling = True
                    self._polls[lane] = self._call(self._poll(lane))

    def _may_settle(self) -> bool:
        if self._failures:
            return not self._settling
        return not self._settling or (self._settling < SETTLES_AT_ONCE and len(self._items) >= SECOND_AT)

    def _call(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(coroutine)
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        return task

    # Calls

    async def _settle(self) -> None:
        """What ended, and what is there to do at once."""
        items = self._take_items()
        lane, count = self._next_lane()
        started = time.monotonic()
        try:
            reply = await self._send(items, None if lane is None else self._dequeue(lane, count, 0))
        except (Invalid, BadRequest, PayloadTooLarge) as error:
            # One of them is at fault; alone, it can be named.
            _log.error("a call was refused", extra={"error": str(error)})
            self._call(self._settle_each(items))
            reply = None
        except Exception as error:  # whatever it was, what ended must not be forgotten
            self._items.extendleft(reversed(items))
            await self._back_off(error)
            reply = None
        finally:
            self._settling -= 1
            if lane is not None:
                lane.ask(-count)
        if reply is not None:
            now = time.monotonic()
            for each in self._slots:
                each.prefetch.on_round_trip(now - started, now)
            self._on_reply(items, reply)
        self.pump()

    async def _poll(self, lane: Lane) -> None:
        """Waits for tasks."""
        count = min(lane.free(), DEQUEUE_MAX)
        lane.ask(count)
        try:
            reply = await self._send([], self._dequeue(lane, count, self._poll_ms))
        except Exception as error:
            await self._back_off(error)
        else:
            self._on_reply([], reply)
        finally:
            lane.polling = False
            lane.ask(-count)
        self.pump()

    def _take_items(self) -> list[Item]:
        items: list[Item] = []
        size = 0
        while self._items and len(items) < SETTLE_MAX and size < SETTLE_BYTES_MAX:
            item = self._items.popleft()
            items.append(item)
            if isinstance(item, AckItem):
                size += len(item.result) if isinstance(item.result, msgspec.Raw) else 0
            elif isinstance(item, FailItem):
                size += len(item.error.traceback)
        return items

    def _next_lane(self) -> tuple[Lane | None, int]:
        """The next lane that has room, and how much of it to ask for."""
        if not self.open:
            return None, 0
        for _ in self._lanes:
            lane = self._lanes.pop(0)
            self._lanes.append(lane)
            count = min(lane.free(), DEQUEUE_MAX)
            if count > 0 and not lane.polling:
                lane.ask(count)
                return lane, count
        return None, 0

    def _dequeue(self, lane: Lane, count: int, wait_ms: int) -> Dequeue:
        return Dequeue(
            queues=lane.queues, max=count, wait_ms=wait_ms, lease_ms=self._lease_ms, worker=self._name
        )

    async def _send(self, items: list[Item], dequeue: Dequeue | None) -> SettleReply:
        polls = dequeue is not None and dequeue.wait_ms > 0
        reply = await self._client.settle(
            ack=[each for each in items if type(each) is AckItem],
            fail=[each for each in items if type(each) is FailItem],
            release=[each for each in items if type(each) is ReleaseItem],
            dequeue=dequeue,
            worker=self._info() if polls else None,
        )
        if self._failures:
            self._failures = 0
            self._failed_by = None
            _log.info("the server answers again")
        return reply

    async def _settle_each(self, items: list[Item]) -> None:
        for item in items:
            try:
                self._on_reply([item], await self._send([item], None))
            except (Invalid, BadRequest, PayloadTooLarge) as error:
                _log.error(
                    "the server refuses what a task said", extra={"task": item.id, "error": str(error)}
                )
            except TaskQueueError:
                self.settle(item)

    async def _back_off(self, error: Exception) -> None:
        """Full jitter: many workers wait for the same server."""
        self._failures += 1
        if not isinstance(error, TaskQueueError):
            _log.error("a call failed", exc_info=error)
        elif type(error) is not self._failed_by:
            if isinstance(error, Unauthenticated | Forbidden):
                _log.error("the server does not let this worker in", extra={"error": str(error)})
            else:
                _log.warning("no answer from the server; it is asked again", extra={"error": str(error)})
        self._failed_by = type(error)
        await asyncio.sleep(random.uniform(0, min(BACKOFF_MAX_S, 0.1 * 2 ** min(self._failures, 10))))

    # Answers

    def _on_reply(self, items: list[Item], reply: SettleReply) -> None:
        self._on_tasks(reply.tasks)
        for kind, answers in ((AckItem, reply.ack), (FailItem, reply.fail), (ReleaseItem, reply.release)):
            if answers:
                _log_problems([each for each in items if type(each) is kind], answers)
        if reply.control is not None:
            self._on_control(reply.control)

    async def polls_ended(self, timeout_s: float) -> None:
        """Returns when no poll waits at the server, or after so many seconds."""
        polls = [call for lane, call in self._polls.items() if lane.polling]
        if polls:
            await asyncio.wait(polls, timeout=timeout_s)

    async def close(self, timeout_s: float) -> None:
        """Asks for nothing more, and returns when all that ended has been told, or after so many seconds."""
        self.open = False
        until = time.monotonic() + timeout_s
        while self._items or self._settling:
            self.pump()
            if time.monotonic() >= until or not self._calls:
                break
            await asyncio.wait(
                self._calls, timeout=until - time.monotonic(), return_when=asyncio.FIRST_COMPLETED
            )
        if self._items:
            _log.error("the server was not told of all that ended", extra={"tasks": len(self._items)})
        for call in self._calls:
            call.cancel()
        if self._calls:
            await asyncio.wait(self._calls)


def _log_problems(items: Sequence[Item], answers: Sequence[msgspec.Raw]) -> None:
    for item, answer in zip(items, answers, strict=True):
        if answer != _COMPLETED and b'"code"' in bytes(answer):
            problem = _decode_problem(answer)
            _log.warning("too late", extra={"task": item.id, "code": problem.code, "detail": problem.detail})
