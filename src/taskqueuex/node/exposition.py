"""The metrics of a node as Prometheus families. Names and labels are part of the interface."""

from taskqueuex import __version__
from taskqueuex.access.overload import RANKS
from taskqueuex.model.states import STATE_NAMES
from taskqueuex.node.state import NodeState
from taskqueuex.telemetry import (
    Counter,
    Family,
    Gauge,
    Histogram,
    HistogramFamily,
    HistogramSample,
    Sample,
    read_host,
    read_process,
)

__all__ = ["QUEUES_MAX", "families"]

QUEUES_MAX = 1_000
"""Queues that have series of their own; the label set stays bounded."""

_TOTALS = {
    "commits": "Batches written",
    "rows": "Rows written in batches",
    "turns": "Turns of the writer",
    "parked": "Calls that waited for a read",
    "shed": "Calls refused because the inbox was full",
    "stalls": "Writes that the store put off",
    "storage_failures": "Failures of the store",
    "recoveries": "Times the store was reopened after a failure",
    "expired_leases": "Leases that expired without a heartbeat",
    "promoted": "Delayed or retrying tasks that fell due",
    "forgotten": "Ended tasks that were removed",
}


def families(node: NodeState, totals: dict[str, int], histograms: dict[str, Histogram]) -> list[Family]:
    """All families, read now."""
    found: list[Family] = [
        Gauge("taskqueuex_info", "The version that runs", [Sample(1, (__version__,))], ("version",)),
    ]
    found += [
        Counter(f"taskqueuex_{name}_total", text, [Sample(totals[name])]) for name, text in _TOTALS.items()
    ]
    names = {
        "wait": "Time from when a task could run to its lease",
        "run": "Time from the lease to the ack",
        "request": "Time from a request's head to its answer",
        "turn": "Time of one turn without fsync",
        "commit": "Time of writing a batch",
        "fsync": "Time of syncing the log",
        "loop_lag": "How late the event loop runs",
    }
    for name, histogram in histograms.items():
        found.append(HistogramFamily(f"taskqueuex_{name}_seconds", names[name], [HistogramSample(histogram)]))
    return found + _access(node) + _queues(node) + _network(node) + _overload(node) + _process(node)


def _access(node: NodeState) -> list[Family]:
    access = node.access
    refused = [Sample(count, (reason,)) for reason, count in sorted(access.attempts.refused.items())]
    limited = [Sample(count, (limit,)) for limit, count in access.limited.items()]
    return [
        Counter("taskqueuex_auth_refused_total", "Credentials refused, by reason", refused, ("reason",)),
        Counter("taskqueuex_auth_limited_total", "Calls over a limit of their token", limited, ("limit",)),
        Gauge("taskqueuex_tokens", "Tokens that there are", [Sample(len(access.tokens))]),
        Gauge("taskqueuex_web_sessions", "Web sessions that are open", [Sample(len(access.sessions))]),
    ]


def _queues(node: NodeState) -> list[Family]:
    queues = list(node.writer.engine.core.queues.values())[:QUEUES_MAX] if node.writer is not None else []
    states = [
        Sample(count, (queue.name, STATE_NAMES[state]))
        for queue in queues
        for state, count in enumerate(queue.counts())
    ]
    found: list[Family] = [
        Gauge("taskqueuex_queue_tasks", "Tasks of a queue by state", states, ("queue", "state"))
    ]
    for name, text in (
        ("enqueued", "Tasks enqueued"),
        ("leased", "Leases given"),
        ("completed", "Tasks completed"),
        ("failed", "Attempts failed"),
        ("dropped", "Tasks dropped from a full queue"),
    ):
        samples = [Sample(getattr(queue.metrics, name), (queue.name,)) for queue in queues]
        found.append(Counter(f"taskqueuex_queue_{name}_total", text, samples, ("queue",)))
    for name, text in (
        ("wait", "Time from when a task could run to its lease"),
        ("run", "From lease to ack"),
    ):
        histograms = [
            HistogramSample(getattr(queue.metrics, f"{name}_us"), (queue.name,)) for queue in queues
        ]
        found.append(HistogramFamily(f"taskqueuex_queue_{name}_seconds", text, histograms, ("queue",)))
    return found


