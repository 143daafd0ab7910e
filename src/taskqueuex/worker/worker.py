"""A worker: introduces its parts to each other, starts them, and drains them when it is told to stop.

`feed` speaks with the server, `dispatch` holds the tasks, an executor for each mode runs them, and a
process of its own keeps their leases alive. All but the functions themselves run on one event loop.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import ssl
import sys
import time
from collections.abc import Coroutine, Sequence
from typing import Any, Literal

from taskqueuex import __version__
from taskqueuex.app import App
from taskqueuex.app.task import Mode
from taskqueuex.commands.consume import LeasedTask, ReleaseItem, WorkerControl, WorkerInfo
from taskqueuex.errors import Invalid, TaskQueueError
from taskqueuex.worker.children import Children, ChildSettings
from taskqueuex.worker.config import WorkerConfig
from taskqueuex.worker.coroutines import Coroutines
from taskqueuex.worker.dispatch import WAITED_MAX_S, Dispatcher, Executor
from taskqueuex.worker.feed import SETTLES_AT_ONCE, Feed
from taskqueuex.worker.frames import Cancelled, Configure, Control, Lost
from taskqueuex.worker.heart import Settings
from taskqueuex.worker.heartbeats import Heartbeats
from taskqueuex.worker.running import EndedBy
from taskqueuex.worker.slots import Slots, lanes_of
from taskqueuex.worker.threads import Threads

__all__ = ["Worker"]

_log = logging.getLogger("taskqueuex.worker")

LAST_WORDS_S = 5.0  # for what ended to be told to the server, when the worker stops
CONTROL_S = 2.0
REGISTER_AGAIN_S = 1.0


class Worker:
    """One worker. Everything but `run` is called on its loop, by signals and the server."""

    def __init__(
        self,
        app: App,
        config: WorkerConfig,
        app_path: str | None = None,
        log_level: str = "info",
        log_format: Literal["text", "json"] = "text",
    ) -> None:
        """`app_path` is `module:app`, for child processes to load; only tasks of mode `process` need it.
        They log as they are told here.

        Raises TaskDefinitionError where a task cannot be run, and ValueError where it needs `app_path`.
        """
        for task in app.tasks.values():
            _ = task.arguments  # all annotations must be known by now
            if task.mode == "process" and app_path is None:
                raise ValueError(f"{task.name} wants a process: say where its app can be loaded from")
        self.app = app
        self.config = config
        self._app_path = app_path or ""
        self._log_level = log_level
        self._log_format = log_format
        self._modes: list[Mode] = sorted({task.mode for task in app.tasks.values()}) or ["async"]
        sizes: dict[Mode, int] = {
            "async": config.concurrency,
            "thread": config.threads,
            "process": config.processes,
        }
        self._slots = {mode: Slots(sizes[mode]) for mode in self._modes}
        self._lanes = lanes_of(app, config, self._slots)
        self._started_at = int(time.time() * 1000)
        self._quiet = False
        self._telling = 0  # calls under way that tell the server of `quiet`
        self._failure: TaskQueueError | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()

    async def run(self) -> None:
        """Runs until `stop`. Raises what the app's startup raises, and errors of its schedules."""
        async with contextlib.AsyncExitStack() as stack:
            lifespan = self.app.lifespan()
            stack.push_async_callback(lifespan.close)
            await lifespan.open()
            self._client = self.app.new_async_client(pool_size=2 * SETTLES_AT_ONCE + len(self._lanes))
            stack.push_async_callback(self._client.close)
            self._heartbeats = Heartbeats(self._heart_settings(), self._on_heart)
            stack.push_async_callback(self._heartbeats.close)
            await self._heartbeats.start()
            self._dispatcher = Dispatcher(self.app, self._slots, self._heartbeats, self._on_item)
            self._dispatcher.executors = {mode: self._executor(mode) for mode in self._modes}
            for executor in self._dispatcher.executors.values():
                stack.push_async_callback(executor.close)
            self._feed = Feed(
                self._client, self.config, self._lanes, self._info, self._on_tasks, self._on_control
            )
            self._start()
            await self._stopping.wait()
            await self._drain()
        if self._failure is not None:
            raise self._failure

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._look_around()
        self._feed.open = True
        self._feed.pump()
        self._spawn(self._register_schedules())
        _log.info(
            "worker ready",
            extra={
                "worker": self.config.name,
                "queues": ",".join(self._queues()),
                "tasks": len(self.app.tasks),
            },
        )

    def _executor(self, mode: Mode) -> Executor:
        on_done = self._dispatcher.on_done
        if mode == "async":
            return Coroutines(self.app, on_done)
        if mode == "thread":
            return Threads(self.app, self.config.threads, on_done)
        limit_mb = self.config.memory_limit_mb
        configure = Configure(
            self._app_path, sys.path, self._log_level, self._log_format, os.getpid(), *self._connects_to()
        )
        settings = ChildSettings(
            configure, self.config.max_tasks_per_child, None if limit_mb is None else limit_mb << 20
        )
        return Children(
            self.app,
            self.config.processes,
            settings,
            on_done,
            self._heartbeats.say,
            lambda running, pid: self._heartbeats.move(running.lease, pid),
        )

    async def _register_schedules(self) -> None:
        """Until the server has them. One that it refuses ends the worker: it would never be fired."""
        for schedule in self.app.schedules:
            definition = schedule.definition()
            while not self._stopping.is_set():
                try:
                    await self._client.put_schedule(schedule.name, **definition)
                    break
                except Invalid as error:
                    self._failure = error
                    self.stop()
                except TaskQueueError:
                    await asyncio.sleep(REGISTER_AGAIN_S)

    def _on_item(self, item: Any) -> None:
        self._feed.settle(item)

    def _on_tasks(self, tasks: Sequence[LeasedTask]) -> None:
        if self._feed.open:
            self._dispatcher.take(tasks)
        else:  # they were on their way when the worker became quiet
            for each in tasks:
                self._feed.settle(ReleaseItem(id=each.id, lease=each.lease))

    def _look_around(self) -> None:
        """Now and then: what waits for a slot in vain goes back; lanes that have room again are polled."""
        self._dispatcher.give_back_waiting(WAITED_MAX_S)
        self._feed.pump()
        if self._quiet and not self._telling:
            self._spawn(self._report())  # there is no poll to hear by that it may resume
        self._watch = self._loop.call_later(WAITED_MAX_S / 2, self._look_around)

    # What it says of itself

    def _queues(self) -> list[str]:
        return [name for lane in self._lanes for name in lane.queues]

    def _heart_settings(self) -> Settings:
        return Settings(*self._connects_to(), WorkerInfo(name=self.config.name), os.getpid())

    def _connects_to(self) -> tuple[list[str], str | None, dict[str, Any] | None]:
        """The servers, the token and the fields of TLS, for the other processes of the worker."""
        servers = self.app.servers()
        token, tls = self.app.credentials()
        if isinstance(tls, ssl.SSLContext):
            raise Invalid.field(
                "tls", "must be TLS(...) in a worker: its other processes cannot get a context"
            )
        listed = [servers] if isinstance(servers, str) else list(servers)
        return listed, token, None if tls is None else tls.to_builtins()

    def _info(self, *, bye: bool = False) -> WorkerInfo:
        return WorkerInfo(
            name=self.config.name,
            host=socket.gethostname(),
            pid=os.getpid(),
            version=__version__,
            started_at=self._started_at,
            queues=self._queues(),
            concurrency=sum(slots.size for slots in self._slots.values()),
            quiet=self._quiet,
            bye=bye,
        )

    # What it is told

    def quiet(self, tell: bool = False) -> None:
        """Takes no more tasks; what runs goes on. `tell`: the server does not know of it yet."""
        if not self._quiet:
            self._quiet = True
            self._feed.open = False
            self._dispatcher.give_back_waiting()
            _log.info("quiet: no more tasks are taken")
            if tell:
                self._spawn(self._tell("quiet_worker"))

    def resume(self, tell: bool = False) -> None:
        """Takes tasks again."""
        if self._quiet and not self._stopping.is_set():
            self._quiet = False
            self._feed.open = True
            self._feed.pump()
            _log.info("tasks are taken again")
            if tell:
                self._spawn(self._tell("resume_worker"))

    async def _tell(self, command: str) -> None:
        """What this worker does by its own will is the server's will, too. It listens, if it is there."""
        self._telling += 1
        try:
            with contextlib.suppress(TaskQueueError, TimeoutError):
                async with asyncio.timeout(CONTROL_S):
                    await getattr(self._client, command)(self.config.name)
        finally:
            self._telling -= 1

    async def _report(self) -> None:
        """Says how this worker stands, and hears what it shall do."""
        self._telling += 1
        try:
            reply = await self._client.settle(worker=self._info())
        except TaskQueueError:
            return  # it is said again soon
        finally:
            self._telling -= 1
        if reply.control is not None:
            self._on_control(reply.control)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def stop(self) -> None:
        """Drains and ends. Asked a second time, it waits no longer for what runs."""
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()

    def handle_signals(self) -> None:
        """SIGTERM and SIGINT stop, SIGUSR1 makes quiet, SIGUSR2 resumes."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGUSR1, self.quiet, True)
        loop.add_signal_handler(signal.SIGUSR2, self.resume, True)

    def _on_control(self, control: WorkerControl | Control) -> None:
        if control.stop and not self._stopping.is_set():
            _log.info("the server asks this worker to stop")
            self.stop()
        elif self._telling:
            pass  # it may not know yet
        elif control.quiet:
            self.quiet()
        else:
            self.resume()

    def _on_heart(self, message: Cancelled | Lost | Control) -> None:
        if isinstance(message, Cancelled | Lost):
            by: EndedBy = "cancel" if isinstance(message, Cancelled) else "lost"
            for lease in message.leases:
                self._dispatcher.end_lease(lease, by)
        else:
            self._on_control(message)

    # Stopping

    async def _drain(self) -> None:
        for each in self._background:
            each.cancel()
        _log.info("stopping", extra={"running": len(self._dispatcher.running)})
        self._watch.cancel()
        self.quiet()
        await self._end_polls()
        if not await self._idle_within(self.config.grace_s):
            _log.warning("giving back what still runs", extra={"running": len(self._dispatcher.running)})
            self._dispatcher.end_all("drain")
            await self._idle_within(LAST_WORDS_S)
        await self._feed.close(LAST_WORDS_S)
        with contextlib.suppress(TaskQueueError):
            await self._client.settle(worker=self._info(bye=True))
        _log.info("stopped", extra={"ended": self._dispatcher.ended})

    async def _end_polls(self) -> None:
        """Has the server answer polls that wait, so that they bring nothing when nobody is there."""
        await self._tell("quiet_worker")
        await self._feed.polls_ended(CONTROL_S)

    async def _idle_within(self, timeout_s: float) -> bool:
        """Whether all that runs has ended in time; being told to hurry cuts it short."""
        waits = [
            asyncio.ensure_future(self._dispatcher.wait_idle()),
            asyncio.ensure_future(self._hurry.wait()),
        ]
        done, pending = await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        for each in pending:
            each.cancel()
        return waits[0] in done
