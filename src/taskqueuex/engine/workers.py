"""Who consumes: workers as the engine last heard of them, and what operators ask of them.

What is asked of a worker reaches it with its next answer; a poll of its that waits is answered at once.
`Core.controlled` has the workers that there is something to tell, so that others cost nothing.
"""

from taskqueuex.commands.admin import RunningTask, WorkerList, WorkerView
from taskqueuex.commands.call import Call
from taskqueuex.commands.consume import Settle, WorkerControl, WorkerInfo
from taskqueuex.engine.core import LEVEL_DURABLE, Core
from taskqueuex.engine.worker import CARRY_ON, Worker
from taskqueuex.errors import NotFound
from taskqueuex.model.events import (
    WORKER_CAME,
    WORKER_LEFT,
    WORKER_QUIETED,
    WORKER_RESUMED,
    WORKER_STOPPED,
)
from taskqueuex.model.ids import format_id

__all__ = [
    "WORKERS_MAX",
    "Worker",
    "ask",
    "hear",
    "list_workers",
    "note_worker",
    "settle_control",
    "tell",
]

WORKERS_MAX = 10_000
SEEN_MS = 300_000  # listed for this long after their last call
_SWEEP_MS = 10_000  # while the list is full, those not seen lately are looked for this often


def note_worker(core: Core, name: str, queues: list[str] | None) -> Worker | None:
    """A call of a worker; `queues` are those that it takes from with it. None: there are too many."""
    worker = core.workers.get(name)
    if worker is None:
        if len(core.workers) >= WORKERS_MAX and not _make_room(core):
            return None
        worker = core.workers[name] = Worker(name)
        core.tell(WORKER_CAME, name=name)
    worker.last_seen_at = core.now_ms
    if queues and not worker.said_queues:
        worker.queues = queues
    return worker


def _make_room(core: Core) -> bool:
    if core.now_ms - core.workers_swept_at >= _SWEEP_MS:
        core.workers_swept_at = core.now_ms
        _forget_unseen(core, {lease.worker for lease in core.leases.values()})
    return len(core.workers) < WORKERS_MAX


def _forget_unseen(core: Core, running: set[str]) -> None:
    seen = core.now_ms - SEEN_MS
    for name in [n for n, worker in core.workers.items() if worker.last_seen_at < seen and n not in running]:
        _forget(core, name)


def _forget(core: Core, name: str) -> None:
    if core.workers.pop(name, None) is not None:
        core.tell(WORKER_LEFT, name=name)
    core.controlled.pop(name, None)


def hear(core: Core, info: WorkerInfo) -> None:
    """Takes what a worker says of itself."""
    worker = note_worker(core, info.name, None)
    if worker is None:
        return
    worker.hear(info)
    if info.bye:
        _forget(core, info.name)
    elif worker.rests or worker.news:
        core.controlled[info.name] = worker
    else:
        core.controlled.pop(info.name, None)


def tell(core: Core, worker: Worker) -> WorkerControl:
    """What goes into an answer to a worker; it knows it then."""
    worker.news = False
    if not worker.rests:
        core.controlled.pop(worker.name, None)
    return worker.control()


def settle_control(core: Core, body: Settle) -> WorkerControl | None:
    """The control of a settle's answer: there whenever the settle named its worker."""
    if body.worker is not None:
        name = body.worker.name
    elif body.dequeue is not None and body.dequeue.worker:
        name = body.dequeue.worker
    else:
        return None
    worker = core.controlled.get(name)
    return CARRY_ON if worker is None else tell(core, worker)


def ask(core: Core, call: Call) -> tuple[int, WorkerControl]:
    """POST /v1/workers/{name}/quiet, /resume and /stop. Polls that wait are the engine's business."""
    name = call.target
    worker = core.workers.get(name)
    if worker is None and any(lease.worker == name for lease in core.leases.values()):
        worker = note_worker(core, name, None)
    if worker is None:
        raise NotFound(f"no worker {name!r}")
    command = call.command.name
    worker.news = True
    if command == "stop_worker":
        worker.stop = True
        core.tell(WORKER_STOPPED, name=name)
    elif command == "quiet_worker":
        worker.wanted_quiet = True
        core.tell(WORKER_QUIETED, name=name)
    else:
        worker.wanted_quiet = worker.stop = False
        core.tell(WORKER_RESUMED, name=name)
    core.controlled[name] = worker
    return 200, worker.control()


def list_workers(core: Core, call: Call) -> tuple[int, WorkerList]:
    """GET /v1/workers."""
    core.level = LEVEL_DURABLE
    running: dict[str, list[RunningTask]] = {}
    for task_id, lease in core.leases.items():
        if lease.worker:
            task = core.tasks.get(task_id)
            name = task.record.name if task is not None else ""
            running.setdefault(lease.worker, []).append(
                RunningTask(format_id(task_id), name, lease.leased_at)
            )
    _forget_unseen(core, set(running))
    return 200, WorkerList(
        [
            _view(name, core.workers.get(name), running.get(name, []))
            for name in sorted(running.keys() | core.workers.keys())
        ]
    )


def _view(name: str, worker: Worker | None, running: list[RunningTask]) -> WorkerView:
    if worker is None:  # it has made no call since the server started
        last = max(task.since for task in running)
        return WorkerView(name, None, None, [], running, last, None, False, False, None)
    return WorkerView(
        name,
        worker.host,
        worker.pid,
        worker.queues,
        running,
        worker.last_seen_at,
        worker.version,
        bool(worker.wanted_quiet if worker.is_quiet is None else worker.is_quiet),
        worker.stop,
        worker.concurrency,
    )
