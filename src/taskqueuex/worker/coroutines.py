"""Tasks that are coroutines, on the worker's own loop."""

import asyncio

from taskqueuex.app import App
from taskqueuex.app.attempt import run_async
from taskqueuex.worker.running import OnDone, Running, ended_item

__all__ = ["Coroutines"]


class Coroutines:
    """Runs each as an asyncio task. What must end is cancelled at its next await."""

    def __init__(self, app: App, on_done: OnDone) -> None:
        self._app = app
        self._on_done = on_done
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()  # else nobody would keep them

    def start(self, running: Running) -> None:
        """Starts a task."""
        task = self._loop.create_task(self._run(running))
        running.stop = task.cancel
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, running: Running) -> None:
        try:
            item = await run_async(self._app, running.task, running.context)
        except asyncio.CancelledError:
            self._on_done(running, ended_item(running))
        else:
            self._on_done(running, item)

    async def close(self) -> None:
        """Waits for nothing: what runs was ended before."""
