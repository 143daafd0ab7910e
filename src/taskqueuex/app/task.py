"""A function as a task: how it is enqueued, and how it wants to run."""

import copy
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Generic, Literal, ParamSpec, Protocol, TypeVar, Unpack

import msgspec

from taskqueuex.app.arguments import Arguments, JsonTypes
from taskqueuex.app.control import ArgumentError, TaskDefinitionError
from taskqueuex.app.handle import Handle, ResultReader
from taskqueuex.app.options import TaskOptions, fields_of
from taskqueuex.commands.limits import BATCH_MAX, PAYLOAD_BYTES_MAX
from taskqueuex.commands.produce import BatchReply, EnqueueReply, EnqueueTask

__all__ = ["Mode", "Owner", "Producer", "Signature", "Task"]

P = ParamSpec("P")
R = TypeVar("R")
Mode = Literal["async", "thread", "process"]
Exceptions = tuple[type[BaseException], ...]

BATCH_BYTES_MAX = 8 << 20


class Owner(ResultReader, Protocol):
    """What a task needs of its app."""

    default_queue: str
    types: JsonTypes

    def is_injected(self, annotation: Any) -> bool: ...
    def seal(self, content: bytes, subject: str) -> bytes: ...
    def open(self, content: bytes | msgspec.Raw, subject: str) -> bytes: ...
    def on_enqueue(self, fields: dict[str, Any]) -> dict[str, Any]: ...


class Producer(Protocol):
    """What batches on its own: `client.buffered()`."""

    def enqueue(self, queue: str, **fields: Any) -> "Future[EnqueueReply]": ...


