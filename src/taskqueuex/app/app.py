"""An app: the tasks of a program, and the server that they go through."""

import asyncio
import importlib
import logging
import os
import ssl
import sys
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, Protocol, Self, TypeVar, Unpack, cast, overload

import msgspec

from taskqueuex.app.arguments import JsonTypes
from taskqueuex.app.context import Context
from taskqueuex.app.control import TaskDefinitionError, seconds
from taskqueuex.app.encryption import DecryptionError, KeyRing
from taskqueuex.app.idle import run_until_idle
from taskqueuex.app.lifespan import Lifespan
from taskqueuex.app.middleware import Middleware
from taskqueuex.app.options import TaskOptions
from taskqueuex.app.resources import Resources
from taskqueuex.app.schedules import Overlap, Schedule
from taskqueuex.app.task import Exceptions, Mode, Task
from taskqueuex.client import DEFAULT_SERVER, TLS, AsyncClient, BufferedProducer, Client, Credentials

__all__ = ["App", "ErrorHook", "name_of"]

_log = logging.getLogger("taskqueuex.app")

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])
ErrorHook = Callable[[BaseException, Context], None]

EMBEDDED: Final = "embedded:"
ENCRYPTED: Final = "encrypted"


class TaskDecorator(Protocol):
    """What `app.task(...)` returns: makes a function a task."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /
    ) -> Task[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Context, P], R], /) -> Task[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Task[P, R]: ...


class ScheduleDecorator(Protocol):
    """What `app.cron(...)` returns: takes a function or a task."""

    @overload
    def __call__(self, function: Task[P, R], /) -> Task[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Task[P, R]: ...


class Embedded(Protocol):
    """A server within this program."""

    url: str

    def stop(self) -> None: ...


class App:
    """Tasks, and where they go. One for each program is usual; it is safe to use from any thread."""

    def __init__(
        self,
        servers: str | Sequence[str] | None = None,
        *,
        token: str | None = None,
        tls: TLS | ssl.SSLContext | None = None,
        default_queue: str = "default",
        encryption: KeyRing | None = None,
        middleware: Sequence[Middleware] = (),
        to_json: Callable[[Any], Any] | None = None,
        from_json: Callable[[Any, Any], Any] | None = None,
        **client_options: Any,
    ) -> None:
        """`servers`: a URL or several; `embedded:DIR` runs the server within this program.

        None: the environment's TQX_SERVER, else http://127.0.0.1:7470, looked up when it is first used.
        `token` and `tls` are those of `Client`; None: what the environment's TQX_TOKEN or TQX_TOKEN_FILE, and
        TQX_CA, TQX_CERT and TQX_KEY say, looked up then as well.
        `to_json` and `from_json` convert values of types that msgspec does not know (its enc_hook and
        dec_hook). Other options are those of `Client`. Nothing is connected before it is used.
        """
        self.default_queue = default_queue
        self.types = JsonTypes(to_json, from_json)
        self.tasks: dict[str, Task[Any, Any]] = {}
        self.schedules: list[Schedule] = []
        self.middleware = list(middleware)
        self.error_hooks: list[ErrorHook] = []
        self.startup_hooks: list[Callable[[], Any]] = []
        self.shutdown_hooks: list[Callable[[], Any]] = []
        self.resources = Resources()
        self._given_servers = servers
        self._token = token
        self._tls = tls
        self._client_options = client_options
        self._encryption = encryption
        self._embedded: Embedded | None = None
        self._client: Client | None = None
        self._async_clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncClient] = (
            weakref.WeakKeyDictionary()
        )
        self._lock = threading.Lock()

    # Declaring

    @overload
    def task(self, function: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /) -> Task[P, R]: ...
    @overload
    def task(self, function: Callable[Concatenate[Context, P], R], /) -> Task[P, R]: ...
    @overload
    def task(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(
        self,
        *,
        name: str | None = None,
        mode: Mode | None = None,
        retry_on: Exceptions = (),
        dead_on: Exceptions = (),
        **options: Unpack[TaskOptions],
    ) -> TaskDecorator: ...
    def task(  # type: ignore[misc]  # mypy does not see that **Any takes an unpacked TypedDict
        self, function: Any = None, /, **options: Any
    ) -> Any:
        """Makes a function a task: `@app.task` or `@app.task(queue="orders", max_attempts=5)`.

        `name`: module and function by default. `mode`: where it runs in a worker: `async` (what is
        `async def`), `thread` (what is not), or `process`, for work that takes the processor, may crash,
        or must be ended hard when its time is over. `retry_on`: only these exceptions are tried again;
        `dead_on`: these are not. The rest: TaskOptions. Raises TaskDefinitionError.
        """

        name = options.pop("name", None)
        own = {key: options.pop(key) for key in ("mode", "retry_on", "dead_on") if key in options}

        def declare(declared: Callable[..., Any]) -> Task[Any, Any]:
            task_name = name or name_of(declared)
            if task_name in self.tasks:
                raise TaskDefinitionError(f"{task_name}: there is a task of this name already")
            task: Task[Any, Any] = Task(self, declared, task_name, cast(TaskOptions, options), **own)
            self.tasks[task_name] = task
            return task

        return declare if function is None else declare(function)

    def cron(
        self,
        expression: str,
        *,
        timezone: str = "UTC",
        name: str | None = None,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        overlap: Overlap = "skip",
        catch_up: bool = False,
    ) -> ScheduleDecorator:
        """Runs a task when a cron expression says: `@app.cron("*/5 9-16 * * mon-fri")`.

        The server holds the schedule and fires it; workers register it when they start. `overlap`: what
        to do while the last one has not ended: `skip` this one, or `queue` it behind. `catch_up`: run
        what was missed while the server was down. `name`: the task's by default.
        """
        return self._scheduled(name, args, kwargs or {}, expression, None, timezone, overlap, catch_up)

    def every(
        self,
        interval: float | timedelta,
        *,
        name: str | None = None,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        overlap: Overlap = "skip",
        catch_up: bool = False,
    ) -> ScheduleDecorator:
        """As `cron`, every so many seconds."""
        every_ms = round(seconds(interval) * 1000)
        return self._scheduled(name, args, kwargs or {}, None, every_ms, "UTC", overlap, catch_up)

    def _scheduled(
        self, name: str | None, args: Sequence[Any], kwargs: Mapping[str, Any], *when: Any
    ) -> ScheduleDecorator:
        def declare(declared: Any) -> Task[Any, Any]:
            task: Task[Any, Any] = declared if isinstance(declared, Task) else self.task(declared)
            schedule_name = name or task.name.replace("<locals>", "locals")
            self.schedules.append(Schedule(schedule_name, task, tuple(args), kwargs, *when))
            return task

        return declare

    def resource(self, function: F) -> F:
        """Registers what makes a resource; a task gets it by a parameter annotated with its type."""
        self.resources.add(function)
        return function

    def on_startup(self, function: F) -> F:
        """Called in each process of a worker that runs tasks, before the first; may be `async`."""
        self.startup_hooks.append(function)
        return function

    def on_shutdown(self, function: F) -> F:
        """Called in each process of a worker that runs tasks, after the last; may be `async`."""
        self.shutdown_hooks.append(function)
        return function

    def on_error(self, function: F) -> F:
        """Called with each exception that fails an attempt, and its context: for Sentry and the like."""
        self.error_hooks.append(function)
        return function

    def is_injected(self, annotation: Any) -> bool:
        """Whether parameters of this type are passed by the worker."""
        return annotation is Context or annotation in self.resources

    # Running here

    def run_until_idle(self, queues: Sequence[str] | None = None, max_tasks: int = 10_000) -> int:
        """Runs what is ready, and what that enqueues, here and one after another, as tests want it.

        Returns how many attempts were made. Delayed tasks and retries are not waited for. `queues`: those
        of the app's tasks by default, in their order. Raises RuntimeError beyond `max_tasks`, since
        tasks that enqueue each other would never be idle.
        """

        async def run() -> int:
            try:
                return await self.run_until_idle_async(queues, max_tasks)
            finally:
                await self._close_async_client()

        return asyncio.run(run())

    async def run_until_idle_async(self, queues: Sequence[str] | None = None, max_tasks: int = 10_000) -> int:
        """As `run_until_idle`, on the event loop that runs."""
        chosen = list(queues or dict.fromkeys(task.queue for task in self.tasks.values()))
        async with self.lifespan():
            return await run_until_idle(self, self.async_client, chosen, max_tasks)

    # Its server

    def servers(self) -> str | Sequence[str]:
        """Where its server is."""
        given = self._given_servers or os.environ.get("TQX_SERVER") or DEFAULT_SERVER
        if isinstance(given, str) and given.startswith(EMBEDDED):
            return self._start_embedded(given.removeprefix(EMBEDDED))
        return given

    def use_servers(self, servers: str | Sequence[str] | None) -> str | Sequence[str] | None:
        """Goes to other servers from now on: for tests, and for workers that are told so.

        Returns what it was given before.
        """
        self.close()
        before, self._given_servers = self._given_servers, servers
        return before

    def credentials(self) -> tuple[str | None, TLS | ssl.SSLContext | None]:
        """The token that it shows, and what it trusts. Raises Invalid where the environment names no file."""
        servers = self.servers()
        if self._embedded is not None:
            return self._token, self._tls  # which needs none; those of the environment are for other servers
        found = Credentials.of(os.environ, servers, token=self._token)
        return found.token, found.tls if self._tls is None else self._tls

    def use_credentials(self, token: str | None, tls: TLS | ssl.SSLContext | None) -> None:
        """Shows and trusts these from now on, where they are given: for workers that are told so."""
        self.close()
        self._token = self._token if token is None else token
        self._tls = self._tls if tls is None else tls

    def _start_embedded(self, directory: str) -> str:
        if self._embedded is None:
            # The one way up the house: whoever embeds a server brings all of it into the program.
            self._embedded = importlib.import_module("taskqueuex.node.embedded").start(directory)
        url: str = self._embedded.url
        return url

    @property
    def client(self) -> Client:
        """The client that `enqueue` uses; all of the API's calls are its methods."""
        if self._client is None:
            with self._lock:
                if self._client is None:
                    servers, (token, tls) = self.servers(), self.credentials()
                    self._client = Client(servers, token=token, tls=tls, **self._client_options)
        return self._client

    @property
    def async_client(self) -> AsyncClient:
        """The same for the event loop that runs; each has its own."""
        loop = asyncio.get_running_loop()
        client = self._async_clients.get(loop)
        if client is None:
            client = self._async_clients[loop] = self.new_async_client()
        return client

    def new_async_client(self, **options: Any) -> AsyncClient:
        """An AsyncClient of its own, for the caller to close."""
        token, tls = self.credentials()
        return AsyncClient(self.servers(), token=token, tls=tls, **{**self._client_options, **options})

    def buffered(self, **options: Any) -> BufferedProducer:
        """What batches on its own, for `task.enqueue_to(producer, ...)`; see `Client.buffered`."""
        return self.client.buffered(**options)

    def register_schedules(self) -> None:
        """Makes the server hold the schedules that are declared here. Those known already go on."""
        for schedule in self.schedules:
            self.client.put_schedule(schedule.name, **schedule.definition())

    def close(self) -> None:
        """Closes the client, and an embedded server."""
        with self._lock:
            client, self._client = self._client, None
            embedded, self._embedded = self._embedded, None
        if client is not None:
            client.close()
        if embedded is not None:
            embedded.stop()

    async def close_async(self) -> None:
        """Closes the client of the event loop that runs, and what `close` does."""
        await self._close_async_client()
        self.close()

    async def _close_async_client(self) -> None:
        client = self._async_clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What tasks and workers ask of it

    def on_enqueue(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The fields of a task that is about to be enqueued, as the middleware wants them."""
        for middleware in self.middleware:
            middleware.on_enqueue(fields)
        return fields

    def lifespan(self) -> Lifespan:
        """What is opened before the first task of a process, and closed after the last."""
        return Lifespan(self.resources, self.startup_hooks, self.shutdown_hooks)

    @contextmanager
    def around(self, context: Context) -> Iterator[None]:
        """What the middleware does around a run, the first one outermost."""
        with ExitStack() as stack:
            for middleware in self.middleware:
                stack.enter_context(middleware.run(context))
            yield

    def report(self, error: BaseException, context: Context) -> None:
        """Tells the error hooks. What they raise is logged."""
        for hook in self.error_hooks:
            try:
                hook(error, context)
            except Exception:
                _log.exception("an error hook failed")

    @property
    def encrypts(self) -> bool:
        """Whether payloads and results are encrypted."""
        return self._encryption is not None

    def seal(self, content: bytes, subject: str) -> bytes:
        """Content as the server may see it."""
        return content if self._encryption is None else self._encryption.encrypt(content, subject)

    def open(self, content: bytes | msgspec.Raw, subject: str) -> bytes:
        """What `seal` closed. Raises DecryptionError."""
        return bytes(content) if self._encryption is None else self._encryption.decrypt(content, subject)

    def open_result(self, task_id: str, result: bytes | msgspec.Raw) -> bytes:
        """A task's result as JSON. What is not there (a parent failed) is null, and never encrypted."""
        return bytes(result) if bytes(result) == b"null" else self.open(result, task_id)

    def progress_of(self, context: Context, value: Any) -> msgspec.Raw:
        """A task's progress as it is sent."""
        return msgspec.Raw(self.seal(self.types.encode(value), context.id))

    def seal_error(self, task_id: str, message: str, traceback: str) -> tuple[str, str]:
        """The message and traceback of an error as the server may see them."""
        if self._encryption is None:
            return message, traceback
        content = msgspec.json.encode((message, traceback))
        return ENCRYPTED, self._encryption.encrypt(content, task_id).decode()

    def open_error(self, task_id: str, message: str, traceback: str) -> tuple[str, str]:
        """What `seal_error` closed, as far as it can be opened."""
        if self._encryption is None or message != ENCRYPTED:
            return message, traceback
        try:
            content = self._encryption.decrypt(traceback.encode(), task_id)
        except DecryptionError as error:
            return f"{ENCRYPTED}: {error}", ""
        return msgspec.json.decode(content, type=tuple[str, str])


def name_of(function: Callable[..., Any]) -> str:
    """`module.function`. The script that was started goes by its file's name, as its importers call it."""
    module = function.__module__
    if module == "__main__":
        main = sys.modules["__main__"]
        spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
        if spec is not None:
            module = spec.name
        elif file is not None:
            module = Path(file).stem
    return f"{module}.{function.__qualname__}"
