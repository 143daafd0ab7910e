"""The primitives that change anything.

One writer, no I/O, no clock: time comes in with the turn, rows go out into its batches. Whoever
changes a task calls `move` (another state) or `reseat` (same state, other place); nobody else
touches an index, a count or a lease.
"""

from taskqueuex.engine.indexes import Indexes
from taskqueuex.engine.need import Need
from taskqueuex.engine.partition import (
    _PAYLOAD_HOT_MAX,
    DURABILITY_LEVELS,
    ERRORS_MAX,
    HISTORY_MAX,
    KIND_EXPIRE,
    KIND_RUN,
    LEVEL_DURABLE,
    LEVEL_MEMORY,
    LEVEL_RELAXED,
    NEVER,
    PAYLOAD_KEPT_MAX,
    REFILL_PAGE,
    RESORT_COUNTS,
    RESORT_MOVES,
    TOMBSTONE_MS,
    Partition,
    Queue,
    Task,
    hash16,
)
from taskqueuex.engine.states import NEXT
from taskqueuex.engine.window import Window
from taskqueuex.model.events import QUEUE_CREATED, QUEUE_DELETED
from taskqueuex.model.ids import SLOTS
from taskqueuex.model.place import DURABLE, Place
from taskqueuex.model.queue import PartitionRecord, QueueConfig, layout_of
from taskqueuex.model.reads import ReadWorkflow
from taskqueuex.model.states import COMPLETED, DEAD, READY, RUNNING
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
    "Core",
    "Need",
    "Partition",
    "Queue",
    "Task",
    "hash16",
]

_DETAIL_MAX = 200  # characters of an error that an event tells


