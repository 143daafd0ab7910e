"""Who consumes: workers as the engine last heard of them. Not stored; they make themselves known again."""

from taskqueuex.engine.core import Core
from taskqueuex.engine.worker import Worker

__all__ = ["WORKERS_MAX", "Worker", "note_worker"]

WORKERS_MAX = 10_000
SEEN_MS = 300_000  # listed for this long after their last call


def note_worker(core: Core, name: str, queues: list[str] | None) -> None:
    """A call of a worker; `queues` when it said which ones it serves."""
    worker = core.workers.get(name)
    if worker is None:
        if len(core.workers) >= WORKERS_MAX:
            return
        worker = core.workers[name] = Worker(name)
    worker.last_seen_at = core.now_ms
    if queues:
        worker.queues = queues