def _network(node: NodeState) -> list[Family]:
    metrics = node.network_metrics
    requests = [
        Sample(count, (name, f"{status}xx"))
        for name, classes in metrics.requests.items()
        for status, count in enumerate(classes)
        if count
    ]
    return [
        Counter(
            "taskqueuex_requests_total",
            "Answers by command and class of status",
            requests,
            ("command", "status"),
        ),
        Gauge("taskqueuex_connections", "Open connections", [Sample(metrics.connections)]),
        Counter("taskqueuex_connections_total", "Connections accepted", [Sample(metrics.connections_total)]),
        *(
            Counter(f"taskqueuex_{name}_total", text, [Sample(getattr(metrics, f"{name}_total"))])
            for name, text in (
                ("connections_refused", "Connections that there was no room for"),
                ("connections_evicted", "Idle connections closed to make room"),
                ("deadlines", "Requests and answers that took a client too long"),
                ("handshakes_failed", "Connections that failed in TLS or the PROXY protocol"),
            )
        ),
        Counter("taskqueuex_network_receive_bytes_total", "Bytes received", [Sample(metrics.bytes_in)]),
        Counter("taskqueuex_network_transmit_bytes_total", "Bytes sent", [Sample(metrics.bytes_out)]),
    ]


def _overload(node: NodeState) -> list[Family]:
    overload = node.overload
    shed = [Sample(count, (kind,)) for kind, count in zip(RANKS, overload.shed, strict=True)]
    limit = overload.limit if overload.active else 0
    return [
        Counter("taskqueuex_overload_shed_total", "Calls sent away, by kind", shed, ("kind",)),
        Counter(
            "taskqueuex_overloaded_intervals_total",
            "Intervals in which calls waited too long",
            [Sample(overload.intervals_total)],
        ),
        Gauge("taskqueuex_turn_limit", "Calls taken a turn while overloaded, else 0", [Sample(limit)]),
        Gauge(
            "taskqueuex_memory_level",
            "1: memory is nearly full, 2: no connection is taken",
            [Sample(overload.memory_level)],
        ),
        Counter(
            "taskqueuex_slow_syncs_total",
            "Syncs of the store over 0.1 s",
            [Sample(node.writer_metrics.slow_syncs)],
        ),
    ]


def _process(node: NodeState) -> list[Family]:
    process, host = read_process(), read_host(node.config.storage.data)
    return [
        Counter(
            "taskqueuex_process_cpu_seconds_total",
            "CPU time of the process",
            [Sample(process.cpu_user_s, ("user",)), Sample(process.cpu_system_s, ("system",))],
            ("mode",),
        ),
        Gauge("taskqueuex_process_resident_bytes", "Resident memory", [Sample(process.resident_bytes)]),
        Gauge(
            "taskqueuex_process_allocated_blocks",
            "Blocks of Python's allocator",
            [Sample(process.python_blocks)],
        ),
        Gauge("taskqueuex_process_open_fds", "Open file descriptors", [Sample(process.open_files)]),
        Gauge("taskqueuex_process_max_fds", "Limit of file descriptors", [Sample(process.open_files_limit)]),
        Gauge("taskqueuex_host_load1", "Load average over a minute", [Sample(host.load_1m)]),
        Gauge(
            "taskqueuex_host_memory_available_bytes",
            "Memory available",
            [Sample(host.memory_available_bytes)],
        ),
        Gauge(
            "taskqueuex_host_disk_free_bytes", "Free space of the data disk", [Sample(host.disk_free_bytes)]
        ),
        Counter(
            "taskqueuex_host_network_receive_bytes_total",
            "Bytes the host received",
            [Sample(host.network_received_bytes)],
        ),
        Counter(
            "taskqueuex_host_network_transmit_bytes_total",
            "Bytes the host sent",
            [Sample(host.network_sent_bytes)],
        ),
    ]
