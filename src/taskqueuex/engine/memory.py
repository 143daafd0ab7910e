"""What is in memory, and how what is not comes into it.

Where a task is:

    tasks    those that are ready below the border, and those that run
    recent   a bounded cache of others that were looked at or changed lately

Either object is the truth as long as it is there, since every change goes through it. A task in
neither is read from storage (`find` raises Need), after the batch now growing has been written,
so that nothing changed meanwhile is missed.
"""

import heapq
from collections import OrderedDict, deque
from collections.abc import Callable, Collection
from typing import Any

from taskqueuex.commands.call import Call
from taskqueuex.commands.principal import ANYONE, Principal
from taskqueuex.engine.groups import Group
from taskqueuex.engine.job import Job
from taskqueuex.engine.metrics import EngineMetrics
from taskqueuex.engine.need import Need
from taskqueuex.engine.partition import LEVEL_DURABLE, LEVEL_MEMORY, Partition, Queue, Task
from taskqueuex.engine.schedule import Schedule
from taskqueuex.engine.worker import Worker
from taskqueuex.errors import NotFound
from taskqueuex.model.events import EventRecord
from taskqueuex.model.ids import IdGenerator, format_id
from taskqueuex.model.jobs import WorkflowRecord
from taskqueuex.model.reads import ReadChildren, ReadRequest, ReadTasks
from taskqueuex.model.rows import Batch, StoredTask
from taskqueuex.model.states import RUNNING
from taskqueuex.model.task import DependencyRecord, LeaseRecord, TaskStatus

__all__ = ["Memory"]


