"""The limits that a struct's types cannot express: bytes (types count characters) and fields
that exclude each other.

A check runs after a body was decoded, and must cost next to nothing when nothing can be wrong: a
small body cannot hold a label that is too long, and only a payload of `DEEP_BYTES` or more can be
nested too deep.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from taskqueuex.commands import consume, produce, schedules, tasks
from taskqueuex.commands.limits import (
    LABEL_BYTES_MAX,
    META_BYTES_MAX,
    PAYLOAD_BYTES_MAX,
    TAG_BYTES_MAX,
)
from taskqueuex.errors import FieldError, Invalid, InvalidJson

__all__ = ["CHECKS", "DEPTH_MAX", "Check", "is_too_deep"]

Check = Callable[[Any, int], None]
"""(decoded body, bytes of the body as sent); raises Invalid or InvalidJson."""

DEPTH_MAX: Final = 64
DEEP_BYTES: Final = 2 * (DEPTH_MAX - 4)  # what so many brackets take; a payload stands up to 4 deep

_BRACKETS = bytes.maketrans(b"[]", b"{}")
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


def is_too_deep(document: bytes, depth_max: int = DEPTH_MAX) -> bool:
    """Whether valid JSON nests deeper than `depth_max`. All loops but the last one run in C.

    Strings are cut out, all but the brackets is dropped, and each round removes the innermost
    pairs: what is left after `depth_max` rounds was nested deeper.
    """
    if document.count(b"{") + document.count(b"[") <= depth_max:
        return False
    if b"\\" in document:
        document = document.replace(b"\\\\", b"").replace(b'\\"', b"")
    outside = b"".join(document.split(b'"')[::2])
    brackets = outside.translate(_BRACKETS, _NOT_BRACKETS)
    for _ in range(depth_max):
        if not brackets:
            return False
        brackets = brackets.replace(b"{}", b"")
    return bool(brackets)


def _check_value(value: msgspec.Raw | msgspec.UnsetType, field: str, base: int) -> None:
    """The size and depth of a JSON value that stands `base` levels deep in the body."""
    if isinstance(value, msgspec.UnsetType):
        return
    document = bytes(value)
    if len(document) > PAYLOAD_BYTES_MAX:
        raise Invalid.field(field, f"must be at most {PAYLOAD_BYTES_MAX} bytes of JSON")
    if is_too_deep(document, DEPTH_MAX - base):
        raise InvalidJson(f"{field}: the body nests deeper than {DEPTH_MAX} levels")


def _check_label(value: str | None, field: str, bytes_max: int = LABEL_BYTES_MAX) -> None:
    if value and not value.isascii() and len(value.encode()) > bytes_max:
        raise Invalid.field(field, f"must be at most {bytes_max} bytes")


def _check_meta(meta: dict[str, str], field: str) -> None:
    size = sum(len(name.encode()) + len(text.encode()) for name, text in meta.items())
    if size > META_BYTES_MAX:
        raise Invalid.field(field, f"must be at most {META_BYTES_MAX} bytes in total")


def _exclusive(one: str, other: str, prefix: str) -> Invalid:
    message = f"{one} and {other} exclude each other"
    errors = (FieldError(prefix + one, message), FieldError(prefix + other, message))
    return Invalid(f"{prefix}{one}: {message}", errors=errors)


def _check_pairs(task: produce.EnqueueTask, prefix: str) -> None:
    if task.run_at is not None and task.delay_ms is not None:
        raise _exclusive("delay_ms", "run_at", prefix)
    if task.expires_at is not None and task.ttl_ms is not None:
        raise _exclusive("ttl_ms", "expires_at", prefix)


def _check_sizes(task: produce.TaskFields, prefix: str, base: int) -> None:
    payload = task.payload
    if len(payload) >= DEEP_BYTES:
        _check_value(payload, prefix + "payload", base)
    _check_label(task.name, prefix + "name")
    _check_label(task.group, prefix + "group")
    _check_label(task.unique_key, prefix + "unique_key")
    if task.meta:
        _check_meta(task.meta, prefix + "meta")
    if task.tags:
        for index, tag in enumerate(task.tags):
            _check_label(tag, f"{prefix}tags[{index}]", TAG_BYTES_MAX)


def check_enqueue(task: produce.EnqueueTask, size: int) -> None:
    """One task."""
    if task.run_at is not None or task.expires_at is not None:
        _check_pairs(task, "")
    if size > TAG_BYTES_MAX:
        _check_sizes(task, "", 1)


def _is_plain(task: produce.EnqueueTask) -> bool:
    """Whether a task has nothing that its types do not check already. Of ten thousand, most do not."""
    group, key = task.group, task.unique_key
    return (
        len(task.payload) < DEEP_BYTES
        and task.run_at is None
        and task.expires_at is None
        and task.meta is None
        and task.tags is None
        and task.name.isascii()
        and (group is None or group.isascii())
        and (key is None or key.isascii())
    )


def check_batch(batch: produce.EnqueueBatch, size: int) -> None:
    """Many tasks: the prefix of a field is only made where something is wrong."""
    for task in batch.tasks:
        if _is_plain(task):
            continue
        try:
            if task.run_at is not None or task.expires_at is not None:
                _check_pairs(task, "")
            _check_sizes(task, "", 3)
        except (Invalid, InvalidJson):
            prefix = f"tasks[{next(i for i, each in enumerate(batch.tasks) if each is task)}]."
            _check_pairs(task, prefix)
            _check_sizes(task, prefix, 3)


def check_workflow(workflow: produce.WorkflowCreate, size: int) -> None:
    """A workflow's name, and its tasks as in a batch; `ref` is a label too."""
    _check_label(workflow.name, "name")
    check_batch(workflow, size)  # type: ignore[arg-type]  # it has `tasks`, which is all that is read
    for index, task in enumerate(workflow.tasks):
        _check_label(task.ref, f"tasks[{index}].ref")


