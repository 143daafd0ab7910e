"""Periodic tasks, declared beside their functions. The server holds and fires them."""

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

from taskqueuex.app.task import Task

__all__ = ["Overlap", "Schedule"]

Overlap = Literal["skip", "queue"]

_TRACE: Final = frozenset({"traceparent", "tracestate", "baggage"})


class Schedule(NamedTuple):
    """One declared schedule."""

    name: str
    task: Task[Any, Any]
    args: tuple[Any, ...]  # of the call that is enqueued each time
    kwargs: Mapping[str, Any]
    cron: str | None
    every_ms: int | None
    timezone: str
    overlap: Overlap
    catch_up: bool

    def definition(self) -> dict[str, Any]:
        """The arguments of the client's `put_schedule`. Raises ArgumentError."""
        task = self.task.fields(self.args, self.kwargs)
        if "meta" in task:  # those to come belong to no trace of today's
            task["meta"] = {name: value for name, value in task["meta"].items() if name not in _TRACE}
        definition: dict[str, Any] = {
            "queue": self.task.queue,
            "task": task,
            "overlap": self.overlap,
            "catch_up": self.catch_up,
        }
        if self.cron is None:
            return {**definition, "every_ms": self.every_ms}
        return {**definition, "cron": self.cron, "timezone": self.timezone}
