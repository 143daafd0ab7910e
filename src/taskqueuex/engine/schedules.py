"""Schedules: commands about them, and their occurrences.

An occurrence is decided once, in order: its task is enqueued, or it is skipped, refused or missed. The
rows of its task and the row that says how far the schedule is are of one batch, so that a crash finds
either both or neither. What is due is found by a heap of (when, name), the agenda.
"""

import heapq

import msgspec

from taskqueuex.commands.call import Call
from taskqueuex.commands.limits import META_BYTES_MAX, META_MAX
from taskqueuex.commands.principal import Principal
from taskqueuex.commands.produce import EnqueueReply
from taskqueuex.commands.schedules import LastOccurrence, PutSchedule, ScheduleList, ScheduleView
from taskqueuex.commands.tasks import DeletedReply
from taskqueuex.engine import produce
from taskqueuex.engine.calendar import NEVER, Calendar, Never, calendar_of
from taskqueuex.engine.core import LEVEL_DURABLE, Core, Need
from taskqueuex.engine.schedule import Schedule
from taskqueuex.errors import Conflict, Invalid, NotFound, StorageUnavailable, TaskQueueError
from taskqueuex.model.ids import format_id, parse_id
from taskqueuex.model.place import DURABLE
from taskqueuex.model.schedule import ScheduleRecord, ScheduleState
from taskqueuex.model.states import COMPLETED

__all__ = [
    "CAUGHT_UP_MAX",
    "SCHEDULES_MAX",
    "delete_schedule",
    "get_schedule",
    "list_schedules",
    "pause_schedule",
    "put_schedule",
    "restore_schedules",
    "resume_schedule",
    "run_schedules",
    "trigger_schedule",
]

SCHEDULES_MAX = 10_000
TASK_BYTES_MAX = 64 << 20  # of the tasks of all schedules: they are in memory
CAUGHT_UP_MAX = 1_000  # occurrences of one schedule that are enqueued late; older ones are missed
DECIDED_A_TURN = 200  # occurrences, over all schedules
SKIPPED_A_TURN = 1_000  # occurrences of one schedule that are counted as missed
PAGE_BYTES_MAX = 4 << 20
DETAIL_MAX = 200
_RETRY_MS = 1
_RESERVED_META = ("schedule", "scheduled_at")
_RESERVED_BYTES = 256  # what those two take, at most


# Commands


def put_schedule(core: Core, call: Call) -> tuple[int, ScheduleView]:
    """PUT /v1/schedules/{name}. A definition that is there already changes nothing."""
    core.level = LEVEL_DURABLE
    body: PutSchedule = call.body
    calendar = calendar_of(body.cron, body.every_ms, body.timezone)
    next_at = calendar.after(core.now_ms)
    if next_at == NEVER:
        raise Invalid.field("cron", "never occurs")
    _check_task(body)
    schedule = core.schedules.get(call.target)
    created_at = core.now_ms if schedule is None else schedule.record.created_at
    record = _record(call.target, created_at, body)
    _check_room(core, schedule, record)
    if schedule is None:
        core.schedule_bytes += len(record.task)
        record.paused = bool(body.paused)
        schedule = core.schedules[record.name] = Schedule(record, ScheduleState(next_at), calendar)
        _save_definition(core, schedule)
        _save_state(core, schedule)
        return 201, _view(core, schedule, call.principal)
    if body.paused is not None and body.paused != schedule.record.paused:
        _set_paused(core, schedule, body.paused)
    record.paused = schedule.record.paused
    if record != schedule.record:
        _redefine(core, schedule, record, calendar, next_at)
    return 200, _view(core, schedule, call.principal)


def _record(name: str, created_at: int, body: PutSchedule) -> ScheduleRecord:
    return ScheduleRecord(
        name,
        created_at,
        body.queue,
        msgspec.json.encode(body.task),
        body.cron,
        body.every_ms,
        body.timezone,
        body.overlap,
        body.catch_up,
    )


