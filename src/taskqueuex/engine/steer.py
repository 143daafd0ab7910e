"""An operator's hand on single tasks: cancel, kill, retry, unblock, edit, delete.

Each is one function of a task, so that the single call and the bulk job do the very same.
"""

from typing import Any

import msgspec

from taskqueuex.commands.call import Call
from taskqueuex.commands.tasks import CancelReply, DeletedReply, EditTask, TaskStateReply
from taskqueuex.engine import dependencies
from taskqueuex.engine.core import Core, Task
from taskqueuex.errors import Conflict, Gone, Invalid
from taskqueuex.model.ids import format_id, parse_id
from taskqueuex.model.states import (
    BLOCKED,
    CANCELLED,
    COMPLETED,
    DEAD,
    READY,
    RETRYING,
    RUNNING,
    SCHEDULED,
    STATE_NAMES,
)

__all__ = [
    "cancel_task",
    "change",
    "delete_task",
    "edit_task",
    "kill_task",
    "purge",
    "retry_task",
    "unblock_task",
    "visible",
]


_CHILDREN_LOOKED_AT = 1_000


def visible(core: Core, task: Task) -> Task:
    """The task, unless it has ended and is not shown any more; raises Gone."""
    if is_gone(core, task):
        raise Gone(f"task {format_id(task.id)} has ended and was forgotten")
    return task


def is_gone(core: Core, task: Task) -> bool:
    """Whether a task has ended and is not shown any more; a parent is while a child lives. Raises Need."""
    status = task.status
    if status.state < COMPLETED or core.now_ms < status.gone_at:
        return False
    return not (status.has_children and _has_living_child(core, task))


def _has_living_child(core: Core, task: Task) -> bool:
    ids = core.children_of(task, _CHILDREN_LOOKED_AT)
    core.require(ids)
    children = [core.tasks.get(i) or core.recent.get(i) for i in ids]
    alive = any(child is not None and child.status.state < COMPLETED for child in children)
    return alive or len(ids) == _CHILDREN_LOOKED_AT  # of so many, some may live


def _target(core: Core, call: Call) -> Task:
    return visible(core, core.find_to_change(parse_id(call.target)))


def _reply(task: Task) -> TaskStateReply:
    status = task.status
    waits = status.state in (SCHEDULED, RETRYING)
    return TaskStateReply(format_id(task.id), STATE_NAMES[status.state], status.run_at if waits else None)


def cancel_task(core: Core, call: Call) -> tuple[int, CancelReply]:
    """POST /v1/tasks/{id}/cancel."""
    task = _target(core, call)
    cancel(core, task)
    running = task.status.state == RUNNING
    return 200, CancelReply(STATE_NAMES[task.status.state], running)


def cancel(core: Core, task: Task, reason: str = "cancelled") -> None:
    """Waiting: cancelled. Running: asked to stop. Ended: raises Conflict."""
    state = task.status.state
    if state >= COMPLETED:
        raise Conflict(f"the task has ended: {STATE_NAMES[state]}")
    if state != RUNNING:
        core.log_event(task, "cancelled")
        core.move(task, CANCELLED, reason=reason)
        return
    lease = core.leases[task.id]
    if not lease.cancel_requested:
        lease.cancel_requested = True
        place = task.partition.place
        core.batches[place.tier].put_lease(place, task.id, lease)
        core.log_event(task, "cancel_requested")
        core.save(task)


def kill_task(core: Core, call: Call) -> tuple[int, TaskStateReply]:
    """POST /v1/tasks/{id}/kill."""
    task = _target(core, call)
    kill(core, task)
    return 200, _reply(task)


def kill(core: Core, task: Task) -> None:
    """Dead, its lease revoked at once; raises Conflict where it has ended."""
    if task.status.state >= COMPLETED:
        raise Conflict(f"the task has ended: {STATE_NAMES[task.status.state]}")
    core.log_event(task, "killed", lease=core.leases.get(task.id))
    core.move(task, DEAD, reason="killed")


def retry_task(core: Core, call: Call) -> tuple[int, TaskStateReply]:
    """POST /v1/tasks/{id}/retry."""
    task = _target(core, call)
    retry(core, task)
    return 200, _reply(task)


