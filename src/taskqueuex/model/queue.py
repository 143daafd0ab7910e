"""What a queue is told to do, and what is kept of it."""

from typing import Literal

import msgspec

from taskqueuex.model.states import STATES

__all__ = [
    "Backoff",
    "Discipline",
    "Durability",
    "Overflow",
    "PartitionRecord",
    "QueueConfig",
    "QueueRecord",
    "RateLimit",
    "layout_of",
]

Discipline = Literal["fifo", "lifo", "priority", "round_robin"]
Durability = Literal["durable", "relaxed", "memory"]
Overflow = Literal["reject", "drop_oldest"]


class Backoff(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """How long to wait before attempt n + 1: base * factor**(n - 1), at most `max_ms`, +- jitter."""

    base_ms: int = 1_000
    factor: float = 2.0
    max_ms: int = 3_600_000
    jitter: float = 0.1


class RateLimit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A token bucket on hand-outs: `burst` at once, `per_second` in the long run."""

    per_second: float
    burst: int


class QueueConfig(msgspec.Struct, frozen=True, gc=False):
    """The settings of a queue, every default resolved. None means no limit."""

    discipline: Discipline = "fifo"
    partitions: int = 1
    max_tasks: int | None = None
    overflow: Overflow = "reject"
    lease_ms: int = 30_000
    max_attempts: int = 5
    backoff: Backoff = Backoff()
    result_ttl_ms: int = 600_000
    dead_ttl_ms: int = 30 * 86_400_000
    rate_limit: RateLimit | None = None
    max_running: int | None = None
    max_running_per_group: int | None = None
    ordered_groups: bool = False
    durability: Durability = "durable"
    with_parents: bool = False


def layout_of(config: QueueConfig) -> tuple[str, bool, bool]:
    """What decides which index rows a waiting task has: (discipline, grouped, aged).

    A change of it on a queue that is not empty re-sorts what waits.
    """
    grouped = (
        config.discipline == "round_robin"
        or config.ordered_groups
        or config.max_running_per_group is not None
    )
    aged = config.overflow == "drop_oldest" and (grouped or config.discipline != "fifo")
    return config.discipline, grouped, aged


class QueueRecord(msgspec.Struct, array_like=True, gc=False):
    """The row of a queue, written when its settings change."""

    name: str
    config: QueueConfig
    paused: bool
    created_at: int  # Unix milliseconds
    partitions: list[tuple[int, int]]  # (slot, queue number), in partition order
    deleted: bool = False  # only tombstones are left


class PartitionRecord(msgspec.Struct, array_like=True, gc=False):
    """The row of a partition, written once a turn in which it changed."""

    name: str
    counts: list[int] = msgspec.field(default_factory=lambda: [0] * STATES)  # tasks per state
    generation: int = 0  # of the order rows; a re-sort moves to the next
    turn: int = 0  # round robin: the last turn given to a group
    last_id: bytes = b""  # the greatest id made here
    order_count: int = 0  # order rows: the ready tasks, or where groups count the heads of groups
    due_count: int = 0  # due rows
    age_count: int = 0  # age rows
    ready_bound: bytes = b""  # no order row of this generation lies below
    timer_bound: bytes = b""  # no due row lies below
    forget_bounds: list[int] = msgspec.field(default_factory=lambda: [0, 0, 0, 0])  # per terminal state
    tokens: float = -1.0  # of the rate limit; -1: full
    tokens_at: int = 0  # Unix milliseconds
    unsettled: bool = False  # some group's head was not known when this was written
    resort: bytes = b""  # a re-sort under way: where it stands; empty: none
    resort_layout: tuple[str, bool, bool] | None = None  # the layout of the rows being moved