def _check_task(body: PutSchedule) -> None:
    meta = body.task.meta or {}
    for name in _RESERVED_META:
        if name in meta:
            raise Invalid.field(f"task.meta.{name}", "is set by the schedule itself")
    if len(meta) > META_MAX - len(_RESERVED_META):
        raise Invalid.field("task.meta", f"must have at most {META_MAX - len(_RESERVED_META)} entries here")
    room = META_BYTES_MAX - _RESERVED_BYTES
    if sum(len(key.encode()) + len(text.encode()) for key, text in meta.items()) > room:
        raise Invalid.field("task.meta", f"must be at most {room} bytes in total here")
    if body.task.unique_key is not None and body.overlap == "queue":
        raise Invalid.field("task.unique_key", "would let no occurrence wait for another: overlap is queue")


def _check_room(core: Core, schedule: Schedule | None, record: ScheduleRecord) -> None:
    if schedule is None and len(core.schedules) >= SCHEDULES_MAX:
        raise Invalid.field("name", f"there are {SCHEDULES_MAX} schedules, as many as there may be")
    before = 0 if schedule is None else len(schedule.record.task)
    if core.schedule_bytes - before + len(record.task) > TASK_BYTES_MAX:
        raise Invalid.field("task", f"the tasks of all schedules must be at most {TASK_BYTES_MAX} bytes")


def _redefine(
    core: Core, schedule: Schedule, record: ScheduleRecord, calendar: Calendar, next_at: int
) -> None:
    old = schedule.record
    if (old.cron, old.every_ms, old.timezone) != (record.cron, record.every_ms, record.timezone):
        schedule.state.next_at = next_at
        schedule.missed_before = schedule.caught_until = 0
        _save_state(core, schedule)
    core.schedule_bytes += len(record.task) - len(old.task)
    schedule.define(record, calendar)
    _save_definition(core, schedule)
    _set_alarm(core, schedule)


def get_schedule(core: Core, call: Call) -> tuple[int, ScheduleView]:
    """GET /v1/schedules/{name}."""
    return 200, _view(core, _find(core, call.target), call.principal)


def list_schedules(core: Core, call: Call) -> tuple[int, ScheduleList]:
    """GET /v1/schedules. A page ends early where its tasks are large."""
    core.level = LEVEL_DURABLE
    after = call.query.cursor or ""
    views: list[ScheduleView] = []
    room = PAGE_BYTES_MAX
    for name in sorted(each for each in core.schedules if each > after):
        if len(views) == call.query.limit or room <= 0:
            return 200, ScheduleList(views, views[-1].name)
        schedule = core.schedules[name]
        if not call.principal.allows("read", schedule.record.queue):
            continue
        room -= len(schedule.record.task)
        views.append(_view(core, schedule, call.principal))
    return 200, ScheduleList(views, None)


def delete_schedule(core: Core, call: Call) -> tuple[int, DeletedReply]:
    """DELETE /v1/schedules/{name}."""
    schedule = _find(core, call.target)
    core.schedule_bytes -= len(schedule.record.task)
    del core.schedules[call.target]
    core.batches[DURABLE].delete_schedule(call.target)
    return 200, DeletedReply(True)


def pause_schedule(core: Core, call: Call) -> tuple[int, ScheduleView]:
    """POST /v1/schedules/{name}/pause."""
    schedule = _find(core, call.target)
    if not schedule.record.paused:
        _set_paused(core, schedule, True)
    return 200, _view(core, schedule, call.principal)


def resume_schedule(core: Core, call: Call) -> tuple[int, ScheduleView]:
    """POST /v1/schedules/{name}/resume."""
    schedule = _find(core, call.target)
    if schedule.record.paused:
        _set_paused(core, schedule, False)
    return 200, _view(core, schedule, call.principal)


def _set_paused(core: Core, schedule: Schedule, paused: bool) -> None:
    schedule.record.paused = paused
    if not paused:  # what would have occurred meanwhile is not caught up, whatever the definition says
        schedule.missed_before, schedule.caught_until = core.now_ms, 0
    _save_definition(core, schedule)
    _set_alarm(core, schedule)


