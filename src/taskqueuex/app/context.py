"""What a running task may know of its attempt, and say while it runs."""

import logging
import time
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, Protocol

from taskqueuex.app.control import seconds
from taskqueuex.commands.consume import LeasedTask

__all__ = ["Context", "Reporter", "current_context"]

current_context: ContextVar["Context | None"] = ContextVar("taskqueuex_context", default=None)
"""The context of the task that runs here; None outside of one."""

_logger = logging.getLogger("taskqueuex.task")


class Reporter(Protocol):
    """Where a context sends what its task says: the worker, or the pipe that leads there."""

    def on_progress(self, context: "Context", progress: Any) -> None:
        """The task has got this far; `progress` is any JSON value. Called on any thread."""
        ...

    def on_heartbeat(self, context: "Context", extend_ms: int | None) -> None:
        """The task asks for its lease to hold so long from now. Called on any thread."""
        ...


class Context:
    """One attempt at a task. Annotate a parameter with this class to get it.

    `attempt` only grows, over restarts too: pass it on as a fencing token to what the task changes.
    `cancelled` turns true when the task was cancelled, has run out of time, or has lost its lease: then
    nothing that it does counts any more. What runs in a thread looks at it; other tasks are ended.
    """

    __slots__ = ("_reporter", "cancelled", "deadline", "task")

    def __init__(self, task: LeasedTask, reporter: Reporter) -> None:
        self.task = task  # as it was leased
        self.deadline = None if task.timeout_ms is None else time.monotonic() + task.timeout_ms / 1000
        self.cancelled = False  # written by the worker
        self._reporter = reporter

    @property
    def id(self) -> str:
        """The task's id."""
        return self.task.id

    @property
    def name(self) -> str:
        """The task's name."""
        return self.task.name

    @property
    def queue(self) -> str:
        """The queue that it came from."""
        return self.task.queue

    @property
    def attempt(self) -> int:
        """The number of this attempt: the fencing token."""
        return self.task.attempt

    @property
    def lease(self) -> str:
        """The lease's token, for calls to the server in the name of this attempt."""
        return self.task.lease

    @property
    def meta(self) -> dict[str, str]:
        """What the producer handed on: trace context, the schedule and time it was fired for."""
        return self.task.meta

    @property
    def last_attempt(self) -> bool:
        """Whether the task is dead if this attempt fails."""
        return self.task.failures + 1 >= self.task.max_attempts

    def remaining(self) -> float | None:
        """Seconds until the attempt must have ended; None: it may take as long as it likes."""
        return None if self.deadline is None else self.deadline - time.monotonic()

    def progress(self, value: Any) -> None:
        """Shows how far the task is: any JSON value. The latest one is sent within about a second."""
        self._reporter.on_progress(self, value)

    def heartbeat(self, extend: float | timedelta | None = None) -> None:
        """Extends the lease to now and `extend` seconds (or its own length).

        The worker extends all leases by itself: this is for a task that is about to stop the whole
        machine for longer than that.
        """
        self._reporter.on_heartbeat(self, None if extend is None else round(seconds(extend) * 1000))

    @property
    def logger(self) -> "logging.LoggerAdapter[logging.Logger]":
        """A logger whose lines carry the task's id, name and attempt."""
        return logging.LoggerAdapter(
            _logger, {"task": self.task.id, "task_name": self.task.name, "attempt": self.task.attempt}
        )
