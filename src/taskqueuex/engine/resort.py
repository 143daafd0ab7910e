"""A changed discipline, or changed limits of groups, applied to what waits.

The partition's order rows move, slice by slice, from one generation to the next: each slice reads
rows of the old layout, loads their tasks, and enters them under the new one. Meanwhile nothing is
handed out of the partition, and no task that is ready may change (whoever tries is tried again);
what becomes ready goes straight to the new generation. Where the new layout looks at groups, what
runs and retries is counted first, and for that short while nothing of the partition changes.
"""

from taskqueuex.engine.core import RESORT_COUNTS, RESORT_MOVES, Core, Need, Partition, Queue
from taskqueuex.engine.disciplines import id_of
from taskqueuex.engine.jobs import Job, add_job, finish_job, save_job, take_job
from taskqueuex.engine.staging import is_staged
from taskqueuex.model.jobs import JobRecord
from taskqueuex.model.place import Place
from taskqueuex.model.reads import (
    ReadFilter,
    ReadGroups,
    ReadIndex,
    ReadLater,
    ReadRequest,
    TaskFilter,
)
from taskqueuex.model.rows import AGE, GWAIT, ORDER
from taskqueuex.model.states import READY, RETRYING, RUNNING
from taskqueuex.model.task import TaskRecord

__all__ = ["begin", "begin_regroup", "regroup_again", "step_regroup", "step_resort"]

PAGE = 250
Layout = tuple[str, bool, bool]


def begin(core: Core, queue: Queue, old: Layout) -> None:
    """Starts the move of each partition that has anything to move; the others just change."""
    for partition in queue.partitions:
        counts = partition.counts
        core.relayout(partition)
        if not (counts[READY] or counts[RUNNING] or counts[RETRYING]):
            continue
        partition.resort = RESORT_COUNTS if partition.grouped else RESORT_MOVES
        partition.resort_layout = old
        partition.ready.close()
        if partition.age is not None:
            partition.age.close()
        subject = partition.place.number.to_bytes(4, "big")
        add_job(
            core, b"resort" + subject, JobRecord("resort", core.now_ms, subject=subject, queue=queue.name)
        )


def step_resort(core: Core, job: Job) -> None:
    """One slice of a move."""
    partition = _partition(core, job)
    if partition is None or not partition.resort:
        finish_job(core, job)
    elif partition.resort == RESORT_COUNTS:
        _count(core, job, partition)
    else:
        _move(core, job, partition)


def _partition(core: Core, job: Job) -> Partition | None:
    return core.partitions.get(int.from_bytes(job.record.subject, "big"))


# Counting what runs and retries, by group


def _count(core: Core, job: Job, partition: Partition) -> None:
    """Gathers in memory, page by page; all is written in the last step, so a crash starts it anew."""
    layout = (partition.discipline, partition.grouped, partition.aged)
    if job.page is None:
        wanted = TaskFilter([(partition.queue.name, partition.place, layout)], (RETRYING,))
        raise Need([job.ask(ReadFilter(job, wanted, job.gathered_to, PAGE))])
    found, cursor, _ = job.page
    for task_id, task in found.items():
        if task.status is not None and task.status.state == RETRYING:
            job.gathered[task_id] = task.record.group
    job.page, job.gathered_to = None, cursor
    if cursor:
        return
    running = [i for i in core.leases if i in core.tasks and core.tasks[i].partition is partition]
    unloaded = [i for i in core.leases if i not in core.tasks]
    core.require(unloaded)
    names = {core.tasks[i].record.group for i in running} | set(job.gathered.values())
    groups = {
        name: core.group(partition, name) for name in names if name or partition.discipline == "round_robin"
    }
    for task_id in running:
        group = groups.get(core.tasks[task_id].record.group)
        if group is not None:
            group.record.running += 1
    for name in job.gathered.values():
        group = groups.get(name)
        if group is not None:
            group.record.retrying += 1
    for group in groups.values():
        core.refresh_head(partition, group)
    partition.resort = RESORT_MOVES
    core.mark(partition)


# Moving rows


def _stages(old: Layout) -> list[int]:
    """The old indexes, in the order in which they are moved; -1 stands for the rows of groups."""
    _, grouped, aged = old
    return [*([GWAIT] if grouped else []), ORDER, *([AGE] if aged else []), *([-1] if grouped else [])]


