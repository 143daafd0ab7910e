"""Why a queue is slow: what holds up its tasks, worst first.

All is computed from what is in memory: counters of partitions, the workers as they were last heard of, the
front of the line of polls, and bounded walks over workers, leases and groups. Nothing is read for it. Where
a walk ends at its bound, what it counted is told as "at least", or not at all.

Reasons tell how many workers there are and never which, so that who may see the queue may see them all.
"""

from collections.abc import Iterator
from itertools import islice

from taskqueuex.commands.call import Call
from taskqueuex.commands.queues import QueueWhyReply
from taskqueuex.commands.tasks import WhyReason
from taskqueuex.engine.core import KIND_RUN, LEVEL_DURABLE, Core, Partition, Queue
from taskqueuex.engine.groups import Group, may_run
from taskqueuex.engine.waiters import Waiters
from taskqueuex.model.states import BLOCKED, READY, RETRYING, RUNNING, SCHEDULED

__all__ = ["queue_why"]

HEARD_LATELY_MS = 30_000  # a worker that neither waits nor runs anything is there if it called since
POLLS_SEEN = 1_000
WORKERS_SEEN = 2_000
LEASES_SEEN = 2_000  # with the others, a few milliseconds of a turn at most
GROUPS_SEEN = 2_000
TIMERS_SEEN = 64
_EMPTIED_LATELY_MS = 1_000  # a bucket that was: at a high rate some tokens fall between two turns
_BACKLOG = 10  # ready tasks: fewer are none
_MARGIN = 1.1  # rates that differ by less are the same
_NEARLY = 0.9  # of a limit, or of all groups
_FAILING = 0.1  # attempts that fail: fewer are nothing to name


def queue_why(core: Core, waiters: Waiters, call: Call) -> tuple[int, QueueWhyReply]:
    """GET /v1/queues/{queue}/why."""
    queue = core.queue(call.target)
    core.level = LEVEL_DURABLE  # of what workers run, some is of other queues
    queue.metrics.sample(core.now_ms)
    look = _Look(core, waiters, queue)
    return 200, QueueWhyReply([reason for find in _FINDERS for reason in find(look)])


class _Look:
    """A queue at one moment."""

    def __init__(self, core: Core, waiters: Waiters, queue: Queue) -> None:
        now, metrics = core.now_ms, queue.metrics
        self.core = core
        self.queue = queue
        self.config = queue.config
        self.counts = queue.counts()
        self.ready = self.counts[READY]
        self.served = bool(self.ready) and not queue.paused and not queue.resorting
        self.rate_in = metrics.rate_in.per_second(now)
        self.rate_out = metrics.rate_out.per_second(now)
        self.rate_failed = metrics.rate_failed.per_second(now)
        self.polls = _polls(waiters, queue.name)
        self.consumers = _consumers(core, queue) if self.ready and not self.polls else _Consumers()


def _polls(waiters: Waiters, name: str) -> int:
    line = waiters.by_queue.get(name, ())
    return sum(not waiter.done and not waiter.call.sink.closed for waiter in islice(line, POLLS_SEEN))


# Who takes from it


class _Consumers:
    """How many workers take from a queue, and what they have in hand."""

    __slots__ = ("resting", "running", "slots", "unnamed", "working")

    def __init__(self, *, unnamed: bool = False) -> None:
        self.working = 0  # those that would take more
        self.resting = 0  # those that are quiet or stopping
        self.slots: int | None = 0  # what the working ones can run at once; None: some have not said
        self.running: int | None = 0  # what they run, of all queues; None: too many leases to count
        self.unnamed = unnamed  # there are others, of whom no more is known


