"""Those who wait: long polls for tasks, and for the end of a task.

A waiter is an entry here, not a suspended coroutine. It stands in line at every queue it named;
a queue that may have something serves its line from the front, so waiting is fair.
"""

import heapq
from collections import deque
from typing import Any

from taskqueuex.commands.call import Call
from taskqueuex.commands.consume import DequeueReply, SettleReply
from taskqueuex.engine.consume import Taking, take
from taskqueuex.engine.core import LEVEL_MEMORY, Core, Need, Task
from taskqueuex.engine.workers import settle_control, tell
from taskqueuex.errors import Unauthenticated

__all__ = ["Released", "Waiter", "Waiters", "reply_with"]

Released = tuple[Call, int, Any, int]  # the call, its status, its body, the level it is released at


class Waiter:
    """One long poll."""

    __slots__ = ("call", "deadline_ms", "done", "prefix", "taking", "task_id")

    def __init__(
        self,
        call: Call,
        deadline_ms: int,
        taking: Taking | None = None,
        prefix: SettleReply | None = None,
        task_id: bytes = b"",
    ) -> None:
        self.call = call
        self.deadline_ms = deadline_ms
        self.taking = taking  # of a dequeue
        self.prefix = prefix  # of a settle: what its items answered
        self.task_id = task_id  # of a wait for an end
        self.done = False

    def reply(self, core: Core, taking: Taking) -> DequeueReply | SettleReply:
        """The answer with what was taken."""
        return reply_with(core, self.call, taking, self.prefix)


def reply_with(
    core: Core, call: Call, taking: Taking, prefix: SettleReply | None
) -> DequeueReply | SettleReply:
    """The answer to a dequeue, or to the settle that it is part of, with what there is to tell its worker."""
    if prefix is not None:
        prefix.tasks = taking.tasks
        prefix.control = settle_control(core, call.body)
        return prefix
    if taking.control is not None:
        worker = core.controlled.get(taking.worker)
        if worker is not None:
            return DequeueReply(taking.tasks, tell(core, worker))
    return DequeueReply(taking.tasks)


class Waiters:
    """All long polls of an engine."""

    def __init__(self) -> None:
        self.by_queue: dict[str, deque[Waiter]] = {}
        self.by_task: dict[bytes, list[Waiter]] = {}
        self.by_sink: dict[int, list[Waiter]] = {}
        self.deadlines: list[tuple[int, int, Waiter]] = []
        self.count = 0
        self._ties = 0

    def add(self, waiter: Waiter) -> None:
        """Starts a wait."""
        self.count += 1
        self._ties += 1
        heapq.heappush(self.deadlines, (waiter.deadline_ms, self._ties, waiter))
        if len(self.deadlines) > 2 * self.count + 1_024:
            self.deadlines = [entry for entry in self.deadlines if not entry[2].done]
            heapq.heapify(self.deadlines)
        self.by_sink.setdefault(id(waiter.call.sink), []).append(waiter)
        if waiter.taking is not None:
            for name in waiter.taking.names:
                self.by_queue.setdefault(name, deque()).append(waiter)
        else:
            self.by_task.setdefault(waiter.task_id, []).append(waiter)

    def _finish(self, waiter: Waiter) -> None:
        waiter.done = True
        self.count -= 1
        of_sink = self.by_sink[id(waiter.call.sink)]
        of_sink.remove(waiter)
        if not of_sink:
            del self.by_sink[id(waiter.call.sink)]
        if waiter.taking is None:
            of_task = self.by_task[waiter.task_id]
            of_task.remove(waiter)
            if not of_task:
                del self.by_task[waiter.task_id]
            return
        for name in waiter.taking.names:
            line = self.by_queue.get(name)
            while line and line[0].done:
                line.popleft()
            if not line:
                self.by_queue.pop(name, None)
            elif len(line) > 64 and sum(each.done for each in line) > len(line) // 2:
                self.by_queue[name] = deque(each for each in line if not each.done)

    def drop_sink(self, sink: Any) -> None:
        """A connection is gone: what it waited for waits no longer."""
        for waiter in list(self.by_sink.get(id(sink), ())):
            self._finish(waiter)

    def serve(self, core: Core, released: list[Released]) -> None:
        """Gives what woken queues have to those who stand in line."""
        woken, core.woken = core.woken, {}
        for name in woken:
            line = self.by_queue.get(name)
            while line:
                waiter = line[0]
                if waiter.done:
                    line.popleft()
                    continue
                if waiter.call.sink.closed:
                    self._finish(waiter)
                    line = self.by_queue.get(name)
                    continue
                if not self._serve_one(core, waiter, released):
                    break
                line = self.by_queue.get(name)

    def _serve_one(self, core: Core, waiter: Waiter, released: list[Released]) -> bool:
        assert waiter.taking is not None
        principal = waiter.call.principal
        if principal.restricted and not principal.has("consume"):  # its token is no good any more
            self._finish(waiter)
            released.append(
                (waiter.call, 401, Unauthenticated("The token was revoked, or has expired"), LEVEL_MEMORY)
            )
            return True
        asked = waiter.taking
        taking = Taking(asked.names, asked.weights, asked.want, asked.lease_ms, asked.worker)
        core.level = 0
        try:
            take(core, taking)
        except Need as need:
            core.wants.extend(need.reads)  # their answers wake these queues again
            core.waiting_on_reads.update((id(read), asked.names) for read in need.reads)
            return False
        if not taking.tasks:
            return False
        self._finish(waiter)
        released.append((waiter.call, 200, waiter.reply(core, taking), core.level))
        return True

    def expire(self, core: Core, released: list[Released]) -> None:
        """Answers those whose time is up."""
        now_ms = core.now_ms
        while self.deadlines and (self.deadlines[0][0] <= now_ms or self.deadlines[0][2].done):
            _, _, waiter = heapq.heappop(self.deadlines)
            if waiter.done:
                continue
            self._finish(waiter)
            if waiter.taking is not None:
                self._answer_empty(core, waiter, released)
            else:
                released.append((waiter.call, 0, waiter.task_id, 2))  # status 0: apply the call again

    def _answer_empty(self, core: Core, waiter: Waiter, released: list[Released]) -> None:
        assert waiter.taking is not None
        waiter.taking.tasks = []
        if core.controlled and waiter.taking.worker in core.controlled:
            waiter.taking.control = core.controlled[waiter.taking.worker].control()
        released.append((waiter.call, 200, waiter.reply(core, waiter.taking), 2))

    def on_control(self, core: Core, worker: str, released: list[Released]) -> None:
        """Something is asked of a worker: its polls are answered at once, to tell it."""
        waiting = [waiter for line in self.by_sink.values() for waiter in line]
        for waiter in waiting:
            if waiter.taking is not None and waiter.taking.worker == worker:
                self._finish(waiter)
                self._answer_empty(core, waiter, released)

    def hurry(self) -> None:
        """Makes every wait be over with the next turn: the server is going to stop."""
        self.deadlines = [(0, tie, waiter) for _, tie, waiter in self.deadlines]
        heapq.heapify(self.deadlines)

    def on_end(self, task: Task, released: list[Released]) -> None:
        """A task has ended: who waited for it is answered, by applying the call again."""
        for waiter in list(self.by_task.get(task.id, ())):
            self._finish(waiter)
            released.append((waiter.call, 0, task.id, 2))

    def next_deadline(self) -> int | None:
        """When the next wait is over, Unix milliseconds."""
        while self.deadlines and self.deadlines[0][2].done:
            heapq.heappop(self.deadlines)
        return self.deadlines[0][0] if self.deadlines else None
