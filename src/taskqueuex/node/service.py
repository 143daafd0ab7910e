"""What the node itself answers: health, stats, metrics, the interface document, backup, drain."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec

from taskqueuex import __version__
from taskqueuex.commands import admin
from taskqueuex.commands.call import Call, Page, Stream
from taskqueuex.commands.openapi import document
from taskqueuex.engine.metrics import EngineMetrics
from taskqueuex.errors import Conflict, Draining, Invalid, StorageUnavailable, TaskQueueError
from taskqueuex.model.states import STATE_NAMES, STATES
from taskqueuex.node.certificate import not_after
from taskqueuex.node.credentials import Credentials
from taskqueuex.node.exposition import Marks, Reading, families, read
from taskqueuex.node.guards import memory_limit_bytes
from taskqueuex.node.state import NodeState
from taskqueuex.storage import StorageError
from taskqueuex.telemetry import (
    OPENMETRICS_TYPE,
    HistogramSnapshot,
    MetricsHistory,
    ProcessReading,
    Recent,
    read_host,
    read_process,
    render,
)

__all__ = ["Service"]

_log = logging.getLogger("taskqueuex.node")

SAMPLE_SERIES_QUEUES = 200
# Of the windows over latencies: what is shown is of the last one to two minutes, a sample of 5 to 10 s.
_SHOWN_SPAN_S = 60
_SAMPLED_SPAN_S = 5


class Service:
    """Answers calls of kind `server`, and samples the metrics history."""

    def __init__(
        self,
        state: NodeState,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        request_stop: Callable[[], None],
    ) -> None:
        self._state = state
        self._spawn = spawn
        self._request_stop = request_stop
        self._history = MetricsHistory()
        self._document: dict[str, Any] | None = None
        self._marks = Marks(memory_limit_bytes(state.config.overload))
        self._scrapes: list[Call] = []  # that wait for the metrics that are being read
        self._credentials = Credentials(state, spawn)
        sources: dict[str, Callable[[], HistogramSnapshot]] = {
            "wait": lambda: self._engine_metrics().wait_us.snapshot(),
            "run": lambda: self._engine_metrics().run_us.snapshot(),
            "request": lambda: state.network_metrics.prompt_time.snapshot(),
            "turn": lambda: state.writer_metrics.turn_us.snapshot(),
            "commit": lambda: state.writer_metrics.commit_us.snapshot(),
            "fsync": lambda: state.writer_metrics.fsync_us.snapshot(),
            "loop_lag": lambda: state.lag_us.snapshot(),
        }
        # Latencies of the server as a whole: what is shown, and what the metrics history gets.
        self._latencies = {name: Recent(source) for name, source in sources.items()}
        self._sampled = {name: Recent(source) for name, source in sources.items()}
        self._seconds = 0
        self._answers: dict[str, Callable[[Call], Any]] = {
            "healthz": self._healthz,
            "readyz": self._readyz,
            "openapi": self._openapi,
            "stats": self._stats,
            "metrics": self._metrics,
            "backup": self._backup,
            "drain": self._drain,
            "events": self._events,
            **self._credentials.answers,
        }

    def submit(self, call: Call) -> None:
        """Answers a call now, or starts what will."""
        try:
            call.principal.require_current()
            answer = self._answers[call.command.name](call)
        except TaskQueueError as error:
            self._reply(call, error.status, error)
            return
        if answer is not None:
            self._reply(call, 200, answer)

    def _reply(self, call: Call, status: int, body: Any) -> None:
        self._credentials.note(call, status, body)
        call.sink.on_reply(call, status, body, None)

    def _healthz(self, call: Call) -> admin.HealthReply:
        return admin.HealthReply("ok")

    def _readyz(self, call: Call) -> admin.HealthReply:
        if self._state.writer is None:
            raise StorageUnavailable("the store is being reopened", retry_after_s=1)
        if self._state.draining:
            raise StorageUnavailable("the server is shutting down", retry_after_s=1)
        return admin.HealthReply("ok")

    def _openapi(self, call: Call) -> dict[str, Any]:
        if self._document is None:
            self._document = document(__version__)
        return self._document

    def _drain(self, call: Call) -> admin.DrainReply:
        asyncio.get_running_loop().call_later(0.05, self._request_stop)
        return admin.DrainReply(True)

    def _events(self, call: Call) -> Stream:
        writer = self._state.writer
        if writer is None:
            raise StorageUnavailable("the store is being reopened", retry_after_s=1)
        if self._state.draining:
            raise Draining(retry_after_s=1)
        return writer.events.open(call)

    # Backup

    def _backup(self, call: Call) -> None:
        path = Path(call.body.path)
        if not path.is_absolute():
            raise Invalid.field("path", "must be absolute")
        if path.exists():
            raise Conflict(f"path: {path} exists already")
        if not path.parent.is_dir():
            raise Invalid.field("path", f"{path.parent} is not a directory")
        self._spawn(self._run_backup(call, path))

    async def _run_backup(self, call: Call, path: Path) -> None:
        started = time.monotonic()
        writer = self._state.writer
        try:
            if writer is None:
                raise StorageUnavailable("the store is being reopened", retry_after_s=1)
            size = await writer.backup(path)
        except StorageError as error:
            failed = StorageUnavailable(f"backup: {error}")
            self._reply(call, failed.status, failed)
            return
        except TaskQueueError as error:
            self._reply(call, error.status, error)
            return
        self._marks.backup_at = self._state.clock.now_ms() / 1000
        took_ms = int((time.monotonic() - started) * 1000)
        self._reply(call, 200, admin.BackupReply(str(path), size, took_ms))

    # Looking

    def totals(self) -> dict[str, int]:
        """Counters since the start."""
        node = self._state
        queues = list(node.writer.engine.core.queues.values()) if node.writer is not None else []
        engine = node.writer.engine.core.metrics if node.writer is not None else None
        return {
            "requests": node.network_metrics.requests_total,
            "enqueued": sum(queue.metrics.enqueued for queue in queues),
            "leased": sum(queue.metrics.leased for queue in queues),
            "completed": sum(queue.metrics.completed for queue in queues),
            "failed_attempts": sum(queue.metrics.failed for queue in queues),
            "dropped": sum(queue.metrics.dropped for queue in queues),
            "expired_leases": engine.expired_leases if engine is not None else 0,
            "promoted": engine.promoted if engine is not None else 0,
            "forgotten": engine.forgotten if engine is not None else 0,
            "commits": node.writer_metrics.commits,
            "rows": node.writer_metrics.rows,
            "turns": node.writer_metrics.turns,
            "parked": node.writer_metrics.parked,
            "shed": node.writer_metrics.shed,
            "stalls": node.writer_metrics.stalls,
            "storage_failures": node.writer_metrics.failures,
            "recoveries": node.writer_metrics.recoveries,
            "bytes_in": node.network_metrics.bytes_in,
            "bytes_out": node.network_metrics.bytes_out,
            "connections": node.network_metrics.connections_total,
        }

    def counts(self) -> dict[str, int]:
        """Tasks per state, over all queues."""
        node = self._state
        counts = [[0] * STATES]
        if node.writer is not None:
            counts += [queue.counts() for queue in node.writer.engine.core.queues.values()]
        return dict(zip(STATE_NAMES, map(sum, zip(*counts, strict=True)), strict=True))

    def rates(self) -> dict[str, float]:
        """Tasks a second over the last 10 s."""
        node, now = self._state, self._state.clock.now_ms()
        queues = list(node.writer.engine.core.queues.values()) if node.writer is not None else []
        for queue in queues:
            queue.metrics.sample(now)
        return {
            "in": sum(queue.metrics.rate_in.per_second(now) for queue in queues),
            "out": sum(queue.metrics.rate_out.per_second(now) for queue in queues),
            "failed": sum(queue.metrics.rate_failed.per_second(now) for queue in queues),
        }

    def _engine_metrics(self) -> EngineMetrics:
        writer = self._state.writer
        return writer.engine.core.metrics if writer is not None else EngineMetrics()

    def _stats(self, call: Call) -> admin.StatsReply:
        return self._look(self.counts(), self.rates(), read_process())

    def _look(
        self, counts: dict[str, int], rates: dict[str, float], process: ProcessReading
    ) -> admin.StatsReply:
        node = self._state
        now = node.clock.now_ms()
        writer = node.writer
        return admin.StatsReply(
            version=__version__,
            started_at=node.started_at,
            uptime_ms=now - node.started_at,
            queues=len(writer.engine.core.queues) if writer is not None else 0,
            counts=counts,
            totals=self.totals(),
            rates=rates,
            latency_ms={
                name: dict(zip(("p50", "p90", "p99", "count"), recent.window().summary_ms(), strict=True))
                for name, recent in self._latencies.items()
            },
            connections=node.network_metrics.connections,
            waiters=writer.engine.waiters.count if writer is not None else 0,
            storage=node.tiers.durable.health() if node.tiers is not None else {},
            process=_numbers(process),
            host=_numbers(read_host(node.config.storage.data)),
        )

    # Metrics

    def note_certificate(self) -> None:
        """The certificate was read, anew perhaps: when it ends is a metric."""
        file = self._state.config.network.tls_certificate
        try:
            self._marks.certificate_ends_at = None if file is None else not_after(file)
        except (OSError, ValueError) as error:  # what TLS takes may be of a kind that we do not read
            _log.warning("the end of the certificate is not known: %s", error)
            self._marks.certificate_ends_at = None

    async def read_metrics(self) -> Reading:
        """All figures, for whoever describes them."""
        return await read(self._state, self._marks)

    def _metrics(self, call: Call) -> None:
        self._scrapes.append(call)
        if len(self._scrapes) == 1:  # the others get what it gets
            self._spawn(self._expose())

    async def _expose(self) -> None:
        answers: dict[bool, Any] = {}  # by whether it is OpenMetrics
        otherwise: TaskQueueError = Draining(retry_after_s=1)  # where this is cancelled
        try:
            reading = await self.read_metrics()
            loop = asyncio.get_running_loop()
            while wanted := {bool(call.query) for call in self._scrapes} - answers.keys():
                for openmetrics in wanted:
                    answers[openmetrics] = await loop.run_in_executor(None, _exposed, reading, openmetrics)
        except Exception:
            _log.exception("the metrics could not be read")
            otherwise = TaskQueueError("the metrics could not be read")
        finally:
            calls, self._scrapes = self._scrapes, []
            for call in calls:
                answer = answers.get(bool(call.query), otherwise)
                self._reply(call, answer.status if isinstance(answer, TaskQueueError) else 200, answer)

    def _roll(self) -> None:
        self._seconds += 1
        for windows, span_s in ((self._sampled, _SAMPLED_SPAN_S), (self._latencies, _SHOWN_SPAN_S)):
            if self._seconds % span_s == 0:
                for recent in windows.values():
                    recent.roll()

    def sample(self) -> None:
        """Once a second: puts finished points of the metrics history into the batch that grows, and what
        is new of tokens."""
        node = self._state
        self._credentials.tick()
        if node.writer is None:
            return
        self._roll()
        node.writer.cut_events()
        node.writer.events.tick()
        # Once for all: with many queues, or many open files, they take a while.
        counts, rates, process = self.counts(), self.rates(), read_process()
        node.writer.events.tell_stats(lambda: msgspec.json.encode(self._look(counts, rates, process)))
        values: dict[str, float] = {f"rate.{name}": value for name, value in rates.items()}
        values.update({f"tasks.{name}": float(counts[name]) for name in STATE_NAMES})
        values["process.resident_bytes"] = float(process.resident_bytes)
        values["process.cpu_total"] = process.cpu_user_s + process.cpu_system_s
        values["connections"] = float(node.network_metrics.connections)
        for name, recent in self._sampled.items():
            p50, p99 = recent.window().percentiles(0.5, 0.99)
            values[f"latency.{name}.p50_ms"] = p50 / 1000
            values[f"latency.{name}.p99_ms"] = p99 / 1000
        for queue in list(node.writer.engine.core.queues.values())[:SAMPLE_SERIES_QUEUES]:
            values[f"queue.{queue.name}.ready"] = float(queue.counts()[2])
            values[f"queue.{queue.name}.in"] = queue.metrics.rate_in.per_second(node.clock.now_ms())
            values[f"queue.{queue.name}.out"] = queue.metrics.rate_out.per_second(node.clock.now_ms())
        now = node.clock.now_ms()
        points = self._history.add(now, values)
        if points:
            node.writer.put_points(
                points, {p.tier: self._history.expired_before(p.tier, now) for p in points}
            )


def _exposed(reading: Reading, openmetrics: bool) -> bytes | Page:
    text = render(families(reading), openmetrics=openmetrics)
    return Page(OPENMETRICS_TYPE, text, ()) if openmetrics else text


def _numbers(reading: Any) -> dict[str, float | int]:
    return {
        name: value
        for name in reading.__struct_fields__
        if isinstance(value := getattr(reading, name), int | float)
    }
