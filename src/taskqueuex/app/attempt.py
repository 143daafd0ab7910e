"""One attempt at a task, wherever it runs: from what was leased to what the server is told of it."""

import asyncio
import traceback
from collections.abc import Coroutine
from contextlib import AbstractContextManager
from typing import Any, Protocol

import msgspec

from taskqueuex.app.arguments import JsonTypes
from taskqueuex.app.context import Context, current_context
from taskqueuex.app.control import ArgumentError, Reject, Release, Retry
from taskqueuex.app.encryption import DecryptionError
from taskqueuex.app.middleware import Middleware
from taskqueuex.app.resources import Resources
from taskqueuex.app.task import Task
from taskqueuex.app.workflow import INPUTS, fill_in
from taskqueuex.commands.consume import AckItem, ErrorSpec, FailItem, ReleaseItem
from taskqueuex.commands.limits import PAYLOAD_BYTES_MAX

__all__ = ["Home", "Item", "failed", "run_async", "run_here", "run_sync", "unknown_task"]

Item = AckItem | FailItem | ReleaseItem


class Home(Protocol):
    """What an attempt needs of its app."""

    tasks: dict[str, Task[Any, Any]]
    types: JsonTypes
    middleware: list[Middleware]
    resources: Resources

    @property
    def encrypts(self) -> bool: ...
    def around(self, context: Context) -> AbstractContextManager[None]: ...
    def report(self, error: BaseException, context: Context) -> None: ...
    def seal(self, content: bytes, subject: str) -> bytes: ...
    def open(self, content: bytes | msgspec.Raw, subject: str) -> bytes: ...
    def open_result(self, task_id: str, result: bytes | msgspec.Raw) -> bytes: ...
    def progress_of(self, context: Context, value: Any) -> msgspec.Raw: ...
    def seal_error(self, task_id: str, message: str, traceback: str) -> tuple[str, str]: ...


_TYPE_MAX = 256
_MESSAGE_MAX = 16_384
_TRACEBACK_MAX = 65_536


def run_sync(app: Home, task: Task[Any, Any], context: Context) -> Item:
    """Runs a function here and now. Returns what to tell the server; raises nothing."""
    token = current_context.set(context)
    try:
        args, kwargs = _call_of(app, task, context)
        if app.middleware:
            with app.around(context):
                value = task.function(*args, **kwargs)
        else:
            value = task.function(*args, **kwargs)
        return _completed(app, task, context, value)
    except BaseException as error:
        return failed(app, task, context, error)
    finally:
        current_context.reset(token)


async def run_async(app: Home, task: Task[Any, Any], context: Context) -> Item:
    """As `run_sync`, for a coroutine function. What cancels it is the caller's to explain."""
    token = current_context.set(context)
    try:
        args, kwargs = _call_of(app, task, context)
        if app.middleware:
            with app.around(context):
                value = await task.function(*args, **kwargs)
        else:
            value = await task.function(*args, **kwargs)
        return _completed(app, task, context, value)
    except asyncio.CancelledError as error:
        if context.cancelled:
            raise
        return failed(app, task, context, error)
    except BaseException as error:
        return failed(app, task, context, error)
    finally:
        current_context.reset(token)


def run_here(app: Home, task: Task[Any, Any], context: Context, runner: asyncio.Runner) -> Item:
    """Runs a function of either kind, in this thread."""
    if not task.is_async:
        return run_sync(app, task, context)
    coroutine: Coroutine[Any, Any, Item] = run_async(app, task, context)
    return runner.run(coroutine)


def _call_of(app: Home, task: Task[Any, Any], context: Context) -> tuple[list[Any], dict[str, Any]]:
    leased = context.task
    arguments = task.arguments
    payload: bytes | msgspec.Raw = leased.payload
    if app.encrypts:
        payload = app.open(payload, task.name)
    places = leased.meta.get(INPUTS)
    if places is not None:
        results = [app.open_result(parent, raw) for parent, raw in (leased.parents or {}).items()]
        payload = fill_in(bytes(payload), places, results)
    args, kwargs = arguments.decode(payload)
    for name, annotation in arguments.by_worker.items():
        kwargs[name] = context if annotation is Context else app.resources[annotation]
    return args, kwargs


def _completed(app: Home, task: Task[Any, Any], context: Context, value: Any) -> Item:
    if value is None:
        return AckItem(id=context.id, lease=context.lease)
    result = app.seal(app.types.encode(value), context.id)
    if len(result) > PAYLOAD_BYTES_MAX:
        raise Reject(
            f"the result is {len(result):,} bytes as JSON; {PAYLOAD_BYTES_MAX:,} are allowed. Store what is"
            " large elsewhere, and return where it is"
        )
    return AckItem(id=context.id, lease=context.lease, result=msgspec.Raw(result))


def failed(app: Home, task: Task[Any, Any], context: Context, error: BaseException) -> Item:
    """What to tell the server of an exception."""
    if isinstance(error, Release):
        delay_ms = round(error.after_s * 1000) or None
        return ReleaseItem(id=context.id, lease=context.lease, delay_ms=delay_ms)
    app.report(error, context)
    delay_ms = None
    retryable = _is_retryable(task, error)
    if isinstance(error, Retry) and error.after_s is not None:
        delay_ms = round(error.after_s * 1000)
    spec = _spec_of(app, context, error)
    return FailItem(id=context.id, lease=context.lease, error=spec, retryable=retryable, delay_ms=delay_ms)


def unknown_task(app: Home, context: Context) -> Item:
    """What to tell the server of a task that the app does not have: it is dead, for a person to look at."""
    known = ", ".join(sorted(app.tasks)[:20]) or "none"
    name = context.name or "(no name)"
    message = f"this worker's app has no task named {name}; it has: {known}"
    return FailItem(
        id=context.id,
        lease=context.lease,
        error=ErrorSpec(type="UnknownTask", message=message[:_MESSAGE_MAX]),
        retryable=False,
    )


def _is_retryable(task: Task[Any, Any], error: BaseException) -> bool:
    if isinstance(error, Retry):
        return True
    if isinstance(error, Reject | ArgumentError | DecryptionError):
        return False
    if isinstance(error, task.dead_on):
        return False
    return not task.retry_on or isinstance(error, task.retry_on)


def _spec_of(app: Home, context: Context, error: BaseException) -> ErrorSpec:
    frames = error.__traceback__.tb_next if error.__traceback__ is not None else None  # without ours
    lines = traceback.format_exception(type(error), error, frames)
    message, trace = app.seal_error(context.id, str(error)[:_MESSAGE_MAX], "".join(lines)[-_TRACEBACK_MAX:])
    return ErrorSpec(type=_name_of(error)[:_TYPE_MAX], message=message, traceback=trace)


def _name_of(error: BaseException) -> str:
    kind = type(error)
    if isinstance(error, ArgumentError | DecryptionError):
        return "InvalidPayload"
    if kind.__module__ in ("builtins", "taskqueuex.app.control"):
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"
