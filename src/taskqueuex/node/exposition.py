"""The metrics of a node as families. Names and labels are part of the interface: docs/metrics.md lists them.

They are read on the event loop, since everything is counted there, a slice at a time so that nobody waits for
it, however many queues there are; `families` describes what was read, on any thread.
"""

import asyncio
import time
from collections import Counter as Tally
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

from taskqueuex import __version__
from taskqueuex.access.overload import RANKS
from taskqueuex.engine.metrics import EngineMetrics
from taskqueuex.engine.queues import oldest_ready_age_ms
from taskqueuex.engine.worker import Worker
from taskqueuex.engine.workers import SEEN_MS
from taskqueuex.model.states import STATE_NAMES
from taskqueuex.node.state import NodeState
from taskqueuex.telemetry import (
    Counter,
    Family,
    Gauge,
    HistogramFamily,
    HistogramSample,
    HistogramSnapshot,
    Sample,
    read_host,
    read_process,
)
from taskqueuex.writer import Writer

__all__ = ["QUEUES_MAX", "Marks", "Reading", "families", "read"]

QUEUES_MAX: Final = 1_000
"""Queues that have series of their own; the label set stays bounded."""

_SLICE_S: Final = 0.001  # of the loop's time, before others have theirs
_QUEUE: Final = ("queue",)

_WRITER_TOTALS: Final = (
    ("commits", "commits", "Batches written to the store, one a turn at most"),
    ("rows", "rows", "Rows written in batches"),
    ("turns", "turns", "Turns of the writer: all calls that came since the last one are applied in one"),
    ("parked", "parked", "Calls that waited for a read from the store before they were applied"),
    ("shed", "shed", "Calls refused (503) because writer.inbox_max were waiting already"),
    ("stalls", "stalls", "Batches that the store put off because it compacts slower than is written"),
    ("storage_failures", "failures", "Writes and syncs of the store that failed"),
    ("recoveries", "recoveries", "Times the store was opened anew after a failure"),
    ("slow_syncs", "slow_syncs", "Syncs of the store that took over 0.1 s"),
)
_ENGINE_TOTALS: Final = (
    ("expired_leases", "Leases that expired without a heartbeat, since the store was opened"),
    ("promoted", "Delayed and retrying tasks that fell due, since the store was opened"),
    ("forgotten", "Ended tasks that were removed after their time to live, since the store was opened"),
)
_QUEUE_TOTALS: Final = (
    ("enqueued", "Tasks put into the queue"),
    ("leased", "Leases given: attempts begun"),
    ("completed", "Tasks acknowledged"),
    ("failed", "Attempts that failed: told by the worker, timed out, or their lease expired"),
    ("dead", "Tasks that died: out of attempts, not retryable, or killed"),
    ("dropped", "Tasks dropped from the full queue (overflow: drop_oldest)"),
)
_TIMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "wait": "Time from when a task could run to its lease, counted at the lease",
        "run": "Time from the lease of a task to its ack, counted at the ack",
    }
)


@dataclass(slots=True)
class Marks:
    """What happens rarely, noted by those who do it."""

    memory_limit_bytes: int = 0
    certificate_ends_at: float | None = None  # Unix seconds; None: there is no TLS
    backup_at: float | None = None  # Unix seconds; None: none was taken since the start


class QueueReading(NamedTuple):
    """One queue, as it was when it was read."""

    name: str
    counts: list[int]  # by state
    totals: tuple[int, ...]  # in the order of _QUEUE_TOTALS
    wait: HistogramSnapshot
    run: HistogramSnapshot
    oldest_ready_ms: int | None
    paused: bool
    max_tasks: int | None
    max_running: int | None


class Reading(NamedTuple):
    """All that was read."""

    whole: list[Family]  # what is not of a queue
    queues: list[QueueReading]


async def read(node: NodeState, marks: Marks) -> Reading:
    """Reads all of it on the event loop, a slice at a time."""
    writer = node.writer
    queues = list(writer.engine.core.queues.values()) if writer is not None else []
    readings: list[QueueReading] = []
    until = time.monotonic() + _SLICE_S
    for queue in queues:
        if time.monotonic() >= until:
            await asyncio.sleep(0)
            until = time.monotonic() + _SLICE_S
        metrics = queue.metrics
        if len(readings) < QUEUES_MAX and not queue.deleted:
            readings.append(
                QueueReading(
                    queue.name,
                    queue.counts(),
                    tuple([getattr(metrics, name) for name, _ in _QUEUE_TOTALS]),
                    metrics.wait_us.snapshot(),
                    metrics.run_us.snapshot(),
                    oldest_ready_age_ms(queue, node.clock.now_ms()),
                    queue.paused,
                    queue.config.max_tasks,
                    queue.config.max_running,
                )
            )
    whole = [
        *_server(node, marks, len(queues)),
        *_writer(node),
        *_network(node),
        *_access(node),
        *_overload(node, marks),
        *_process(node),
    ]
    return Reading(whole, readings)


