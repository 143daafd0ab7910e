"""What a test may want to know of tasks: whether a call was enqueued, and with which arguments."""

from typing import Any

from taskqueuex.app import Task
from taskqueuex.app.handle import shown
from taskqueuex.commands.tasks import TaskView

__all__ = ["assert_enqueued", "assert_not_enqueued", "enqueued"]

_SHOWN_MAX = 10


def enqueued(task: Task[Any, Any], *, queue: str | None = None) -> list[tuple[TaskView, dict[str, Any]]]:
    """All tasks of this kind that the server knows, ended ones too, with the arguments of each by name."""
    found = []
    for view in task.owner.client.iterate_tasks(name=task.name, queue=queue):
        payload = task.owner.open(shown(view.payload, view.queue), task.name)
        args, kwargs = task.arguments.decode(payload)
        names = [name for name in task.arguments.names if name not in kwargs]
        found.append((view, {**dict(zip(names, args, strict=False)), **kwargs}))
    return found


def assert_enqueued(
    task: Task[Any, Any], *, queue: str | None = None, count: int | None = None, **arguments: Any
) -> list[TaskView]:
    """Fails unless the task was enqueued with these arguments, among others.

    `count`: exactly so many times; None: at least once. Returns what was found.
    """
    everything = enqueued(task, queue=queue)
    found = [view for view, given in everything if _matches(given, arguments)]
    right = bool(found) if count is None else len(found) == count
    if not right:
        wanted = "at least once" if count is None else f"{count} times"
        raise AssertionError(
            f"{task.name} was to be enqueued {wanted} with {arguments or 'any arguments'}, and was"
            f" {len(found)} times; {_shown(everything)}"
        )
    return found


def assert_not_enqueued(task: Task[Any, Any], *, queue: str | None = None, **arguments: Any) -> None:
    """Fails if the task was enqueued with these arguments."""
    assert_enqueued(task, queue=queue, count=0, **arguments)


def _matches(given: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return all(name in given and given[name] == value for name, value in wanted.items())


def _shown(everything: list[tuple[TaskView, dict[str, Any]]]) -> str:
    if not everything:
        return "it was not enqueued at all"
    lines = [f"  {view.state} in {view.queue}: {given}" for view, given in everything[:_SHOWN_MAX]]
    return f"all {len(everything)} of them:\n" + "\n".join(lines)
