"""A task that was enqueued: wait for it, look at it, cancel it."""

import time
from collections.abc import Callable
from typing import Any, Generic, NoReturn, Protocol, TypeVar

import msgspec

from taskqueuex.app.control import (
    ResultTimeout,
    TaskCancelled,
    TaskExpired,
    TaskFailed,
)
from taskqueuex.client import AsyncClient, Client
from taskqueuex.commands.tasks import CancelReply, TaskView
from taskqueuex.errors import Forbidden

__all__ = ["Handle", "ResultReader", "shown"]

R = TypeVar("R")

WAIT_MS_MAX = 30_000
_ENDED = {"completed", "cancelled", "expired", "dead"}
_ERRORS = {"dead": TaskFailed, "cancelled": TaskCancelled, "expired": TaskExpired}


class ResultReader(Protocol):
    """Who reads what a task left, and asks for it: the app."""

    @property
    def client(self) -> Client: ...
    @property
    def async_client(self) -> AsyncClient: ...
    def open_result(self, task_id: str, result: msgspec.Raw) -> bytes: ...
    def open_error(self, task_id: str, message: str, traceback: str) -> tuple[str, str]: ...


class Handle(Generic[R]):
    """Names one task. It can be made anew from an id with `task.handle(id)`, in another process too."""

    __slots__ = ("_decode", "_reader", "duplicate", "id", "replaced")

    def __init__(
        self, task_id: str, reader: ResultReader, decode: Any, duplicate: bool = False, replaced: bool = False
    ) -> None:
        self.id = task_id
        self.duplicate = duplicate  # `unique_key` found this live task instead of making one
        self.replaced = replaced  # and gave it the new arguments
        self._reader = reader
        self._decode = decode  # of the result, to the annotated type

    def __repr__(self) -> str:
        return f"Handle({self.id!r})"

    def view(self) -> TaskView:
        """The task as it stands. Raises Gone when it has ended and was forgotten."""
        return self._reader.client.get_task(self.id)

    async def view_async(self) -> TaskView:
        """As `view`."""
        return await self._reader.async_client.get_task(self.id)

    def cancel(self) -> CancelReply:
        """Cancels it; one that runs is asked to stop. Raises Conflict when it has ended."""
        return self._reader.client.cancel_task(self.id)

    async def cancel_async(self) -> CancelReply:
        """As `cancel`."""
        return await self._reader.async_client.cancel_task(self.id)

    def wait(self, timeout: float | None = None) -> TaskView:
        """The task when it has ended. Raises ResultTimeout after `timeout` seconds; None: never."""
        return self._wait(timeout, lambda view: None)

    async def wait_async(self, timeout: float | None = None) -> TaskView:
        """As `wait`."""
        return await self._wait_async(timeout, lambda view: None)

    def result(self, timeout: float | None = None) -> R:
        """What the task returned.

        Raises ResultTimeout, TaskFailed (with the last attempt's error and traceback), TaskCancelled,
        TaskExpired, and Gone when it has ended longer ago than results are kept. Forbidden, as soon as that
        is known, where the token has not both scopes read and payload for the task's queue.
        """
        return self._result_of(self._wait(timeout, _require_result))

    async def result_async(self, timeout: float | None = None) -> R:
        """As `result`."""
        return self._result_of(await self._wait_async(timeout, _require_result))

    def _wait(self, timeout: float | None, check: Callable[[TaskView], object]) -> TaskView:
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            view = self._reader.client.get_task(self.id, wait_ms=_wait_ms(until))
            if view.state in _ENDED:
                return view
            check(view)
            self._check_time(until, timeout, view)

    async def _wait_async(self, timeout: float | None, check: Callable[[TaskView], object]) -> TaskView:
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            view = await self._reader.async_client.get_task(self.id, wait_ms=_wait_ms(until))
            if view.state in _ENDED:
                return view
            check(view)
            self._check_time(until, timeout, view)

    def _check_time(self, until: float | None, timeout: float | None, view: TaskView) -> None:
        if until is not None and time.monotonic() >= until:
            raise ResultTimeout(f"task {self.id} is {view.state} after {timeout} s")

    def _result_of(self, view: TaskView) -> R:
        if view.state != "completed":
            self._raise_end(view)
        result: R = self._decode(self._reader.open_result(self.id, _require_result(view)))
        return result

    def _raise_end(self, view: TaskView) -> NoReturn:
        error = _ERRORS[view.state]
        if view.state == "dead" and view.errors:
            last = view.errors[-1]
            message, traceback = self._reader.open_error(self.id, last.message, last.traceback)
            detail = f"{view.name} failed in attempt {last.attempt} and is dead: {last.type}: {message}"
            raise error(detail, task_id=self.id, type=last.type, traceback=traceback)
        reason = f" ({view.reason})" if view.reason else ""
        raise error(f"{view.name} is {view.state}{reason}", task_id=self.id)


def shown(field: msgspec.Raw | msgspec.UnsetType, queue: str) -> msgspec.Raw:
    """The payload or result of a task; raises Forbidden where the server did not show it."""
    if isinstance(field, msgspec.UnsetType):
        raise Forbidden(f"the token lacks the scope payload for queue {queue!r}")
    return field


def _require_result(view: TaskView) -> msgspec.Raw:
    return shown(view.result, view.queue)


def _wait_ms(until: float | None) -> int:
    if until is None:
        return WAIT_MS_MAX
    return max(0, min(WAIT_MS_MAX, round((until - time.monotonic()) * 1000)))
