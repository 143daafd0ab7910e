"""Taking work out and settling it: dequeue, ack, fail, release, heartbeat, settle.

The one rule of fencing: whoever settles shows the token of the task's present lease. What
does not match changes nothing, and is told `lease_lost`, unless it repeats what was settled last.
"""

import heapq
from typing import Any

import msgspec

from taskqueuex.commands.call import Call
from taskqueuex.commands.consume import (
    AckTask,
    Dequeue,
    ErrorSpec,
    FailTask,
    HeartbeatReply,
    HeartbeatTask,
    LeasedTask,
    ReleaseTask,
    SettledReply,
    SettleReply,
    WorkerControl,
)
from taskqueuex.commands.limits import REPLY_BYTES_MAX
from taskqueuex.commands.problem import problem_of
from taskqueuex.engine.admission import admit_task
from taskqueuex.engine.core import ERRORS_MAX, PAYLOAD_KEPT_MAX, Core, Need, Partition, Queue, Task
from taskqueuex.engine.disciplines import id_of
from taskqueuex.engine.workers import note_worker
from taskqueuex.errors import LeaseLost, NotFound, TaskQueueError
from taskqueuex.model.ids import format_id, unpack_id
from taskqueuex.model.queue import Backoff
from taskqueuex.model.reads import ReadLater
from taskqueuex.model.rows import ORDER
from taskqueuex.model.states import (
    CANCELLED,
    COMPLETED,
    DEAD,
    EXPIRED,
    READY,
    RETRYING,
    RUNNING,
    SCHEDULED,
    STATE_NAMES,
)
from taskqueuex.model.task import ErrorRecord, LeaseRecord

__all__ = ["Taking", "ack", "fail", "fail_attempt", "heartbeat", "release", "settle_items", "take"]

_NO_META: dict[str, str] = {}
_SETTLED = [SettledReply(name) for name in STATE_NAMES]
_RAW_SETTLED = [msgspec.Raw(msgspec.json.encode(reply)) for reply in _SETTLED]


class Taking:
    """What a dequeue asks for, and what it has got so far."""

    __slots__ = ("control", "lease_ms", "names", "room", "tasks", "want", "weights", "worker")

    def __init__(
        self, names: list[str], weights: list[int] | None, want: int, lease_ms: int, worker: str
    ) -> None:
        self.names = names
        self.weights = weights  # None: served in order
        self.want = want
        self.lease_ms = lease_ms  # 0: the task's or the queue's
        self.worker = worker
        self.tasks: list[LeasedTask] = []
        self.control: WorkerControl | None = None  # where there is something to tell the worker
        self.room = REPLY_BYTES_MAX - 4_096

    @classmethod
    def of(cls, body: Dequeue) -> "Taking":
        """From a request over several queues."""
        queues = body.queues
        if isinstance(queues, dict):
            return cls(list(queues), list(queues.values()), body.max, body.lease_ms or 0, body.worker)
        return cls(list(dict.fromkeys(queues)), None, body.max, body.lease_ms or 0, body.worker)


def take(core: Core, taking: Taking) -> None:
    """Leases what is there, up to what is asked for; raises Need when nothing could be taken yet."""
    if core.controlled and (worker := core.controlled.get(taking.worker)) is not None:
        taking.control = worker.control()
        if worker.rests:
            note_worker(core, taking.worker, taking.names)
            return
    queues = [queue for name in taking.names if (queue := core.queues.get(name)) is not None]
    for queue in queues:
        core.touch(queue)
    try:
        if taking.weights is None or len(queues) < 2:
            for queue in queues:
                _take_from(core, queue, taking, taking.want)
        else:
            _take_by_weight(core, queues, taking)
    except Need as need:
        if not taking.tasks:
            raise
        core.wants.extend(need.reads)  # what is there is answered now; the rest will be hot next time
    if taking.worker:
        note_worker(core, taking.worker, taking.names)