def retry(core: Core, task: Task) -> None:
    """Another life for a dead task: its failures are forgotten, its attempt number is not."""
    if task.status.state != DEAD:
        raise Conflict(f"only a dead task can be retried; this one is {STATE_NAMES[task.status.state]}")
    if task.partition.queue.deleted:
        raise Conflict("the task's queue was deleted")
    record, status, partition = task.record, task.status, task.partition
    if record.expires_at and record.expires_at <= core.now_ms:
        raise Conflict("the task's expires_at has passed")
    if record.unique_key:
        key_hash = core.unique_hash(partition, record)
        holder_id = core.unique_holder(partition, key_hash)
        if holder_id is not None and holder_id != task.id:
            core.require([holder_id])
            holder = core.tasks.get(holder_id) or core.recent.get(holder_id)
            if holder is not None and holder.status.state < COMPLETED:
                raise Conflict(f"task {format_id(holder_id)} is live with the same unique_key")
        core.set_unique(partition, key_hash, task.id)
    status.failures = 0
    status.successor = b""
    status.last_token = status.last_answer = ""
    status.ended_at = status.gone_at = 0
    status.reason = ""
    core.log_event(task, "retried")
    core.move(task, READY, run_at=0)


def unblock_task(core: Core, call: Call) -> tuple[int, TaskStateReply]:
    """POST /v1/tasks/{id}/unblock."""
    task = _target(core, call)
    if task.status.state != BLOCKED:
        raise Conflict(f"only a blocked task can be unblocked; this one is {STATE_NAMES[task.status.state]}")
    if task.status.successor_of:
        raise Conflict("the task waits for the one that holds its unique_key to end")
    dependencies.let_go(core, task)
    return 200, _reply(task)


def edit_task(core: Core, call: Call) -> tuple[int, TaskStateReply]:
    """PATCH /v1/tasks/{id}: priority, run_at, payload, expires_at of one that waits."""
    task = _target(core, call)
    body: EditTask = call.body
    state = task.status.state
    if state == RUNNING or state >= COMPLETED:
        raise Conflict(f"only a task that waits can be changed; this one is {STATE_NAMES[state]}")
    if body.payload is msgspec.UNSET:
        core.require_payloads([task])
    record = msgspec.structs.replace(task.record)
    run_at = task.status.run_at
    if body.priority is not msgspec.UNSET:
        record.priority = body.priority
    if isinstance(body.payload, msgspec.Raw):
        record.payload = bytes(body.payload)
    if body.expires_at is None:
        record.expires_at = 0
    elif body.expires_at is not msgspec.UNSET:
        if body.expires_at <= core.now_ms:
            raise Invalid.field("expires_at", "has passed")
        record.expires_at = body.expires_at
    if body.run_at is not msgspec.UNSET:
        record.run_at = run_at = body.run_at
        if state != BLOCKED:
            waiting = RETRYING if state == RETRYING else SCHEDULED
            state = waiting if run_at > core.now_ms else READY
    core.log_event(task, "edited")
    core.reseat(task, record, state, run_at)
    return 200, _reply(task)


def delete_task(core: Core, call: Call) -> tuple[int, DeletedReply]:
    """DELETE /v1/tasks/{id}."""
    delete(core, _target(core, call))
    return 200, DeletedReply(True)


def delete(core: Core, task: Task) -> None:
    """Forgets a task that waits or has ended, at once; children follow their policy."""
    if task.status.state == RUNNING:
        raise Conflict("the task is running; cancel or kill it first")
    core.require_workflow(task.record)
    if task.status.state < COMPLETED:
        core.move(task, CANCELLED, reason="deleted")
    if task.status.has_children:
        dependencies.release_children(core, task, dependencies.DELETED)
        task.status.has_children = False
    core.erase_ended(task)


def purge(core: Core, task: Task) -> None:
    """What a purge does to one task: nothing to those that run."""
    if task.status.state not in (RUNNING, COMPLETED, CANCELLED, DEAD) and task.status.state < COMPLETED:
        core.log_event(task, "purged")
        core.move(task, CANCELLED, reason="purged")
    else:
        raise Conflict("the task does not wait")


def force(core: Core, task: Task) -> None:
    """What the deletion of its queue does to one task: it ends, and is a tombstone from now on."""
    if task.status.state < COMPLETED:
        core.log_event(task, "cancelled", lease=core.leases.get(task.id))
        core.move(task, CANCELLED, reason="queue_deleted")
    task.status.gone_at = core.now_ms
    core.postpone_forgetting(task)


_ACTIONS: dict[str, Any] = {
    "cancel": cancel,
    "kill": kill,
    "retry": retry,
    "delete": delete,
    "purge": purge,
    "force": force,
}


def change(core: Core, action: str, task: Task) -> None:
    """Does a bulk action to one task; raises Conflict where it does not apply."""
    _ACTIONS[action](core, task)
