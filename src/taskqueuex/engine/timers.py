"""What time does: delays and retries fall due, tasks and leases expire, ended tasks are forgotten.

Alarms are a heap of (when, what). Timers themselves are windows over the due index, so a million
delayed tasks cost no memory; at most PROMOTED_A_TURN fire in a turn, in order of (due, id), and
forgetting takes at most FORGOTTEN_A_TURN rows, always from a remembered bound.
"""

import heapq

from taskqueuex.commands.consume import ErrorSpec
from taskqueuex.engine.consume import fail_attempt
from taskqueuex.engine.core import KIND_EXPIRE, NEVER, Core, Need, Partition, Task
from taskqueuex.engine.jobs import add_job
from taskqueuex.model.jobs import JobRecord
from taskqueuex.model.reads import ReadEnded
from taskqueuex.model.rows import EndedRow
from taskqueuex.model.states import COMPLETED, EXPIRED, READY, RETRYING, SCHEDULED

__all__ = ["FORGOTTEN_A_TURN", "PROMOTED_A_TURN", "on_ended_rows", "run_alarms", "set_alarms"]

PROMOTED_A_TURN = 500
FORGOTTEN_A_TURN = 200
LEASES_A_TURN = 500
_RETRY_MS = 1


def run_alarms(core: Core) -> None:
    """Does all that is due at core.now_ms, within the bounds of a turn."""
    _expire_leases(core)
    now = core.now_ms
    again: list[tuple[int, str, object]] = []
    while core.alarms and core.alarms[0][0] <= now:
        _, _, kind, subject = heapq.heappop(core.alarms)
        if kind == "due":
            _run_due(core, subject, again)
        elif kind == "forget":
            _ask_ended(core, subject)
        elif kind == "tokens":
            core.woken[subject.name] = None
    for at, kind, subject in again:
        core.alarm(at, kind, subject)


def _expire_leases(core: Core) -> None:
    alarms, now = core.lease_alarms, core.now_ms
    absent: list[bytes] = []
    later: list[tuple[int, bytes, int]] = []
    done = 0
    while alarms and alarms[0][0] <= now and done < LEASES_A_TURN:
        _, task_id, attempt = entry = heapq.heappop(alarms)
        lease = core.leases.get(task_id)
        if lease is None or lease.attempt != attempt:
            continue
        timed_out = bool(lease.timeout_at) and lease.timeout_at <= now
        if lease.expires_at > now and not timed_out:
            look_at = min(lease.expires_at, lease.timeout_at) if lease.timeout_at else lease.expires_at
            heapq.heappush(alarms, (look_at, task_id, attempt))
            continue
        done += 1
        try:
            task = core.find_to_change(task_id)
        except Need as need:
            absent.append(task_id)
            core.wants.extend(need.reads)
            later.append((now + _RETRY_MS, *entry[1:]))
            continue
        if timed_out:
            fail_attempt(core, task, lease, ErrorSpec("Timeout", "the attempt ran longer than timeout_ms"))
        else:
            core.metrics.expired_leases += 1
            error = ErrorSpec("LeaseExpired", "the lease expired without a heartbeat")
            fail_attempt(core, task, lease, error, at_once=True)
    for entry in later:
        heapq.heappush(alarms, entry)


def _run_due(core: Core, partition: Partition, again: list[tuple[int, str, object]]) -> None:
    if core.partitions.get(partition.place.number) is not partition:
        return
    partition.alarm_at = NEVER
    try:
        _fire(core, partition)
    except Need as need:
        core.wants.extend(need.reads)
        partition.alarm_at = core.now_ms
        again.append((core.now_ms + _RETRY_MS, "due", partition))
        return
    set_alarms(core, partition)


