"""Queues as things to set and look at."""

import math
from typing import Any

import msgspec

from taskqueuex.commands.call import Call
from taskqueuex.commands.produce import BackoffSpec
from taskqueuex.commands.queues import PutQueue, QueueList, QueueView, RateLimitSpec, Rates
from taskqueuex.commands.tasks import BulkReply
from taskqueuex.engine import resort
from taskqueuex.engine.core import DURABILITY_LEVELS, LEVEL_DURABLE, LEVEL_MEMORY, Core, Queue
from taskqueuex.engine.disciplines import id_of
from taskqueuex.engine.sweeps import start_sweep
from taskqueuex.errors import Conflict, Invalid
from taskqueuex.model.events import QUEUE_CHANGED, QUEUE_PAUSED, QUEUE_PURGED, QUEUE_RESUMED
from taskqueuex.model.ids import id_time_ms
from taskqueuex.model.place import DURABLE
from taskqueuex.model.queue import Backoff, QueueConfig, RateLimit, layout_of
from taskqueuex.model.states import COMPLETED, READY, STATE_NAMES

__all__ = [
    "delete_queue",
    "get_queue",
    "list_queues",
    "listed_view",
    "pause_queue",
    "purge_queue",
    "put_queue",
    "queue_view",
    "resume_queue",
]

_DEFAULTS = QueueConfig()
_encode = msgspec.json.Encoder().encode
_SCANNED_FOR_AGE = 1_000


def put_queue(core: Core, call: Call) -> tuple[int, QueueView]:
    """PUT /v1/queues/{queue}."""
    core.level = LEVEL_DURABLE
    queue = core.queues.get(call.target)
    config = _merged(queue.config if queue is not None else _DEFAULTS, call.body)
    if config.durability == "memory" and config.max_tasks is None:
        raise Invalid.field("max_tasks", "a queue of durability `memory` must be bounded")
    if queue is None:
        return 201, queue_view(core, core.create_queue(call.target, config))
    _refuse_while_in_use(core, queue, config)
    old = queue.config
    tier_changes = (DURABILITY_LEVELS[config.durability] == LEVEL_MEMORY) != (queue.level == LEVEL_MEMORY)
    layout_changes = layout_of(config) != layout_of(old)
    limits_change = (config.ordered_groups, config.max_running_per_group) != (
        old.ordered_groups,
        old.max_running_per_group,
    )
    if old.rate_limit != config.rate_limit:
        queue.tokens, queue.tokens_at, queue.token_alarm_at = -1.0, 0, 0
        core.mark(queue.partitions[0])
    queue.configure(config)
    if tier_changes or config.partitions != old.partitions:
        core.replace_partitions(queue)
    elif layout_changes:
        resort.begin(core, queue, layout_of(old))
    elif limits_change:
        resort.begin_regroup(core, queue)
    core.batches[DURABLE].put_queue(queue.to_record())
    core.woken[queue.name] = None
    changed = [name for name in config.__struct_fields__ if getattr(config, name) != getattr(old, name)]
    if changed:
        core.tell(QUEUE_CHANGED, queue=queue.name, detail=", ".join(changed))
    return 200, queue_view(core, queue)


def _merged(config: QueueConfig, body: PutQueue) -> QueueConfig:
    changes: dict[str, Any] = {}
    for name in body.__struct_fields__:
        value = getattr(body, name)
        if value is msgspec.UNSET:
            continue
        if value is None:
            value = getattr(_DEFAULTS, name)
        elif isinstance(value, BackoffSpec):
            value = Backoff(value.base_ms, value.factor, value.max_ms, value.jitter)
        elif isinstance(value, RateLimitSpec):
            value = RateLimit(value.per_second, value.burst or max(1, math.ceil(value.per_second)))
        changes[name] = value
    return msgspec.structs.replace(config, **changes)


def _refuse_while_in_use(core: Core, queue: Queue, config: QueueConfig) -> None:
    used = sum(queue.counts()) or core.is_staging(queue)
    if config.partitions != queue.config.partitions and used:
        raise Conflict(f"partitions: queue {queue.name!r} is not empty")
    memory = (config.durability == "memory", queue.config.durability == "memory")
    if memory[0] != memory[1] and used:
        raise Conflict(f"durability: queue {queue.name!r} is not empty, and its tasks are kept elsewhere")
    if queue.resorting and layout_of(config) != layout_of(queue.config):
        raise Conflict("discipline: an earlier change of order is still being applied")


def get_queue(core: Core, call: Call) -> tuple[int, QueueView]:
    """GET /v1/queues/{queue}."""
    return 200, queue_view(core, core.queue(call.target))


def list_queues(core: Core, call: Call) -> tuple[int, QueueList]:
    """GET /v1/queues."""
    core.level = LEVEL_DURABLE
    names = [name for name in sorted(core.queues) if call.principal.allows("read", name)]
    queues = [core.queues[name] for name in names]
    if call.query.active:
        queues = [queue for queue in queues if _is_active(core, queue)]
    views: list[Any] = [listed_view(core, queue) for queue in queues]
    return 200, QueueList(views)


