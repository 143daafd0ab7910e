"""Requests and replies of those who do the work."""

from typing import Annotated, Literal

import msgspec

from taskqueuex.commands.limits import (
    DequeueMax,
    DurationMs,
    EntryName,
    Instant,
    Label,
    PositiveMs,
    QueueName,
    TaskId,
    WaitMs,
)

__all__ = [
    "AckItem",
    "AckTask",
    "Dequeue",
    "DequeueQueue",
    "DequeueReply",
    "ErrorSpec",
    "FailItem",
    "FailTask",
    "HeartbeatItem",
    "HeartbeatReply",
    "HeartbeatTask",
    "LeasedTask",
    "ReleaseItem",
    "ReleaseTask",
    "Settle",
    "SettleReply",
    "SettledReply",
    "WorkerControl",
    "WorkerInfo",
]

Lease = Annotated[str, msgspec.Meta(min_length=1, max_length=64, description="the token of the lease")]
QueueWeights = Annotated[
    dict[QueueName, Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]],
    msgspec.Meta(min_length=1, max_length=256),
]
QueueList = Annotated[list[QueueName], msgspec.Meta(min_length=1, max_length=256)]


class DequeueQueue(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Take up to `max` tasks of the queue in the path, waiting up to `wait_ms` for the first."""

    max: DequeueMax = 1
    wait_ms: WaitMs = 0
    lease_ms: PositiveMs | None = None
    worker: Label = ""


class Dequeue(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Take up to `max` tasks: of the first queue of a list that has any, or drawn by weight."""

    queues: QueueList | QueueWeights
    max: DequeueMax = 1
    wait_ms: WaitMs = 0
    lease_ms: PositiveMs | None = None
    worker: Label = ""


class WorkerInfo(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False, kw_only=True):
    """A worker about itself; what is left out stays as it was said before.

    `quiet`: whether it takes no tasks; `bye`: it has ended, and is listed no more.
    """

    name: EntryName
    host: Label | None = None
    pid: Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)] | None = None
    version: Label | None = None
    started_at: Instant | None = None
    queues: Annotated[list[QueueName], msgspec.Meta(max_length=256)] | None = None
    concurrency: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] | None = None
    quiet: bool | None = None
    bye: bool = False


class WorkerControl(msgspec.Struct, gc=False):
    """What a worker is asked to do. `quiet`: take no more tasks; `stop`: finish what it has, and exit."""

    quiet: bool
    stop: bool


class LeasedTask(msgspec.Struct, omit_defaults=True, gc=False):
    """A task, leased to the caller until `lease_expires_at` (Unix milliseconds)."""

    id: str
    queue: str
    name: str
    payload: msgspec.Raw
    attempt: int
    lease: str
    lease_expires_at: int
    priority: int
    group: str | None
    meta: dict[str, str]
    created_at: int
    failures: int = 0
    max_attempts: int = 0
    run_at: int | None = None
    expires_at: int | None = None
    timeout_ms: int | None = None
    tags: tuple[str, ...] = ()
    workflow: str | None = None
    parents: dict[str, msgspec.Raw] | None = None


class DequeueReply(msgspec.Struct, omit_defaults=True, gc=False):
    """What was there; empty when nothing came within `wait_ms`. `control`: what its worker is asked for."""

    tasks: list[LeasedTask]
    control: WorkerControl | None = None


class ErrorSpec(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Why an attempt failed."""

    type: Label = ""
    message: Annotated[str, msgspec.Meta(max_length=65_536)] = ""
    traceback: Annotated[str, msgspec.Meta(max_length=262_144)] = ""


class AckTask(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False, kw_only=True):
    """The work is done."""

    lease: Lease
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET  # not `| None`: msgspec would read null alone


class FailTask(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False, kw_only=True):
    """The attempt failed; `retryable: false` makes the task dead at once."""

    lease: Lease
    error: ErrorSpec = msgspec.field(default_factory=ErrorSpec)
    retryable: bool = True
    delay_ms: DurationMs | None = None


class ReleaseTask(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False, kw_only=True):
    """Back to the queue; the attempt is not counted as a failure."""

    lease: Lease
    delay_ms: DurationMs | None = None


class HeartbeatTask(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False, kw_only=True):
    """The attempt goes on: the lease is set to now + `extend_ms`, or its own length."""

    lease: Lease
    extend_ms: PositiveMs | None = None
    progress: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class AckItem(AckTask, forbid_unknown_fields=True, omit_defaults=True, gc=False, kw_only=True):
    """An ack within a settle."""

    id: TaskId


class FailItem(FailTask, forbid_unknown_fields=True, omit_defaults=True, gc=False, kw_only=True):
    """A fail within a settle."""

    id: TaskId


class ReleaseItem(ReleaseTask, forbid_unknown_fields=True, omit_defaults=True, gc=False, kw_only=True):
    """A release within a settle."""

    id: TaskId


class HeartbeatItem(HeartbeatTask, forbid_unknown_fields=True, omit_defaults=True, gc=False, kw_only=True):
    """A heartbeat within a settle."""

    id: TaskId


class Settle(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """A worker's whole round trip: what ended, what goes on, and what to take next."""

    ack: Annotated[list[AckItem], msgspec.Meta(max_length=1_000)] = []
    fail: Annotated[list[FailItem], msgspec.Meta(max_length=1_000)] = []
    release: Annotated[list[ReleaseItem], msgspec.Meta(max_length=1_000)] = []
    heartbeat: Annotated[list[HeartbeatItem], msgspec.Meta(max_length=1_000)] = []
    dequeue: Dequeue | None = None
    wait: Literal["always"] | None = None
    worker: WorkerInfo | None = None


class SettledReply(msgspec.Struct, omit_defaults=True, gc=False):
    """The state after an ack, fail or release; `run_at` when it waits for its next attempt."""

    state: str
    run_at: int | None = None


class HeartbeatReply(msgspec.Struct, omit_defaults=True, gc=False):
    """Until when the lease holds now, and whether the task was asked to stop; or its worker was."""

    lease_expires_at: int
    cancel: bool
    quiet: bool = False
    stop: bool = False


class SettleReply(msgspec.Struct, omit_defaults=True, gc=False):
    """Per item, in the order of the request, what it would have answered alone; then the tasks.

    `control` is there whenever the settle named its worker.
    """

    ack: list[msgspec.Raw]
    fail: list[msgspec.Raw]
    release: list[msgspec.Raw]
    heartbeat: list[msgspec.Raw]
    tasks: list[LeasedTask]
    control: WorkerControl | None = None