def families(reading: Reading) -> list[Family]:
    """All families. A reading is nobody else's, so that this may be done on any thread."""
    return [*reading.whole, *_queues(reading.queues)]


def _server(node: NodeState, marks: Marks, queues: int) -> list[Family]:
    is_ready = node.writer is not None and not node.draining
    return [
        Gauge(
            "taskqueuex_info", "The version that runs; always 1", [Sample(1, (__version__,))], ("version",)
        ),
        Gauge(
            "taskqueuex_ready",
            "1 while /readyz answers 200, 0 while the server stops or opens its store anew",
            [Sample(is_ready)],
        ),
        Gauge(
            "taskqueuex_queues",
            f"Queues that there are; the first {QUEUES_MAX:,} have series of their own",
            [Sample(queues)],
        ),
        Gauge(
            "taskqueuex_tls_certificate_not_after_seconds",
            "Unix time at which the certificate in use ends; absent without TLS",
            _known(marks.certificate_ends_at),
        ),
        Gauge(
            "taskqueuex_backup_last_success_timestamp_seconds",
            "Unix time of the last backup that succeeded; absent until there is one since the start",
            _known(marks.backup_at),
        ),
        *_workers(node.writer, node.clock.now_ms()),
        *_events(node.writer),
    ]


def _known(value: float | None) -> list[Sample]:
    return [] if value is None else [Sample(value)]


def _workers(writer: Writer | None, now_ms: int) -> list[Family]:
    tally: Tally[str] = Tally()
    if writer is not None:
        seen = now_ms - SEEN_MS
        tally.update(
            _state_of(each) for each in writer.engine.core.workers.values() if each.last_seen_at >= seen
        )
    waiting = writer.engine.waiters.count if writer is not None else 0
    return [
        Gauge(
            "taskqueuex_workers",
            "Workers that made a call in the last 5 minutes: active, quiet (take no tasks) or asked to stop",
            [Sample(tally[state], (state,)) for state in ("active", "quiet", "stopping")],
            ("state",),
        ),
        Gauge("taskqueuex_waiting_polls", "Long polls that wait, for tasks or for ends", [Sample(waiting)]),
        Gauge(
            "taskqueuex_inbox_calls",
            "Calls that wait for the next turn; writer.inbox_max bounds them",
            [Sample(writer.inbox_calls() if writer is not None else 0)],
        ),
    ]


def _state_of(worker: Worker) -> str:
    if worker.stop:
        return "stopping"
    is_quiet = worker.wanted_quiet if worker.is_quiet is None else worker.is_quiet
    return "quiet" if is_quiet else "active"


def _events(writer: Writer | None) -> list[Family]:
    events = writer.events if writer is not None else None
    return [
        Counter(
            "taskqueuex_events_published_total",
            "Events that became true, whether anybody followed or not, since the store was opened",
            [Sample(events.published_total if events is not None else 0)],
        ),
        Gauge(
            "taskqueuex_event_streams_open",
            "Streams of events that are open",
            [Sample(events.streams if events is not None else 0)],
        ),
        Counter(
            "taskqueuex_event_streams_total",
            "Streams of events that were opened, since the store was opened",
            [Sample(events.streams_total if events is not None else 0)],
        ),
        Counter(
            "taskqueuex_event_streams_slow_total",
            "Streams of events that were cut because their reader was too slow, since the store was opened",
            [Sample(events.slow_total if events is not None else 0)],
        ),
    ]