def _consumers(core: Core, queue: Queue) -> _Consumers:
    running: dict[str, int] = {}
    holders: set[str] = set()  # of tasks of this queue
    mine = 0
    for task_id, lease in islice(core.leases.items(), LEASES_SEEN):
        running[lease.worker] = running.get(lease.worker, 0) + 1
        task = core.tasks.get(task_id)
        if task is not None and task.partition.queue is queue:
            holders.add(lease.worker)
            mine += 1
    counted = len(core.leases) <= LEASES_SEEN
    # What ran when the server started is not in memory yet: by whom it is run is not known.
    others = len(core.workers) > WORKERS_SEEN or mine < queue.running
    found = _Consumers(unnamed="" in holders or others)
    holders.discard("")
    lately = core.now_ms - HEARD_LATELY_MS
    total = 0
    for name, worker in islice(core.workers.items(), WORKERS_SEEN):
        if name in holders:
            holders.discard(name)
        elif queue.name not in worker.queues or (worker.last_seen_at < lately and name not in running):
            continue
        if worker.rests or worker.is_quiet:
            found.resting += 1
            continue
        found.working += 1
        total += running.get(name, 0)
        if worker.concurrency is None:
            found.slots = None
        elif found.slots is not None:
            found.slots += worker.concurrency
    if others:
        counted, found.slots = False, None
    elif holders:  # they have made no call since the server started, and their leases hold
        found.working += len(holders)
        found.slots = None
        total += sum(running[name] for name in holders)
    found.running = total if counted else None
    return found


def _no_consumer(look: _Look) -> Iterator[WhyReason]:
    consumers = look.consumers
    if not look.ready or look.polls or consumers.working or consumers.unnamed:
        return
    ready = _tasks(look.ready, *_ARE)
    if consumers.resting:
        workers = _many(consumers.resting, "worker that takes from it is", "workers that take from it are")
        yield WhyReason("workers_quiet", f"{ready} ready, and the {workers} quiet or stopping")
    elif not (look.rate_out or look.rate_failed):
        yield WhyReason("no_consumer", f"{ready} ready, and no worker takes from it")


def _workers_busy(look: _Look) -> Iterator[WhyReason]:
    consumers, queue = look.consumers, look.queue
    if not look.served or look.polls:
        return
    if not (consumers.working or consumers.unnamed or (look.rate_out and not consumers.resting)):
        return
    if look.config.max_running is not None and queue.running >= look.config.max_running:
        return  # more workers would not help
    detail = f"{_tasks(look.ready, *_ARE)} ready, and nobody asks for more"
    if consumers.working:
        least = "at least " if consumers.unnamed else ""
        detail += f": {least}{_many(consumers.working, 'worker takes', 'workers take')} from it"
        if consumers.running is not None:
            of = f" of at most {consumers.slots:,}" if consumers.slots else ""
            run = "runs" if consumers.working == 1 else "run"
            detail += f" and {run} {consumers.running:,}{of} tasks"
    detail += f"; {_tasks(queue.running)} of this queue {'runs' if queue.running == 1 else 'run'}"
    yield WhyReason("workers_busy", detail + _pace(queue))


def _pace(queue: Queue) -> str:
    """How long a run takes, and how many a second that makes."""
    runs = queue.metrics.recent_runs()
    count = runs.count
    if not count:
        return ""
    p50, p99 = runs.percentiles(0.5, 0.99)
    told = f"; a run takes {_span(p50 / 1000)} (p50) to {_span(p99 / 1000)} (p99)"
    if queue.running and runs.sum_us:
        told += f", which makes about {_figure(queue.running * count * 1e6 / runs.sum_us)} a second"
    return told


# What it is told to do


def _paused(look: _Look) -> Iterator[WhyReason]:
    if look.queue.paused:
        counts = look.counts
        waiting = counts[READY] + counts[SCHEDULED] + counts[BLOCKED] + counts[RETRYING]
        yield WhyReason("paused", f"it is paused, with {_tasks(waiting)} waiting")


def _resorting(look: _Look) -> Iterator[WhyReason]:
    if look.queue.resorting:
        yield WhyReason("resorting", "a changed discipline is being applied to what waits")


