"""The state of the engine and the few primitives that change it.

One writer, no I/O, no clock: time comes in with the turn, rows go out into its batches. Whoever
changes a task calls `move` (another state) or `reseat` (same state, other place); nobody else
touches an index, a count or a lease.

Where a task is in memory:

    tasks    those that are ready below the border, and those that run
    recent   a bounded cache of others that were looked at or changed lately

Either object is the truth as long as it is there, since every change goes through it. A task in
neither is read from storage (`find` raises Need), after the batch now growing has been written,
so that nothing changed meanwhile is missed.
"""

import heapq
from collections import OrderedDict, deque
from collections.abc import Callable, Collection
from hashlib import blake2b
from typing import Any, Final

import msgspec

from taskqueuex.commands.call import Call
from taskqueuex.engine.disciplines import id_of, order_key
from taskqueuex.engine.groups import Group
from taskqueuex.engine.jobs import Job
from taskqueuex.engine.metrics import EngineMetrics, QueueMetrics
from taskqueuex.engine.states import NEXT
from taskqueuex.engine.window import Window
from taskqueuex.engine.workers import Worker
from taskqueuex.errors import NotFound
from taskqueuex.model.ids import SLOTS, IdGenerator, format_id
from taskqueuex.model.jobs import WorkflowRecord
from taskqueuex.model.place import DURABLE, VOLATILE, Place
from taskqueuex.model.queue import PartitionRecord, QueueConfig, QueueRecord, layout_of
from taskqueuex.model.reads import (
    ReadChildren,
    ReadGroup,
    ReadIndex,
    ReadLater,
    ReadRequest,
    ReadTasks,
    ReadUnique,
    ReadWorkflow,
)
from taskqueuex.model.rows import AGE, DUE, GWAIT, ORDER, Batch, StoredTask
from taskqueuex.model.states import (
    BLOCKED,
    COMPLETED,
    DEAD,
    READY,
    RETRYING,
    RUNNING,
    SCHEDULED,
    STATES,
)
from taskqueuex.model.task import (
    DependencyRecord,
    GroupRecord,
    HistoryRecord,
    LeaseRecord,
    TaskRecord,
    TaskStatus,
)

__all__ = [
    "DURABILITY_LEVELS",
    "LEVEL_DURABLE",
    "LEVEL_MEMORY",
    "LEVEL_RELAXED",
    "Core",
    "Need",
    "Partition",
    "Queue",
    "Task",
    "hash16",
]

LEVEL_MEMORY, LEVEL_RELAXED, LEVEL_DURABLE = 0, 1, 2
DURABILITY_LEVELS = {"memory": LEVEL_MEMORY, "relaxed": LEVEL_RELAXED, "durable": LEVEL_DURABLE}

RESORT_COUNTS = b"counts"  # Partition.resort: groups are being counted, nothing may change
RESORT_MOVES = b"moves"  # rows move from one generation to the next, no ready task may change
HISTORY_MAX = 60
ERRORS_MAX = 10
TOMBSTONE_MS = 60_000
REFILL_PAGE = 1_024  # keys that one read brings: what is taken in at once must not stop the turn
NEVER: Final = 1 << 62
KIND_RUN, KIND_EXPIRE = b"\0", b"\1"  # of a due row
_PAYLOAD_HOT_MAX = 4_096  # larger ones are read when they are handed out
PAYLOAD_KEPT_MAX = 512  # of tasks that run, or are merely recent


class Need(Exception):
    """A command cannot be applied yet: these must be read first. Nothing has changed."""

    def __init__(self, reads: list[ReadRequest]) -> None:
        super().__init__("reads are needed")
        self.reads = reads


def hash16(text: str) -> bytes:
    """The 16 bytes that stand for a group, a unique key or a name in keys of storage."""
    return blake2b(text.encode(), digest_size=16).digest()


