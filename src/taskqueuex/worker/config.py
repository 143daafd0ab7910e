"""What a worker is told: which queues, how much at once, and how long it may take to stop."""

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["WorkerConfig"]


def _default_name() -> str:
    return f"{socket.gethostname()}-{os.getpid()}"


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """One frozen section. Raises ValueError, which names the field."""

    name: str = field(default_factory=_default_name)  # unique among workers
    queues: Sequence[str] | Mapping[str, int] | None = None  # in strict order, or by weight; None: the app's
    concurrency: int = 100  # coroutines at once
    threads: int = 16
    processes: int = field(default_factory=lambda: os.cpu_count() or 1)
    grace_s: float = 30.0  # for what runs, when the worker is told to stop
    poll_s: float = 20.0  # how long the server may hold a request for tasks, when there are none
    lease_s: float | None = None  # None: the task's or its queue's
    max_tasks_per_child: int | None = None  # then a child process is replaced
    memory_limit_mb: int | None = None  # of resident memory, a child process; beyond: it is killed

    def __post_init__(self) -> None:
        for name in ("concurrency", "threads", "processes"):
            if not 1 <= getattr(self, name) <= 10_000:
                raise ValueError(f"{name}: must be 1 to 10000, not {getattr(self, name)}")
        for name in ("max_tasks_per_child", "memory_limit_mb", "lease_s"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name}: must be above 0, not {value}")
        if not 0 <= self.grace_s <= 86_400:
            raise ValueError(f"grace_s: must be 0 to 86400, not {self.grace_s}")
        if not 0 < self.poll_s <= 60:
            raise ValueError(f"poll_s: must be above 0 and at most 60, not {self.poll_s}")
        if not self.name or len(self.name.encode()) > 256:
            raise ValueError("name: must be 1 to 256 bytes")
        if self.queues is not None and not self.queues:
            raise ValueError("queues: needs at least one")
