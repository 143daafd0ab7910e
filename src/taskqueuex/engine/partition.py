"""Tasks, partitions and queues as they are in memory."""

from hashlib import blake2b
from typing import Any, Final

import msgspec

from taskqueuex.engine.groups import Group
from taskqueuex.engine.metrics import QueueMetrics
from taskqueuex.engine.window import Window
from taskqueuex.model.place import DURABLE, VOLATILE, Place
from taskqueuex.model.queue import PartitionRecord, QueueConfig, QueueRecord, layout_of
from taskqueuex.model.states import BLOCKED, READY, RETRYING, SCHEDULED
from taskqueuex.model.task import TaskRecord, TaskStatus

__all__ = [
    "DURABILITY_LEVELS",
    "ERRORS_MAX",
    "HISTORY_MAX",
    "KIND_EXPIRE",
    "KIND_RUN",
    "LEVEL_DURABLE",
    "LEVEL_MEMORY",
    "LEVEL_RELAXED",
    "NEVER",
    "PAYLOAD_KEPT_MAX",
    "REFILL_PAGE",
    "RESORT_COUNTS",
    "RESORT_MOVES",
    "TOMBSTONE_MS",
    "_PAYLOAD_HOT_MAX",
    "Partition",
    "Queue",
    "Task",
    "hash16",
]

LEVEL_MEMORY, LEVEL_RELAXED, LEVEL_DURABLE = 0, 1, 2
DURABILITY_LEVELS = {"memory": LEVEL_MEMORY, "relaxed": LEVEL_RELAXED, "durable": LEVEL_DURABLE}
RESORT_COUNTS = b"counts"  # Partition.resort: groups are being counted, nothing may change
RESORT_MOVES = b"moves"  # rows move from one generation to the next, no ready task may change
HISTORY_MAX = 60
ERRORS_MAX = 10
TOMBSTONE_MS = 60_000
REFILL_PAGE = 1_024  # keys that one read brings: what is taken in at once must not stop the turn
NEVER: Final = 1 << 62
KIND_RUN, KIND_EXPIRE = b"\0", b"\1"  # of a due row
_PAYLOAD_HOT_MAX = 4_096  # larger ones are read when they are handed out
PAYLOAD_KEPT_MAX = 512  # of tasks that run, or are merely recent


def hash16(text: str) -> bytes:
    """The 16 bytes that stand for a group, a unique key or a name in keys of storage."""
    return blake2b(text.encode(), digest_size=16).digest()


class Task(msgspec.Struct, gc=False):
    """A task in memory."""

    id: bytes
    partition: "Partition"
    record: TaskRecord
    status: TaskStatus