def trigger_schedule(core: Core, call: Call) -> tuple[int, EnqueueReply]:
    """POST /v1/schedules/{name}/trigger. The next occurrence stays where it is."""
    schedule = _find(core, call.target)
    previous = _previous(core, schedule)
    if previous is not None and schedule.record.overlap == "skip":
        raise Conflict(f"the task of the occurrence before has not ended: {previous}")
    status, reply = _enqueue(core, schedule, core.now_ms, previous)
    core.level = LEVEL_DURABLE
    if not reply.duplicate or reply.replaced:
        _note_fired(schedule, core.now_ms, reply)
        _save_state(core, schedule)
    return status, reply


def _find(core: Core, name: str) -> Schedule:
    core.level = LEVEL_DURABLE
    schedule = core.schedules.get(name)
    if schedule is None:
        raise NotFound(f"no schedule {name!r}")
    return schedule


def _view(core: Core, schedule: Schedule, principal: Principal) -> ScheduleView:
    """A schedule as a caller may see it."""
    record, state = schedule.record, schedule.state
    runs = list(schedule.upcoming(core.now_ms))
    last = None
    if state.last_at:
        task = format_id(state.last_task) if state.last_task else None
        outcome = state.last_outcome
        last = LastOccurrence(state.last_at, outcome, task, state.last_detail or None)  # type: ignore[arg-type]  # only those are kept
    return ScheduleView(
        name=record.name,
        cron=record.cron,
        every_ms=record.every_ms,
        timezone=record.timezone,
        queue=record.queue,
        task=schedule.task_view(with_payload=principal.sees_payloads(record.queue)),
        overlap="queue" if record.overlap == "queue" else "skip",
        catch_up=record.catch_up,
        paused=record.paused,
        created_at=record.created_at,
        next_at=None if record.paused or not runs else runs[0],
        next_runs=runs,
        last=last,
        fired=state.fired,
        skipped=state.skipped,
        missed=state.missed,
        refused=state.refused,
    )


# Occurrences


def run_schedules(core: Core) -> None:
    """Decides what is due at core.now_ms, within the bounds of a turn."""
    agenda, now = core.agenda, core.now_ms
    budget = DECIDED_A_TURN
    while agenda and agenda[0][0] <= now and budget > 0:
        at, name = heapq.heappop(agenda)
        schedule = core.schedules.get(name)
        if schedule is None or schedule.alarm_at != at:
            continue  # the entry of one that was deleted, or is due at another time by now
        schedule.alarm_at = 0
        budget -= _run(core, schedule, budget)
        _set_alarm(core, schedule)


def _run(core: Core, schedule: Schedule, budget: int) -> int:
    """Decides occurrences of one schedule that are due; returns what it took of the budget."""
    state, calendar = schedule.state, schedule.calendar
    used = 1 + _miss(core, schedule)
    if state.next_at >= schedule.missed_before:
        while NEVER < state.next_at <= core.now_ms and used <= budget:
            try:
                _decide(core, schedule, state.next_at)
            except Need as need:
                core.wants.extend(need.reads)
                schedule.retry_at = core.now_ms + _RETRY_MS
                break
            state.next_at = calendar.after(state.next_at)
            used += 1
    _save_state(core, schedule)
    return used


def _miss(core: Core, schedule: Schedule) -> int:
    """Passes over occurrences that are not enqueued any more; a part of them, where they are many."""
    state, calendar = schedule.state, schedule.calendar
    if state.next_at <= core.now_ms - CAUGHT_UP_MAX * (schedule.record.every_ms or 60_000):
        begin = calendar.begin_of_last(state.next_at, core.now_ms, CAUGHT_UP_MAX)
        schedule.missed_before = max(schedule.missed_before, begin)
    if state.next_at >= schedule.missed_before:
        return 0
    count, state.next_at = calendar.skip(state.next_at, schedule.missed_before, SKIPPED_A_TURN)
    state.missed += count
    return DECIDED_A_TURN // 4


