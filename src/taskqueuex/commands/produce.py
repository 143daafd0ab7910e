"""Requests and replies of those who put work in."""

from typing import Annotated, Literal

import msgspec

from taskqueuex.commands import limits
from taskqueuex.commands.limits import (
    DurationMs,
    EntryName,
    GroupWeight,
    Instant,
    Label,
    PositiveMs,
    Priority,
    QueueName,
)

__all__ = [
    "BackoffSpec",
    "BatchReply",
    "Dependency",
    "EnqueueBatch",
    "EnqueueReply",
    "EnqueueTask",
    "OnConflict",
    "OnFailure",
    "PartialReply",
    "TaskFields",
    "WorkflowCreate",
    "WorkflowReply",
    "WorkflowTask",
]

OnFailure = Literal["cancel", "run", "hold"]
OnConflict = Literal["existing", "reject", "replace"]


class BackoffSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Wait before attempt n + 1: base_ms * factor**(n - 1), at most max_ms, give or take jitter."""

    base_ms: DurationMs = 1_000
    factor: Annotated[float, msgspec.Meta(ge=1.0, le=100.0)] = 2.0
    max_ms: DurationMs = 3_600_000
    jitter: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.1


class Dependency(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """One parent, with a policy of its own."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=limits.LABEL_BYTES_MAX)]
    on_failure: OnFailure | None = None


Parents = Annotated[
    list[str | Dependency],
    msgspec.Meta(max_length=limits.PARENTS_MAX, description="task ids, or {id, on_failure}"),
]
Tags = Annotated[
    list[Annotated[str, msgspec.Meta(min_length=1, max_length=limits.TAG_BYTES_MAX)]],
    msgspec.Meta(max_length=limits.TAGS_MAX),
]
Meta = Annotated[dict[str, str], msgspec.Meta(max_length=limits.META_MAX)]


def _null() -> msgspec.Raw:
    # A factory, because a schema cannot show a Raw as a default.
    return msgspec.Raw(b"null")


class TaskFields(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False, kw_only=True):
    """What a task is, whenever and however often it is enqueued."""

    payload: msgspec.Raw = msgspec.field(default_factory=_null)
    name: Label = ""
    priority: Priority = 0
    group: Label | None = None
    group_weight: GroupWeight | None = None
    delay_ms: DurationMs | None = None
    ttl_ms: PositiveMs | None = None
    timeout_ms: PositiveMs | None = None
    lease_ms: PositiveMs | None = None
    max_attempts: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None
    backoff: BackoffSpec | None = None
    unique_key: EntryName | None = None
    on_conflict: OnConflict = "existing"
    tags: Tags | None = None
    meta: Meta | None = None
    result_ttl_ms: DurationMs | None = None
    with_parents: bool | None = None


class EnqueueTask(TaskFields, forbid_unknown_fields=True, omit_defaults=True, gc=False, kw_only=True):
    """A task to do."""

    run_at: Instant | None = None
    expires_at: Instant | None = None
    depends_on: Parents | None = None
    on_dependency_failure: OnFailure = "cancel"


class WorkflowTask(EnqueueTask, forbid_unknown_fields=True, omit_defaults=True, gc=False, kw_only=True):
    """A task of a workflow: names its queue, and may be depended on by its `ref`."""

    queue: QueueName
    ref: EntryName


class EnqueueBatch(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Many tasks of one queue: all or nothing, or each on its own with `partial`."""

    tasks: Annotated[list[EnqueueTask], msgspec.Meta(min_length=1, max_length=limits.BATCH_MAX)]
    partial: bool = False


class WorkflowCreate(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Tasks of any queues with dependencies among them: all or nothing."""

    tasks: Annotated[list[WorkflowTask], msgspec.Meta(min_length=1, max_length=limits.BATCH_MAX)]
    name: Label = ""


class EnqueueReply(msgspec.Struct, omit_defaults=True, gc=False):
    """Where the task is. `duplicate`: `unique_key` found this live task instead."""

    id: str
    state: str
    duplicate: bool = False
    replaced: bool = False


class BatchReply(msgspec.Struct, omit_defaults=True, gc=False):
    """The ids, in the order of the request; `duplicates` are indexes into it."""

    ids: list[str]
    duplicates: list[int] = []


class PartialReply(msgspec.Struct, gc=False):
    """Per item: `{"id","state"}` or a problem."""

    results: list[msgspec.Raw]


class WorkflowReply(msgspec.Struct, gc=False):
    """The workflow's id, and each task's by its ref."""

    id: str
    ids: dict[str, str]
