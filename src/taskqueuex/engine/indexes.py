"""The rows that a task has because of its state: its place in the order, timers, leases, ends.

`enter` adds the rows of a task's present state, `leave` removes them; both keep the windows and
the groups in step. Who calls them decides what state comes next: core.py.
"""

from collections.abc import Iterable
from typing import Any

from taskqueuex.engine.disciplines import id_of, order_key
from taskqueuex.engine.groups import Group, may_run
from taskqueuex.engine.memory import Memory
from taskqueuex.engine.need import Need
from taskqueuex.engine.partition import (
    _PAYLOAD_HOT_MAX,
    HISTORY_MAX,
    KIND_EXPIRE,
    KIND_RUN,
    PAYLOAD_KEPT_MAX,
    REFILL_PAGE,
    RESORT_COUNTS,
    TOMBSTONE_MS,
    Partition,
    Task,
    hash16,
)
from taskqueuex.engine.window import Window
from taskqueuex.model.reads import ReadGroup, ReadIndex, ReadLater, ReadRequest, ReadUnique
from taskqueuex.model.rows import AGE, DUE, GWAIT, ORDER
from taskqueuex.model.states import COMPLETED, DEAD, READY, RETRYING, RUNNING, SCHEDULED
from taskqueuex.model.task import GroupRecord, HistoryRecord, LeaseRecord, TaskRecord

__all__ = ["Indexes"]


class Indexes(Memory):
    """Every index, as memory and as rows."""

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

    def prepare_all(self, tasks: Iterable[Task]) -> None:
        """Like prepare for each, and asks for all that is missing at once: one by one takes as many turns."""
        reads: list[ReadRequest] = []
        for task in tasks:
            try:
                self.prepare(task)
            except Need as need:
                reads += need.reads
        if reads:
            raise Need(reads)

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
        if record.waiting and may_run(record, partition.queue.config):
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

    def _enter_ready(self, task: Task) -> None:
        record = task.record
        if record.expires_at:
            self._enter_timer(task.partition, _due_key(record.expires_at, task.id, KIND_EXPIRE))
        self.enter_order(task)

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

    def save(self, task: Task) -> None:
        """Writes the row of what became of a task."""
        place = task.partition.place
        self.batches[place.tier].put_status(place, task.id, task.status)
        self.note_change(task)


def _due_key(due_ms: int, task_id: bytes, kind: bytes) -> bytes:
    return due_ms.to_bytes(8, "big") + task_id + kind
