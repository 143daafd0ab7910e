"""The check: what the indexes, counts and bounds must be, recomputed from the records alone.

It is the referee of the property tests as well: after any step it must find nothing.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from hashlib import blake2b

import msgspec

from taskqueuex.model.ids import format_id
from taskqueuex.model.jobs import JobRecord
from taskqueuex.model.place import DURABLE, Place
from taskqueuex.model.queue import PartitionRecord, QueueConfig, QueueRecord, layout_of
from taskqueuex.model.rows import AGE, DUE, GWAIT, ORDER, StoredTask
from taskqueuex.model.states import (
    BLOCKED,
    COMPLETED,
    READY,
    RETRYING,
    RUNNING,
    SCHEDULED,
    STATE_NAMES,
    STATES,
    TERMINAL,
)
from taskqueuex.model.task import GroupRecord
from taskqueuex.storage.codec import CorruptRecord
from taskqueuex.storage.protocol import Storage
from taskqueuex.storage.query import state_of

__all__ = ["CheckReport", "check_storage"]

_ALL_ONES = (1 << 128) - 1
_PAGE = 1_000
_DIGEST_BYTES = 32
PROBLEMS_MAX = 1_000
_GENERATIONS_LOOKED_AT = 8


class CheckReport(msgspec.Struct):
    """What was read, and what is wrong with it."""

    records: int = 0
    problems: list[str] = []

    def add(self, text: str) -> None:
        """One more problem."""
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(text)


class _Partition:
    """What the records of one partition say its rows must be."""

    def __init__(self, queue: QueueRecord, place: Place, record: PartitionRecord | None) -> None:
        self.queue = queue
        self.record = record or PartitionRecord(queue.name)
        self.place = place.at_generation(self.record.generation)
        self.layout = layout_of(queue.config)
        self.counts = [0] * STATES
        self.tasks: dict[bytes, StoredTask] = {}
        self.ready: set[bytes] = set()

    @property
    def name(self) -> str:
        """How it is called in a problem."""
        return f"queue {self.queue.name!r} (slot {self.place.slot}, number {self.place.number})"


class _Jobs:
    """What is under way, and explains what else would be a problem."""

    def __init__(self, jobs: Iterable[tuple[bytes, JobRecord]]) -> None:
        self.forgetting: set[bytes] = set()  # ended tasks that are in no index any more
        self.staged: list[tuple[bytes, bytes]] = []  # ids of batches that are not finished
        self.releasing = False
        for _, job in jobs:
            if job.kind == "forget":
                self.forgetting.add(job.subject)
            elif job.kind in ("stage", "unstage"):
                self.staged.append((job.cursor, job.until))
            elif job.kind == "release":
                self.releasing = True

    def is_staged(self, task_id: bytes) -> bool:
        """Whether an id belongs to a batch that does not exist yet."""
        return any(first <= task_id < below for first, below in self.staged)


def check_storage(storage: Storage, tier: int = DURABLE, system: Storage | None = None) -> CheckReport:
    """Checks one tier's store. Every problem is a sentence.

    `system` is where queues, jobs and workflows are kept, where that is not the store itself: the
    tier in memory has none of its own.
    """
    report = CheckReport()
    system = storage if system is None else system
    try:
        partitions = _partitions(storage, system.load_queues(), tier)
        jobs = _Jobs(system.load_jobs())
        _read_tasks(storage, partitions, jobs, report)
        for partition in partitions.values():
            report.records += 1
            _check_partition(storage, partition, jobs, report)
        _check_edges(storage, partitions, jobs, report)
        _check_workflows(system, partitions, report)
        _check_schedules(system, report)
        _check_tokens(system, report)
        _check_audit(system, report)
    except CorruptRecord as error:
        report.add(f"a record cannot be read: {error}")
    return report


def _partitions(storage: Storage, queues: Iterable[QueueRecord], tier: int) -> dict[int, _Partition]:
    found = {}
    for queue in queues:
        if (queue.config.durability == "memory") == (tier == DURABLE):
            continue
        for slot, number in queue.partitions:
            place = Place(slot, number, 0, tier)
            found[number] = _Partition(queue, place, storage.load_partition(place))
    return found


def _paged(scan: "Iterator[list[bytes]]") -> Iterator[bytes]:
    for page in scan:
        yield from page


def _all_ids(storage: Storage, slot: int) -> Iterator[list[bytes]]:
    start = b""
    while page := storage.scan_tasks(slot, start, _PAGE):
        yield page
        start = page[-1] + b"\0"


def _read_tasks(
    storage: Storage, partitions: dict[int, _Partition], jobs: _Jobs, report: CheckReport
) -> None:
    for slot in sorted({partition.place.slot for partition in partitions.values()}):
        for page in _all_ids(storage, slot):
            for task_id, task in storage.get_tasks(page, leases=True).items():
                report.records += 1
                if jobs.is_staged(task_id):
                    continue
                partition = partitions.get(task.record.queue_number)
                if partition is None or partition.place.slot != slot:
                    report.add(f"task {format_id(task_id)} belongs to no queue that exists")
                    continue
                partition.tasks[task_id] = task
                partition.counts[state_of(task)] += 1


def _check_partition(storage: Storage, partition: _Partition, jobs: _Jobs, report: CheckReport) -> None:
    record = partition.record
    if partition.counts != record.counts:
        differing = {
            STATE_NAMES[state]: (record.counts[state], partition.counts[state])
            for state in range(STATES)
            if record.counts[state] != partition.counts[state]
        }
        report.add(f"{partition.name}: counts (kept, found) differ: {differing}")
    _check_order(storage, partition, jobs, report)
    _check_earlier_generations(storage, partition, jobs, report)
    _check_due(storage, partition, jobs, report)
    _check_ended(storage, partition, jobs, report)
    _check_leases(storage, partition, report)
    _check_unique(storage, partition, report)
    _check_names(storage, partition, report)


def _scan(storage: Storage, place: Place, index: int, jobs: _Jobs) -> list[bytes]:
    found: list[bytes] = []
    start = b""
    while page := storage.scan_index(place, index, start, _PAGE):
        found += page
        start = page[-1] + b"\0"
    if jobs.staged and index in (ORDER, AGE):
        return [
            key for key in found if not (jobs.is_staged(key[-16:]) or jobs.is_staged(_inverted(key[-16:])))
        ]
    return found


def _inverted(task_id: bytes) -> bytes:
    return (int.from_bytes(task_id, "big") ^ _ALL_ONES).to_bytes(16, "big")


def _key(discipline: str, task_id: bytes, priority: int) -> bytes:
    if discipline == "fifo":
        return bytes(8) + task_id
    if discipline == "lifo":
        return bytes(8) + _inverted(task_id)
    return (1000 - priority).to_bytes(8, "big") + task_id


def _hash(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16).digest()


def _compare(
    partition: _Partition, what: str, found: Iterable[bytes], wanted: Iterable[bytes], report: CheckReport
) -> None:
    found, wanted = set(found), set(wanted)
    for key in sorted(found - wanted)[:5]:
        report.add(f"{partition.name}: {what} has a row too many: {key.hex()}")
    for key in sorted(wanted - found)[:5]:
        report.add(f"{partition.name}: {what} misses a row: {key.hex()}")


def _check_order(storage: Storage, partition: _Partition, jobs: _Jobs, report: CheckReport) -> None:
    discipline, grouped, aged = partition.layout
    if partition.record.resort:
        return  # rows of both generations: judged when the move is over
    plain: set[bytes] = set()
    waiting: dict[bytes, list[bytes]] = {}
    groups: dict[bytes, GroupRecord] = {}
    for task_id, task in partition.tasks.items():
        state, record = state_of(task), task.record
        in_group = grouped and bool(record.group or discipline == "round_robin")
        if in_group and state in (READY, RUNNING, RETRYING):
            group = groups.setdefault(_hash(record.group), GroupRecord(record.group))
            group.running += state == RUNNING
            group.retrying += state == RETRYING
        if state == READY:
            key = _key(discipline, task_id, record.priority)
            if in_group:
                waiting.setdefault(_hash(record.group), []).append(key)
            else:
                plain.add(key)
    _compare(
        partition, "the index of waiting groups", _scan(storage, partition.place, GWAIT, jobs),
        {group + key for group, keys in waiting.items() for key in keys}, report,
    )  # fmt: skip
    kept = _groups(storage, partition)
    heads = _check_groups(partition, groups, waiting, kept, report)
    rows = _scan(storage, partition.place, ORDER, jobs)
    _compare(partition, "the order index", rows, plain | heads, report)
    if partition.record.order_count != len(rows):
        report.add(f"{partition.name}: order_count is {partition.record.order_count}, rows are {len(rows)}")
    if rows and rows[0] < partition.record.ready_bound:
        report.add(f"{partition.name}: an order row lies below its bound and would never be served")
    ages = [i for i, task in partition.tasks.items() if state_of(task) == READY] if aged else []
    _compare(partition, "the age index", _scan(storage, partition.place, AGE, jobs), ages, report)


def _check_earlier_generations(
    storage: Storage, partition: _Partition, jobs: _Jobs, report: CheckReport
) -> None:
    """A change of order that is over has left nothing behind."""
    if partition.record.resort:
        return
    generation = partition.place.generation
    for earlier in range(max(0, generation - _GENERATIONS_LOOKED_AT), generation):
        place = partition.place.at_generation(earlier)
        rows = sum(len(_scan(storage, place, index, jobs)) for index in (ORDER, GWAIT, AGE))
        rows += len(storage.scan_groups(place, b"", _PAGE))
        if rows:
            report.add(f"{partition.name}: {rows} rows of an order that it had before")


def _groups(storage: Storage, partition: _Partition) -> dict[bytes, GroupRecord]:
    found: dict[bytes, GroupRecord] = {}
    start = b""
    while page := storage.scan_groups(partition.place, start, _PAGE):
        found.update(page)
        start = page[-1][0] + b"\0"
    return found


def _check_groups(
    partition: _Partition,
    groups: dict[bytes, GroupRecord],
    waiting: dict[bytes, list[bytes]],
    kept: dict[bytes, GroupRecord],
    report: CheckReport,
) -> set[bytes]:
    heads: set[bytes] = set()
    config = partition.queue.config
    for group_hash in groups.keys() | kept.keys():
        want, have = groups.get(group_hash, GroupRecord("")), kept.get(group_hash, GroupRecord(""))
        keys = waiting.get(group_hash, [])
        if (want.running, want.retrying, len(keys)) != (have.running, have.retrying, have.waiting):
            report.add(
                f"{partition.name}: group {have.name or want.name!r} says running, retrying, waiting = "
                f"{have.running}, {have.retrying}, {have.waiting}; "
                f"found {want.running}, {want.retrying}, {len(keys)}"
            )
        head = b""
        if keys and _may_run(config, want):
            if partition.layout[0] == "round_robin":
                head = have.turn.to_bytes(8, "big") + group_hash
            else:
                head = min(keys)
        if not have.head and partition.record.unsettled:
            continue  # it was not known when the row was written, which says so: the next start finds it
        if head != have.head:
            report.add(
                f"{partition.name}: group {have.name!r} has head {have.head.hex()}, should have {head.hex()}"
            )
        if head:
            heads.add(head)
    return heads


def _may_run(config: QueueConfig, group: GroupRecord) -> bool:
    if not group.name and config.discipline == "round_robin":
        return True
    if config.ordered_groups and (group.running or group.retrying):
        return False
    return config.max_running_per_group is None or group.running < config.max_running_per_group


def _check_due(storage: Storage, partition: _Partition, jobs: _Jobs, report: CheckReport) -> None:
    wanted = set()
    for task_id, task in partition.tasks.items():
        state = state_of(task)
        if state in (SCHEDULED, RETRYING):
            assert task.status is not None
            wanted.add(task.status.run_at.to_bytes(8, "big") + task_id + b"\0")
        if state in (SCHEDULED, BLOCKED, READY, RETRYING) and task.record.expires_at:
            wanted.add(task.record.expires_at.to_bytes(8, "big") + task_id + b"\1")
    rows = _scan(storage, partition.place, DUE, jobs)
    _compare(partition, "the due index", rows, wanted, report)
    if partition.record.due_count != len(rows):
        report.add(f"{partition.name}: due_count is {partition.record.due_count}, rows are {len(rows)}")
    if rows and rows[0] < partition.record.timer_bound:
        report.add(f"{partition.name}: a due row lies below its bound and would never fire")


def _check_ended(storage: Storage, partition: _Partition, jobs: _Jobs, report: CheckReport) -> None:
    for state in TERMINAL:
        rows = []
        start = b""
        while page := storage.scan_ended(partition.place, state, start, _PAGE):
            rows += page
            start = page[-1].forget_at.to_bytes(8, "big") + page[-1].task_id + b"\0"
        wanted = {
            task.status.forget_at.to_bytes(8, "big") + task_id
            for task_id, task in partition.tasks.items()
            if task.status is not None and state_of(task) == state and task_id not in jobs.forgetting
        }
        found = {row.forget_at.to_bytes(8, "big") + row.task_id for row in rows}
        _compare(partition, f"the index of {STATE_NAMES[state]} tasks", found, wanted, report)
        bound = partition.record.forget_bounds[state - COMPLETED]
        if rows and not bound:
            report.add(f"{partition.name}: {STATE_NAMES[state]} tasks would never be forgotten")
        elif rows and rows[0].forget_at < bound:
            report.add(f"{partition.name}: a row of {STATE_NAMES[state]} tasks lies below its bound")


def _check_leases(storage: Storage, partition: _Partition, report: CheckReport) -> None:
    for task_id, lease in storage.load_leases(partition.place):
        task = partition.tasks.get(task_id)
        if task is None:
            report.add(f"{partition.name}: a lease of {format_id(task_id)}, which does not exist")
        elif task.status is not None and task.status.attempt > lease.attempt:
            report.add(f"{partition.name}: the lease of {format_id(task_id)} is older than its attempt")


def _check_schedules(storage: Storage, report: CheckReport) -> None:
    for record, state in storage.load_schedules():
        report.records += 1
        if (record.cron is None) == (record.every_ms is None):
            report.add(f"schedule {record.name!r} has not exactly one of cron and every_ms")
        if state is None:
            report.add(f"schedule {record.name!r} does not say how far it is, and would never fire")
        elif record.every_ms and state.next_at % record.every_ms:
            report.add(f"schedule {record.name!r} is due at {state.next_at}, between its occurrences")


def _check_tokens(storage: Storage, report: CheckReport) -> None:
    digests: set[bytes] = set()
    tokens = storage.load_tokens()
    for record in tokens:
        report.records += 1
        if len(record.digest) != _DIGEST_BYTES:
            report.add(f"token {record.id!r} has a digest of {len(record.digest)} bytes")
        if record.digest in digests:
            report.add(f"token {record.id!r} has the digest of another")
        digests.add(record.digest)
        if not record.scopes:
            report.add(f"token {record.id!r} has no scope")
    if tokens and not any("admin" in record.scopes for record in tokens):
        report.add("there are tokens, and none of them has the scope admin")


def _check_audit(storage: Storage, report: CheckReport) -> None:
    before = b""
    while page := storage.scan_audit(b"", before, _PAGE):
        for key, record in page:
            report.records += 1
            if key[:8] != record.at.to_bytes(8, "big"):
                report.add(f"the audit has a row of {record.at} at another time")
        before = page[-1][0]


def _check_unique(storage: Storage, partition: _Partition, report: CheckReport) -> None:
    several = partition.queue.config.partitions > 1
    wanted: dict[bytes, bytes] = {}
    for task_id, task in partition.tasks.items():
        record = task.record
        if not record.unique_key or state_of(task) in TERMINAL:
            continue
        if task.status is not None and task.status.successor_of:
            continue
        key = f"{record.unique_key}\0{record.group}" if several else record.unique_key
        wanted[_hash(key)] = task_id
        if storage.get_unique(partition.place, _hash(key)) != task_id:
            report.add(
                f"{partition.name}: {format_id(task_id)} does not hold its unique key {record.unique_key!r}"
            )

    start = b""
    while page := storage.scan_unique(partition.place, start, _PAGE):
        for key_hash, task_id in page:
            if key_hash not in wanted:
                report.add(f"{partition.name}: {format_id(task_id)} holds a unique key, and is not live")
        start = page[-1][0] + b"\0"


def _check_names(storage: Storage, partition: _Partition, report: CheckReport) -> None:
    for name in {task.record.name for task in partition.tasks.values() if task.record.name}:
        wanted = {i for i, task in partition.tasks.items() if task.record.name == name}
        found: set[bytes] = set()
        start = b""
        while page := storage.scan_names(partition.place, _hash(name), start, _PAGE):
            found.update(page)
            start = page[-1] + b"\0"
        _compare(partition, f"the index of name {name!r}", found, wanted, report)


def _check_edges(
    storage: Storage, partitions: dict[int, _Partition], jobs: _Jobs, report: CheckReport
) -> None:
    """A blocked task waits for as many edges as it says."""
    tasks = {task_id: task for partition in partitions.values() for task_id, task in partition.tasks.items()}
    unmet: Counter[bytes] = Counter()
    for parent_id, parent in tasks.items():
        if parent.status is None or not parent.status.has_children:
            continue
        start = b""
        while page := storage.scan_children(parent_id, start, _PAGE):
            for child_id, edge in page:
                unmet[child_id] += not edge.met
            start = page[-1][0] + b"\0"
    for task_id, task in tasks.items():
        if state_of(task) == BLOCKED:
            assert task.status is not None
            elsewhere = [parent for parent, _ in task.record.depends_on if parent not in tasks]
            if unmet[task_id] != task.status.pending and not elsewhere and not jobs.releasing:
                report.add(
                    f"task {format_id(task_id)} is blocked by {task.status.pending}, "
                    f"its edges say {unmet[task_id]}"
                )


def _check_workflows(system: Storage, partitions: dict[int, _Partition], report: CheckReport) -> None:
    """A workflow counts the tasks that are left of it, and lists them."""
    listed: set[tuple[bytes, bytes]] = set()
    before = b""
    while page := system.scan_workflows(before, _PAGE):
        for workflow, record in page:
            ids = list(_paged(_workflow_ids(system, workflow)))
            listed.update((workflow, task_id) for task_id in ids)
            if record.remaining != len(ids):
                report.add(
                    f"workflow {format_id(workflow)} says {record.remaining} tasks, and lists {len(ids)}"
                )
        before = page[-1][0]
    for partition in partitions.values():
        for task_id, task in partition.tasks.items():
            workflow = task.record.workflow
            if workflow and (workflow, task_id) not in listed:
                report.add(f"task {format_id(task_id)} is not listed by its workflow {format_id(workflow)}")


def _workflow_ids(system: Storage, workflow: bytes) -> Iterator[list[bytes]]:
    start = b""
    while page := system.scan_workflow_tasks(workflow, start, _PAGE):
        yield page
        start = page[-1] + b"\0"