def _take_by_weight(core: Core, queues: list[Queue], taking: Taking) -> None:
    """Each pick is drawn by weight among the queues that can serve."""
    assert taking.weights is not None
    weight_of = dict(zip(taking.names, taking.weights, strict=True))
    able = list(queues)
    while able and len(taking.tasks) < taking.want and taking.room > 0:
        total = sum(weight_of[queue.name] for queue in able)
        draw = core.random_bits(32) * total >> 32
        for queue in able:
            draw -= weight_of[queue.name]
            if draw < 0:
                break
        if not _take_from(core, queue, taking, len(taking.tasks) + 1):
            able.remove(queue)


def _take_from(core: Core, queue: Queue, taking: Taking, goal: int) -> int:
    """Takes from one queue until `goal` tasks are taken in all; returns how many it gave."""
    before = len(taking.tasks)
    allowed = _allowance(core, queue, goal - before)
    if allowed <= 0:
        return 0
    goal = before + allowed
    partitions = queue.partitions
    if len(partitions) > 1:
        queue.rotation += 1
        start = queue.rotation % len(partitions)
        partitions = partitions[start:] + partitions[:start]
    try:
        for partition in partitions:
            _take_from_partition(core, partition, taking, goal)
            if len(taking.tasks) >= goal or taking.room <= 0:
                break
    finally:
        given = len(taking.tasks) - before
        if given and queue.config.rate_limit is not None:
            queue.tokens -= given
    return given


def _allowance(core: Core, queue: Queue, want: int) -> int:
    if queue.paused:
        return 0
    config = queue.config
    if config.max_running is not None:
        want = min(want, config.max_running - queue.running)
    if config.rate_limit is not None and want > 0:
        want = min(want, refill_tokens(core, queue))
    return want


def refill_tokens(core: Core, queue: Queue) -> int:
    """Brings a token bucket up to date; returns its whole tokens. With none, sets an alarm for one."""
    limit = queue.config.rate_limit
    assert limit is not None
    if queue.tokens < 0 and not queue.tokens_at:
        queue.tokens = float(limit.burst)
    elapsed = max(0, core.now_ms - queue.tokens_at) if queue.tokens_at else 0
    queue.tokens = min(float(limit.burst), queue.tokens + elapsed * limit.per_second / 1000)
    queue.tokens_at = core.now_ms
    core.mark(queue.partitions[0])
    whole = int(queue.tokens + 1e-9)
    if whole < 1 and queue.token_alarm_at <= core.now_ms:
        queue.token_alarm_at = core.now_ms + max(1, int((1 - queue.tokens) * 1000 / limit.per_second) + 1)
        core.alarm(queue.token_alarm_at, "tokens", queue)
    return whole


def _take_from_partition(core: Core, partition: Partition, taking: Taking, goal: int) -> None:
    if partition.resort:
        return
    if not partition.grouped and partition.age is None:
        _take_plain(core, partition, taking, goal)
    while len(taking.tasks) < goal and taking.room > 0:
        task = _first(core, partition, goal - len(taking.tasks))
        if task is None:
            return
        expires_at = task.record.expires_at
        if expires_at and expires_at <= core.now_ms:
            core.log_event(task, "expired")
            core.move(task, EXPIRED, reason="ttl")
            continue
        parents = _parents_of(core, task)
        payload = task.record.payload
        assert payload is not None
        if taking.tasks and len(payload) + 1_024 > taking.room:
            taking.room = 0
            return
        taking.room -= len(payload) + 1_024
        taking.tasks.append(_lease(core, partition, task, payload, parents, taking))


