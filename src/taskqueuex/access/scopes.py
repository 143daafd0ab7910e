"""Whether a restricted principal may make a call, as the column `queues` of the command table says."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from taskqueuex.commands.call import Call
from taskqueuex.commands.principal import Principal
from taskqueuex.commands.table import Queues
from taskqueuex.errors import Forbidden

__all__ = ["check_scope", "tasks_in"]


def check_scope(call: Call) -> None:
    """Raises Forbidden. What only the engine knows (the queue of a task) is asked there."""
    command = call.command
    if command.scope in ("public", "any"):
        return
    principal = call.principal
    if not principal.has(command.scope):
        raise Forbidden(f"{command.name} needs the scope {command.scope}")
    _CHECKS[command.queues](principal, command.scope, call)


def _nothing(principal: Principal, scope: str, call: Call) -> None:
    """The scope is about no queue, or the engine asks for which."""


def _target(principal: Principal, scope: str, call: Call) -> None:
    principal.require(scope, call.target)


def _body(principal: Principal, scope: str, call: Call) -> None:
    _every(principal, scope, call.body.queues)


def _every(principal: Principal, scope: str, queues: Iterable[str]) -> None:
    for queue in queues:
        principal.require(scope, queue)


def _tasks(principal: Principal, scope: str, call: Call) -> None:
    _every(principal, scope, (task.queue for task in call.body.tasks))


def _settle(principal: Principal, scope: str, call: Call) -> None:
    if call.body.dequeue is not None:
        _every(principal, scope, call.body.dequeue.queues)


def _filter(principal: Principal, scope: str, call: Call) -> None:
    wanted: Any = call.query if call.body is None else call.body.filter
    if wanted is not None and wanted.queue is not None:
        principal.require(scope, wanted.queue)


def _schedule(principal: Principal, scope: str, call: Call) -> None:
    if call.body is not None:
        principal.require(scope, call.body.queue)


def _all(principal: Principal, scope: str, call: Call) -> None:
    if not principal.has_all(scope):
        raise Forbidden(f"{call.command.name} needs the scope {scope} for all queues")


_CHECKS: Mapping[Queues, Callable[[Principal, str, Call], None]] = {
    "none": _nothing,
    "target": _target,
    "body": _body,
    "tasks": _tasks,
    "task": _nothing,
    "settle": _settle,
    "filter": _filter,
    "each": _nothing,
    "schedule": _schedule,
    "all": _all,
}


def tasks_in(call: Call) -> int:
    """How many tasks a call would enqueue."""
    if call.command.scope != "produce":
        return 0
    tasks = getattr(call.body, "tasks", None)
    return 1 if tasks is None else len(tasks)