def _move(core: Core, job: Job, partition: Partition) -> None:
    old = partition.resort_layout
    assert old is not None
    old_place = partition.place.at_generation(partition.place.generation - 1)
    stages = _stages(old)
    at = job.record.cursor[0] if job.record.cursor else 0
    start = job.record.cursor[1:]
    if job.page is None:
        if stages[at] < 0:
            raise Need([job.ask(ReadGroups(old_place, start, PAGE))])
        raise Need([job.ask(ReadIndex(job, old_place, stages[at], start, PAGE))])
    keys = job.page if stages[at] < 0 else job.page[0]
    _move_page(core, partition, old_place, old, stages[at], keys)
    job.page = None
    if len(keys) == PAGE:
        job.record.cursor = bytes([at]) + keys[-1] + b"\0"
    elif at + 1 < len(stages):
        job.record.cursor = bytes([at + 1])
    else:
        partition.resort, partition.resort_layout = b"", None
        core.mark(partition)
        core.woken[partition.queue.name] = None
        finish_job(core, job)
        return
    save_job(core, job)


def _move_page(
    core: Core, partition: Partition, place: Place, old: Layout, stage: int, keys: list[bytes]
) -> None:
    discipline, grouped, _ = old
    batch = core.batches[place.tier]
    if stage == GWAIT or (stage == ORDER and discipline != "round_robin"):
        cut = 16 if stage == GWAIT else 0
        ids = [id_of(discipline, key[cut:]) for key in keys]
        core.require(ids)
        tasks = [core.tasks.get(i) or core.recent.get(i) for i in ids]
        _require_groups(core, partition, [task.record for task in tasks if task is not None])
        for task in tasks:
            heads = stage == ORDER and grouped and task is not None and task.record.group
            if task is not None and not heads and task.status.state == READY and not is_staged(core, task.id):
                core.enter_order(task)
    for key in keys:
        if stage < 0:
            batch.delete_group(place, key)
        else:
            batch.delete_index(place, stage, key)
    core.mark(partition)


def _require_groups(core: Core, partition: Partition, records: list[TaskRecord]) -> None:
    reads: list[ReadRequest] = []
    for record in records:
        try:
            core.group_of(partition, record)
        except Need as need:
            reads += need.reads
    if reads:
        raise Need(reads)


# Changed limits of groups


def begin_regroup(core: Core, queue: Queue) -> None:
    """A changed limit lets some groups run that could not, or stops others: all are looked at."""
    for partition in queue.partitions:
        if partition.grouped:
            subject = partition.place.number.to_bytes(4, "big")
            add_job(
                core,
                b"regroup" + subject,
                JobRecord("regroup", core.now_ms, subject=subject, queue=queue.name),
            )


def regroup_again(core: Core, partition: Partition) -> None:
    """After a restart: a head that was not known when the process ended is found again."""
    subject = partition.place.number.to_bytes(4, "big")
    job_id = b"regroup" + subject
    if job_id not in core.jobs:
        job = Job(job_id, JobRecord("regroup", core.now_ms, subject=subject, queue=partition.queue.name))
        job.persistent = False  # the partition's row says so until it is done
        take_job(core, job)


def step_regroup(core: Core, job: Job) -> None:
    """One slice of the groups of a partition."""
    partition = _partition(core, job)
    if partition is None or not partition.grouped:
        if partition is not None:
            partition.regroup = False
        finish_job(core, job)
        return
    if partition.resort:
        raise Need([ReadLater()])  # it places groups by the limits as they are now
    if job.page is None:
        raise Need([job.ask(ReadGroups(partition.place, job.record.cursor, PAGE))])
    hashes: list[bytes] = job.page
    unread = [key for key in hashes if key not in partition.groups]
    if unread:
        raise Need([core.read_group(partition, key) for key in unread])
    for key in hashes:
        core.refresh_head(partition, partition.groups[key])
    job.page = None
    if len(hashes) < PAGE:
        for group in list(partition.groups.values()):
            core.refresh_head(partition, group)  # those without a row yet
        partition.regroup = False
        core.mark(partition)
        finish_job(core, job)
    else:
        job.record.cursor = hashes[-1] + b"\0"
        save_job(core, job)