def _first(core: Core, partition: Partition, want: int) -> Task | None:
    """The task that is next in order, with its payload; None where there is none. Raises Need."""
    if partition.regroup:
        raise Need([ReadLater()])
    if partition.unsettled:
        raise Need([core.refill_group(partition, group) for group in partition.unsettled.values()])
    window = partition.ready
    key = window.first()
    if key is None:
        if window.cold:
            raise Need([core.refill(partition, want)])
        return None
    if window.cold and window.wants_refill():
        core.refill(partition, want)
    discipline = partition.discipline
    if partition.grouped:
        return _first_of_groups(core, partition, key)
    task_id = id_of(discipline, key)
    task = core.tasks.get(task_id) or core.recent.get(task_id)
    if task is None or task.record.payload is None:
        absent = [
            i
            for k in window.peek(min(want, 1_000))
            if (t := core.tasks.get(i := id_of(discipline, k)) or core.recent.get(i)) is None
            or t.record.payload is None
        ]
        raise Need([core.read_tasks(absent)])
    return task


def _first_of_groups(core: Core, partition: Partition, key: bytes) -> Task:
    if partition.discipline == "round_robin":
        group = partition.groups.get(key[8:])
        if group is None:
            raise Need([core.read_group(partition, key[8:])])
        first = group.window.first()
        if first is None:
            raise Need([core.refill_group(partition, group)])
        if group.window.wants_refill():
            core.refill_group(partition, group)
        key = first
    task = core.find(id_of(partition.discipline, key))
    core.group_of(partition, task.record)
    core.require_payloads([task])
    return task


def _parents_of(core: Core, task: Task) -> dict[str, msgspec.Raw] | None:
    """Results of the parents, where the queue or the task says so; raises Need."""
    record = task.record
    wanted = record.with_parents
    if wanted is None:
        wanted = task.partition.queue.config.with_parents
    if not wanted or not record.depends_on:
        return None
    ids = [parent_id for parent_id, _ in record.depends_on]
    core.require(ids)
    results = {}
    for parent_id in ids:
        parent = core.tasks.get(parent_id) or core.recent.get(parent_id)
        if parent is not None:
            results[format_id(parent_id)] = msgspec.Raw(parent.status.result or b"null")
    return results


def _take_plain(core: Core, partition: Partition, taking: Taking, goal: int) -> None:
    """What a queue without groups serves nearly always, in one sweep over the front of its window.

    It stops at the first task that is not plain (not in memory, expiring, with parents); the general
    way goes on from there. Half of what a batch costs is saved here.
    """
    window, place, tasks = partition.ready, partition.place, core.tasks
    delete_index = core.batches[place.tier].delete_index
    discipline = partition.discipline
    taken = 0
    for key in window.peek(goal - len(taking.tasks)):
        task = tasks.get(key[8:] if discipline != "lifo" else id_of(discipline, key))
        if task is None:
            break
        record = task.record
        payload = record.payload
        if payload is None or record.expires_at or record.depends_on:
            break
        room = taking.room - len(payload) - 1_024
        if room <= 0:
            break
        taking.room = room
        delete_index(place, ORDER, key)
        taking.tasks.append(_begin_attempt(core, partition, task, payload, None, taking))
        if len(payload) > PAYLOAD_KEPT_MAX:
            record.payload = None
        taken += 1
    if taken:
        window.drop(taken)
        partition.counts[READY] -= taken
        partition.counts[RUNNING] += taken
        partition.queue.running += taken
        core.mark(partition)
        if window.wants_refill():
            core.refill(partition, goal)


def _lease(
    core: Core,
    partition: Partition,
    task: Task,
    payload: bytes,
    parents: dict[str, msgspec.Raw] | None,
    taking: Taking,
) -> LeasedTask:
    core.leave(task)
    partition.counts[READY] -= 1
    partition.counts[RUNNING] += 1
    if partition.discipline == "round_robin":
        _spend_turn(core, partition, task.record.group)
    leased = _begin_attempt(core, partition, task, payload, parents, taking)
    core.enter(task)
    return leased


