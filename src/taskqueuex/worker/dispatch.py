"""What a worker holds: each task goes to the slots of its kind, or waits for one, or is ended early."""

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from taskqueuex.app import App, Context
from taskqueuex.app.attempt import Item, unknown_task
from taskqueuex.app.task import Mode
from taskqueuex.commands.consume import LeasedTask, ReleaseItem
from taskqueuex.worker.frames import Extend, Progress
from taskqueuex.worker.heartbeats import Heartbeats
from taskqueuex.worker.running import EndedBy, Running, ended_item
from taskqueuex.worker.slots import Slots

__all__ = ["Dispatcher", "Executor"]

_log = logging.getLogger("taskqueuex.worker")

WAITED_MAX_S = 1.0  # one that was taken, and could not start for so long, goes back


class Executor(Protocol):
    """Runs the tasks of one mode, as many at once as its slots allow."""

    def start(self, running: Running) -> None:
        """Starts a task; its end is told to the dispatcher's `on_done`."""
        ...

    async def close(self) -> None:
        """Lets go of threads and processes."""
        ...


class Dispatcher:
    """All tasks that are held, by lease. It is also what their contexts report to."""

    def __init__(
        self,
        app: App,
        slots: Mapping[Mode, Slots],
        heartbeats: Heartbeats,
        on_item: Callable[[Item], None],
    ) -> None:
        self.running: dict[str, Running] = {}
        self.executors: Mapping[Mode, Executor] = {}  # set once, by the worker
        self.ended = 0  # tasks, since the start
        self._app = app
        self._slots = slots
        self._heartbeats = heartbeats
        self._on_item = on_item
        self._busy: dict[Mode, int] = dict.fromkeys(slots, 0)
        self._waiting: dict[Mode, deque[Running]] = {mode: deque() for mode in slots}
        self._dropped: list[str] = []  # leases that the heart is told of at the end of the loop's turn
        self._pid = os.getpid()
        self._loop = asyncio.get_running_loop()
        self._idle = asyncio.Event()
        self._idle.set()

    # Taking

    def take(self, tasks: Sequence[LeasedTask]) -> None:
        """Tasks have come. Their leases are kept alive before the first of them starts."""
        if not tasks:
            return
        self._heartbeats.hold(tasks, self._pid)
        self._idle.clear()
        for leased in tasks:
            context = Context(leased, self)
            task = self._app.tasks.get(leased.name)
            if task is None:
                _log.error("unknown task", extra={"task": leased.id, "task_name": leased.name})
                self._drop(leased.lease)
                self._on_item(unknown_task(self._app, context))
                continue
            running = self.running[leased.lease] = Running(context, task)
            self._slots[task.mode].held += 1
            if context.deadline is not None:
                running.timer = self._loop.call_at(context.deadline, self.end, running, "timeout")
            if self._busy[task.mode] < self._slots[task.mode].size:
                self._start(running)
            else:
                self._waiting[task.mode].append(running)
        self._check_idle()

    def _start(self, running: Running) -> None:
        mode = running.task.mode
        self._busy[mode] += 1
        self.executors[mode].start(running)

    # Ending

    def on_done(self, running: Running, item: Item | None) -> None:
        """A task has left its slot. `item`: what to tell the server, unless it was told before."""
        mode = running.task.mode
        self._busy[mode] -= 1
        self._leave(running, item)
        waiting = self._waiting[mode]
        if waiting and self._busy[mode] < self._slots[mode].size:
            self._start(waiting.popleft())

    def _leave(self, running: Running, item: Item | None) -> None:
        if self.running.pop(running.lease, None) is None:
            return  # the worker gave it back before
        slots = self._slots[running.task.mode]
        slots.held -= 1
        slots.prefetch.on_end()
        self.ended += 1
        if running.timer is not None:
            running.timer.cancel()
        self._drop(running.lease)
        if item is not None:
            self._on_item(item)
        self._check_idle()

    def _drop(self, lease: str) -> None:
        if not self._dropped:
            self._loop.call_soon(self._tell_dropped)
        self._dropped.append(lease)

    def _tell_dropped(self) -> None:
        leases, self._dropped = self._dropped, []
        self._heartbeats.drop(leases)

    def _check_idle(self) -> None:
        if not self.running:
            self._idle.set()

    async def wait_idle(self) -> None:
        """Returns when nothing is held."""
        await self._idle.wait()

    # Ending before the time

    def end(self, running: Running, by: EndedBy) -> None:
        """Ends a task, as far as its kind can be ended."""
        if running.ended_by is not None or running.lease not in self.running:
            return
        running.ended_by = by
        running.context.cancelled = True
        mode = running.task.mode
        if running in self._waiting[mode]:
            self._waiting[mode].remove(running)
            self._leave(running, ended_item(running))
        elif running.stop is not None:
            running.stop()
        elif by == "drain":  # a thread, which the end of the program will end
            self._leave(running, ended_item(running))

    def end_lease(self, lease: str, by: EndedBy) -> None:
        """As `end`, by lease; nothing where it has ended."""
        running = self.running.get(lease)
        if running is not None:
            self.end(running, by)

    def end_all(self, by: EndedBy) -> None:
        """As `end`, of all."""
        for running in list(self.running.values()):
            self.end(running, by)

    def give_back_waiting(self, waited_s: float = 0.0) -> None:
        """Releases tasks that wait for a slot for longer than so many seconds: others may have one."""
        before = time.monotonic() - waited_s
        for waiting in self._waiting.values():
            while waiting and waiting[0].held_since <= before:
                running = waiting.popleft()
                context = running.context
                self._leave(running, ReleaseItem(id=context.id, lease=context.lease))

    # What contexts say

    def on_progress(self, context: Context, progress: Any) -> None:
        """From any thread."""
        message = Progress(context.lease, self._app.progress_of(context, progress))
        self._loop.call_soon_threadsafe(self._heartbeats.say, message)

    def on_heartbeat(self, context: Context, extend_ms: int | None) -> None:
        """From any thread."""
        self._loop.call_soon_threadsafe(self._heartbeats.say, Extend(context.lease, extend_ms))