class Partition:
    """One strictly ordered part of a queue: what is counted, and the windows of its indexes."""

    __slots__ = (
        "age",
        "aged",
        "alarm_at",
        "counts",
        "dirty",
        "discipline",
        "ended_changed",
        "ended_entered",
        "forget_alarm_at",
        "forget_bounds",
        "forgetting",
        "grouped",
        "groups",
        "index",
        "last_id",
        "place",
        "queue",
        "ready",
        "regroup",
        "reserved",
        "resort",
        "resort_layout",
        "timers",
        "turn",
        "unsettled",
    )

    def __init__(self, queue: "Queue", index: int, place: Place, record: PartitionRecord, width: int) -> None:
        self.queue = queue
        self.index = index
        self.place = place
        self.counts = list(record.counts)
        self.discipline, self.grouped, self.aged = layout_of(queue.config)
        self.ready = Window(width, record.order_count, record.ready_bound)
        self.timers = Window(width, record.due_count, record.timer_bound)
        self.age: Window | None = Window(64, record.age_count) if self.aged else None
        self.groups: dict[bytes, Group] = {}
        self.unsettled: dict[bytes, Group] = {}  # groups whose head is not known before a refill
        self.reserved = 0  # tasks of batches that are being staged: they take room already
        self.regroup = record.unsettled  # heads of groups are to be looked at anew
        self.turn = record.turn
        self.last_id = record.last_id
        self.forget_bounds = list(record.forget_bounds)
        self.forgetting = False  # a read of the retention index is under way
        self.ended_changed: set[bytes] = set()  # since then: whose rows there changed
        self.ended_entered = [0, 0, 0, 0]  # and the lowest forget_at that entered, per terminal state
        self.resort = record.resort
        self.resort_layout = record.resort_layout
        if self.resort:
            self.ready.close()
            if self.age is not None:
                self.age.close()
        self.alarm_at = NEVER  # the earliest alarm that is set for the timers
        self.forget_alarm_at = NEVER
        self.dirty = False

    @property
    def waiting(self) -> int:
        """Tasks that wait: what max_tasks bounds."""
        counts = self.counts
        return counts[SCHEDULED] + counts[BLOCKED] + counts[READY] + counts[RETRYING] + self.reserved

    def to_record(self) -> PartitionRecord:
        """The row as it stands now; bounds are exact, for the rows written with it."""
        queue = self.queue
        return PartitionRecord(
            name=queue.name,
            counts=self.counts,
            generation=self.place.generation,
            turn=self.turn,
            last_id=self.last_id,
            order_count=len(self.ready),
            due_count=len(self.timers),
            age_count=len(self.age) if self.age is not None else 0,
            ready_bound=self.ready.lower_bound(),
            timer_bound=self.timers.lower_bound(),
            forget_bounds=self.forget_bounds,
            unsettled=bool(self.unsettled) or self.regroup,
            tokens=queue.tokens if self.index == 0 else -1.0,
            tokens_at=queue.tokens_at if self.index == 0 else 0,
            resort=self.resort,
            resort_layout=self.resort_layout,
        )


class Queue:
    """A queue: its settings, its partitions, and what limits its hand-outs."""

    __slots__ = (
        "config",
        "created_at",
        "deleted",
        "level",
        "metrics",
        "name",
        "partitions",
        "paused",
        "placing",
        "rotation",
        "running",
        "shown",
        "tier",
        "token_alarm_at",
        "tokens",
        "tokens_at",
    )  # fmt: skip

    def __init__(self, name: str, config: QueueConfig, created_at: int) -> None:
        self.name = name
        self.created_at = created_at
        self.partitions: list[Partition] = []
        self.paused = False
        self.deleted = False
        self.running = 0
        self.rotation = 0  # the partition to serve next
        self.placing = 0  # the partition that the next task of no group goes to
        self.tokens = -1.0  # of the rate limit; below zero: full
        self.tokens_at = 0
        self.token_alarm_at = 0
        self.metrics = QueueMetrics()
        self.shown: tuple[tuple[Any, ...], msgspec.Raw] | None = None  # in lists, for as long as it rests
        self.configure(config)

    def configure(self, config: QueueConfig) -> None:
        """Takes new settings. Layout and partitions are the caller's business."""
        self.config = config
        self.level = DURABILITY_LEVELS[config.durability]
        self.tier = VOLATILE if self.level == LEVEL_MEMORY else DURABLE

    @property
    def resorting(self) -> bool:
        """Whether a changed discipline is still being applied to what waits."""
        return any(partition.resort for partition in self.partitions)

    def counts(self) -> list[int]:
        """Tasks per state, a list of the caller's own."""
        if len(self.partitions) == 1:
            return self.partitions[0].counts.copy()
        return [sum(each) for each in zip(*(partition.counts for partition in self.partitions), strict=True)]

    def to_record(self) -> QueueRecord:
        """The row of the queue's settings."""
        return QueueRecord(
            self.name,
            self.config,
            self.paused,
            self.created_at,
            [(partition.place.slot, partition.place.number) for partition in self.partitions],
            self.deleted,
        )
