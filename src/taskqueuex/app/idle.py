"""Runs tasks here and now, one after another, until there are none: a worker for tests."""

import asyncio
from collections.abc import Sequence
from typing import Any

from taskqueuex.app.attempt import Home, Item, run_async, run_sync, unknown_task
from taskqueuex.app.context import Context
from taskqueuex.client import AsyncClient
from taskqueuex.commands.consume import AckItem, Dequeue, FailItem, HeartbeatItem, LeasedTask, ReleaseItem

__all__ = ["run_until_idle"]

WORKER = "run_until_idle"


class _Said:
    """Keeps what tasks say of themselves until they are settled."""

    def __init__(self, app: Home) -> None:
        self._app = app
        self.beats: list[HeartbeatItem] = []

    def on_progress(self, context: Context, progress: Any) -> None:
        raw = self._app.progress_of(context, progress)
        self.beats.append(HeartbeatItem(id=context.id, lease=context.lease, progress=raw))

    def on_heartbeat(self, context: Context, extend_ms: int | None) -> None:
        self.beats.append(HeartbeatItem(id=context.id, lease=context.lease, extend_ms=extend_ms))


async def run_until_idle(app: Home, client: AsyncClient, queues: Sequence[str], max_tasks: int) -> int:
    """Returns the number of attempts. Raises RuntimeError beyond `max_tasks`."""
    done = 0
    dequeue = Dequeue(queues=list(queues), max=1, worker=WORKER)
    reply = await client.settle(dequeue=dequeue)
    while reply.tasks:
        if done >= max_tasks:
            raise RuntimeError(f"not idle after {max_tasks} tasks")
        said = _Said(app)
        item = await _run(app, reply.tasks[0], said)
        done += 1
        if said.beats:
            await client.settle(heartbeat=said.beats)
        reply = await client.settle(
            ack=[item] if isinstance(item, AckItem) else [],
            fail=[item] if isinstance(item, FailItem) else [],
            release=[item] if isinstance(item, ReleaseItem) else [],
            dequeue=dequeue,
        )
    return done


async def _run(app: Home, leased: LeasedTask, said: _Said) -> Item:
    context = Context(leased, said)
    task = app.tasks.get(leased.name)
    if task is None:
        return unknown_task(app, context)
    if not task.is_async:
        return await asyncio.to_thread(run_sync, app, task, context)
    return await run_async(app, task, context)
