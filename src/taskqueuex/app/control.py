"""What a task raises to say how its attempt ends, and what a caller gets who waits for a task."""

from datetime import timedelta

__all__ = [
    "ArgumentError",
    "Reject",
    "Release",
    "ResultTimeout",
    "Retry",
    "TaskCancelled",
    "TaskDefinitionError",
    "TaskEnded",
    "TaskExpired",
    "TaskFailed",
    "seconds",
]


def seconds(value: float | timedelta) -> float:
    """A duration in seconds, from seconds or a timedelta."""
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


class TaskDefinitionError(TypeError):
    """A function that cannot be a task; the message names the parameter or annotation."""


class ArgumentError(TypeError):
    """Arguments that a task cannot be called with. Nothing was enqueued."""


class Retry(Exception):
    """The attempt failed, and another one shall come: after `after` seconds, or the task's backoff."""

    def __init__(self, message: str = "", *, after: float | timedelta | None = None) -> None:
        super().__init__(message or "the task asked to be tried again")
        self.after_s = None if after is None else seconds(after)


class Reject(Exception):
    """The attempt failed, and no other one would do better: the task is dead at once."""


class Release(Exception):
    """Back to the queue without counting the attempt, to be taken after `after` seconds."""

    def __init__(self, message: str = "", *, after: float | timedelta = 0.0) -> None:
        super().__init__(message)
        self.after_s = seconds(after)


class ResultTimeout(TimeoutError):
    """The task had not ended in the time that its caller gave it. It goes on."""


class TaskEnded(Exception):
    """A task that has no result, because of how it ended. `task_id` names it.

    No error of the server or the client: those are TaskQueueErrors.
    """

    def __init__(self, detail: str, *, task_id: str, type: str = "", traceback: str = "") -> None:
        super().__init__(detail)
        self.task_id = task_id
        self.type = type  # the exception's class, of the last attempt
        self.traceback = traceback


class TaskFailed(TaskEnded):
    """It is dead: its attempts failed."""


class TaskCancelled(TaskEnded):
    """It was cancelled: by somebody, or because a task failed that it depended on."""


class TaskExpired(TaskEnded):
    """It had not started by the time given."""