class Memory:
    """All that the engine knows."""

    def __init__(
        self, random_bits: Callable[[int], int], hot_width: int = 4_096, recent_max: int = 10_000
    ) -> None:
        self.random_bits = random_bits
        self.hot_width = hot_width
        self.recent_max = recent_max
        self.ids = IdGenerator(random_bits)
        self.metrics = EngineMetrics()
        self.now_ms = 0
        self.principal: Principal = ANYONE  # in whose name tasks are put in by the present command
        self.batches: tuple[Batch, Batch]  # of the turn, by tier
        self.queues: dict[str, Queue] = {}
        self.ghosts: dict[str, Queue] = {}  # deleted ones, with tombstones left
        self.partitions: dict[int, Partition] = {}  # by queue number
        self.next_number = 1
        self.tasks: dict[bytes, Task] = {}
        self.recent: OrderedDict[bytes, Task] = OrderedDict()
        self.kept = 0  # tasks that were read for this turn
        self._kept_lately: deque[int] = deque(maxlen=8)  # and for each of the last turns
        self.missing: set[bytes] = (
            set()
        )  # ids that storage does not have (and never will: ids are ours to make)
        self.leases: dict[bytes, LeaseRecord] = {}
        self.lease_alarms: list[tuple[int, bytes, int]] = []  # heap of (when to look, id, attempt)
        self.alarms: list[tuple[int, int, str, Any]] = []  # heap of (at, tie, kind, subject)
        self._ties = 0
        self.dirty: list[Partition] = []
        self.dirty_groups: dict[tuple[int, bytes], tuple[Partition, Group]] = {}
        self.unique: dict[tuple[int, bytes], bytes | None] = {}  # overlay of the batch that grows
        self.unique_written: dict[tuple[int, bytes], bytes | None] = {}  # and of the one under way
        self.unique_read: dict[tuple[int, bytes], bytes | None] = {}  # as read lately
        self.workflows: dict[bytes, WorkflowRecord] = {}
        self.wants: list[ReadRequest] = []  # reads to run for the engine itself
        self.loading: dict[bytes, list[ReadTasks]] = {}
        self.woken: dict[str, None] = {}  # queues that may serve waiters now
        self.edges: OrderedDict[bytes, dict[bytes, DependencyRecord]] = OrderedDict()  # all of a parent's
        self.jobs: dict[bytes, Job] = {}
        self.foreground: dict[Job, None] = {}  # those that can go on, and somebody waits for
        self.background: dict[Job, None] = {}  # and that nobody waits for
        self.awaited: dict[ReadRequest, list[Job]] = {}  # the others, by what they wait for
        self.waiting_on_reads: dict[int, list[str]] = {}  # read -> queues to wake with its answer
        self.workers: dict[str, Worker] = {}
        self.controlled: dict[str, Worker] = {}  # those that there is something to tell
        self.workers_swept_at = 0
        self.schedules: dict[str, Schedule] = {}
        self.refuses_tasks = False  # the disk is nearly full; the writer's to set
        self.schedule_bytes = 0  # of their tasks
        self.agenda: list[tuple[int, str]] = []  # heap of (when to look, name of a schedule)
        self.children: dict[bytes, list[bytes]] = {}  # as read, for this turn
        self.answers: list[tuple[Call, int, Any, int]] = []  # to calls that were not answered at once
        self.again: list[Call] = []  # calls to apply anew in the next turn
        self.staged: dict[bytes, tuple[int, bytes, bytes]] = {}  # job -> (queue number, ids from, ids below)
        self.sweeps = 0
        self.watched: Collection[bytes] = ()  # tasks whose end somebody waits for; the engine's to set
        self.events: tuple[list[EventRecord], list[EventRecord]] = ([], [])  # of the turn, by tier
        self.ended: list[Task] = []  # tasks that ended, for whoever waits for them
        self.level = LEVEL_MEMORY  # the strictest level that the present command touched

    def find(self, task_id: bytes) -> Task:
        """A task that is kept, whatever its state; raises NotFound, or Need."""
        task = self.tasks.get(task_id) or self.recent.get(task_id)
        if task is None:
            if task_id in self.missing:
                raise NotFound(f"no task {format_id(task_id)}")
            raise Need([self.read_tasks([task_id])])
        if task.partition.queue.level > self.level:
            self.level = task.partition.queue.level
        return task

    def require(self, ids: list[bytes]) -> None:
        """Raises Need unless all of the ids are in memory or known to be missing."""
        absent = [i for i in ids if i not in self.tasks and i not in self.recent and i not in self.missing]
        if absent:
            raise Need([self.read_tasks(absent)])

    def require_payloads(self, tasks: list[Task]) -> None:
        """Raises Need unless all payloads are in memory."""
        absent = [task.id for task in tasks if task.record.payload is None]
        if absent:
            raise Need([self.read_tasks(absent)])

    def read_tasks(self, ids: list[bytes]) -> ReadTasks:
        """A read of some tasks that notices when one of them changes meanwhile."""
        if len(ids) == 1 and (under_way := self.loading.get(ids[0])) and not under_way[-1].stale:
            return under_way[-1]
        read = ReadTasks(ids)
        for task_id in ids:
            self.loading.setdefault(task_id, []).append(read)
        return read

    def take_tasks(self, read: ReadTasks, found: dict[bytes, StoredTask]) -> ReadTasks | None:
        """The answer to read_tasks. Returns the read to run instead where this one came too late."""
        for task_id in read.ids:
            reads = self.loading[task_id]
            reads.remove(read)
            if not reads:
                del self.loading[task_id]
        if read.stale:
            return self.read_tasks(read.ids)
        for task_id in read.ids:
            stored = found.get(task_id)
            if stored is None:
                self.missing.add(task_id)
            else:
                self.keep(task_id, stored)
        return None

    def keep(self, task_id: bytes, stored: StoredTask, *, hot: bool = False) -> None:
        """Takes a task as read from storage into memory, unless it is there already."""
        task = self.tasks.get(task_id) or self.recent.get(task_id)
        if task is not None:
            if task.record.payload is None:
                task.record.payload = stored.record.payload
            if hot and self.recent.pop(task_id, None) is not None:
                self.tasks[task_id] = task
            return
        partition = self.partitions.get(stored.record.queue_number)
        if partition is None:
            self.missing.add(task_id)
            return
        status = stored.status or TaskStatus()
        lease = self.leases.get(task_id)
        task = Task(task_id, partition, stored.record, status)
        if lease is not None:
            _overlay(status, lease)
        if hot or lease is not None:
            self.tasks[task_id] = task
        else:
            self._remember(task)
            self.kept += 1

    def trim(self) -> None:
        """Cuts `recent` back to its size, sparing what was read for this turn and the last few.

        A command may need several reads one after the other; what the first brought must still be
        there when the last arrives.
        """
        kept_lately = self._kept_lately
        kept_lately.append(self.kept)
        self.kept = 0
        size = self.recent_max + sum(kept_lately)
        while len(self.recent) > size:
            self.recent.popitem(last=False)
        if len(self.missing) > size:
            self.missing.clear()

    def _remember(self, task: Task) -> None:
        self.recent[task.id] = task  # trimmed at the end of the turn, so that what was read for it is there

    def forget_task(self, task: Task) -> None:
        """Drops a task from memory; its rows are the caller's business."""
        self.tasks.pop(task.id, None)
        self.recent.pop(task.id, None)
        self.missing.add(task.id)

    def children_of(self, task: Task, most: int) -> list[bytes]:
        """Ids of up to `most` children; raises Need."""
        if not task.status.has_children:
            return []
        edges = self.edges.get(task.id)
        if edges is not None:
            return list(edges)
        if task.id not in self.children:
            raise Need([ReadChildren(task.id, b"", most)])
        return self.children[task.id]

    def remember_edges(self, parent_id: bytes) -> None:
        """From now on all edges of a parent are known in memory, while they are few."""
        self.edges[parent_id] = {}
        if len(self.edges) > self.recent_max:
            self.edges.popitem(last=False)

    def touch(self, queue: Queue) -> Queue:
        """Notes that the present command concerns a queue."""
        if queue.level > self.level:
            self.level = queue.level
        return queue

    def queue(self, name: str) -> Queue:
        """A queue that exists; raises NotFound."""
        queue = self.queues.get(name)
        if queue is None:
            self.level = LEVEL_DURABLE
            raise NotFound(f"no queue {name!r}")
        return self.touch(queue)

    def mark(self, partition: Partition) -> None:
        """The partition's row is to be written at the end of the turn."""
        if not partition.dirty:
            partition.dirty = True
            self.dirty.append(partition)

    def alarm(self, at: int, kind: str, subject: Any) -> None:
        """Has `kind` done to `subject` in a turn at or after `at`."""
        self._ties += 1
        heapq.heappush(self.alarms, (at, self._ties, kind, subject))


def _overlay(status: TaskStatus, lease: LeaseRecord) -> None:
    """What a lease adds to the row of a task: the row was written before it was leased."""
    status.state = RUNNING
    status.attempt = lease.attempt
    status.started_at = lease.leased_at
    status.worker = lease.worker
    if lease.progress is not None:
        status.progress = lease.progress
