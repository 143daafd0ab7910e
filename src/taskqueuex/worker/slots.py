"""What a worker can still take: slots by mode, and which queues need which."""

import time
from collections.abc import Iterable, Mapping, Sequence

from taskqueuex.app import App
from taskqueuex.app.task import Mode
from taskqueuex.worker.config import WorkerConfig
from taskqueuex.worker.prefetch import Prefetch

__all__ = ["Lane", "Slots", "lanes_of"]


class Slots:
    """The slots of one mode."""

    __slots__ = ("asked", "held", "prefetch", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.held = 0  # tasks that were taken and have not ended
        self.asked = 0  # tasks that requests under way may bring
        self.prefetch = Prefetch(time.monotonic())

    def free(self) -> int:
        """How many more tasks may be asked for."""
        return self.size + self.prefetch.more() - self.held - self.asked


class Lane:
    """Queues whose tasks run in the same kinds of slots: they are asked for together."""

    def __init__(self, queues: Sequence[str] | Mapping[str, int], slots: Sequence[Slots]) -> None:
        self.queues = list(queues) if isinstance(queues, Sequence) else dict(queues)
        self.slots = slots
        self.polling = False

    def free(self) -> int:
        """How many tasks may be asked for: all of them may need the scarcest slot."""
        return min(slots.free() for slots in self.slots)

    def ask(self, count: int) -> None:
        """A request for so many tasks goes out (or, negative, is answered)."""
        for slots in self.slots:
            slots.asked += count


def lanes_of(app: App, config: WorkerConfig, slots: Mapping[Mode, Slots]) -> list[Lane]:
    """The lanes of a worker. A queue that the app puts nothing into may hold tasks of any mode it has."""
    modes: dict[str, set[Mode]] = {}
    for task in app.tasks.values():
        modes.setdefault(task.queue, set()).add(task.mode)
    queues: Iterable[str] = config.queues if config.queues is not None else modes
    everything: set[Mode] = {task.mode for task in app.tasks.values()} or {"async"}
    by_modes: dict[frozenset[Mode], list[str]] = {}
    for queue in queues:
        by_modes.setdefault(frozenset(modes.get(queue, everything)), []).append(queue)
    lanes = []
    for needed, names in by_modes.items():
        chosen: Sequence[str] | Mapping[str, int] = names
        if isinstance(config.queues, Mapping):
            chosen = {name: config.queues[name] for name in names}
        lanes.append(Lane(chosen, [slots[mode] for mode in sorted(needed)]))
    return lanes