def _begin_attempt(
    core: Core,
    partition: Partition,
    task: Task,
    payload: bytes,
    parents: dict[str, msgspec.Raw] | None,
    taking: Taking,
) -> LeasedTask:
    """The task's new lease, and what its holder is told. Indexes and counts are the caller's business."""
    now, record, status, queue = core.now_ms, task.record, task.status, partition.queue
    available_at = status.run_at or record.created_at
    status.state = RUNNING
    status.attempt += 1
    status.started_at = now
    status.worker = taking.worker
    status.progress = None
    length = taking.lease_ms or record.lease_ms or queue.config.lease_ms
    timeout_at = now + record.timeout_ms if record.timeout_ms else 0
    expires_at = now + length
    token = f"{status.attempt:x}-{core.random_bits(64):016x}"
    lease = LeaseRecord(status.attempt, token, now, expires_at, length, timeout_at, taking.worker)
    core.leases[task.id] = lease
    look_at = min(expires_at, timeout_at) if timeout_at else expires_at
    heapq.heappush(core.lease_alarms, (look_at, task.id, lease.attempt))
    place = partition.place
    core.batches[place.tier].put_lease(place, task.id, lease)
    if core.loading or partition.ready.asked is not None or partition.groups:
        core.note_change(task)
    core.events[place.tier].append((RUNNING, task.id, queue.name, lease.attempt, record.name, taking.worker))
    metrics = queue.metrics
    metrics.leased += 1
    waited_us = (now - available_at) * 1000 if now > available_at else 0
    metrics.wait_us.record(waited_us)
    core.metrics.wait_us.record(waited_us)
    if record.meta and (trace := record.meta.get("traceparent")):
        core.metrics.wait_traces.note(waited_us, now, trace)
    return LeasedTask(
        format_id(task.id),
        queue.name,
        record.name,
        msgspec.Raw(payload),
        lease.attempt,
        lease.token,
        expires_at,
        record.priority,
        record.group or None,
        record.meta or _NO_META,
        record.created_at,
        status.failures,
        record.max_attempts or queue.config.max_attempts,
        record.run_at or None,
        record.expires_at or None,
        record.timeout_ms or None,
        record.tags,
        format_id(record.workflow) if record.workflow else None,
        parents,
    )


def _spend_turn(core: Core, partition: Partition, group_name: str) -> None:
    """A group was served once: after as many as its weight, it goes to the end of the ring."""
    group = core.group(partition, group_name)
    kept = group.record
    kept.credit -= 1
    if kept.credit <= 0:
        partition.turn += 1
        kept.turn, kept.credit = partition.turn, kept.weight
        core.refresh_head(partition, group)


# Settling


def _leased(core: Core, task_id: bytes, token: str, kind: str) -> tuple[Task, LeaseRecord | None, str]:
    """The task and its lease, if the token is the lease's; or what the same call answered before."""
    task = core.find(task_id)
    lease = core.leases.get(task_id)
    if lease is not None and token == lease.token:
        core.prepare(task)
        return task, lease, ""
    status = task.status
    if lease is None and token == status.last_token:
        answer_kind, _, answer = status.last_answer.partition(" ")
        if answer_kind == kind:
            return task, None, answer
    if status.state >= COMPLETED:
        raise LeaseLost(f"the task has ended: {STATE_NAMES[status.state]}")
    raise LeaseLost(f"the task is {STATE_NAMES[status.state]}; its lease is not this one")


def _answer(answer: str) -> SettledReply:
    state, _, run_at = answer.partition(" ")
    return SettledReply(state, int(run_at) if run_at else None)


def _conclude(
    core: Core, task: Task, kind: str, state: int, *, run_at: int | None = None, reason: str = ""
) -> SettledReply:
    """Ends an attempt, and remembers what `kind` was answered, for its repeats."""
    shown = run_at or None
    if kind:
        task.status.last_answer = f"{kind} {STATE_NAMES[state]}" + (f" {shown}" if shown else "")
    if state >= COMPLETED:
        core.log_event(task, STATE_NAMES[state], detail=reason)
    core.move(task, state, run_at=run_at, reason=reason)
    return SettledReply(STATE_NAMES[state], shown) if shown else _SETTLED[state]