class Task(msgspec.Struct, gc=False):
    """A task in memory."""

    id: bytes
    partition: "Partition"
    record: TaskRecord
    status: TaskStatus


class Partition:
    """One strictly ordered part of a queue: what is counted, and the windows of its indexes."""

    __slots__ = (
        "age", "aged", "alarm_at", "counts", "dirty", "discipline", "ended_changed", "ended_entered", "forget_alarm_at", "forget_bounds",
        "forgetting", "grouped", "groups", "index", "last_id", "place", "queue", "ready", "regroup",
        "reserved", "resort", "resort_layout", "timers", "turn", "unsettled",
    )  # fmt: skip

    def __init__(self, queue: "Queue", index: int, place: Place, record: PartitionRecord, width: int) -> None:
        self.queue = queue
        self.index = index
        self.place = place
        self.counts = list(record.counts)
        self.discipline, self.grouped, self.aged = layout_of(queue.config)
        self.ready = Window(width, record.order_count, record.ready_bound)
        self.timers = Window(width, record.due_count, record.timer_bound)
        self.age: Window | None = Window(64, record.age_count) if self.aged else None
        self.groups: dict[bytes, Group] = {}
        self.unsettled: dict[bytes, Group] = {}  # groups whose head is not known before a refill
        self.reserved = 0  # tasks of batches that are being staged: they take room already
        self.regroup = record.unsettled  # heads of groups are to be looked at anew
        self.turn = record.turn
        self.last_id = record.last_id
        self.forget_bounds = list(record.forget_bounds)
        self.forgetting = False  # a read of the retention index is under way
        self.ended_changed: set[bytes] = set()  # since then: whose rows there changed
        self.ended_entered = [0, 0, 0, 0]  # and the lowest forget_at that entered, per terminal state
        self.resort = record.resort
        self.resort_layout = record.resort_layout
        if self.resort:
            self.ready.close()
            if self.age is not None:
                self.age.close()
        self.alarm_at = NEVER  # the earliest alarm that is set for the timers
        self.forget_alarm_at = NEVER
        self.dirty = False

    @property
    def waiting(self) -> int:
        """Tasks that wait: what max_tasks bounds."""
        counts = self.counts
        return counts[SCHEDULED] + counts[BLOCKED] + counts[READY] + counts[RETRYING] + self.reserved

    def to_record(self) -> PartitionRecord:
        """The row as it stands now; bounds are exact, for the rows written with it."""
        queue = self.queue
        return PartitionRecord(
            name=queue.name,
            counts=self.counts,
            generation=self.place.generation,
            turn=self.turn,
            last_id=self.last_id,
            order_count=len(self.ready),
            due_count=len(self.timers),
            age_count=len(self.age) if self.age is not None else 0,
            ready_bound=self.ready.lower_bound(),
            timer_bound=self.timers.lower_bound(),
            forget_bounds=self.forget_bounds,
            unsettled=bool(self.unsettled) or self.regroup,
            tokens=queue.tokens if self.index == 0 else -1.0,
            tokens_at=queue.tokens_at if self.index == 0 else 0,
            resort=self.resort,
            resort_layout=self.resort_layout,
        )