def _writer(node: NodeState) -> list[Family]:
    metrics = node.writer_metrics
    engine = node.writer.engine.core.metrics if node.writer is not None else EngineMetrics()
    found: list[Family] = [
        Counter(f"taskqueuex_{name}_total", text, [Sample(getattr(metrics, field))])
        for name, field, text in _WRITER_TOTALS
    ]
    found += [
        Counter(f"taskqueuex_{name}_total", text, [Sample(getattr(engine, name))])
        for name, text in _ENGINE_TOTALS
    ]
    traced = (
        ("wait", engine.wait_us, engine.wait_traces),
        ("run", engine.run_us, engine.run_traces),
    )
    for name, histogram, traces in traced:
        sample = HistogramSample(histogram.snapshot(), exemplars=traces.snapshot())
        found.append(HistogramFamily(f"taskqueuex_{name}_seconds", _TIMES[name], [sample]))
    times = (
        ("turn", "Time of one turn: applying and writing, the sync excluded", metrics.turn_us),
        ("commit", "Time of writing a batch to the store, the sync excluded", metrics.commit_us),
        ("fsync", "Time of syncing the store's log; durable answers wait for it", metrics.fsync_us),
        ("loop_lag", "How late the event loop runs what is due, looked at ten times a second", node.lag_us),
    )
    for name, text, histogram in times:
        found.append(_times(f"taskqueuex_{name}_seconds", text, [(histogram.snapshot(), ())], ()))
    return found


def _times(
    name: str,
    text: str,
    snapshots: Sequence[tuple[HistogramSnapshot, tuple[str, ...]]],
    label_names: tuple[str, ...],
) -> HistogramFamily:
    return HistogramFamily(name, text, [HistogramSample(*each) for each in snapshots], label_names)


def _network(node: NodeState) -> list[Family]:
    metrics, config = node.network_metrics, node.config.network
    requests = [
        Sample(count, (name, f"{status}xx"))
        for name, classes in metrics.requests.items()
        for status, count in enumerate(classes)
        if count
    ]
    times = [
        (metrics.times[name].snapshot(), (name,))
        for name, classes in metrics.requests.items()
        if any(classes)
    ]
    return [
        Counter(
            "taskqueuex_requests_total",
            "Answers by command and class of status; those that were never given are absent",
            requests,
            ("command", "status"),
        ),
        _times(
            "taskqueuex_request_seconds",
            "Time from the complete head of a request to its answer, the waits of long polls included",
            [(metrics.request_time.snapshot(), ())],
            (),
        ),
        _times(
            "taskqueuex_command_seconds",
            "The same by command; commands that were never called are absent",
            times,
            ("command",),
        ),
        Gauge("taskqueuex_connections_open", "Connections that are open", [Sample(metrics.connections)]),
        Gauge(
            "taskqueuex_connections_max",
            "Connections that may be open at once (network.max_connections)",
            [Sample(config.max_connections)],
        ),
        *(
            Counter(f"taskqueuex_{name}_total", text, [Sample(getattr(metrics, f"{name}_total"))])
            for name, text in (
                ("connections", "Connections accepted"),
                ("connections_refused", "Connections that there was no room for"),
                ("connections_evicted", "Idle connections closed to make room"),
                ("deadlines", "Requests and answers that took a client too long"),
                ("handshakes_failed", "Connections that failed in TLS or the PROXY protocol"),
            )
        ),
        Counter(
            "taskqueuex_network_receive_bytes_total",
            "Bytes received from clients, TLS excluded",
            [Sample(metrics.bytes_in)],
        ),
        Counter(
            "taskqueuex_network_transmit_bytes_total",
            "Bytes sent to clients, TLS excluded",
            [Sample(metrics.bytes_out)],
        ),
    ]


def _access(node: NodeState) -> list[Family]:
    access = node.access
    refused = [Sample(count, (reason,)) for reason, count in sorted(access.attempts.refused.items())]
    limited = [Sample(count, (limit,)) for limit, count in access.limited.items()]
    return [
        Counter("taskqueuex_auth_refused_total", "Credentials refused, by reason", refused, ("reason",)),
        Counter(
            "taskqueuex_auth_limited_total",
            "Calls refused (429) because they were over a limit of their token",
            limited,
            ("limit",),
        ),
        Gauge("taskqueuex_tokens", "Tokens that there are", [Sample(len(access.tokens))]),
        Gauge("taskqueuex_web_sessions", "Web sessions that are open", [Sample(len(access.sessions))]),
    ]


