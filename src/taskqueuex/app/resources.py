"""What tasks need and a worker opens once: connections, pools, models. Injected by annotation.

A resource is a function that is annotated with what it makes: it returns it, or yields it once and
tidies up behind the yield. Both may be `async`. In a worker it is opened at the start and closed at the
end of each process that runs tasks.
"""

import inspect
import typing
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, get_args, get_origin

from taskqueuex.app.control import TaskDefinitionError

__all__ = ["Resources", "injected"]

_YIELDS = (Iterator, Generator, AsyncIterator, AsyncGenerator)


class _Injected:
    def __repr__(self) -> str:
        return "injected"


injected: Any = _Injected()
"""A default for parameters that the worker passes: `pool: Pool = injected`.

Nothing needs it when a task runs: type checkers then know that callers leave the parameter out.
"""


class Resources:
    """The resources of an app, by the type that they provide."""

    def __init__(self) -> None:
        self._makers: dict[Any, Callable[..., Any]] = {}
        self._open: dict[Any, Any] = {}
        self._stack = AsyncExitStack()

    def add(self, function: Callable[..., Any]) -> None:
        """Registers a function; raises TaskDefinitionError where its annotation does not say its type."""
        provided = typing.get_type_hints(function).get("return")
        if get_origin(provided) in _YIELDS:
            provided = get_args(provided)[0]
        if provided is None or provided is Any:
            raise TaskDefinitionError(f"{function.__qualname__}: annotate what it returns or yields")
        if provided in self._makers:
            raise TaskDefinitionError(f"{function.__qualname__}: {provided!r} has a resource already")
        self._makers[provided] = function

    def __contains__(self, annotation: Any) -> bool:
        try:
            return annotation in self._makers
        except TypeError:  # an annotation that cannot be hashed
            return False

    def __getitem__(self, annotation: Any) -> Any:
        return self._open[annotation]

    async def open(self) -> None:
        """Opens all, in the order in which they were registered."""
        for provided, maker in self._makers.items():
            self._open[provided] = await self._make(maker)

    async def _make(self, maker: Callable[..., Any]) -> Any:
        if inspect.isasyncgenfunction(maker):
            return await self._stack.enter_async_context(asynccontextmanager(maker)())
        if inspect.isgeneratorfunction(maker):
            return self._stack.enter_context(contextmanager(maker)())
        made = maker()
        return await made if inspect.isawaitable(made) else made

    async def close(self) -> None:
        """Closes all, the last one first."""
        self._open.clear()
        await self._stack.aclose()