def _full(look: _Look) -> Iterator[WhyReason]:
    limit, partitions = look.config.max_tasks, look.queue.partitions
    if limit is None:
        return
    full = [partition for partition in partitions if partition.waiting >= limit]
    if not full:
        return
    where = f"{len(full)} of its {len(partitions)} partitions hold" if len(partitions) > 1 else "it holds"
    if look.config.overflow == "reject":
        then = "new ones are refused"
    elif any(partition.counts[READY] for partition in full):
        then = "each new one drops the oldest that is ready"
    else:
        then = "new ones are refused, since none is ready to be dropped"
    yield WhyReason("full", f"{where} {limit:,} tasks, as many as may wait: {then}")


def _max_running(look: _Look) -> Iterator[WhyReason]:
    limit, running = look.config.max_running, look.queue.running
    if look.served and limit is not None and running >= limit:
        yield WhyReason("max_running", f"{running:,} of {limit:,} tasks run, as many as may at once")


def _rate_limit(look: _Look) -> Iterator[WhyReason]:
    """Its bucket is empty, or was a moment ago, or tasks end as fast as it lets them begin."""
    limit, queue, now = look.config.rate_limit, look.queue, look.core.now_ms
    if limit is None or not look.served:
        return
    if queue.tokens < 0:
        tokens = float(limit.burst)
    else:
        elapsed_ms = max(0, now - queue.tokens_at)
        tokens = min(float(limit.burst), queue.tokens + elapsed_ms * limit.per_second / 1000)
    empty = tokens < 1 - 1e-9
    emptied = 0 <= queue.tokens < 1 - 1e-9 and now - queue.tokens_at < _EMPTIED_LATELY_MS
    if empty or emptied or look.rate_out + look.rate_failed >= _NEARLY * limit.per_second:
        until = now + int((1 - tokens) * 1000 / limit.per_second) + 1 if empty else None
        yield WhyReason(
            "rate_limit", f"no more than {limit.per_second:g} tasks a second are handed out", until=until
        )


# Groups at their limit


def _group_limits(look: _Look) -> Iterator[WhyReason]:
    config = look.config
    if not look.served or not (config.ordered_groups or config.max_running_per_group is not None):
        return
    partitions = look.queue.partitions
    if any(partition.unsettled or partition.regroup for partition in partitions):
        return  # which groups may be served is being found out
    servable = sum(len(partition.ready) for partition in partitions)  # groups, and tasks of none
    held = [group for partition in partitions for group in _held_up(partition)]
    if servable and len(held) < _NEARLY * (len(held) + servable):
        return
    exact = len(held) < GROUPS_SEEN and (
        bool(servable) or sum(group.record.waiting for group in held) == look.ready
    )
    yield from _told_of_groups(look, held, servable, exact)


