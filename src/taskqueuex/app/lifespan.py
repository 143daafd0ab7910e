"""What is opened before the first task and closed after the last: resources and the app's hooks."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from taskqueuex.app.resources import Resources

__all__ = ["Lifespan"]


class Lifespan:
    """The lifespan of one process that runs tasks of an app. Also a context manager."""

    def __init__(
        self,
        resources: Resources,
        startup: Sequence[Callable[[], Any]],
        shutdown: Sequence[Callable[[], Any]],
    ) -> None:
        self._resources = resources
        self._startup = startup
        self._shutdown = shutdown

    async def __aenter__(self) -> None:
        await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Opens resources, then calls the startup hooks, in the order of their declaration."""
        await self._resources.open()
        for hook in self._startup:
            await _call(hook)

    async def close(self) -> None:
        """The other way round."""
        for hook in reversed(self._shutdown):
            await _call(hook)
        await self._resources.close()


async def _call(hook: Callable[[], Any]) -> None:
    called = hook()
    if inspect.isawaitable(called):
        await called