def pause_queue(core: Core, call: Call) -> tuple[int, QueueView]:
    """POST /v1/queues/{queue}/pause."""
    return _set_paused(core, call, True)


def resume_queue(core: Core, call: Call) -> tuple[int, QueueView]:
    """POST /v1/queues/{queue}/resume."""
    return _set_paused(core, call, False)


def _set_paused(core: Core, call: Call, paused: bool) -> tuple[int, QueueView]:
    queue = core.queue(call.target)
    core.level = LEVEL_DURABLE
    if queue.paused != paused:
        queue.paused = paused
        core.tell(QUEUE_PAUSED if paused else QUEUE_RESUMED, queue=queue.name)
        core.batches[DURABLE].put_queue(queue.to_record())
        core.woken[queue.name] = None
    return 200, queue_view(core, queue)


def purge_queue(core: Core, call: Call) -> None:
    """POST /v1/queues/{queue}/purge."""
    queue = core.queue(call.target)
    core.tell(QUEUE_PURGED, queue=queue.name, detail=f"{sum(queue.counts()[:COMPLETED])} live")
    start_sweep(core, call, "purge", {"queue": call.target})


def delete_queue(core: Core, call: Call) -> tuple[int, BulkReply] | None:
    """DELETE /v1/queues/{queue}. What has ended is forgotten with it; live tasks need `force`."""
    queue = core.queue(call.target)
    live = sum(queue.counts()[:COMPLETED])
    if live and not call.query.force:
        raise Conflict(f"queue {queue.name!r} has {live} live tasks; ?force=true cancels them")
    core.bury_queue(queue)
    start_sweep(core, call, "force", {"queue": queue.name}, kind="drop")
    return None


def queue_view(core: Core, queue: Queue) -> QueueView:
    """A queue as the API shows it."""
    config, metrics, counts = queue.config, queue.metrics, queue.counts()
    backoff, limit = config.backoff, config.rate_limit
    now = core.now_ms
    metrics.sample(now)
    wait_ms, run_ms = metrics.latencies()
    return QueueView(
        name=queue.name,
        discipline=config.discipline,
        partitions=config.partitions,
        max_tasks=config.max_tasks,
        overflow=config.overflow,
        lease_ms=config.lease_ms,
        max_attempts=config.max_attempts,
        backoff=BackoffSpec(backoff.base_ms, backoff.factor, backoff.max_ms, backoff.jitter),
        result_ttl_ms=config.result_ttl_ms,
        dead_ttl_ms=config.dead_ttl_ms,
        rate_limit=None if limit is None else RateLimitSpec(limit.per_second, limit.burst),
        max_running=config.max_running,
        max_running_per_group=config.max_running_per_group,
        ordered_groups=config.ordered_groups,
        durability=config.durability,
        with_parents=config.with_parents,
        paused=queue.paused,
        resorting=queue.resorting,
        counts=dict(zip(STATE_NAMES, counts, strict=True)),
        oldest_ready_age_ms=oldest_ready_age_ms(queue, now),
        rates=Rates(
            metrics.rate_in.per_second(now),
            metrics.rate_out.per_second(now),
            metrics.rate_failed.per_second(now),
        ),
        wait_ms=wait_ms,
        run_ms=run_ms,
        created_at=queue.created_at,
    )


def _is_active(core: Core, queue: Queue) -> bool:
    return queue.paused or any(queue.counts()[:COMPLETED]) or not queue.metrics.at_rest(core.now_ms)


def listed_view(core: Core, queue: Queue) -> QueueView | msgspec.Raw:
    """As `queue_view`. Most of many queues are at rest, and are shown as they were encoded last."""
    metrics, counts = queue.metrics, queue.counts()
    if counts[READY] or not metrics.at_rest(core.now_ms):
        return queue_view(core, queue)
    look = (queue.config, queue.paused, queue.resorting, counts, metrics.latencies())
    if queue.shown is None or queue.shown[0] != look:
        queue.shown = look, msgspec.Raw(_encode(queue_view(core, queue)))
    return queue.shown[1]


def oldest_ready_age_ms(queue: Queue, now_ms: int) -> int | None:
    """Since when the oldest ready task exists. Exact for fifo; else the oldest among the next in order."""
    times: list[int] = []
    for partition in queue.partitions:
        if not partition.counts[READY]:
            continue
        if partition.age is not None and (first := partition.age.first()) is not None:
            times.append(id_time_ms(first))
        elif partition.discipline == "fifo" and not partition.grouped:
            if (first := partition.ready.first()) is not None:
                times.append(id_time_ms(first[8:]))
        elif partition.grouped:
            firsts = [group.window.first() for group in list(partition.groups.values())[:_SCANNED_FOR_AGE]]
            times += [id_time_ms(id_of(partition.discipline, first)) for first in firsts if first is not None]
        else:
            keys = partition.ready.peek(_SCANNED_FOR_AGE)
            times += [id_time_ms(id_of(partition.discipline, key)) for key in keys]
    return max(0, now_ms - min(times)) if times else None
