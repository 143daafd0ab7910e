"""Who consumes: workers as the engine last heard of them. Not stored; they make themselves known again."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskqueuex.engine.core import Core

__all__ = ["WORKERS_MAX", "Worker", "note_worker"]

WORKERS_MAX = 10_000
SEEN_MS = 300_000  # listed for this long after their last call


class Worker:
    """A worker by name."""

    __slots__ = ("last_seen_at", "name", "queues")

    def __init__(self, name: str) -> None:
        self.name = name
        self.queues: list[str] = []
        self.last_seen_at = 0


def note_worker(core: "Core", name: str, queues: list[str] | None) -> None:
    """A call of a worker; `queues` when it said which ones it serves."""
    worker = core.workers.get(name)
    if worker is None:
        if len(core.workers) >= WORKERS_MAX:
            return
        worker = core.workers[name] = Worker(name)
    worker.last_seen_at = core.now_ms
    if queues:
        worker.queues = queues
