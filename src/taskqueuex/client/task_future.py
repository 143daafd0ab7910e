"""Futures of which a whole batch is settled at once."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures._base import FINISHED, RUNNING
from typing import Any, cast

from taskqueuex.client.batching import Outcome
from taskqueuex.commands.produce import EnqueueReply
from taskqueuex.errors import TaskQueueError

__all__ = ["TaskFuture", "settle_futures"]


class TaskFuture(Future[EnqueueReply]):
    """A Future that shares its condition with all of its batch.

    A condition of its own is half of what a Future costs, and a producer makes 100,000 a second. Who waits
    for one is woken when all of the batch are settled, which is when its own is. It cannot be cancelled:
    nobody would know whether its task had been sent.
    """

    def __init__(self, condition: threading.Condition) -> None:
        # What Future.__init__ sets; it would make a condition first.
        self._condition = condition
        self._state = RUNNING
        self._result = None
        self._exception = None
        self._waiters: list[Any] = []
        self._done_callbacks: list[Any] = []


def settle_futures(futures: Sequence[TaskFuture], outcomes: Sequence[Outcome]) -> None:
    """Gives each future of a batch its outcome."""
    condition = futures[0]._condition
    with condition:
        for future, outcome in zip(futures, outcomes, strict=True):
            if isinstance(outcome, TaskQueueError):
                future._exception = outcome
            else:
                future._result = outcome
            future._state = FINISHED
            for waiter in future._waiters:
                if future._exception is None:
                    waiter.add_result(future)
                else:
                    waiter.add_exception(future)
        condition.notify_all()
    for future in futures:
        if future._done_callbacks:
            cast(Any, future)._invoke_callbacks()  # not in the published types