def _fire(core: Core, partition: Partition) -> None:
    """Fires what is due, in order of (due, id); raises Need when the next one is not in memory."""
    window = partition.timers
    limit = (core.now_ms + 1).to_bytes(8, "big")
    for _ in range(PROMOTED_A_TURN):
        if window.first() is None and window.cold and window.border[:8] < limit:
            raise Need([core.refill_timers(partition)])
        keys = window.peek(1)
        if not keys or keys[0] >= limit:
            return
        task_id, kind = keys[0][8:24], keys[0][24:]
        if task_id not in core.tasks and task_id not in core.recent:
            due = [k[8:24] for k in window.peek(PROMOTED_A_TURN) if k < limit]
            core.require(list(dict.fromkeys(due)))
        task = core.find(task_id)
        try:
            core.prepare(task)
        except Need:
            core.prepare_all(_due_in_memory(core, partition, limit))
            raise
        if kind == KIND_EXPIRE:
            core.log_event(task, "expired")
            core.move(task, EXPIRED, reason="ttl")
        else:
            promote(core, task)


def _due_in_memory(core: Core, partition: Partition, limit: bytes) -> list[Task]:
    ids = [key[8:24] for key in partition.timers.peek(PROMOTED_A_TURN) if key < limit]
    return [task for i in ids if (task := core.tasks.get(i) or core.recent.get(i)) is not None]


def promote(core: Core, task: Task) -> None:
    """A delay or backoff is over."""
    assert task.status.state in (SCHEDULED, RETRYING)
    core.metrics.promoted += 1
    core.move(task, READY)


def set_alarms(core: Core, partition: Partition) -> None:
    """Sets the alarm for the next timer of a partition; a cold one may be earlier than it says."""
    window = partition.timers
    if not len(window):
        return
    due = int.from_bytes(window.lower_bound()[:8].ljust(8, b"\0"), "big")
    if due < partition.alarm_at:
        partition.alarm_at = due
        core.alarm(due, "due", partition)


def _ask_ended(core: Core, partition: Partition) -> None:
    if core.partitions.get(partition.place.number) is not partition:
        return
    partition.forget_alarm_at = NEVER
    if partition.forgetting:
        return
    due = [(bound, which) for which, bound in enumerate(partition.forget_bounds) if bound]
    if not due:
        return
    bound, which = min(due)
    if bound > core.now_ms:
        _set_forget_alarm(core, partition)
        return
    partition.forgetting = True
    core.metrics.forget_lag_ms = core.now_ms - bound
    start = bound.to_bytes(8, "big")
    state = COMPLETED + which
    core.wants.append(ReadEnded(partition, partition.place, state, start, FORGOTTEN_A_TURN + 1))


def on_ended_rows(core: Core, read: ReadEnded, rows: list[EndedRow]) -> None:
    """The answer: forget what is due; what was ended since the question is found by the next."""
    partition: Partition = read.owner
    partition.forgetting = False
    which = read.state - COMPLETED
    bound = 0
    for row in rows[:FORGOTTEN_A_TURN]:
        if row.forget_at > core.now_ms:
            bound = row.forget_at
            break
        if row.task_id not in partition.ended_changed:
            _forget(core, partition, read.state, row)
    else:
        if len(rows) > FORGOTTEN_A_TURN:
            bound = rows[FORGOTTEN_A_TURN].forget_at
    entered = partition.ended_entered[which]
    partition.forget_bounds[which] = min(bound or entered, entered or bound)
    partition.ended_entered = [0, 0, 0, 0]
    partition.ended_changed.clear()
    core.mark(partition)
    _set_forget_alarm(core, partition)


def _forget(core: Core, partition: Partition, state: int, row: EndedRow) -> None:
    place = partition.place
    if row.has_children or row.workflow:
        record = JobRecord("forget", core.now_ms, subject=row.task_id, queue=partition.queue.name)
        core.batches[place.tier].delete_ended(place, state, row.forget_at, row.task_id)
        add_job(core, b"forget" + row.task_id, record)
        return
    core.batches[place.tier].delete_ended(place, state, row.forget_at, row.task_id)
    core.erase_rows(partition, state, row.task_id, row.name_hash)
    core.metrics.forgotten += 1
    core.recent.pop(row.task_id, None)


def _set_forget_alarm(core: Core, partition: Partition) -> None:
    due = [bound for bound in partition.forget_bounds if bound]
    if due and min(due) < partition.forget_alarm_at:
        partition.forget_alarm_at = max(min(due), core.now_ms)
        core.alarm(partition.forget_alarm_at, "forget", partition)
