"""Tasks as the API shows them: the task, its history, and why it is not running.

Whether a task's payload and result are shown is decided here, for every view of a task there is."""

import msgspec

from taskqueuex.commands.call import Call
from taskqueuex.commands.principal import Principal
from taskqueuex.commands.tasks import HistoryEvent, TaskError, TaskView, WhyReason, WhyReply
from taskqueuex.engine.admission import queue_name
from taskqueuex.engine.core import Core, Partition, Task
from taskqueuex.engine.disciplines import order_key
from taskqueuex.engine.steer import visible
from taskqueuex.model.ids import format_id, parse_id
from taskqueuex.model.states import (
    BLOCKED,
    COMPLETED,
    READY,
    RETRYING,
    RUNNING,
    SCHEDULED,
    STATE_NAMES,
)
from taskqueuex.model.task import EDGE_RUN, LeaseRecord, TaskRecord, TaskStatus

__all__ = ["get_task", "task_history", "task_view", "task_why"]

_NULL = msgspec.Raw(b"null")
CHILDREN_SHOWN = 1_000


def task_view(
    principal: Principal,
    task_id: bytes,
    queue: str,
    max_attempts: int,
    record: TaskRecord,
    status: TaskStatus,
    lease: LeaseRecord | None,
    children: list[bytes],
) -> TaskView:
    """A task as a caller may see it, who may read it at all. Of who sees no payloads, none is looked at."""
    payload: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    if principal.sees_payloads(queue):
        payload = msgspec.Raw(record.payload or b"null")
        result = msgspec.Raw(status.result) if status.result is not None else _NULL
    return TaskView(
        id=format_id(task_id),
        queue=queue,
        name=record.name,
        state=STATE_NAMES[status.state],
        priority=record.priority,
        group=record.group or None,
        attempt=status.attempt,
        failures=status.failures,
        max_attempts=record.max_attempts or max_attempts,
        created_at=record.created_at,
        run_at=status.run_at or record.run_at or None,
        started_at=status.started_at or None,
        ended_at=status.ended_at or None,
        expires_at=record.expires_at or None,
        lease_expires_at=lease.expires_at if lease is not None else None,
        worker=status.worker or None,
        progress=msgspec.Raw(status.progress) if status.progress is not None else _NULL,
        result=result,
        errors=[
            TaskError(e.at, e.attempt, e.type, e.message, e.traceback, e.worker) for e in status.errors or ()
        ],
        reason=status.reason or None,
        cancel_requested=lease is not None and lease.cancel_requested,
        tags=record.tags,
        meta=record.meta or {},
        depends_on=[format_id(parent) for parent, _ in record.depends_on],
        children=[format_id(child) for child in children],
        workflow=format_id(record.workflow) if record.workflow else None,
        unique_key=record.unique_key or None,
        timeout_ms=record.timeout_ms or None,
        payload=payload,
    )


def get_task(core: Core, call: Call) -> tuple[int, TaskView]:
    """GET /v1/tasks/{id}."""
    task = visible(core, core.find(parse_id(call.target)))
    queue = task.partition.queue
    name = queue_name(queue)
    if call.principal.sees_payloads(name):
        core.require_payloads([task])
    lease = core.leases.get(task.id)
    children = core.children_of(task, CHILDREN_SHOWN)
    return 200, task_view(
        call.principal,
        task.id,
        name,
        queue.config.max_attempts,
        task.record,
        task.status,
        lease,
        children,
    )


def task_history(core: Core, call: Call) -> tuple[int, list[HistoryEvent]]:
    """GET /v1/tasks/{id}/history."""
    task = visible(core, core.find(parse_id(call.target)))
    status = task.status
    events = [HistoryEvent(task.record.created_at, "enqueued", 0, None, None)]
    for event in status.history or ():
        worker = event.worker or None
        if event.leased_at:
            events.append(HistoryEvent(event.leased_at, "leased", event.attempt, worker, None))
        events.append(HistoryEvent(event.at, event.event, event.attempt, worker, event.detail or None))
    if status.state == RUNNING:
        events.append(HistoryEvent(status.started_at, "leased", status.attempt, status.worker or None, None))
    events.sort(key=lambda each: each.at)
    return 200, events


