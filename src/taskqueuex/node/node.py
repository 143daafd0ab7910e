"""One node: the rooms introduced to each other, started, stopped, and mended when storage fails."""

import asyncio
import contextlib
import gc
import logging
import os
import random
import resource
import signal
import sys
from collections import deque
from pathlib import Path
from typing import Any

import uvloop

from taskqueuex.clock import Clock, SystemClock
from taskqueuex.commands import COMMANDS
from taskqueuex.commands.call import Call, Sink
from taskqueuex.commands.table import page_command
from taskqueuex.dashboard import load_pages
from taskqueuex.errors import Draining, StorageUnavailable
from taskqueuex.model.events import SERVER_RECOVERED, SERVER_STARTED
from taskqueuex.network import Router, Server, TlsError
from taskqueuex.node.config import NodeConfig
from taskqueuex.node.exposure import check_exposure
from taskqueuex.node.guards import DiskGuard, MemoryGuard, OverloadWatch, SyncWatch
from taskqueuex.node.service import Service
from taskqueuex.node.shared import SharedAnswers
from taskqueuex.node.state import NodeState
from taskqueuex.storage import StorageError, memory_storage
from taskqueuex.storage.directory import MEMORY, DataDirectory, MemoryDirectory
from taskqueuex.storage.priority import lower_background_threads
from taskqueuex.telemetry import LoopLag, configure
from taskqueuex.writer import EventConfig, IdempotencyKeys, Tiers, Writer, WriterConfig, open_engine

__all__ = ["Node", "run"]

_log = logging.getLogger("taskqueuex.node")

DRAIN_TIMEOUT_S = 8.0
REOPEN_TRIES = 5
FAILURES_MAX = 10  # within FAILURES_S: reopening is no help
FAILURES_S = 60.0
_DISK_FULL_RECHECK_S = 1.0


