"""A task that a worker holds."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Literal

from taskqueuex.app import Context, Task
from taskqueuex.app.attempt import Item
from taskqueuex.commands.consume import ErrorSpec, FailItem, ReleaseItem

__all__ = ["EndedBy", "OnDone", "Running", "ended_item"]

EndedBy = Literal["timeout", "cancel", "lost", "drain"]


class Running:
    """One leased task, from its arrival to its end. Used on the loop's thread alone."""

    __slots__ = ("context", "ended_by", "held_since", "lease", "stop", "task", "timer")

    def __init__(self, context: Context, task: Task[Any, Any]) -> None:
        self.context = context
        self.task = task
        self.lease = context.lease  # names it: one task may be held twice, by a lease that is lost
        self.held_since = time.monotonic()
        self.ended_by: EndedBy | None = None  # why the worker ended it; None: it ends by itself
        self.stop: Callable[[], object] | None = None  # ends the code that runs, as far as that can be done
        self.timer: asyncio.TimerHandle | None = None


OnDone = Callable[[Running, Item | None], None]
"""Told of the end of a task, and what to tell the server; None: nothing, the lease is lost."""


def ended_item(running: Running) -> Item | None:
    """What to tell the server of a task that the worker ended."""
    context = running.context
    if running.ended_by == "lost":
        return None
    if running.ended_by == "drain":
        return ReleaseItem(id=context.id, lease=context.lease)
    if running.ended_by == "timeout":
        error = ErrorSpec(type="Timeout", message="the attempt ran longer than its timeout")
    else:
        error = ErrorSpec(type="Cancelled", message="the task was cancelled while it ran")
    return FailItem(id=context.id, lease=context.lease, error=error)
