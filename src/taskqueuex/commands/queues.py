"""Requests and replies about queues."""

from typing import Annotated

import msgspec

from taskqueuex.commands.limits import DurationMs, MaxAgeMs, PositiveMs
from taskqueuex.commands.produce import BackoffSpec
from taskqueuex.commands.tasks import PageLimit, WhyReason
from taskqueuex.model.queue import Discipline, Durability, Overflow

__all__ = [
    "DeleteQueueQuery",
    "GroupsQuery",
    "ListQueues",
    "Percentiles",
    "PurgeReply",
    "PutQueue",
    "QueueGroup",
    "QueueGroups",
    "QueueList",
    "QueueView",
    "QueueWhyReply",
    "RateLimitSpec",
    "Rates",
]

_Unset = msgspec.UnsetType
_UNSET = msgspec.UNSET
Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]


class RateLimitSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A token bucket on hand-outs; `burst` defaults to one second's worth."""

    per_second: Annotated[float, msgspec.Meta(gt=0, le=1_000_000)]
    burst: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None


class PutQueue(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Creates a queue or changes the fields given; null restores a default."""

    discipline: Discipline | None | _Unset = _UNSET
    partitions: Annotated[int, msgspec.Meta(ge=1, le=256)] | None | _Unset = _UNSET
    max_tasks: Count | None | _Unset = _UNSET
    overflow: Overflow | None | _Unset = _UNSET
    lease_ms: PositiveMs | None | _Unset = _UNSET
    max_attempts: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None | _Unset = _UNSET
    backoff: BackoffSpec | None | _Unset = _UNSET
    result_ttl_ms: DurationMs | None | _Unset = _UNSET
    dead_ttl_ms: DurationMs | None | _Unset = _UNSET
    rate_limit: RateLimitSpec | None | _Unset = _UNSET
    max_running: Count | None | _Unset = _UNSET
    max_running_per_group: Count | None | _Unset = _UNSET
    ordered_groups: bool | None | _Unset = _UNSET
    durability: Durability | None | _Unset = _UNSET
    with_parents: bool | None | _Unset = _UNSET


class Rates(msgspec.Struct, gc=False, rename={"in_": "in"}):
    """Tasks a second over the last 10 s: enqueued, completed, failed attempts."""

    in_: float
    out: float
    failed: float


class Percentiles(msgspec.Struct, gc=False):
    """Of a latency in milliseconds, over the last minute or two."""

    p50: float
    p90: float
    p99: float
    count: int


class QueueView(msgspec.Struct, gc=False, kw_only=True):
    """A queue: its settings, how many tasks are in which state, and how it fares."""

    name: str
    discipline: Discipline
    partitions: int
    max_tasks: int | None
    overflow: Overflow
    lease_ms: int
    max_attempts: int
    backoff: BackoffSpec
    result_ttl_ms: int
    dead_ttl_ms: int
    rate_limit: RateLimitSpec | None
    max_running: int | None
    max_running_per_group: int | None
    ordered_groups: bool
    durability: Durability
    with_parents: bool
    paused: bool
    resorting: bool
    counts: dict[str, int]
    oldest_ready_age_ms: int | None
    rates: Rates
    wait_ms: Percentiles
    run_ms: Percentiles
    created_at: int


class ListQueues(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """`active`: only those that are paused, have live tasks, or had in the last seconds.

    `max_age_ms`: an answer that was made for somebody else will do, up to that old.
    """

    active: bool = False
    max_age_ms: MaxAgeMs | None = None


class QueueList(msgspec.Struct, gc=False):
    """Queues, by name."""

    queues: list[QueueView]


class QueueWhyReply(msgspec.Struct, gc=False):
    """What holds a queue up, worst first; no reasons when nothing does."""

    reasons: list[WhyReason]


class GroupsQuery(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """How many groups to show, those with the most ready tasks first."""

    limit: PageLimit = 100


class QueueGroup(msgspec.Struct, gc=False):
    """A group that has tasks which are ready, run or retry.

    `group`: null for the tasks of none, which share turns like a group in `round_robin`.
    `held_up`: it has ready tasks, and none may be handed out for what else of it runs or retries.
    `share`: the part of hand-outs that it gets now, 0 to 1, in `round_robin`; null where that is not known.
    """

    group: str | None
    weight: int
    ready: int
    running: int
    retrying: int
    held_up: bool
    share: float | None


class QueueGroups(msgspec.Struct, gc=False):
    """Groups of a queue, those with the most ready tasks first.

    `kept`: whether the queue looks at groups; it keeps none otherwise.
    `complete`: false when the scan stopped at its bound, or the queue is being re-sorted.
    """

    groups: list[QueueGroup]
    kept: bool
    scanned: int
    complete: bool


class DeleteQueueQuery(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """`force` cancels what waits and revokes leases."""

    force: bool = False


class PurgeReply(msgspec.Struct, gc=False):
    """How many tasks waited, and how many were cancelled."""

    matched: int
    changed: int
