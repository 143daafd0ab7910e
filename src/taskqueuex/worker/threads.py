"""Tasks that are plain functions, each in a thread of a pool."""

import asyncio
import contextlib
import queue
import threading

from taskqueuex.app import App
from taskqueuex.app.attempt import Item, run_sync
from taskqueuex.worker.running import OnDone, Running, ended_item

__all__ = ["Threads"]


class Threads:
    """Daemon threads, made when they are needed. A thread cannot be ended: `context.cancelled` asks it.

    Its slot is free again when the function returns.
    """

    def __init__(self, app: App, size: int, on_done: OnDone) -> None:
        self._size = size
        self._app = app
        self._on_done = on_done
        self._loop = asyncio.get_running_loop()
        self._work: queue.SimpleQueue[Running | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._busy = 0

    def start(self, running: Running) -> None:
        """Starts a task."""
        self._busy += 1
        if self._busy > len(self._threads) and len(self._threads) < self._size:
            thread = threading.Thread(target=self._serve, name=f"task-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._work.put(running)

    def _serve(self) -> None:
        while (running := self._work.get()) is not None:
            item = run_sync(self._app, running.task, running.context)
            with contextlib.suppress(RuntimeError):  # the loop has closed: the program is at its end
                self._loop.call_soon_threadsafe(self._ended, running, item)

    def _ended(self, running: Running, item: Item) -> None:
        self._busy -= 1
        # One that was cancelled, or had no more time, may have finished nevertheless: that is for the
        # server to judge, by its lease.
        self._on_done(running, ended_item(running) if running.ended_by in ("lost", "drain") else item)

    async def close(self) -> None:
        """Lets go of the threads that are free."""
        for _ in self._threads:
            self._work.put(None)
