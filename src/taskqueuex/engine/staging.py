"""Large batches, a slice a turn, all or nothing all the same.

A batch of thousands applied in one turn would stop everybody else for as long. So its ids are set
aside and its room reserved at once; its rows are written in slices, under a job's row that names
the ids; nobody sees them meanwhile: they are in no count, and refills and listings leave them out.
The last step removes the job's row, adds the counts and lowers the border, in one small batch: that
is the moment at which all of them exist. After a crash before it, the job's row says what to remove.
"""

from collections.abc import Callable
from typing import Any

from taskqueuex.commands.call import Call
from taskqueuex.commands.produce import BatchReply, EnqueueTask
from taskqueuex.engine.core import Core, Need, Partition, Queue, hash16
from taskqueuex.engine.disciplines import id_of, order_key
from taskqueuex.engine.jobs import Job, add_job, finish_job, take_job
from taskqueuex.model.events import QUEUE_FILLED
from taskqueuex.model.ids import format_id, reserved_range
from taskqueuex.model.jobs import JobRecord
from taskqueuex.model.reads import ReadIndex, ReadSlot
from taskqueuex.model.rows import AGE, DUE, ORDER
from taskqueuex.model.states import READY
from taskqueuex.model.task import TaskRecord

__all__ = ["STAGED_ABOVE", "begin_stage", "can_stage", "is_staged", "step_stage", "step_unstage", "unmasked"]

STAGED_ABOVE = 1_000
SLICE = 250


class Stage:
    """A batch on its way, in memory."""

    __slots__ = ("count", "counter", "done", "ids", "least", "ms", "partition", "place", "record_of")

    def __init__(
        self, partition: Partition, count: int, ms: int, counter: int, record_of: Callable[[int], TaskRecord]
    ) -> None:
        self.partition = partition
        self.place = partition.place  # a re-sort gives the partition another
        self.count = count
        self.ms = ms
        self.counter = counter
        self.record_of = record_of
        self.done = 0
        self.ids: list[str] = []
        self.least = b"\xff" * 24  # the first of the keys written


def can_stage(queue: Queue, specs: list[EnqueueTask]) -> bool:
    """Whether a batch is of the plain kind that is staged: tasks that are ready at once, and stand alone."""
    if any(partition.grouped or partition.resort for partition in queue.partitions):
        return False
    return not any(
        spec.unique_key or spec.depends_on or spec.delay_ms or spec.run_at or spec.expires_at or spec.ttl_ms
        or (spec.group and len(queue.partitions) > 1)
        for spec in specs
    )  # fmt: skip


def begin_stage(
    core: Core, call: Call, partition: Partition, specs: list[Any], record_of: Callable[[int], TaskRecord]
) -> None:
    """Sets ids aside, and starts the job that answers the call."""
    slot, count = partition.place.slot, len(specs)
    ms, counter = core.ids.reserve(slot, count, core.now_ms)
    first, below = reserved_range(slot, ms, counter, count)
    job_id = b"stage" + first
    record = JobRecord(
        "stage", core.now_ms, subject=partition.place.number.to_bytes(4, "big"), queue=partition.queue.name,
        cursor=first, until=below, generation=partition.place.generation,
    )  # fmt: skip
    job = add_job(core, job_id, record, call)
    job.page = Stage(partition, count, ms, counter, record_of)
    partition.reserved += count
    core.staged[job_id] = (partition.place.number, first, below)


def step_stage(core: Core, job: Job) -> None:
    """One slice, or the end."""
    stage: Stage = job.page
    partition = stage.partition
    if partition.queue.deleted or partition.place is not stage.place:
        _start_over(core, job)
        return
    if stage.done < stage.count:
        for index in range(stage.done, min(stage.done + SLICE, stage.count)):
            _write_one(core, stage, index)
        stage.done = min(stage.done + SLICE, stage.count)
        return
    _finish(core, job, stage)


def _write_one(core: Core, stage: Stage, index: int) -> None:
    partition, record = stage.partition, stage.record_of(index)
    place = partition.place
    record.queue_number = place.number
    batch = core.batches[place.tier]
    task_id = core.ids.reserved(place.slot, stage.ms, stage.counter + index)
    key = order_key(partition.discipline, task_id, record.priority)
    batch.put_task(place, task_id, record)
    batch.put_index(place, ORDER, key)
    if partition.age is not None:
        batch.put_index(place, AGE, task_id)
    if record.name:
        batch.put_name(place, hash16(record.name), task_id)
    if key < stage.least:
        stage.least = key
    stage.ids.append(format_id(task_id))


def _finish(core: Core, job: Job, stage: Stage) -> None:
    partition, count = stage.partition, stage.count
    evicted = partition.ready.lower(stage.least, count)
    core.evict(partition, evicted)
    if partition.age is not None:
        partition.age.lower(job.record.cursor, count)
    partition.counts[READY] += count
    partition.reserved -= count
    partition.last_id = max(partition.last_id, job.record.until)
    core.mark(partition)
    partition.queue.metrics.enqueued += count
    core.tell(QUEUE_FILLED, queue=partition.queue.name, detail=str(count))
    core.woken[partition.queue.name] = None
    core.refill(partition)
    del core.staged[job.id]
    finish_job(core, job)
    if job.call is not None:
        core.answers.append((job.call, 201, BatchReply(stage.ids), partition.queue.level))


def _start_over(core: Core, job: Job) -> None:
    """The order of the queue is being changed, or the queue is gone: nothing of the batch stays.

    What was written is removed, and the call is applied anew.
    """
    stage: Stage = job.page
    stage.partition.reserved -= stage.count
    if job.call is not None:
        core.again.append(job.call)
    job.record.kind = "unstage"
    job.page = job.call = None
    take_job(core, job)


def step_unstage(core: Core, job: Job) -> None:
    """Removes a slice of a batch that was not finished."""
    record = job.record
    partition = core.partitions[int.from_bytes(record.subject, "big")]  # it is not dropped before
    if job.page is None:
        raise Need([job.ask(ReadSlot(partition.place, record.cursor, record.until, SLICE))])
    ids, tasks = job.page
    place = partition.place.at_generation(record.generation)
    batch = core.batches[partition.place.tier]
    for task_id in ids:
        kept = tasks[task_id].record
        core.tasks.pop(task_id, None)
        core.recent.pop(task_id, None)
        batch.delete_task(partition.place, task_id)
        if kept.name:
            batch.delete_name(partition.place, hash16(kept.name), task_id)
        batch.delete_index(place, AGE, task_id)
        for discipline in ("fifo", "lifo", "priority"):
            batch.delete_index(place, ORDER, order_key(discipline, task_id, kept.priority))
    job.page = None
    if len(ids) < SLICE:
        core.staged.pop(job.id, None)
        finish_job(core, job)
        if partition.queue.deleted:
            core.drop_if_empty(partition.queue)


def is_staged(core: Core, task_id: bytes) -> bool:
    """Whether an id belongs to a batch that does not exist yet."""
    return any(first <= task_id < below for _, first, below in core.staged.values())


def unmasked(core: Core, partition: Partition, read: ReadIndex, keys: list[bytes]) -> list[bytes]:
    """What a refill read, without the rows that are not there yet."""
    if not core.staged or read.index == DUE:
        return keys
    ranges = [
        (first, below) for number, first, below in core.staged.values() if number == partition.place.number
    ]
    discipline = partition.discipline
    kept = []
    for key in keys:
        task_id = key if read.index == AGE else id_of(discipline, key)
        if not any(first <= task_id < below for first, below in ranges):
            kept.append(key)
    return kept
