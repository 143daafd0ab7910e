"""Requests and replies about schedules: tasks that the server enqueues again and again."""

from typing import Annotated, Literal

import msgspec

from taskqueuex.commands.limits import DURATION_MS_MAX, QueueName
from taskqueuex.commands.produce import TaskFields
from taskqueuex.commands.tasks import Cursor, PageLimit

__all__ = [
    "EVERY_MS_MIN",
    "LastOccurrence",
    "ListSchedules",
    "Outcome",
    "Overlap",
    "PutSchedule",
    "ScheduleList",
    "ScheduleView",
    "ScheduledTask",
    "ScheduledTaskView",
]

EVERY_MS_MIN = 100
Overlap = Literal["skip", "queue"]
Outcome = Literal["fired", "skipped", "refused"]


class ScheduledTask(TaskFields, forbid_unknown_fields=True, omit_defaults=True, gc=False, kw_only=True):
    """The task of every occurrence. `delay_ms` and `ttl_ms` count from when it is enqueued."""


class ScheduledTaskView(TaskFields, omit_defaults=True, gc=False, kw_only=True):
    """The task of every occurrence, as it is shown.

    `payload` is there even where it is null, and absent for who lacks the scope payload for the queue.
    """

    payload: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET  # type: ignore[assignment]  # of those that are sent it is never absent


class PutSchedule(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False, kw_only=True):
    """Creates a schedule or replaces its definition. Exactly one of `cron` and `every_ms` is given.

    `paused`: null leaves it as it is.
    """

    queue: QueueName
    task: ScheduledTask = msgspec.field(default_factory=ScheduledTask)
    cron: Annotated[str, msgspec.Meta(min_length=1, max_length=256)] | None = None
    every_ms: Annotated[int, msgspec.Meta(ge=EVERY_MS_MIN, le=DURATION_MS_MAX)] | None = None
    timezone: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] = "UTC"
    overlap: Overlap = "skip"
    catch_up: bool = False
    paused: bool | None = None


class LastOccurrence(msgspec.Struct, gc=False):
    """How the last occurrence went. `at`: when it was due (Unix milliseconds); `detail`: why not."""

    at: int
    outcome: Outcome
    task: str | None
    detail: str | None


class ScheduleView(msgspec.Struct, gc=False, kw_only=True):
    """A schedule. `next_at` is null while it is paused; `next_runs` are the next five (Unix milliseconds).

    `missed`: occurrences that fell into a time when the server was down, and were not caught up.
    """

    name: str
    cron: str | None
    every_ms: int | None
    timezone: str
    queue: str
    task: ScheduledTaskView
    overlap: Overlap
    catch_up: bool
    paused: bool
    created_at: int
    next_at: int | None
    next_runs: list[int]
    last: LastOccurrence | None
    fired: int
    skipped: int
    missed: int
    refused: int


class ListSchedules(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """A page of the schedules, by name."""

    limit: PageLimit = 100
    cursor: Cursor | None = None


class ScheduleList(msgspec.Struct, gc=False):
    """A page of schedules; there are more where `cursor` is not null."""

    schedules: list[ScheduleView]
    cursor: str | None
