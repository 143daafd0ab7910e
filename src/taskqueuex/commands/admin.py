"""Requests and replies about the server itself."""

from typing import Annotated, Literal

import msgspec

from taskqueuex.commands.limits import MaxAgeMs

__all__ = [
    "BackupReply",
    "BackupRequest",
    "DrainReply",
    "HealthReply",
    "HistoryPoint",
    "ListWorkers",
    "MetricsHistoryQuery",
    "MetricsHistoryReply",
    "RunningTask",
    "StatsReply",
    "WorkerList",
    "WorkerView",
]


class RunningTask(msgspec.Struct, gc=False):
    """A task that a worker holds; `since` in Unix milliseconds."""

    id: str
    name: str
    since: int


class WorkerView(msgspec.Struct, gc=False):
    """A worker as the server last heard of it. `stopping`: it was asked to stop."""

    name: str
    host: str | None
    pid: int | None
    queues: list[str]
    running: list[RunningTask]
    last_seen_at: int
    version: str | None
    quiet: bool
    stopping: bool
    concurrency: int | None


class ListWorkers(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """`max_age_ms`: an answer that was made for somebody else will do, up to that old."""

    max_age_ms: MaxAgeMs | None = None


class WorkerList(msgspec.Struct, gc=False):
    """The workers seen in the last minutes, by name."""

    workers: list[WorkerView]


class StatsReply(msgspec.Struct, gc=False):
    """The server in one look: totals, rates, latencies in milliseconds, process and host."""

    version: str
    started_at: int
    uptime_ms: int
    queues: int
    counts: dict[str, int]
    totals: dict[str, int]
    rates: dict[str, float]
    latency_ms: dict[str, dict[str, float]]
    connections: int
    waiters: int
    storage: dict[str, float | int | str]
    process: dict[str, float | int]
    host: dict[str, float | int]


class MetricsHistoryQuery(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """`range`: 1h in steps of 10 s, 24h of 1 min, 30d of 15 min; `series`: names, by commas."""

    range: Literal["1h", "24h", "30d"] = "1h"
    series: Annotated[str, msgspec.Meta(max_length=4_096)] | None = None


class HistoryPoint(msgspec.Struct, gc=False):
    """The values at one time."""

    at: int
    values: dict[str, float]


class MetricsHistoryReply(msgspec.Struct, gc=False):
    """Points, oldest first; a gap is a time when the server did not run."""

    step_ms: int
    points: list[HistoryPoint]


class BackupRequest(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """`path`: a directory on the server that does not exist yet."""

    path: Annotated[str, msgspec.Meta(min_length=1, max_length=4_096)]


class BackupReply(msgspec.Struct, gc=False):
    """Where the backup is, how large, and how long it took."""

    path: str
    bytes: int
    took_ms: int


class DrainReply(msgspec.Struct, gc=False):
    """The server stops accepting work and exits when what is under way is committed."""

    draining: bool


class HealthReply(msgspec.Struct, gc=False, omit_defaults=True):
    """`ok`, or why not."""

    status: str
    detail: str | None = None