def check_dequeue(dequeue: consume.Dequeue | consume.DequeueQueue, size: int, prefix: str = "") -> None:
    """The worker's name."""
    if size > LABEL_BYTES_MAX:
        _check_label(dequeue.worker, prefix + "worker")


def check_ack(ack: consume.AckTask, size: int, prefix: str = "", base: int = 1) -> None:
    """The result."""
    if size >= DEEP_BYTES:
        _check_value(ack.result, prefix + "result", base)


def check_fail(fail: consume.FailTask, size: int, prefix: str = "") -> None:
    """The error's type."""
    if size > LABEL_BYTES_MAX:
        _check_label(fail.error.type, prefix + "error.type")


def check_heartbeat(beat: consume.HeartbeatTask, size: int, prefix: str = "", base: int = 1) -> None:
    """The progress."""
    if size >= DEEP_BYTES:
        _check_value(beat.progress, prefix + "progress", base)


def check_settle(settle: consume.Settle, size: int) -> None:
    """Every item as if it came alone."""
    if size <= DEEP_BYTES:
        return
    for index, ack in enumerate(settle.ack):
        if ack.result is not msgspec.UNSET:
            check_ack(ack, size, f"ack[{index}].", 3)
    for index, fail in enumerate(settle.fail):
        check_fail(fail, size, f"fail[{index}].")
    for index, beat in enumerate(settle.heartbeat):
        check_heartbeat(beat, size, f"heartbeat[{index}].", 3)
    if settle.dequeue is not None:
        check_dequeue(settle.dequeue, size, "dequeue.")
    if settle.worker is not None and size > LABEL_BYTES_MAX:
        for field in ("name", "host", "version"):
            _check_label(getattr(settle.worker, field), f"worker.{field}")


def check_schedule(schedule: schedules.PutSchedule, size: int) -> None:
    """One of `cron` and `every_ms`, and the task."""
    if (schedule.cron is None) == (schedule.every_ms is None):
        message = "exactly one of cron and every_ms must be given"
        errors = (FieldError("cron", message), FieldError("every_ms", message))
        raise Invalid(f"cron: {message}", errors=errors)
    _check_sizes(schedule.task, "task.", 2)


def check_edit(edit: tasks.EditTask, size: int) -> None:
    """The payload."""
    if size >= DEEP_BYTES:
        _check_value(edit.payload, "payload", 1)


_FILTER_LABELS = ("group", "tag", "name", "error")


def check_filter(filter: tasks.ListTasks | tasks.BulkFilter, prefix: str = "") -> None:
    """The labels of a filter."""
    for field in _FILTER_LABELS:
        _check_label(getattr(filter, field), prefix + field)


def check_bulk(bulk: tasks.Bulk, size: int) -> None:
    """The filter says something, and its labels are short enough."""
    if all(getattr(bulk.filter, field) is None for field in bulk.filter.__struct_fields__):
        raise Invalid.field("filter", "must name at least one field")
    check_filter(bulk.filter, "filter.")


CHECKS: Mapping[Any, Check] = {
    produce.EnqueueTask: check_enqueue,
    produce.EnqueueBatch: check_batch,
    produce.WorkflowCreate: check_workflow,
    consume.Dequeue: check_dequeue,
    consume.DequeueQueue: check_dequeue,
    consume.AckTask: check_ack,
    consume.FailTask: check_fail,
    consume.HeartbeatTask: check_heartbeat,
    consume.Settle: check_settle,
    schedules.PutSchedule: check_schedule,
    tasks.EditTask: check_edit,
    tasks.Bulk: check_bulk,
}
"""By the struct of a body; the others need no more than their types."""
