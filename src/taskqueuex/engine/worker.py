"""A worker as the engine last heard of it, and what it is asked to do."""

from typing import Final

from taskqueuex.commands.consume import WorkerControl, WorkerInfo

__all__ = ["CARRY_ON", "Worker"]

CARRY_ON: Final = WorkerControl(False, False)
"""What most workers are told. Shared, and never changed."""


class Worker:
    """A worker by name. Nothing of it is stored: it makes itself known again after a restart."""

    __slots__ = (
        "concurrency", "host", "is_quiet", "last_seen_at", "name", "news", "pid", "queues", "said_queues",
        "started_at", "stop", "version", "wanted_quiet",
    )  # fmt: skip

    def __init__(self, name: str) -> None:
        self.name = name
        self.queues: list[str] = []
        self.said_queues = False  # it named all that it serves; a dequeue of its may name but some
        self.last_seen_at = 0  # Unix milliseconds
        self.host: str | None = None
        self.pid: int | None = None
        self.version: str | None = None
        self.started_at: int | None = None
        self.concurrency: int | None = None
        self.is_quiet: bool | None = None  # as it said itself; None: it has not
        self.wanted_quiet: bool | None = None  # as it was asked to be; None: nobody has
        self.stop = False  # whether it was asked to stop
        self.news = False  # whether it was asked for something that no answer has told it yet

    @property
    def rests(self) -> bool:
        """Whether it gets no tasks."""
        return bool(self.wanted_quiet) or self.stop

    def hear(self, info: WorkerInfo) -> None:
        """Takes what it says of itself."""
        if _differs(self.pid, info.pid) or _differs(self.started_at, info.started_at):
            self.stop = False  # that was meant for another process of this name
            if self.wanted_quiet is False:
                self.wanted_quiet = None
        for field in ("host", "pid", "version", "started_at", "queues", "concurrency"):
            value = getattr(info, field)
            if value is not None:
                setattr(self, field, value)
        if info.queues is not None:
            self.said_queues = True
        if info.quiet is not None:
            self.is_quiet = info.quiet
            if info.quiet and self.wanted_quiet is None:
                self.wanted_quiet = True

    def control(self) -> WorkerControl:
        """What it is to be told."""
        return WorkerControl(bool(self.wanted_quiet), self.stop) if self.rests else CARRY_ON


def _differs(known: int | None, said: int | None) -> bool:
    return known is not None and said is not None and known != said