class Node:
    """A server in this process: composes storage, engine, writer and network."""

    def __init__(self, config: NodeConfig, clock: Clock | None = None) -> None:
        self.state = NodeState(config, clock or SystemClock())
        self.failure: str | None = None  # why the process must exit
        self.directory: DataDirectory | MemoryDirectory | None = None
        self._failed_at_us: deque[int] = deque(maxlen=FAILURES_MAX)
        self.service = Service(self.state, self._spawn, self.request_stop)
        self._stopping = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._disk, self._memory, self._syncs = (
            DiskGuard(self.state),
            MemoryGuard(self.state),
            SyncWatch(self.state),
        )
        self._overloads = OverloadWatch(self.state)
        self._watermark = 0
        self._threads: set[int] = set()  # whose priority has been looked at
        submit = {
            "engine": self._submit,
            "query": self._submit,
            "server": self.service.submit,
            "page": self._send_page,
        }
        self._shared = SharedAnswers(self.state.clock)
        self._pages = load_pages() if config.network.web_page else {}
        router = Router([*COMMANDS.values(), *map(page_command, self._pages)], submit)
        state = self.state
        self.server = Server(
            config.network,
            router,
            self._on_disconnect,
            state.clock,
            state.network_metrics,
            state.access,
            state.overload,
        )

    async def start(self) -> None:
        """Opens the store and listens. Raises StorageError, OSError, TlsError."""
        data = self.state.config.storage.data
        self.directory = MemoryDirectory() if data == MEMORY else DataDirectory(Path(data))
        try:
            self._open()
            network = self.state.config.network
            if not network.insecure:
                check_exposure(network.listeners(), guarded=self.state.access.needed)
            await self.server.start()
            self.service.note_certificate()
        except BaseException:
            self._close_store()
            self.directory.close()
            raise
        self._lag = LoopLag(asyncio.get_running_loop(), 0.1, self.state.lag_us)
        self._lag.start()
        self._exporter = self._start_exporter()
        self._spawn(self._every_second())

    def _start_exporter(self) -> Any:
        """What sends the metrics to a collector, where that is asked for; the extra is imported then only."""
        telemetry = self.state.config.telemetry
        if telemetry.otlp_endpoint is None:
            return None
        from taskqueuex.node.otlp import MetricsExporter, Source

        source = Source(
            self.server.urls[0],
            self.state.started_at,
            self.service.read_metrics,
            asyncio.get_running_loop(),
        )
        exporter = MetricsExporter(telemetry.otlp_endpoint, telemetry.otlp_interval_s, source)
        exporter.start()
        return exporter

    def _open(self, notice: int = SERVER_STARTED) -> None:
        assert self.directory is not None
        storage = self.state.config.storage
        tiers = Tiers(self.directory.open(storage.preset, storage.cache_mb), memory_storage())
        self.state.tiers = tiers  # to be closed, whatever comes
        self._watermark = self.directory.watermark()
        self.state.access.load(tiers.durable.load_tokens())
        bits = random.Random(int.from_bytes(os.urandom(32), "big")).getrandbits
        engine = open_engine(tiers, self.state.clock.now_ms(), bits)
        settings, events = self.state.config.writer, self.state.config.events
        keys = IdempotencyKeys(tiers.durable, settings.idempotency_max, self.state.clock.now_ms())
        self.state.writer = Writer(
            engine,
            tiers,
            keys,
            self.state.clock,
            WriterConfig(
                settings.commit,
                settings.inbox_max,
                storage.pool_size,
                EventConfig(events.kept_max, events.kept_hours * 3_600_000),
            ),
            asyncio.get_running_loop(),
            self.state.writer_metrics,
            self._on_storage_failure,
            overload=self.state.overload,
        )
        self.state.writer.notice(notice)

    def _close_store(self) -> None:
        if self.state.tiers is not None:
            self.state.tiers.durable.close()
            self.state.tiers = None

    async def stop(self) -> None:
        """Stops accepting, answers what is under way, commits, closes."""
        self.state.draining = True
        self.server.stop_accepting()
        if self.state.writer is not None:
            self.state.writer.draining = True
            await self.state.writer.answer_waiters()
        complete = await self.server.drained(DRAIN_TIMEOUT_S)
        if not complete:
            _log.warning("some requests were cut off")
        if self._exporter is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._exporter.stop)
        for task in self._tasks:
            task.cancel()
        self._lag.stop()
        if self.state.writer is not None:
            await self.state.writer.stop()
            self._note_watermark()
        self._close_store()
        if self.directory is not None:
            self.directory.close()

    async def serve(self) -> int:
        """Runs until a signal, a drain or a failure that cannot be mended. Returns the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.request_stop)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        await self.start()
        gc.collect()
        gc.freeze()
        # Nearly everything made per task is freed by its count alone; a full collection finds nothing
        # and stops the loop for tens of milliseconds, so it is made rare.
        gc.set_threshold(100_000, 50, 100)
        for url in self.server.urls:
            _log.info("serving", extra={"url": url, "data": self.state.config.storage.data})
        await self.stopping()
        _log.info("stopping")
        await self.stop()
        if self.failure is not None:
            _log.critical("exiting", extra={"reason": self.failure})
            return 1
        _log.info("stopped")
        return 0

    def reload(self) -> None:
        """Reads certificates anew; connections go on. What is wrong is logged, and changes nothing."""
        try:
            self.server.reload_tls()
        except TlsError as error:
            _log.error("not reloaded: %s", error)
        else:
            self.service.note_certificate()
            _log.info("reloaded")

    def request_stop(self) -> None:
        """Asks serve to end."""
        self._stopping.set()

    async def stopping(self) -> None:
        """Returns when `request_stop` was called."""
        await self._stopping.wait()

    async def caught_up(self, timeout_s: float) -> None:
        """Returns when all that is due has been done: the clock was turned by hand."""
        if self.state.writer is not None:
            await self.state.writer.caught_up(timeout_s)

    # Calls

    def _submit(self, call: Call) -> None:
        writer = self.state.writer
        if writer is None:
            error: Any = StorageUnavailable("the store is being reopened", retry_after_s=1)
            call.sink.on_reply(call, 503, error, None)
        elif self.state.draining:
            call.sink.on_reply(call, 503, Draining(retry_after_s=1), None)
        else:
            made = self._shared.take(call)
            if made is not None:
                writer.submit(made)

    def _send_page(self, call: Call) -> None:
        plain, compressed = self._pages[call.command.path]
        call.sink.on_reply(call, 200, compressed if call.query else plain, None)

    def _on_disconnect(self, sink: Sink) -> None:
        if self.state.writer is not None:
            self.state.writer.on_disconnect(sink)

    # Storage failures

    def _on_storage_failure(self, error: Exception) -> None:
        _log.error("storage failed", extra={"error": str(error)})
        writer, self.state.writer = self.state.writer, None
        now_us = self.state.clock.monotonic_us()
        self._failed_at_us.append(now_us)
        since_s = (now_us - self._failed_at_us[0]) / 1_000_000
        if len(self._failed_at_us) == FAILURES_MAX and since_s < FAILURES_S:
            self.failure = f"storage failed {FAILURES_MAX} times in short succession: {error}"
            self.request_stop()
            return
        self._spawn(self._recover(writer, error))

    async def _recover(self, writer: Writer | None, error: Exception) -> None:
        loop = asyncio.get_running_loop()
        if writer is not None:
            await loop.run_in_executor(None, writer.close)
        self._close_store()
        for attempt in range(1, REOPEN_TRIES + 1):
            await asyncio.sleep(0.1 * 2**attempt)
            try:
                self._open(SERVER_RECOVERED)
            except Exception as again:
                error = again
                self._close_store()
                _log.error("the store cannot be reopened", extra={"attempt": attempt, "error": str(again)})
            else:
                self.state.writer_metrics.recoveries += 1
                _log.warning("recovered from storage", extra={"attempt": attempt})
                return
        self.failure = f"storage failed and could not be reopened: {error}"
        self.request_stop()

    # Housekeeping

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _every_second(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(1.0)
            writer = self.state.writer
            if writer is None or self.directory is None:
                continue
            try:
                lower_background_threads(self._threads)
                self._disk.tick(self.directory.free_bytes())
                self._memory.tick()
                self._syncs.tick()
                self.state.overload.on_second(self.state.clock.monotonic_us())
                self._overloads.tick()
                self.service.sample()
                sequence = writer.synced_sequence
                if sequence > self._watermark:
                    await loop.run_in_executor(None, self.directory.set_watermark, sequence)
                    self._watermark = sequence
            except Exception:
                _log.exception("housekeeping failed; it is tried again in a second")

    def _note_watermark(self) -> None:
        if (
            self.state.writer is not None
            and self.directory is not None
            and self.state.writer.synced_sequence > self._watermark
        ):
            with contextlib.suppress(OSError):  # an older one is as true
                self.directory.set_watermark(self.state.writer.synced_sequence)


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def run(config: NodeConfig) -> int:
    """Serves until told to stop. Returns the exit code of the process."""
    configure(config.log.level, config.log.format, sys.stderr)
    _raise_file_limit()
    sys.setswitchinterval(0.0005)

    async def main() -> int:
        return await Node(config).serve()

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(main())
    except (StorageError, TlsError, OSError) as error:
        _log.critical("cannot start: %s", error)
        return 1