class Core(Indexes):
    """All that the engine knows, and the primitives."""

    def require_workflow(self, record: TaskRecord) -> None:
        """Raises Need unless the workflow of a task is in memory, so that the task can be counted out."""
        workflow = record.workflow
        if workflow and workflow not in self.workflows and workflow not in self.missing:
            raise Need([ReadWorkflow(workflow)])

    def create_queue(self, name: str, config: QueueConfig) -> Queue:
        """A new queue with its partitions, rows included."""
        queue = Queue(name, config, self.now_ms)
        self.queues[name] = queue
        self.add_partitions(queue)
        self.batches[DURABLE].put_queue(queue.to_record())
        self.woken[name] = None
        self.tell(QUEUE_CREATED, queue=name)
        return queue

    def add_partitions(self, queue: Queue) -> None:
        """Gives a queue without partitions its own."""
        for index in range(queue.config.partitions):
            slot = int.from_bytes(hash16(f"{queue.name}\0{index}")[:4], "big") % SLOTS
            place = Place(slot, self.next_number, 0, queue.tier)
            self.next_number += 1
            partition = Partition(queue, index, place, PartitionRecord(queue.name), self.hot_width)
            queue.partitions.append(partition)
            self.partitions[place.number] = partition
            self.mark(partition)
        self.batches[DURABLE].put_meta("next_number", str(self.next_number).encode())

    def replace_partitions(self, queue: Queue) -> None:
        """Gives an empty queue new partitions."""
        for partition in queue.partitions:
            del self.partitions[partition.place.number]
            self.batches[partition.place.tier].delete_partition(partition.place)
            if partition.dirty:
                self.dirty.remove(partition)
        queue.partitions = []
        self.add_partitions(queue)

    def relayout(self, partition: Partition) -> None:
        """Takes the layout of the queue's settings: new windows, in a new generation of order rows."""
        for group in partition.groups.values():
            self.evict(partition, group.window.peek(group.window.hot_count))
            self.dirty_groups.pop((partition.place.number, group.hash), None)
        self.evict(partition, partition.ready.peek(partition.ready.hot_count))
        partition.place = partition.place.at_generation(partition.place.generation + 1)
        partition.discipline, partition.grouped, partition.aged = layout_of(partition.queue.config)
        partition.ready = Window(self.hot_width)
        partition.age = Window(64) if partition.aged else None
        partition.groups.clear()
        partition.unsettled.clear()
        self.mark(partition)

    def bury_queue(self, queue: Queue) -> None:
        """A deleted queue: its settings are gone and its name is free; its tasks become tombstones.

        It stays, under a name that no request can say, until the last of them is forgotten.
        """
        del self.queues[queue.name]
        self.batches[DURABLE].delete_queue(queue.name)
        self.tell(QUEUE_DELETED, queue=queue.name)
        queue.deleted = True
        queue.name = f"{queue.name}\0{queue.partitions[0].place.number}"
        self.ghosts[queue.name] = queue
        self.batches[DURABLE].put_queue(queue.to_record())

    def drop_if_empty(self, queue: Queue) -> None:
        """Removes what is left of a deleted queue, once its last task is forgotten."""
        if any(sum(partition.counts) for partition in queue.partitions) or self.is_staging(queue):
            return
        if self.ghosts.pop(queue.name, None) is None:
            return
        self.batches[DURABLE].delete_queue(queue.name)
        for partition in queue.partitions:
            del self.partitions[partition.place.number]
            partition.dirty = False
            self.batches[partition.place.tier].delete_partition(partition.place)

    def is_staging(self, queue: Queue) -> bool:
        """Whether there are rows of a batch that is not finished, or not removed yet."""
        numbers = {partition.place.number for partition in queue.partitions}
        return any(number in numbers for number, _, _ in self.staged.values())

    def pick_partition(self, queue: Queue, group: str, unique_key: str, index: int) -> Partition:
        """Where a task goes: by its group, else by its unique key, else in turn."""
        partitions = queue.partitions
        if len(partitions) == 1:
            return partitions[0]
        key = group or unique_key
        if key:
            index = int.from_bytes(hash16(key)[:8], "big")
        return partitions[index % len(partitions)]

    def move(self, task: Task, state: int, *, run_at: int | None = None, reason: str = "") -> None:
        """A transition: out of the rows of the old state, into those of the new."""
        status = task.status
        before = status.state
        assert state in NEXT[before], f"{before} -> {state} is no transition"
        self.leave(task)
        partition = task.partition
        partition.counts[before] -= 1
        partition.counts[state] += 1
        status.state = state
        if run_at is not None:
            status.run_at = run_at
        if state >= COMPLETED:
            status.ended_at = self.now_ms
            status.reason = reason
            if state == DEAD:
                partition.queue.metrics.dead += 1
        self.enter(task)
        self.save(task)
        if before == RUNNING and state != COMPLETED and not reason and status.errors:
            error = status.errors[-1]
            reason = f"{error.type}: {error.message}"[:_DETAIL_MAX]
        self.events[partition.place.tier].append(
            (state, task.id, partition.queue.name, status.attempt, task.record.name, reason)
        )

    def complete(self, task: Task) -> None:
        """running -> completed: what `move` would do, in one go where nothing else hangs on the task."""
        record, partition, status = task.record, task.partition, task.status
        queue = partition.queue
        if partition.grouped or record.unique_key or queue.config.max_running is not None:
            self.move(task, COMPLETED)
            return
        place, task_id = partition.place, task.id
        batch = self.batches[place.tier]
        del self.leases[task_id]
        batch.delete_lease(place, task_id)
        queue.running -= 1
        partition.counts[RUNNING] -= 1
        partition.counts[COMPLETED] += 1
        status.state = COMPLETED
        status.ended_at = self.now_ms
        self._enter_end(task)
        batch.put_status(place, task_id, status)
        self.tasks.pop(task_id, None)
        if len(self.recent) < self.recent_max:
            self._cool(task)
            self.recent[task_id] = task
        if self.loading:
            self.note_change(task)
        self.events[place.tier].append((COMPLETED, task_id, queue.name, status.attempt, record.name, ""))

    def reseat(self, task: Task, record: TaskRecord, state: int, run_at: int) -> None:
        """New fields for a task that waits: it leaves its place, and takes the one they give it."""
        status, partition = task.status, task.partition
        assert record.payload is not None
        self.leave(task)
        partition.counts[status.state] -= 1
        partition.counts[state] += 1
        status.state, status.run_at = state, run_at
        task.record = record
        place = partition.place
        self.batches[place.tier].put_task(place, task.id, record)
        self.enter(task)
        self.save(task)
        self.events[place.tier].append(
            (state, task.id, partition.queue.name, status.attempt, record.name, "changed")
        )

    def tell(self, what: int, *, queue: str = "", name: str = "", detail: str = "") -> None:
        """An event that is about no task."""
        self.events[DURABLE].append((what, b"", queue, 0, name, detail))

    def create(self, partition: Partition, record: TaskRecord, status: TaskStatus) -> Task:
        """A new task, rows included."""
        place = partition.place
        task_id = self.ids.next(place.slot, self.now_ms)
        partition.last_id = task_id
        batch = self.batches[place.tier]
        batch.put_task(place, task_id, record)
        partition.counts[status.state] += 1
        task = Task(task_id, partition, record, status)
        self.enter(task)
        if status.state != READY:
            batch.put_status(place, task_id, status)
        if record.name:
            batch.put_name(place, hash16(record.name), task_id)
        queue = partition.queue
        queue.metrics.enqueued += 1
        self.events[place.tier].append((status.state, task_id, queue.name, 0, record.name, ""))
        return task

    def save_record(self, task: Task) -> None:
        """Writes the row of what its producer said. Its payload must be in memory."""
        place = task.partition.place
        assert task.record.payload is not None
        self.batches[place.tier].put_task(place, task.id, task.record)
        self.note_change(task)

    def postpone_forgetting(self, task: Task) -> None:
        """An ended task is kept a while longer."""
        place = task.partition.place
        self.batches[place.tier].delete_ended(place, task.status.state, task.status.forget_at, task.id)
        self.put_ended(task, self.now_ms + TOMBSTONE_MS)
        self.save(task)

    def erase_ended(self, task: Task) -> None:
        """Forgets an ended task: every row of its own goes."""
        place, status = task.partition.place, task.status
        batch = self.batches[place.tier]
        batch.delete_ended(place, status.state, status.forget_at, task.id)
        name_hash = hash16(task.record.name) if task.record.name else b""
        self.erase_rows(task.partition, status.state, task.id, name_hash)
        self.forget_task(task)
        if task.record.workflow:
            self.leave_workflow(task.record.workflow, task.id)

    def erase_rows(self, partition: Partition, state: int, task_id: bytes, name_hash: bytes) -> None:
        """Removes the rows of a task that is in no index any more, and counts it out."""
        place = partition.place
        batch = self.batches[place.tier]
        batch.delete_task(place, task_id)
        batch.delete_status(place, task_id)
        if name_hash:
            batch.delete_name(place, name_hash, task_id)
        partition.counts[state] -= 1
        self.mark(partition)
        if partition.queue.deleted:
            self.drop_if_empty(partition.queue)
        for read in self.loading.get(task_id, ()):
            read.stale = True

    def leave_workflow(self, workflow: bytes, task_id: bytes) -> None:
        """A task of a workflow was forgotten; with the last one goes the workflow."""
        batch = self.batches[DURABLE]
        batch.delete_workflow_task(workflow, task_id)
        record = self.workflows.get(workflow)
        if record is None:
            return
        record.remaining -= 1
        if record.remaining <= 0:
            batch.delete_workflow(workflow)
            del self.workflows[workflow]
        else:
            batch.put_workflow(workflow, record)