def _held_up(partition: Partition) -> list[Group]:
    """The groups in memory with ready tasks, none of which may be handed out."""
    config = partition.queue.config
    seen = islice(partition.groups.values(), GROUPS_SEEN // len(partition.queue.partitions))
    return [group for group in seen if group.record.waiting and not may_run(group.record, config)]


def _told_of_groups(look: _Look, held: list[Group], servable: int, exact: bool) -> Iterator[WhyReason]:
    config = look.config
    by_code: dict[str, int] = {}
    for group in held:
        code = "max_running_per_group"
        if config.ordered_groups:
            code = "group_running" if group.record.running else "group_retrying"
        by_code[code] = by_code.get(code, 0) + 1
    if not held:  # those that hold it up have not been looked at since the server started
        by_code["group_running" if config.ordered_groups else "max_running_per_group"] = 0
    limit = config.max_running_per_group or 0
    why = {
        "group_running": "a task of each runs, and groups are ordered",
        "group_retrying": "a task of each waits for its next attempt, and groups are ordered",
        "max_running_per_group": f"{_tasks(limit, 'of each runs', 'of each run')}, as many as may",
    }
    for code in ("group_running", "group_retrying", "max_running_per_group"):
        if code not in by_code:
            continue
        groups = f"{by_code[code]:,} of {len(held) + servable:,} groups with waiting tasks are held up"
        if not held:
            groups = "all groups with waiting tasks are held up"
        elif not exact:
            groups = f"at least {by_code[code]:,} groups with waiting tasks are held up"
        yield WhyReason(code, f"{groups}: {why[code]}")


# How it goes


def _growing(look: _Look) -> Iterator[WhyReason]:
    if look.ready >= _BACKLOG and look.rate_in > _MARGIN * look.rate_out:
        yield WhyReason(
            "growing",
            f"{_rate(look.rate_in)} come in, and {_rate(look.rate_out)} are completed, of late",
        )


def _draining(look: _Look) -> Iterator[WhyReason]:
    shrinks = look.rate_out - look.rate_in
    if look.served and look.ready >= _BACKLOG and look.rate_out > _MARGIN * look.rate_in:
        left = _span(1000 * look.ready / shrinks)
        yield WhyReason(
            "draining",
            f"{_rate(look.rate_out)} are completed, and {_rate(look.rate_in)} come in: the "
            f"{_tasks(look.ready)} that are ready will be done in about {left}",
        )


def _failing(look: _Look) -> Iterator[WhyReason]:
    retrying = look.counts[RETRYING]
    ended = look.rate_failed + look.rate_out
    share = look.rate_failed / ended if ended else 0.0
    if share >= _FAILING:
        detail = f"{share:.0%} of the attempts that ended of late have failed"
        if retrying:
            detail += f", and {_tasks(retrying, *_WAIT)} for another"
        yield WhyReason("failing", detail)
    elif retrying > look.ready + look.counts[RUNNING] and look.ready:
        yield WhyReason(
            "failing", f"{_tasks(retrying, *_WAIT)} for another attempt, more than are ready or run"
        )


def _nothing_ready(look: _Look) -> Iterator[WhyReason]:
    if look.ready:
        return
    counts = look.counts
    if retrying := counts[RETRYING]:
        detail = f"none is ready: {_tasks(retrying, *_WAIT)} for another attempt after a failure"
        yield WhyReason("backoff", detail, until=_next_due(look, RETRYING))
    if scheduled := counts[SCHEDULED]:
        detail = f"none is ready: {_tasks(scheduled, *_ARE)} scheduled for later"
        yield WhyReason("not_due", detail, until=_next_due(look, SCHEDULED))
    if blocked := counts[BLOCKED]:
        detail = f"none is ready: {_tasks(blocked, *_WAIT)} for other tasks that they depend on"
        yield WhyReason("waits_for", detail)


def _next_due(look: _Look, state: int) -> int | None:
    """When the next task of a state is due, where the first timers in memory tell."""
    times: list[int] = []
    for partition in look.queue.partitions:
        if partition.counts[state]:
            due = _next_due_of(look.core, partition, state)
            if due is None:
                return None
            times.append(due)
    return min(times, default=None)


def _next_due_of(core: Core, partition: Partition, state: int) -> int | None:
    alone = partition.counts[SCHEDULED] + partition.counts[RETRYING] == partition.counts[state]
    for key in partition.timers.peek(TIMERS_SEEN):
        if key[24:] != KIND_RUN:
            continue
        task = core.tasks.get(key[8:24]) or core.recent.get(key[8:24])
        if task is None and not alone:
            return None  # it may be of either state
        if task is None or task.status.state == state:
            return int.from_bytes(key[:8], "big")
    return None


_FINDERS = (
    _paused, _resorting, _no_consumer, _full, _max_running, _rate_limit, _group_limits, _workers_busy,
    _growing, _failing, _nothing_ready, _draining,
)  # fmt: skip


# Words

_ARE = ("is", "are")
_WAIT = ("waits", "wait")


def _many(count: int, one: str, several: str) -> str:
    return f"{count:,} {one if count == 1 else several}"


def _tasks(count: int, *verbs: str) -> str:
    """A number of tasks, and what they do, where it is said in singular and plural."""
    told = _many(count, "task", "tasks")
    return f"{told} {verbs[count != 1]}" if verbs else told


def _rate(per_second: float) -> str:
    return f"{_figure(per_second)} tasks a second"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def _span(ms: float) -> str:
    for unit, size in (("days", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000)):
        if ms >= 2 * size:
            return f"{ms / size:.0f} {unit}"
    return f"{ms:.0f} ms"
