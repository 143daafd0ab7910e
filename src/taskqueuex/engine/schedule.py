"""A schedule in memory: its rows, its calendar, and the task that it enqueues."""

from collections import deque
from collections.abc import Sequence

import msgspec

from taskqueuex.commands.produce import Dependency, EnqueueTask
from taskqueuex.commands.schedules import ScheduledTask, ScheduledTaskView
from taskqueuex.engine.calendar import NEVER, Calendar
from taskqueuex.model.schedule import ScheduleRecord, ScheduleState

__all__ = ["Schedule"]

RUNS_SHOWN = 5
_decode_task = msgspec.json.Decoder(ScheduledTask).decode
_decode_view = msgspec.json.Decoder(ScheduledTaskView).decode


class Schedule:
    """A schedule by name."""

    __slots__ = (
        "_upcoming", "_whole", "_without_payload", "alarm_at", "calendar", "caught_until", "missed_before",
        "record", "retry_at", "state", "task",
    )  # fmt: skip

    def __init__(self, record: ScheduleRecord, state: ScheduleState, calendar: Calendar) -> None:
        self.state = state
        self.alarm_at = 0  # of its one entry of the agenda that counts; 0: there is none
        self.retry_at = 0  # not before, since something is being read for it
        self.missed_before = 0  # occurrences before are not enqueued any more
        self.caught_until = 0  # occurrences up to here fell into a time when the server was down
        self.define(record, calendar)

    def define(self, record: ScheduleRecord, calendar: Calendar) -> None:
        """Takes another definition."""
        self.record = record
        self.calendar = calendar
        self.task = _decode_task(record.task)
        self._without_payload = _decode_view(record.task)
        self._without_payload.payload = msgspec.UNSET
        self._whole = msgspec.structs.replace(self._without_payload, payload=self.task.payload)
        self._upcoming: deque[int] = deque()

    def task_view(self, *, with_payload: bool) -> ScheduledTaskView:
        """The task as it is shown, with its payload or without."""
        return self._whole if with_payload else self._without_payload

    def due_at(self) -> int:
        """When it has to be looked at; 0: not at all."""
        if self.record.paused or self.state.next_at == NEVER:
            return 0
        return max(self.state.next_at, self.retry_at)

    def upcoming(self, now_ms: int) -> Sequence[int]:
        """The next occurrences after now."""
        found = self._upcoming
        while found and found[0] <= now_ms:
            found.popleft()
        while len(found) < RUNS_SHOWN:
            after = self.calendar.after(found[-1] if found else now_ms)
            if after == NEVER:
                break
            found.append(after)
        return found

    def spec(self, at_ms: int, behind: str | None) -> EnqueueTask:
        """The task of an occurrence. `behind`: the id of the task that has to end first."""
        task = self.task
        depends_on: list[str | Dependency] | None = None if behind is None else [Dependency(behind, "run")]
        return EnqueueTask(
            payload=task.payload,
            name=task.name,
            priority=task.priority,
            group=task.group,
            group_weight=task.group_weight,
            delay_ms=task.delay_ms,
            ttl_ms=task.ttl_ms,
            timeout_ms=task.timeout_ms,
            lease_ms=task.lease_ms,
            max_attempts=task.max_attempts,
            backoff=task.backoff,
            unique_key=task.unique_key,
            on_conflict=task.on_conflict,
            tags=task.tags,
            meta={**(task.meta or {}), "schedule": self.record.name, "scheduled_at": str(at_ms)},
            result_ttl_ms=task.result_ttl_ms,
            with_parents=task.with_parents,
            depends_on=depends_on,
        )