def ack(core: Core, task_id: bytes, body: AckTask) -> SettledReply:
    """The work is done: running -> completed."""
    task, lease, answer = _leased(core, task_id, body.lease, "ack")
    if lease is None:
        return _answer(answer)
    status, now = task.status, core.now_ms
    status.last_token, status.last_answer = lease.token, "ack completed"
    if isinstance(body.result, msgspec.Raw):
        status.result = bytes(body.result)
    metrics = task.partition.queue.metrics
    metrics.completed += 1
    ran_us = max(0, now - lease.leased_at) * 1000
    metrics.run_us.record(ran_us)
    core.metrics.run_us.record(ran_us)
    if task.record.meta and (trace := task.record.meta.get("traceparent")):
        core.metrics.run_traces.note(ran_us, now, trace)
    core.log_event(task, "completed", lease.worker, "", lease)
    core.complete(task)
    return _SETTLED[COMPLETED]


def fail(core: Core, task_id: bytes, body: FailTask) -> SettledReply:
    """The attempt failed: running -> retrying, or dead."""
    task, lease, answer = _leased(core, task_id, body.lease, "fail")
    if lease is None:
        return _answer(answer)
    task.status.last_token = lease.token
    return fail_attempt(
        core, task, lease, body.error, kind="fail", retryable=body.retryable, delay_ms=body.delay_ms
    )


def fail_attempt(
    core: Core,
    task: Task,
    lease: LeaseRecord,
    error: ErrorSpec,
    *,
    kind: str = "",
    retryable: bool = True,
    delay_ms: int | None = None,
    at_once: bool = False,
) -> SettledReply:
    """One attempt failed, by the worker's word or for want of it. `at_once`: ready without backoff."""
    status, record, config = task.status, task.record, task.partition.queue.config
    status.failures += 1
    if status.errors is None:
        status.errors = []
    status.errors.append(
        ErrorRecord(core.now_ms, lease.attempt, error.type, error.message, error.traceback, lease.worker)
    )
    del status.errors[:-ERRORS_MAX]
    metrics = task.partition.queue.metrics
    metrics.failed += 1
    core.log_event(task, "failed", lease.worker, f"{error.type}: {error.message}"[:200], lease)
    if lease.cancel_requested:
        return _conclude(core, task, kind, CANCELLED, reason="cancelled")
    if not retryable or status.failures >= (record.max_attempts or config.max_attempts):
        return _conclude(core, task, kind, DEAD, reason="max_attempts" if retryable else "not_retryable")
    if status.successor:
        return _conclude(core, task, kind, CANCELLED, reason="replaced")
    if record.expires_at and record.expires_at <= core.now_ms:
        return _conclude(core, task, kind, EXPIRED, reason="ttl")
    if at_once:
        return _conclude(core, task, kind, READY, run_at=0)
    if delay_ms is None:
        delay_ms = _backoff_ms(core, record.backoff or config.backoff, status.failures)
    return _conclude(core, task, kind, RETRYING, run_at=core.now_ms + delay_ms)


def _backoff_ms(core: Core, backoff: Backoff, failures: int) -> int:
    exponent = min(failures - 1, 1_000)
    try:
        delay = min(backoff.base_ms * backoff.factor**exponent, float(backoff.max_ms))
    except OverflowError:
        delay = float(backoff.max_ms)
    if backoff.jitter:
        delay *= 1 + backoff.jitter * (core.random_bits(32) / 2**31 - 1)
    return max(0, int(delay))


def release(core: Core, task_id: bytes, body: ReleaseTask) -> SettledReply:
    """Back to the queue: running -> ready, or scheduled with a delay. No failure is counted."""
    task, lease, answer = _leased(core, task_id, body.lease, "release")
    if lease is None:
        return _answer(answer)
    task.status.last_token = lease.token
    core.log_event(task, "released", lease.worker, "", lease)
    return give_back(core, task, lease, body.delay_ms or 0, kind="release")


