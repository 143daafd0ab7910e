"""Tasks that run in processes of their own: one at a time in each child."""

import asyncio
import contextlib
import logging
import signal
import time
from collections import deque
from collections.abc import Callable

from taskqueuex.app import App
from taskqueuex.commands.consume import ErrorSpec, FailItem
from taskqueuex.worker.frames import (
    Configure,
    Done,
    Extend,
    FrameReader,
    FromChild,
    Progress,
    Ready,
    Run,
    frame,
)
from taskqueuex.worker.liveness import resident_bytes
from taskqueuex.worker.running import OnDone, Running, ended_item
from taskqueuex.worker.spawn import spawn

__all__ = ["ChildSettings", "Children", "ProcessCrashed"]

_log = logging.getLogger("taskqueuex.worker")

MEMORY_CHECK_S = 0.25
RESPAWN_MAX_S = 5.0
CLOSE_S = 5.0
START_S = 60.0  # for a child to load its app


class ProcessCrashed(Exception):
    """What the error hooks are told when a process ended while it ran a task."""


class ChildSettings:
    """How children are made and limited."""

    __slots__ = ("configure", "max_tasks", "memory_bytes")

    def __init__(self, configure: Configure, max_tasks: int | None, memory_bytes: int | None) -> None:
        self.configure = configure
        self.max_tasks = max_tasks
        self.memory_bytes = memory_bytes


class _Child:
    """One process."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.process = process
        self.reader = reader
        self.writer = writer
        self.messages: FrameReader[FromChild] = FrameReader(FromChild)
        self.running: Running | None = None
        self.ready = False
        self.retired = False  # gets no more tasks
        self.tasks = 0
        self.start_timer: asyncio.TimerHandle  # set by who makes it
        self.killed_for = ""  # why the worker killed it


class Children:
    """The processes of a worker.

    `on_message` is told what a task says of itself, `on_moved` which process runs a task now.
    """

    def __init__(
        self,
        app: App,
        size: int,
        settings: ChildSettings,
        on_done: OnDone,
        on_message: Callable[[Progress | Extend], None],
        on_moved: Callable[[Running, int], None],
    ) -> None:
        self._app = app
        self._settings = settings
        self._on_done = on_done
        self._on_message = on_message
        self._on_moved = on_moved
        self._loop = asyncio.get_running_loop()
        self._children: set[_Child] = set()
        self._waiting: deque[Running] = deque()
        self._keepers = [self._loop.create_task(self._keep()) for _ in range(size)]
        self._closing = False
        self._memory_timer: asyncio.TimerHandle | None = None
        if settings.memory_bytes is not None:
            self._check_memory()

    def start(self, running: Running) -> None:
        """Gives a task to a child, or keeps it until one is ready."""
        self._waiting.append(running)
        self._hand_out()

    def _hand_out(self) -> None:
        for child in self._children:
            if not self._waiting:
                return
            if child.ready and child.running is None and not child.retired:
                self._give(child, self._waiting.popleft())

    def _give(self, child: _Child, running: Running) -> None:
        if running.ended_by is not None:  # while it waited
            self._on_done(running, ended_item(running))
            return
        child.running = running
        child.tasks += 1
        running.stop = lambda: self._kill(child, running.ended_by or "")
        self._on_moved(running, child.process.pid)
        child.writer.write(frame(Run(running.context.task)))

    def _kill(self, child: _Child, reason: str) -> None:
        child.killed_for = child.killed_for or reason
        with contextlib.suppress(ProcessLookupError):
            child.process.kill()

    # A child's life

    async def _keep(self) -> None:
        """Keeps one child alive, and makes the next when it has ended."""
        pause_s = 0.0
        while not self._closing:
            await asyncio.sleep(pause_s)
            if self._closing:
                return
            started = time.monotonic()
            child = await self._spawn()
            self._children.add(child)
            try:
                await self._listen(child)
            finally:
                self._children.discard(child)
                child.writer.close()
                child.start_timer.cancel()
            code = await child.process.wait()
            self._on_exit(child, code)
            # One that could not even start (its module fails here) is not tried in a busy loop.
            short = not child.ready and time.monotonic() - started < RESPAWN_MAX_S
            pause_s = min(RESPAWN_MAX_S, 2 * pause_s + 0.1) if short else 0.0

    async def _spawn(self) -> _Child:
        process, ours = await spawn("child", asyncio.subprocess.DEVNULL)
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=1 << 22)
        writer.write(frame(self._settings.configure))
        child = _Child(process, reader, writer)
        child.start_timer = self._loop.call_later(
            START_S, self._kill, child, f"not ready after {START_S:g} s"
        )
        return child

    async def _listen(self, child: _Child) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await child.reader.read(1 << 16):
                for message in child.messages.feed(data):
                    self._on_frame(child, message)

    def _on_frame(self, child: _Child, message: FromChild) -> None:
        if isinstance(message, Ready):
            child.ready = True
            child.start_timer.cancel()
        elif isinstance(message, Done):
            running, child.running = child.running, None
            if running is not None:
                self._on_done(running, message.ack or message.fail or message.release)
            if self._settings.max_tasks is not None and child.tasks >= self._settings.max_tasks:
                child.retired = True
                child.writer.write_eof()
        else:
            self._on_message(message)
        self._hand_out()

    def _on_exit(self, child: _Child, code: int) -> None:
        running, child.running = child.running, None
        if running is None:
            if code and not self._closing:
                _log.error("a child process ended", extra={"pid": child.process.pid, "how": _how(code)})
            return
        if running.ended_by is not None:
            self._on_done(running, ended_item(running))
            return
        message = f"the process {_how(code)} while it ran this task"
        if child.killed_for:
            message = f"the process was killed: {child.killed_for}"
        _log.error(
            "a child process ended",
            extra={"pid": child.process.pid, "task": running.context.id, "how": message},
        )
        self._app.report(ProcessCrashed(message), running.context)
        context = running.context
        error = ErrorSpec(type="ProcessCrashed", message=message)
        self._on_done(running, FailItem(id=context.id, lease=context.lease, error=error))

    def _check_memory(self) -> None:
        limit = self._settings.memory_bytes or 0
        for child in self._children:
            used = resident_bytes(child.process.pid)
            if used > limit:
                self._kill(child, f"it held {used >> 20} MB of memory; {limit >> 20} MB are allowed")
        self._memory_timer = self._loop.call_later(MEMORY_CHECK_S, self._check_memory)

    async def close(self) -> None:
        """Ends the children: those that are free by themselves, within CLOSE_S seconds; others are killed."""
        self._closing = True
        if self._memory_timer is not None:
            self._memory_timer.cancel()
        for child in self._children:
            child.retired = True
            if child.running is None:
                child.writer.write_eof()
            else:
                self._kill(child, "the worker stops")
        _, late = await asyncio.wait(self._keepers, timeout=CLOSE_S)
        for child in self._children:
            self._kill(child, "the worker stops")
        if late:
            await asyncio.wait(late)


def _how(code: int) -> str:
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was ended by signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"was ended by signal {-code}"