def task_why(core: Core, call: Call) -> tuple[int, WhyReply]:
    """GET /v1/tasks/{id}/why."""
    task = visible(core, core.find(parse_id(call.target)))
    core.group_of(task.partition, task.record)
    status = task.status
    reasons: list[WhyReason] = []
    if status.state == SCHEDULED:
        reasons.append(WhyReason("not_due", "it is scheduled for later", until=status.run_at))
    elif status.state == RETRYING:
        last = status.errors[-1] if status.errors else None
        detail = f"attempt {status.attempt} failed" + (
            f": {last.type} {last.message}".rstrip()[:200] if last else ""
        )
        reasons.append(WhyReason("backoff", detail, until=status.run_at))
    elif status.state == BLOCKED:
        reasons.append(_blocked(core, task))
    elif status.state == READY:
        reasons += _ready(core, task)
    elif status.state >= COMPLETED:
        reasons.append(WhyReason("ended", status.reason or STATE_NAMES[status.state]))
    return 200, WhyReply(STATE_NAMES[status.state], reasons)


def _blocked(core: Core, task: Task) -> WhyReason:
    ids = [parent_id for parent_id, _ in task.record.depends_on]
    core.require(ids)
    unmet = []
    lost = 0
    for parent_id, policy in task.record.depends_on:
        parent = core.tasks.get(parent_id) or core.recent.get(parent_id)
        if parent is None:  # a parent is kept while a child waits, but in memory not over a restart
            lost += 1
            unmet.append(format_id(parent_id))
            continue
        state = parent.status.state
        if state < COMPLETED or (state != COMPLETED and policy != EDGE_RUN):
            unmet.append(format_id(parent_id))
    detail = f"{len(unmet)} of {len(ids)} tasks it depends on have not completed"
    if lost:
        detail += f"; {lost} of them will not, since they are gone"
    return WhyReason("waits_for", detail, ids=unmet)


def _ready(core: Core, task: Task) -> list[WhyReason]:
    partition = task.partition
    queue, config = partition.queue, partition.queue.config
    reasons = []
    if queue.paused:
        reasons.append(WhyReason("paused", f"queue {queue.name!r} is paused"))
    if partition.resort:
        reasons.append(WhyReason("resorting", "a changed discipline is being applied to what waits"))
    if config.max_running is not None and queue.running >= config.max_running:
        reasons.append(WhyReason("max_running", f"{queue.running} tasks of the queue run, as many as may"))
    if config.rate_limit is not None and 0 <= queue.tokens < 1:
        reasons.append(
            WhyReason("rate_limit", f"{config.rate_limit.per_second:g} a second", until=queue.token_alarm_at)
        )
    reasons += _group_reasons(core, task)
    ahead, exact = _ahead(core, partition, task)
    if ahead:
        reasons.append(
            WhyReason("behind", f"{'' if exact else 'at least '}{ahead} tasks are served before it")
        )
    if not reasons:
        reasons.append(
            WhyReason("no_consumer", f"nobody has asked for a task of {queue.name!r} since it is first")
        )
    return reasons


def _group_reasons(core: Core, task: Task) -> list[WhyReason]:
    partition = task.partition
    group = core.group_of(partition, task.record)
    if group is None:
        return []
    config, record = partition.queue.config, group.record
    if config.ordered_groups and record.running:
        return [
            WhyReason("group_running", f"a task of group {record.name!r} runs, and its groups are ordered")
        ]
    if config.ordered_groups and record.retrying:
        return [WhyReason("group_retrying", f"a task of group {record.name!r} waits for its next attempt")]
    limit = config.max_running_per_group
    if limit is not None and record.running >= limit:
        return [WhyReason("max_running_per_group", f"{record.running} tasks of group {record.name!r} run")]
    return []


def _ahead(core: Core, partition: Partition, task: Task) -> tuple[int, bool]:
    group = core.group_of(partition, task.record)
    window = partition.ready if group is None else group.window
    key = order_key(partition.discipline, task.id, task.record.priority)
    if not window.is_hot(key):
        return window.hot_count, False
    return sum(1 for each in window.peek(window.hot_count) if each < key), group is None