def _overload(node: NodeState, marks: Marks) -> list[Family]:
    overload = node.overload
    shed = [Sample(count, (kind,)) for kind, count in zip(RANKS, overload.shed, strict=True)]
    limit = overload.limit if overload.active else 0
    return [
        Counter(
            "taskqueuex_overload_shed_total",
            "Calls sent away (503) while overloaded, by kind",
            shed,
            ("kind",),
        ),
        Counter(
            "taskqueuex_overloaded_intervals_total",
            "Intervals (overload.interval_ms) in which calls waited too long for their turn",
            [Sample(overload.intervals_total)],
        ),
        Gauge("taskqueuex_turn_limit", "Calls taken a turn while overloaded, else 0", [Sample(limit)]),
        Gauge(
            "taskqueuex_memory_level",
            "0: there is memory; 1: what takes memory is refused; 2: no connection is accepted either",
            [Sample(overload.memory_level)],
        ),
        Gauge(
            "taskqueuex_memory_limit_bytes",
            "Memory that the process may use: overload.memory_max_mb, its control group's limit, or all",
            [Sample(marks.memory_limit_bytes)],
        ),
    ]


def _process(node: NodeState) -> list[Family]:
    process, host = read_process(), read_host(node.config.storage.data)
    gauges = (
        ("process_start_time_seconds", "Unix time at which the process started", process.started_at_s),
        ("process_resident_bytes", "Memory of the process that is resident", process.resident_bytes),
        ("process_allocated_blocks", "Blocks of Python's allocator in use", process.python_blocks),
        ("process_open_fds", "File descriptors that are open", process.open_files),
        ("process_max_fds", "File descriptors that may be open", process.open_files_limit),
        ("host_load1", "Load average of the host over a minute", host.load_1m),
        ("host_memory_available_bytes", "Memory of the host that is available", host.memory_available_bytes),
        ("host_disk_free_bytes", "Free space of the disk with the data directory", host.disk_free_bytes),
        ("host_disk_total_bytes", "Size of the disk with the data directory", host.disk_total_bytes),
    )
    return [
        Counter(
            "taskqueuex_process_cpu_seconds_total",
            "CPU time of the process, all threads",
            [Sample(process.cpu_user_s, ("user",)), Sample(process.cpu_system_s, ("system",))],
            ("mode",),
        ),
        *(Gauge(f"taskqueuex_{name}", text, [Sample(value)]) for name, text, value in gauges),
        Counter(
            "taskqueuex_host_network_receive_bytes_total",
            "Bytes that the host received on all interfaces but the loopback",
            [Sample(host.network_received_bytes)],
        ),
        Counter(
            "taskqueuex_host_network_transmit_bytes_total",
            "Bytes that the host sent on all interfaces but the loopback",
            [Sample(host.network_sent_bytes)],
        ),
    ]


def _queues(queues: Sequence[QueueReading]) -> list[Family]:
    found: list[Family] = [
        Gauge(
            "taskqueuex_queue_tasks",
            "Tasks of the queue by state",
            [
                Sample(count, (queue.name, STATE_NAMES[state]))
                for queue in queues
                for state, count in enumerate(queue.counts)
            ],
            ("queue", "state"),
        ),
        Gauge(
            "taskqueuex_queue_oldest_ready_seconds",
            "Age of the oldest task that is ready, of the next 1,000 where the order is not by age;"
            " 0 while none is",
            [Sample((queue.oldest_ready_ms or 0) / 1_000, (queue.name,)) for queue in queues],
            _QUEUE,
        ),
        Gauge(
            "taskqueuex_queue_paused",
            "1 while the queue is paused: nobody gets its tasks",
            [Sample(queue.paused, (queue.name,)) for queue in queues],
            _QUEUE,
        ),
    ]
    for name, text in (
        ("max_tasks", "Most tasks that the queue may hold; absent where it is not bounded"),
        ("max_running", "Most tasks of the queue that may run at once; absent where they are not bounded"),
    ):
        limits = [(getattr(queue, name), queue.name) for queue in queues]
        samples = [Sample(limit, (queue,)) for limit, queue in limits if limit is not None]
        found.append(Gauge(f"taskqueuex_queue_{name}", text, samples, _QUEUE))
    for index, (name, text) in enumerate(_QUEUE_TOTALS):
        samples = [Sample(queue.totals[index], (queue.name,)) for queue in queues]
        found.append(Counter(f"taskqueuex_queue_{name}_total", text, samples, _QUEUE))
    for name, text in _TIMES.items():
        snapshots = [(getattr(queue, name), (queue.name,)) for queue in queues]
        found.append(_times(f"taskqueuex_queue_{name}_seconds", text, snapshots, _QUEUE))
    return found
