"""What only the engine can tell of whether a call is allowed: the queue of a task, or of a schedule.

Everything else has been asked before a call comes here (`access/scopes.py`). Callers that may do
everything are not looked at.
"""

from collections.abc import Iterable

from taskqueuex.commands.call import Call
from taskqueuex.commands.principal import Principal
from taskqueuex.engine.core import Core, Queue
from taskqueuex.errors import Forbidden
from taskqueuex.model.ids import parse_id

__all__ = ["admit", "admit_parents", "admit_task", "queue_name"]


def queue_name(queue: Queue) -> str:
    """What a queue is, or was, called."""
    return queue.name.partition("\0")[0]


def admit(core: Core, call: Call) -> None:
    """Raises Forbidden where a restricted caller may not do this, or Need."""
    queues = call.command.queues
    if queues == "task":
        admit_task(core, call.principal, call.command.scope, parse_id(call.target))
    elif queues == "schedule":
        _admit_schedule(core, call)


def admit_task(core: Core, principal: Principal, scope: str, task_id: bytes) -> None:
    """Raises Forbidden, NotFound, or Need."""
    _require(principal, scope, queue_name(core.find(task_id).partition.queue), "task")


def _require(principal: Principal, scope: str, queue: str, what: str) -> None:
    # The queue is not named: whoever may not look is not told where a task or a schedule is.
    if not principal.allows(scope, queue):
        raise Forbidden(f"the scope {scope} is needed for the queue of this {what}")


def _admit_schedule(core: Core, call: Call) -> None:
    schedule = core.schedules.get(call.target)
    if schedule is not None:
        _require(call.principal, call.command.scope, schedule.record.queue, "schedule")


def admit_parents(
    core: Core, queue: Queue | None, with_parents: bool | None, parents: Iterable[str]
) -> bool | None:
    """Whether a new task may depend on tasks of other queues; raises Forbidden.

    `queue` is the task's (None: it does not exist yet), `parents` the names of its parents' queues.
    Returns its `with_parents`: settled as False where the caller may not see the results of all parents, so
    that no later setting of its queue hands them over.
    """
    principal = core.principal
    hidden = [
        name for name in parents if not (principal.allows("read", name) and principal.allows("payload", name))
    ]
    if not hidden:
        return with_parents
    handed = with_parents if with_parents is not None else queue is not None and queue.config.with_parents
    for name in hidden:
        if handed:
            raise Forbidden(
                "with_parents: the scopes read and payload are needed for the queue of each parent"
            )
        if not (principal.allows("read", name) or principal.allows("produce", name)):
            raise Forbidden("depends_on: the scope read or produce is needed for the queue of each parent")
    return False
