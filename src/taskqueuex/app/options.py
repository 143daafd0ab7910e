"""How a task is enqueued: options in seconds and datetimes, as users write them, to fields of the API."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypedDict

import msgspec

from taskqueuex.app.control import TaskDefinitionError, seconds
from taskqueuex.commands.limits import QueueName
from taskqueuex.commands.produce import BackoffSpec, Dependency, EnqueueTask, OnConflict, OnFailure

__all__ = ["Backoff", "TaskOptions", "fields_of"]

Duration = float | timedelta


@dataclass(frozen=True, slots=True)
class Backoff:
    """The wait before attempt n + 1: base * factor**(n - 1) seconds, at most `max`, give or take jitter."""

    base: Duration = 1.0
    factor: float = 2.0
    max: Duration = 3_600.0
    jitter: float = 0.1


class TaskOptions(TypedDict, total=False):
    """All options; durations in seconds or as timedelta, instants with a time zone."""

    queue: str
    priority: int  # higher is served first, in queues with the discipline `priority`
    group: str  # key of fairness and order
    group_weight: int
    delay: Duration
    run_at: datetime
    ttl: Duration  # must have started by then, else it expires
    expires_at: datetime
    timeout: Duration  # the longest one attempt may run
    lease: Duration
    max_attempts: int
    backoff: Backoff
    depends_on: Sequence[Any]  # handles or ids of tasks
    on_dependency_failure: OnFailure
    unique_key: str | Callable[..., str]  # a callable gets the task's arguments
    on_conflict: OnConflict
    tags: Sequence[str]
    meta: Mapping[str, str]
    result_ttl: Duration
    with_parents: bool


_DURATIONS: Final = {
    "delay": "delay_ms",
    "ttl": "ttl_ms",
    "timeout": "timeout_ms",
    "lease": "lease_ms",
    "result_ttl": "result_ttl_ms",
}
_INSTANTS: Final = ("run_at", "expires_at")


def fields_of(options: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The fields of an enqueue, but for its queue and unique key, which the task sees to.

    Raises TaskDefinitionError, which names the option after `where`.
    """
    fields: dict[str, Any] = {}
    for name, value in options.items():
        if name not in TaskOptions.__annotations__:
            raise TaskDefinitionError(f"{where}: {name}: there is no such option")
        if value is None or name == "unique_key":
            continue
        try:
            if name == "queue":
                msgspec.convert(value, QueueName)
                continue
            field, converted = _field(name, value)
            msgspec.convert({field: msgspec.to_builtins(converted)}, EnqueueTask)
        except (msgspec.ValidationError, TypeError, ValueError, AttributeError) as error:
            raise TaskDefinitionError(f"{where}: {name}: {error}") from error
        fields[field] = converted
    return fields


def _field(name: str, value: Any) -> tuple[str, Any]:
    if name in _DURATIONS:
        return _DURATIONS[name], _milliseconds(value)
    if name in _INSTANTS:
        if value.tzinfo is None:
            raise ValueError("must have a time zone")
        return name, int(value.timestamp() * 1000)
    if name == "backoff":
        base_ms, max_ms = _milliseconds(value.base), _milliseconds(value.max)
        return name, BackoffSpec(base_ms, value.factor, max_ms, value.jitter)
    if name == "depends_on":
        return name, [_parent(each) for each in value]
    if name == "tags":
        return name, list(value)
    if name == "meta":
        return name, dict(value)
    return name, value


def _parent(parent: Any) -> str | Dependency:
    if isinstance(parent, str | Dependency):
        return parent
    task_id = getattr(parent, "id", None)
    if not isinstance(task_id, str):
        raise TypeError(f"{parent!r} is not a task: pass handles or ids")
    return task_id


def _milliseconds(value: Duration) -> int:
    duration = seconds(value) * 1000
    # What is short is not to become nothing: a timeout of 0.1 ms is 1 ms.
    return max(1, round(duration)) if duration > 0 else round(duration)