class Queue:
    """A queue: its settings, its partitions, and what limits its hand-outs."""

    __slots__ = (
        "config", "created_at", "deleted", "level", "metrics", "name", "partitions", "paused", "rotation", "running",
        "placing", "tier", "token_alarm_at", "tokens", "tokens_at",
    )  # fmt: skip

    def __init__(self, name: str, config: QueueConfig, created_at: int) -> None:
        self.name = name
        self.created_at = created_at
        self.partitions: list[Partition] = []
        self.paused = False
        self.deleted = False
        self.running = 0
        self.rotation = 0  # the partition to serve next
        self.placing = 0  # the partition that the next task of no group goes to
        self.tokens = -1.0  # of the rate limit; below zero: full
        self.tokens_at = 0
        self.token_alarm_at = 0
        self.metrics = QueueMetrics()
        self.configure(config)

    def configure(self, config: QueueConfig) -> None:
        """Takes new settings. Layout and partitions are the caller's business."""
        self.config = config
        self.level = DURABILITY_LEVELS[config.durability]
        self.tier = VOLATILE if self.level == LEVEL_MEMORY else DURABLE

    @property
    def resorting(self) -> bool:
        """Whether a changed discipline is still being applied to what waits."""
        return any(partition.resort for partition in self.partitions)

    def counts(self) -> list[int]:
        """Tasks per state."""
        return [sum(partition.counts[state] for partition in self.partitions) for state in range(STATES)]

    def to_record(self) -> QueueRecord:
        """The row of the queue's settings."""
        return QueueRecord(
            self.name,
            self.config,
            self.paused,
            self.created_at,
            [(partition.place.slot, partition.place.number) for partition in self.partitions],
            self.deleted,
        )