def give_back(core: Core, task: Task, lease: LeaseRecord, delay_ms: int, *, kind: str = "") -> SettledReply:
    """Ends an attempt without counting it."""
    if lease.cancel_requested:
        return _conclude(core, task, kind, CANCELLED, reason="cancelled")
    if task.status.successor:
        return _conclude(core, task, kind, CANCELLED, reason="replaced")
    expires_at = task.record.expires_at
    if expires_at and expires_at <= core.now_ms:
        return _conclude(core, task, kind, EXPIRED, reason="ttl")
    if delay_ms:
        return _conclude(core, task, kind, SCHEDULED, run_at=core.now_ms + delay_ms)
    return _conclude(core, task, kind, READY, run_at=0)


def heartbeat(core: Core, task_id: bytes, body: HeartbeatTask) -> HeartbeatReply:
    """The attempt goes on.

    The lease's row is written only when recovery could not promise as much without it: recovered
    leases hold for their own length after the server is ready again.
    """
    task, lease, _ = _leased(core, task_id, body.lease, "heartbeat")
    assert lease is not None
    length = body.extend_ms or lease.length_ms
    before, lease.expires_at = lease.expires_at, core.now_ms + length
    write = length > max(lease.length_ms, lease.grace_ms)
    if write:
        lease.grace_ms = length
    if isinstance(body.progress, msgspec.Raw):
        lease.progress = task.status.progress = bytes(body.progress)
        write = True
    if write:
        place = task.partition.place
        core.batches[place.tier].put_lease(place, task_id, lease)
        core.note_change(task)
    if lease.expires_at < before:  # else the alarm that is set finds it later, and is set again
        heapq.heappush(core.lease_alarms, (lease.expires_at, task_id, lease.attempt))
    if lease.worker:
        note_worker(core, lease.worker, None)
        if core.controlled and (worker := core.controlled.get(lease.worker)) is not None:
            quiet = bool(worker.wanted_quiet)
            return HeartbeatReply(lease.expires_at, lease.cancel_requested, quiet, worker.stop)
    return HeartbeatReply(lease.expires_at, lease.cancel_requested)


_KINDS: tuple[tuple[str, Any], ...] = (
    ("ack", ack),
    ("fail", fail),
    ("release", release),
    ("heartbeat", heartbeat),
)


def settle_items(core: Core, call: Call) -> SettleReply:
    """The items of a settle, each on its own; its dequeue is the caller's."""
    body, restricted = call.body, call.principal.restricted
    ids: list[list[bytes]] = [[unpack_id(item.id) for item in getattr(body, kind)] for kind, _ in _KINDS]
    core.require([task_id for of_kind in ids for task_id in of_kind])
    for of_kind in ids:
        for task_id in of_kind:
            task = core.tasks.get(task_id)
            if task is not None and not task.partition.grouped and not task.partition.resort:
                continue  # nothing else can be missing
            try:
                core.find_to_change(task_id)
            except NotFound:
                continue
    reply = SettleReply([], [], [], [], [])
    for (kind, handler), of_kind in zip(_KINDS, ids, strict=True):
        results = getattr(reply, kind)
        for task_id, item in zip(of_kind, getattr(body, kind), strict=True):
            try:
                if restricted:
                    admit_task(core, call.principal, call.command.scope, task_id)
                answer = handler(core, task_id, item)
            except TaskQueueError as error:
                answer = problem_of(error)
            results.append(_raw(answer))
    return reply


def _raw(answer: Any) -> msgspec.Raw:
    if answer is _SETTLED[COMPLETED]:
        return _RAW_SETTLED[COMPLETED]
    return msgspec.Raw(msgspec.json.encode(answer))