def _decide(core: Core, schedule: Schedule, at_ms: int) -> None:
    """One occurrence; raises Need, having changed nothing."""
    record, state = schedule.record, schedule.state
    previous = _previous(core, schedule)
    # Occurrences that are caught up are due together: one waits for the other, else all but one were lost.
    if previous is not None and record.overlap == "skip" and at_ms > schedule.caught_until:
        _note_skipped(schedule, at_ms, "", f"the task of the occurrence before has not ended: {previous}")
        return
    try:
        _, reply = _enqueue(core, schedule, at_ms, previous)
    except TaskQueueError as error:
        state.refused += 1
        state.last_at, state.last_outcome, state.last_task = at_ms, "refused", b""
        state.last_detail = f"{error.code}: {error.detail}"[:DETAIL_MAX]
        return
    if reply.duplicate and not reply.replaced:
        _note_skipped(schedule, at_ms, reply.id, "a live task has the unique key")
    else:
        _note_fired(schedule, at_ms, reply)


def _enqueue(core: Core, schedule: Schedule, at_ms: int, previous: str | None) -> tuple[int, EnqueueReply]:
    if core.refuses_tasks:
        raise StorageUnavailable("the disk is nearly full", retry_after_s=5)
    return produce.place(core, schedule.record.queue, schedule.spec(at_ms, previous))


def _note_fired(schedule: Schedule, at_ms: int, reply: EnqueueReply) -> None:
    state = schedule.state
    state.fired += 1
    state.previous = state.last_task = parse_id(reply.id)
    state.last_at, state.last_outcome, state.last_detail = at_ms, "fired", ""


def _note_skipped(schedule: Schedule, at_ms: int, task_id: str, detail: str) -> None:
    state = schedule.state
    state.skipped += 1
    state.last_at, state.last_outcome, state.last_detail = at_ms, "skipped", detail
    state.last_task = parse_id(task_id) if task_id else b""


def _previous(core: Core, schedule: Schedule) -> str | None:
    """The id of the task of the occurrence before, if it has not ended; raises Need."""
    task_id = schedule.state.previous
    if not task_id:
        return None
    core.require([task_id])
    task = core.tasks.get(task_id) or core.recent.get(task_id)
    if task is None or task.status.state >= COMPLETED:
        return None
    return format_id(task_id)


def _save_definition(core: Core, schedule: Schedule) -> None:
    core.batches[DURABLE].put_schedule(schedule.record)


def _save_state(core: Core, schedule: Schedule) -> None:
    core.batches[DURABLE].put_schedule_state(schedule.record.name, schedule.state)
    _set_alarm(core, schedule)


def _set_alarm(core: Core, schedule: Schedule) -> None:
    at = schedule.due_at()
    if at == schedule.alarm_at:
        return
    schedule.alarm_at = at
    if at:
        heapq.heappush(core.agenda, (at, schedule.record.name))
    if len(core.agenda) > 2 * len(core.schedules) + 64:  # entries that do not count any more
        core.agenda[:] = [(each.alarm_at, name) for name, each in core.schedules.items() if each.alarm_at]
        heapq.heapify(core.agenda)


def restore_schedules(core: Core, rows: list[tuple[ScheduleRecord, ScheduleState | None]]) -> None:
    """Takes what storage has. What fell into the time since is caught up, or missed, by the next turns."""
    for record, state in rows:
        try:
            calendar: Calendar = calendar_of(record.cron, record.every_ms, record.timezone)
        except TaskQueueError:  # its time zone is not known any more: it is shown, and does not occur
            calendar = Never()
        if state is None or isinstance(calendar, Never):
            state = state or ScheduleState(NEVER)
            state.next_at = calendar.after(core.now_ms)
        schedule = core.schedules[record.name] = Schedule(record, state, calendar)
        core.schedule_bytes += len(record.task)
        if record.catch_up:
            schedule.caught_until = core.now_ms
        else:
            schedule.missed_before = core.now_ms
        _set_alarm(core, schedule)