class Core:
    """All that the engine knows, and the primitives."""

    def __init__(
        self, random_bits: Callable[[int], int], hot_width: int = 4_096, recent_max: int = 10_000
    ) -> None:
        self.random_bits = random_bits
        self.hot_width = hot_width
        self.recent_max = recent_max
        self.ids = IdGenerator(random_bits)
        self.metrics = EngineMetrics()
        self.now_ms = 0
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
        self.waiting_on_reads: dict[int, list[str]] = {}  # read -> queues to wake with its answer
        self.workers: dict[str, Worker] = {}
        self.children: dict[bytes, list[bytes]] = {}  # as read, for this turn
        self.answers: list[tuple[Call, int, Any, int]] = []  # to calls that were not answered at once
        self.again: list[Call] = []  # calls to apply anew in the next turn
        self.staged: dict[bytes, tuple[int, bytes, bytes]] = {}  # job -> (queue number, ids from, ids below)
        self.sweeps = 0
        self.watched: Collection[bytes] = ()  # tasks whose end somebody waits for; the engine's to set
        self.ended: list[Task] = []  # tasks that ended, for whoever waits for them
        self.level = LEVEL_MEMORY  # the strictest level that the present command touched

    # Finding tasks

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

    def find_to_change(self, task_id: bytes) -> Task:
        """Like find, with all at hand that a change of its state touches."""
        task = self.find(task_id)
        self.prepare(task)
        return task

    def prepare(self, task: Task) -> None:
        """Raises Need unless all is in memory that a change of the task's state touches.

        While a partition is re-sorted, no ready task of it may change: its rows are on their way.
        """
        resort = task.partition.resort
        if resort and (resort == RESORT_COUNTS or task.status.state == READY):
            raise Need([ReadLater()])
        self.group_of(task.partition, task.record)
        if task.status.successor_of:
            self.require([task.status.successor_of])

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

    def require_workflow(self, record: TaskRecord) -> None:
        """Raises Need unless the workflow of a task is in memory, so that the task can be counted out."""
        workflow = record.workflow
        if workflow and workflow not in self.workflows and workflow not in self.missing:
            raise Need([ReadWorkflow(workflow)])

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

    # Queues

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

    def create_queue(self, name: str, config: QueueConfig) -> Queue:
        """A new queue with its partitions, rows included."""
        queue = Queue(name, config, self.now_ms)
        self.queues[name] = queue
        self.add_partitions(queue)
        self.batches[DURABLE].put_queue(queue.to_record())
        self.woken[name] = None
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

    def mark(self, partition: Partition) -> None:
        """The partition's row is to be written at the end of the turn."""
        if not partition.dirty:
            partition.dirty = True
            self.dirty.append(partition)

    def alarm(self, at: int, kind: str, subject: Any) -> None:
        """Has `kind` done to `subject` in a turn at or after `at`."""
        self._ties += 1
        heapq.heappush(self.alarms, (at, self._ties, kind, subject))

    # Groups

    def group_of(self, partition: Partition, record: TaskRecord) -> Group | None:
        """The group of a task where its partition looks at groups; raises Need."""
        if not partition.grouped or not (record.group or partition.discipline == "round_robin"):
            return None
        return self.group(partition, record.group)

    def group(self, partition: Partition, name: str) -> Group:
        """A group by name, new or not; raises Need."""
        key = hash16(name)
        group = partition.groups.get(key)
        if group is None:
            raise Need([self.read_group(partition, key, name)])
        group.record.name = name  # one that was read by its hash alone, and has no row, has no name yet
        return group

    def read_group(self, partition: Partition, group_hash: bytes, name: str = "") -> ReadRequest:
        """A read of a group's row. `name` is what a new one is called."""
        return ReadGroup(partition, partition.place, group_hash, name)

    def take_group(self, read: ReadGroup, record: GroupRecord | None) -> None:
        """The answer to read_group."""
        partition: Partition = read.owner
        if read.place is partition.place and read.group_hash not in partition.groups:
            width = 64 if len(partition.groups) < 2_000 else 8
            partition.groups[read.group_hash] = Group(
                read.group_hash, record or GroupRecord(read.name), width
            )

    def refresh_head(self, partition: Partition, group: Group) -> None:
        """Puts a group's place in the order index right after whatever changed about it."""
        self.dirty_groups[partition.place.number, group.hash] = (partition, group)
        record = group.record
        want = b""
        if record.waiting and self._may_run(partition, group):
            if partition.discipline == "round_robin":
                want = record.turn.to_bytes(8, "big") + group.hash
            else:
                want = group.window.first() or b""
                if not want:
                    partition.unsettled[group.hash] = group
                    self.refill_group(partition, group)
        if want == record.head:
            return
        batch = self.batches[partition.place.tier]
        if record.head:
            partition.ready.leave(record.head)
            batch.delete_index(partition.place, ORDER, record.head)
        if want:
            evicted = partition.ready.enter(want)
            batch.put_index(partition.place, ORDER, want)
            if evicted:
                self.evict(partition, evicted)
            self.woken[partition.queue.name] = None
        record.head = want
        self.mark(partition)

    def _may_run(self, partition: Partition, group: Group) -> bool:
        config, record = partition.queue.config, group.record
        if not record.name and partition.discipline == "round_robin":
            return True  # no group, no restriction
        if config.ordered_groups and (record.running or record.retrying):
            return False
        limit = config.max_running_per_group
        return limit is None or record.running < limit

    def refill_group(self, partition: Partition, group: Group) -> ReadRequest:
        """Asks for the next keys of a group, unless they are on their way."""
        window = group.window
        return self._refill(
            partition, window, GWAIT, prefix=group.hash, id_at=24, inverted=partition.discipline == "lifo",
            owner=(partition, window, group),
        )  # fmt: skip

    def refill(self, partition: Partition, want: int = 1) -> ReadRequest:
        """Asks for the next keys of a partition, unless they are on their way; more where many are wanted."""
        id_at = -1 if partition.discipline == "round_robin" else 8
        return self._refill(
            partition, partition.ready, ORDER, id_at=id_at, inverted=partition.discipline == "lifo", want=want
        )

    def refill_timers(self, partition: Partition) -> ReadRequest:
        """Asks for the next timers of a partition, unless they are on their way."""
        return self._refill(partition, partition.timers, DUE)

    def refill_age(self, partition: Partition) -> ReadRequest:
        """Asks for the next oldest ready tasks of a partition, unless they are on their way."""
        assert partition.age is not None
        return self._refill(partition, partition.age, AGE)

    def _refill(
        self, partition: Partition, window: Window, index: int, *, prefix: bytes = b"", id_at: int = -1,
        inverted: bool = False, owner: Any = None, want: int = 1,
    ) -> ReadRequest:  # fmt: skip
        if window.asked is None:
            read = ReadIndex(
                owner or (partition, window, None), partition.place, index, prefix + window.ask(),
                min(window.width, max(REFILL_PAGE, 4 * want)),
                prefix=prefix, id_at=id_at, inverted=inverted,
            )  # fmt: skip
            window.read = read
            self.wants.append(read)
        assert window.read is not None
        return window.read

    # Changing tasks

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
        self.enter(task)
        self.save(task)

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
        partition.queue.metrics.enqueued += 1
        return task

    def save(self, task: Task) -> None:
        """Writes the row of what became of a task."""
        place = task.partition.place
        self.batches[place.tier].put_status(place, task.id, task.status)
        self.note_change(task)

    def save_record(self, task: Task) -> None:
        """Writes the row of what its producer said. Its payload must be in memory."""
        place = task.partition.place
        assert task.record.payload is not None
        self.batches[place.tier].put_task(place, task.id, task.record)
        self.note_change(task)

    def note_change(self, task: Task) -> None:
        """Makes reads under way notice that rows of a task have changed."""
        if self.loading:
            for read in self.loading.get(task.id, ()):
                read.stale = True
        partition = task.partition
        if partition.ready.asked is not None:
            partition.ready.touched.add(task.id)
        if partition.groups:
            group = partition.groups.get(hash16(task.record.group))
            if group is not None and group.window.asked is not None:
                group.window.touched.add(task.id)

    def enter(self, task: Task) -> None:
        """Adds the rows of a task's present state, and keeps it in memory where it belongs there."""
        status, partition = task.status, task.partition
        state = status.state
        self.mark(partition)
        if state == READY:
            self._enter_ready(task)
            return
        if state == RUNNING:
            self._enter_running(task)
            return
        if state in (SCHEDULED, RETRYING):
            self._enter_timer(partition, _due_key(status.run_at, task.id, KIND_RUN))
            if state == RETRYING:
                self._count_group(task, retrying=1)
        elif state >= COMPLETED:
            self._enter_end(task)
        if state < COMPLETED and task.record.expires_at:
            self._enter_timer(partition, _due_key(task.record.expires_at, task.id, KIND_EXPIRE))
        self.tasks.pop(task.id, None)
        if state >= COMPLETED and len(self.recent) >= self.recent_max:
            self.recent.pop(task.id, None)  # ends come in masses; they must not drive out what was read
            return
        self._cool(task)
        self._remember(task)

    def leave(self, task: Task) -> None:
        """Removes the rows of a task's present state."""
        status, partition = task.status, task.partition
        state = status.state
        self.mark(partition)
        if state == READY:
            self._leave_ready(task)
        elif state == RUNNING:
            self._leave_running(task)
            return
        elif state in (SCHEDULED, RETRYING):
            self._leave_timer(partition, _due_key(status.run_at, task.id, KIND_RUN))
            if state == RETRYING:
                self._count_group(task, retrying=-1)
        elif state >= COMPLETED:
            place = partition.place
            self.batches[place.tier].delete_ended(place, state, status.forget_at, task.id)
            if partition.forgetting:
                partition.ended_changed.add(task.id)
        if state < COMPLETED and task.record.expires_at:
            self._leave_timer(partition, _due_key(task.record.expires_at, task.id, KIND_EXPIRE))

    def _enter_ready(self, task: Task) -> None:
        record = task.record
        if record.expires_at:
            self._enter_timer(task.partition, _due_key(record.expires_at, task.id, KIND_EXPIRE))
        self.enter_order(task)

    def enter_order(self, task: Task) -> None:
        """Gives a ready task its place in the order, and keeps it in memory if that is near the front."""
        partition, record = task.partition, task.record
        place = partition.place
        batch = self.batches[place.tier]
        key = order_key(partition.discipline, task.id, record.priority)
        self.woken[partition.queue.name] = None
        if partition.age is not None:
            partition.age.enter(task.id)
            batch.put_index(place, AGE, task.id)
        group = self.group_of(partition, record)
        if group is None:
            window = partition.ready
            batch.put_index(place, ORDER, key)
        else:
            window = group.window
            batch.put_index(place, GWAIT, group.hash + key)
        evicted = window.enter(key)
        if window.is_hot(key):
            if record.payload is not None and len(record.payload) > _PAYLOAD_HOT_MAX:
                record.payload = None
            self.tasks[task.id] = task
            self.recent.pop(task.id, None)
        else:
            self.tasks.pop(task.id, None)  # whoever looks at it reads it, once this batch is written
            self.recent.pop(task.id, None)
        if evicted:
            self.evict(partition, evicted)
        if group is not None:
            self._join(partition, group, record)

    def _join(self, partition: Partition, group: Group, record: TaskRecord) -> None:
        """One more task of a group waits; a group that was empty rejoins last."""
        kept = group.record
        if record.group_weight:
            kept.weight = record.group_weight
        if not kept.waiting and partition.discipline == "round_robin":
            partition.turn += 1
            kept.turn, kept.credit = partition.turn, kept.weight
        kept.waiting += 1
        self.refresh_head(partition, group)

    def evict(self, partition: Partition, keys: list[bytes]) -> None:
        """Drops tasks whose keys turned cold from memory."""
        discipline, tasks = partition.discipline, self.tasks
        for key in keys:
            tasks.pop(id_of(discipline, key), None)

    def _leave_ready(self, task: Task) -> None:
        partition, record = task.partition, task.record
        place = partition.place
        batch = self.batches[place.tier]
        key = order_key(partition.discipline, task.id, record.priority)
        if partition.age is not None:
            partition.age.leave(task.id)
            batch.delete_index(place, AGE, task.id)
        group = self.group_of(partition, record)
        if group is None:
            partition.ready.leave(key)
            batch.delete_index(place, ORDER, key)
            return
        group.window.leave(key)
        batch.delete_index(place, GWAIT, group.hash + key)
        group.record.waiting -= 1
        self.refresh_head(partition, group)

    def _enter_running(self, task: Task) -> None:
        record, partition = task.record, task.partition
        if record.payload is not None and len(record.payload) > PAYLOAD_KEPT_MAX:
            record.payload = None
        partition.queue.running += 1
        self.tasks[task.id] = task
        self.recent.pop(task.id, None)
        self._count_group(task, running=1)

    def _leave_running(self, task: Task) -> None:
        partition = task.partition
        del self.leases[task.id]
        self.batches[partition.place.tier].delete_lease(partition.place, task.id)
        queue = partition.queue
        queue.running -= 1
        if queue.config.max_running is not None:
            self.woken[queue.name] = None
        self._count_group(task, running=-1)

    def _count_group(self, task: Task, running: int = 0, retrying: int = 0) -> None:
        group = self.group_of(task.partition, task.record)
        if group is not None:
            group.record.running += running
            group.record.retrying += retrying
            self.refresh_head(task.partition, group)

    def _enter_end(self, task: Task) -> None:
        status, record, partition = task.status, task.record, task.partition
        config = partition.queue.config
        if record.unique_key:
            self._release_unique(task)
        ttl = config.result_ttl_ms if record.result_ttl_ms < 0 else record.result_ttl_ms
        if status.state == DEAD:
            ttl = config.dead_ttl_ms
        status.gone_at = self.now_ms + ttl
        self.put_ended(task, self.now_ms + max(ttl, TOMBSTONE_MS))
        if status.has_children or self.watched:
            self.ended.append(task)

    def put_ended(self, task: Task, forget_at: int) -> None:
        """Sets when an ended task is forgotten."""
        status, partition, place = task.status, task.partition, task.partition.place
        status.forget_at = forget_at
        record = task.record
        name_hash = hash16(record.name) if record.name else b""
        self.mark(partition)
        self.batches[place.tier].put_ended(
            place, status.state, forget_at, task.id, name_hash, status.has_children, record.workflow
        )
        bounds, which = partition.forget_bounds, status.state - COMPLETED
        if not bounds[which] or forget_at < bounds[which]:
            bounds[which] = forget_at
        if partition.forgetting:
            entered = partition.ended_entered
            entered[which] = min(entered[which] or forget_at, forget_at)
            partition.ended_changed.add(task.id)
        if forget_at < partition.forget_alarm_at:
            partition.forget_alarm_at = forget_at
            self.alarm(forget_at, "forget", partition)

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

    def _enter_timer(self, partition: Partition, key: bytes) -> None:
        partition.timers.enter(key)
        self.batches[partition.place.tier].put_index(partition.place, DUE, key)
        due = int.from_bytes(key[:8], "big")
        if due < partition.alarm_at:
            partition.alarm_at = due
            self.alarm(due, "due", partition)

    def _leave_timer(self, partition: Partition, key: bytes) -> None:
        partition.timers.leave(key)
        self.batches[partition.place.tier].delete_index(partition.place, DUE, key)

    def _cool(self, task: Task) -> None:
        payload = task.record.payload
        if payload is not None and len(payload) > PAYLOAD_KEPT_MAX:
            task.record.payload = None

    def log_event(
        self, task: Task, event: str, worker: str = "", detail: str = "", lease: LeaseRecord | None = None
    ) -> None:
        """Adds to a task's history. It is written with the status. `lease`: the one that it ends."""
        status = task.status
        leased_at = 0 if lease is None else lease.leased_at
        record = HistoryRecord(self.now_ms, event, status.attempt, worker, detail, leased_at)
        if status.history is None:
            status.history = [record]
            return
        status.history.append(record)
        if len(status.history) > HISTORY_MAX:
            del status.history[0]

    # Unique keys

    def unique_hash(self, partition: Partition, record: TaskRecord) -> bytes:
        """What a unique key is kept under; with several partitions it is unique per group."""
        if len(partition.queue.partitions) > 1:
            return hash16(f"{record.unique_key}\0{record.group}")
        return hash16(record.unique_key)

    def unique_holder(self, partition: Partition, key_hash: bytes) -> bytes | None:
        """The live task of a unique key; raises Need."""
        key = (partition.place.number, key_hash)
        for overlay in (self.unique, self.unique_written, self.unique_read):
            if key in overlay:
                return overlay[key]
        raise Need([ReadUnique(partition.place, key_hash)])

    def _release_unique(self, task: Task) -> None:
        """A task that ended holds its key no longer; its successor does, where it has one."""
        partition, status = task.partition, task.status
        holder_id, status.successor_of = status.successor_of, b""
        holder = self.tasks.get(holder_id) or self.recent.get(holder_id)
        if holder is not None and holder.status.state < COMPLETED:
            holder.status.successor = b""  # this one was the successor, and never held the key
            self.save(holder)
            return
        self.set_unique(partition, self.unique_hash(partition, task.record), status.successor or None)

    def set_unique(self, partition: Partition, key_hash: bytes, task_id: bytes | None) -> None:
        """Makes a task the live one of a key, or nobody."""
        place = partition.place
        self.unique[place.number, key_hash] = task_id
        self.unique_read.pop((place.number, key_hash), None)
        if task_id is None:
            self.batches[place.tier].delete_unique(place, key_hash)
        else:
            self.batches[place.tier].put_unique(place, key_hash, task_id)


def _due_key(due_ms: int, task_id: bytes, kind: bytes) -> bytes:
    return due_ms.to_bytes(8, "big") + task_id + kind


def _overlay(status: TaskStatus, lease: LeaseRecord) -> None:
    """What a lease adds to the row of a task: the row was written before it was leased."""
    status.state = RUNNING
    status.attempt = lease.attempt
    status.started_at = lease.leased_at
    status.worker = lease.worker
    if lease.progress is not None:
        status.progress = lease.progress
