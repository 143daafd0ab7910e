"""Requests and replies of those who look at tasks and steer them."""

from typing import Annotated, Literal

import msgspec

from taskqueuex.commands.limits import (
    Instant,
    Label,
    MaxAgeMs,
    Priority,
    QueueName,
    TaskId,
    WaitMs,
)

__all__ = [
    "Bulk",
    "BulkFilter",
    "BulkReply",
    "CancelReply",
    "Cursor",
    "CursorQuery",
    "DeadGroup",
    "DeadGroups",
    "DeadQuery",
    "DeletedReply",
    "EditTask",
    "HistoryEvent",
    "ListTasks",
    "PageLimit",
    "StateName",
    "TaskError",
    "TaskList",
    "TaskQuery",
    "TaskStateReply",
    "TaskView",
    "WaitQuery",
    "WhyReason",
    "WhyReply",
    "WorkflowList",
    "WorkflowView",
]

StateName = Literal[
    "scheduled", "blocked", "ready", "running", "retrying", "completed", "cancelled", "expired", "dead"
]
PageLimit = Annotated[int, msgspec.Meta(ge=1, le=1_000)]
Cursor = Annotated[str, msgspec.Meta(max_length=1_024)]


class TaskError(msgspec.Struct, gc=False):
    """One failed attempt."""

    at: int
    attempt: int
    type: str
    message: str
    traceback: str
    worker: str


class TaskView(msgspec.Struct, gc=False, kw_only=True):
    """A task as those see it who may read it; the lease token is shown to its holder alone.

    `payload` and `result` are absent, not null, for who lacks the scope payload for its queue.
    """

    id: str
    queue: str
    name: str
    state: StateName
    priority: int
    group: str | None
    attempt: int
    failures: int
    max_attempts: int
    created_at: int
    run_at: int | None
    started_at: int | None
    ended_at: int | None
    expires_at: int | None
    lease_expires_at: int | None
    worker: str | None
    progress: msgspec.Raw
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    errors: list[TaskError]
    reason: str | None
    cancel_requested: bool
    tags: tuple[str, ...]
    meta: dict[str, str]
    depends_on: list[str]
    children: list[str]
    workflow: str | None
    unique_key: str | None
    timeout_ms: int | None
    payload: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class WaitQuery(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """`wait_ms`: answer when the task has ended, or after that long."""

    wait_ms: WaitMs = 0


class ListTasks(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """A filter and a page. `after` and `before` bound `created_at`."""

    queue: QueueName | None = None
    state: StateName | None = None
    group: Label | None = None
    tag: Label | None = None
    name: Label | None = None
    error: Label | None = None
    workflow: TaskId | None = None
    id: Annotated[str, msgspec.Meta(max_length=65_536, description="ids, separated by commas")] | None = None
    after: Instant | None = None
    before: Instant | None = None
    limit: PageLimit = 100
    cursor: Cursor | None = None


class TaskList(msgspec.Struct, gc=False):
    """A page. Where `cursor` is not null there may be more, even behind an empty page."""

    tasks: list[TaskView]
    cursor: str | None
    scanned: int


class HistoryEvent(msgspec.Struct, gc=False):
    """One thing that happened to a task."""

    at: int
    event: str
    attempt: int
    worker: str | None
    detail: str | None


class WhyReason(msgspec.Struct, gc=False, omit_defaults=True):
    """One reason why a task does not run now, or a queue is slow; `until` when that changes by itself."""

    code: str
    detail: str
    until: int | None = None
    ids: list[str] | None = None


class WhyReply(msgspec.Struct, gc=False):
    """Why a task is not running; no reasons when it is, or has ended."""

    state: StateName
    reasons: list[WhyReason]


class EditTask(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Changes to a task that waits; a field that is not given stays."""

    priority: Priority | msgspec.UnsetType = msgspec.UNSET
    run_at: Instant | msgspec.UnsetType = msgspec.UNSET
    payload: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    expires_at: Instant | None | msgspec.UnsetType = msgspec.UNSET


class TaskStateReply(msgspec.Struct, gc=False, omit_defaults=True):
    """The state of the task after the call."""

    id: str
    state: StateName
    run_at: int | None = None


class CancelReply(msgspec.Struct, gc=False, omit_defaults=True):
    """`cancel_requested`: it runs, and learns of it from its next heartbeat."""

    state: StateName
    cancel_requested: bool = False


class DeletedReply(msgspec.Struct, gc=False):
    """The task or queue is gone."""

    deleted: bool


class BulkFilter(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Which tasks; at least one field must be given."""

    queue: QueueName | None = None
    state: StateName | None = None
    group: Label | None = None
    tag: Label | None = None
    name: Label | None = None
    error: Label | None = None
    workflow: TaskId | None = None
    id: Annotated[list[TaskId], msgspec.Meta(max_length=10_000)] | None = None
    after: Instant | None = None
    before: Instant | None = None


class Bulk(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """One action on all tasks of a filter; `dry_run` counts them and changes nothing."""

    action: Literal["retry", "cancel", "kill", "delete"]
    filter: BulkFilter
    dry_run: bool = False


class BulkReply(msgspec.Struct, gc=False):
    """How many tasks the filter matched, and how many were changed."""

    matched: int
    changed: int


class DeadQuery(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Dead letters of one queue, or of all. `max_age_ms`: one that was made for others will do, so old."""

    queue: QueueName | None = None
    limit: PageLimit = 100
    max_age_ms: MaxAgeMs | None = None


class DeadGroup(msgspec.Struct, gc=False):
    """Dead tasks that share queue, name and error type."""

    queue: str
    name: str
    error: str
    message: str
    count: int
    oldest_at: int
    latest_at: int
    example: str


class DeadGroups(msgspec.Struct, gc=False):
    """The groups, largest first; `complete` is false when the scan stopped at its bound."""

    groups: list[DeadGroup]
    scanned: int
    complete: bool


class CursorQuery(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """A page of a listing."""

    limit: PageLimit = 100
    cursor: Cursor | None = None


class WorkflowView(msgspec.Struct, gc=False, omit_defaults=True):
    """A workflow: how many of its tasks are in which state; `tasks` when asked for one."""

    id: str
    name: str
    state: str
    created_at: int
    counts: dict[str, int]
    tasks: list[TaskView] | None = None
    cursor: str | None = None


class WorkflowList(msgspec.Struct, gc=False):
    """A page of workflows, the newest first."""

    workflows: list[WorkflowView]
    cursor: str | None


TaskQuery = ListTasks