class Task(Generic[P, R]):
    """Made by `app.task`. Calling it calls the function, here and now, without any queue."""

    def __init__(
        self,
        owner: Owner,
        function: Callable[..., Any],
        name: str,
        options: TaskOptions,
        *,
        mode: Mode | None = None,
        retry_on: Exceptions = (),
        dead_on: Exceptions = (),
    ) -> None:
        is_async = inspect.iscoroutinefunction(function)
        if mode == "async" and not is_async:
            raise TaskDefinitionError(f"{name}: mode: 'async' needs a function that is `async def`")
        if mode == "thread" and is_async:
            raise TaskDefinitionError(f"{name}: mode: 'thread' needs a function that is not `async def`")
        self.name = name
        self.function = function
        self.is_async = is_async
        self.mode: Mode = mode or ("async" if is_async else "thread")
        self.retry_on = retry_on  # empty: all are tried again
        self.dead_on = dead_on
        self.owner = owner
        self._arguments: Arguments | None = None
        self._set(options)
        self.__doc__ = function.__doc__

    def _set(self, options: TaskOptions) -> None:
        self.given = options
        self.queue = options.get("queue") or self.owner.default_queue
        self._fields = fields_of(options, self.name)
        self._unique = options.get("unique_key")

    def __repr__(self) -> str:
        return f"<Task {self.name} of queue {self.queue}>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        return self.function(*args, **kwargs)

    @property
    def arguments(self) -> Arguments:
        """Its parameters. Found at the first use, when all annotations can be resolved."""
        if self._arguments is None:
            owner = self.owner
            self._arguments = Arguments(self.name, self.function, owner.types, owner.is_injected)
        return self._arguments

    def options(self, **options: Unpack[TaskOptions]) -> "Task[P, R]":
        """The same task with other options for what is enqueued through it."""
        changed = copy.copy(self)
        changed._arguments = self.arguments
        changed._set({**self.given, **options})
        return changed

    def s(self, *args: Any, **kwargs: Any) -> "Signature[R]":
        """The call, to be enqueued later, as a part of a chain, group, chord or workflow."""
        return Signature(self, args, kwargs)

    def handle(self, task_id: str) -> Handle[R]:
        """The handle of a task that was enqueued before, maybe elsewhere."""
        return Handle(task_id, self.owner, self.arguments.decode_result)

    # Enqueueing

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Puts the call into the queue. Returns when the server has it as safe as the queue promises.

        Raises ArgumentError (nothing was sent), and the errors of the client.
        """
        fields = self.fields(args, kwargs)
        return self._handle(self.owner.client.enqueue(self.queue, **fields))

    async def enqueue_async(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """As `enqueue`."""
        fields = self.fields(args, kwargs)
        return self._handle(await self.owner.async_client.enqueue(self.queue, **fields))

    def enqueue_to(self, producer: Producer, *args: P.args, **kwargs: P.kwargs) -> "Future[EnqueueReply]":
        """Hands the call to a buffered producer, which sends many at once."""
        return producer.enqueue(self.queue, **self.fields(args, kwargs))

    def enqueue_many(self, calls: Iterable[Any]) -> list[Handle[R]]:
        """Puts many calls in: each a tuple of arguments, a dict of named ones, or the only argument.

        Up to 10,000 (or 8 MiB) are one batch, whose arguments are checked before it is sent, and which
        is taken as a whole or not at all. The next one is made ready while the server has the last. An
        error says how many tasks were taken before.
        """
        handles: list[Handle[R]] = []
        client = self.owner.client
        with _telling(handles), ThreadPoolExecutor(1, "enqueue-many") as sender:
            sent: Future[BatchReply] | None = None
            try:
                for batch in self._batches(calls):
                    last, sent = sent, None
                    if last is not None:
                        handles += self._handles(last.result())
                    sent = sender.submit(client.enqueue_batch, self.queue, tasks=batch)
            finally:
                if sent is not None:
                    handles += self._handles(sent.result())
        return handles

    async def enqueue_many_async(self, calls: Iterable[Any]) -> list[Handle[R]]:
        """As `enqueue_many`."""
        handles: list[Handle[R]] = []
        with _telling(handles):
            for batch in self._batches(calls):
                reply = await self.owner.async_client.enqueue_batch(self.queue, tasks=batch)
                handles += self._handles(reply)
        return handles

    def fields(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of the enqueue of one call. Raises ArgumentError."""
        arguments = self.arguments
        return self.fields_with(arguments.encode(arguments.bind(args, kwargs)), args, kwargs)

    def fields_with(self, payload: bytes, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of an enqueue whose arguments are encoded already. Raises ArgumentError."""
        fields = {"payload": msgspec.Raw(self._sealed(payload)), "name": self.name, **self._fields}
        unique = self._unique
        if unique is not None:
            fields["unique_key"] = unique if isinstance(unique, str) else unique(*args, **kwargs)
        return self.owner.on_enqueue(fields)

    def _sealed(self, payload: bytes) -> bytes:
        """The payload as it is sent: encrypted, where the app does that. Raises ArgumentError."""
        payload = self.owner.seal(payload, self.name)
        if len(payload) > PAYLOAD_BYTES_MAX:
            raise ArgumentError(
                f"{self.name}: the arguments are {len(payload):,} bytes as JSON; {PAYLOAD_BYTES_MAX:,} are"
                " allowed. Store what is large elsewhere, and pass where it is"
            )
        return payload

    def _batches(self, calls: Iterable[Any]) -> Iterator[list[EnqueueTask]]:
        batch: list[EnqueueTask] = []
        size = 0
        for fields in (self.fields(*_call(each)) for each in calls):
            size += len(fields["payload"])
            if batch and (len(batch) == BATCH_MAX or size > BATCH_BYTES_MAX):
                yield batch
                batch, size = [], len(fields["payload"])
            batch.append(EnqueueTask(**fields))
        if batch:
            yield batch

    def _handle(self, reply: EnqueueReply) -> Handle[R]:
        decode = self.arguments.decode_result
        return Handle(reply.id, self.owner, decode, reply.duplicate, reply.replaced)

    def _handles(self, reply: BatchReply) -> list[Handle[R]]:
        owner, decode = self.owner, self.arguments.decode_result
        found = set(reply.duplicates)
        return [Handle(each, owner, decode, index in found) for index, each in enumerate(reply.ids)]


@contextmanager
def _telling(handles: list[Any]) -> Iterator[None]:
    """An error that passes says how many tasks there are already."""
    try:
        yield
    except Exception as error:
        error.add_note(f"{len(handles)} tasks had been enqueued before")
        raise


class Signature(Generic[R]):
    """A task and its arguments, to be enqueued later: `settle.s(42)`."""

    __slots__ = ("args", "kwargs", "task")

    def __init__(self, task: Task[Any, R], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.task = task
        self.args = args
        self.kwargs = kwargs

    def __repr__(self) -> str:
        return f"<{self.task.name}.s{self.args}>"

    def enqueue(self) -> Handle[R]:
        """As the task's `enqueue`."""
        return self.task.enqueue(*self.args, **self.kwargs)

    async def enqueue_async(self) -> Handle[R]:
        """As the task's `enqueue_async`."""
        return await self.task.enqueue_async(*self.args, **self.kwargs)


def _call(given: Any) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    if isinstance(given, tuple):
        return given, {}
    if isinstance(given, Mapping):
        return (), given
    return (given,), {}
