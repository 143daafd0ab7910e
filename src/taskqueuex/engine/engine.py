"""The engine: a synchronous state machine. Commands and time go in; replies, rows and reads come out.

A turn, as the writer drives it:

    begin(now_ms, batches)          where the turn's rows go
    apply(call) ...                 a reply, WAITS, Need (nothing changed), or an error
    end()                           timers, jobs, waiters; rows of what was touched; late replies
    take_reads()                    reads to run once the batch is written
    deliver(read, answer)           in a later turn, before its calls
"""

import heapq
from collections.abc import Callable, Iterable
from typing import Any, Final

from taskqueuex.commands.call import Call
from taskqueuex.commands.consume import Dequeue, SettleReply
from taskqueuex.commands.principal import ANYONE
from taskqueuex.commands.tasks import WaitQuery
from taskqueuex.engine import (
    consume,
    dependencies,
    produce,
    queues,
    resort,
    schedules,
    staging,
    steer,
    sweeps,
    views,
)
from taskqueuex.engine.admission import admit
from taskqueuex.engine.consume import Taking
from taskqueuex.engine.core import LEVEL_DURABLE, Core, Need, Partition, Queue
from taskqueuex.engine.disciplines import id_of
from taskqueuex.engine.groups import Group
from taskqueuex.engine.jobs import Job, read_landed, read_replaced, run_jobs, take_job
from taskqueuex.engine.queue_why import queue_why
from taskqueuex.engine.timers import on_ended_rows, run_alarms, set_alarms
from taskqueuex.engine.waiters import Released, Waiter, Waiters, reply_with
from taskqueuex.engine.window import Window
from taskqueuex.engine.workers import ask, hear, list_workers, settle_control
from taskqueuex.errors import NotFound
from taskqueuex.model.ids import parse_id, unpack_id
from taskqueuex.model.jobs import JobRecord, WorkflowRecord
from taskqueuex.model.place import Place
from taskqueuex.model.queue import PartitionRecord, QueueRecord
from taskqueuex.model.reads import (
    ReadChildren,
    ReadEnded,
    ReadGroup,
    ReadIndex,
    ReadRequest,
    ReadTasks,
    ReadUnique,
    ReadWorkflow,
)
from taskqueuex.model.rows import Batch, StoredTask
from taskqueuex.model.schedule import ScheduleRecord, ScheduleState
from taskqueuex.model.states import COMPLETED, STATE_NAMES
from taskqueuex.model.task import LeaseRecord

__all__ = ["WAITS", "Engine"]

WAITS: Final = None
"""What apply returns for a call that is answered by a later end()."""

STEPS_A_TURN = 1
CASCADED_AT_ONCE = 300  # ends, and children that they resolve; what is beyond becomes a job
HOT_TASKS_MAX = 200_000  # ready tasks in memory, over all queues
_STEPS: dict[str, Callable[[Core, Job], None]] = {
    "stage": staging.step_stage,
    "unstage": staging.step_unstage,
    "release": dependencies.step_release,
    "forget": dependencies.step_forget,
    "sweep": sweeps.step_sweep,
    "drop": sweeps.step_drop,
    "resort": resort.step_resort,
    "regroup": resort.step_regroup,
}

Applied = tuple[int, Any] | None


class Engine:
    """The queue manager of one process."""

    def __init__(
        self, random_bits: Callable[[int], int], hot_width: int = 4_096, recent_max: int = 10_000
    ) -> None:
        self.core = Core(random_bits, hot_width, recent_max)
        self.waiters = Waiters()
        self.core.watched = self.waiters.by_task
        self.more = 0  # jobs that could take another step at once
        self._handlers: dict[str, Callable[[Core, Call], Applied]] = {
            "enqueue": produce.enqueue,
            "enqueue_batch": produce.enqueue_batch,
            "create_workflow": produce.create_workflow,
            "dequeue": self._dequeue,
            "dequeue_queue": self._dequeue_queue,
            "ack": lambda core, call: (200, consume.ack(core, unpack_id(call.target), call.body)),
            "fail": lambda core, call: (200, consume.fail(core, unpack_id(call.target), call.body)),
            "release": lambda core, call: (200, consume.release(core, unpack_id(call.target), call.body)),
            "heartbeat": lambda core, call: (200, consume.heartbeat(core, unpack_id(call.target), call.body)),
            "settle": self._settle,
            "get_task": self._get_task,
            "task_history": views.task_history,
            "task_why": views.task_why,
            "edit_task": steer.edit_task,
            "cancel_task": steer.cancel_task,
            "retry_task": steer.retry_task,
            "kill_task": steer.kill_task,
            "unblock_task": steer.unblock_task,
            "delete_task": steer.delete_task,
            "bulk": sweeps.bulk,
            "cancel_workflow": self._cancel_workflow,
            "put_queue": queues.put_queue,
            "get_queue": queues.get_queue,
            "queue_why": lambda core, call: queue_why(core, self.waiters, call),
            "list_queues": queues.list_queues,
            "delete_queue": queues.delete_queue,
            "pause_queue": queues.pause_queue,
            "resume_queue": queues.resume_queue,
            "purge_queue": queues.purge_queue,
            "put_schedule": schedules.put_schedule,
            "get_schedule": schedules.get_schedule,
            "list_schedules": schedules.list_schedules,
            "delete_schedule": schedules.delete_schedule,
            "pause_schedule": schedules.pause_schedule,
            "resume_schedule": schedules.resume_schedule,
            "trigger_schedule": schedules.trigger_schedule,
            "list_workers": list_workers,
            "quiet_worker": self._ask_worker,
            "resume_worker": self._ask_worker,
            "stop_worker": self._ask_worker,
        }

    # The turn

    def begin(self, now_ms: int, batches: tuple[Batch, Batch]) -> None:
        """Starts a turn. Time does not go back within an engine, whatever the clock does."""
        core = self.core
        core.now_ms = max(core.now_ms, now_ms)
        core.batches = batches

    def apply(self, call: Call) -> Applied:
        """Applies one call. Returns (status, body), or WAITS.

        Raises Need when something must be read first, and any TaskQueueError as the answer; in
        both cases nothing has changed. `core.level` then says what the answer has to wait for.
        """
        core = self.core
        core.level = 0
        core.principal = ANYONE
        if call.principal.restricted:
            admit(core, call)
            if call.command.scope == "produce":
                core.principal = call.principal
        return self._handlers[call.command.name](core, call)

    def end(self) -> list[Released]:
        """Ends a turn: what time, jobs and waiters do, and the rows of all that was touched."""
        core = self.core
        core.principal = ANYONE
        released = core.answers  # so that whoever was answered is known, should this turn fail
        run_alarms(core)
        if core.agenda and core.agenda[0][0] <= core.now_ms:
            schedules.run_schedules(core)
        self._settle_ended(released)
        if core.jobs:
            run_jobs(core, _STEPS, STEPS_A_TURN)
        self._settle_ended(released)
        if core.woken:
            if self.waiters.by_queue:
                self.waiters.serve(core, released)
                self._settle_ended(released)
            else:
                core.woken.clear()
        self.waiters.expire(core, released)
        self.more = len(core.foreground) + len(core.background)  # ends may have made some after the steps
        for call in core.again:
            released.append((call, 0, None, LEVEL_DURABLE))
        core.again = []
        for call, status, _, _ in released:
            if status == 0 and call.command.name == "get_task":
                call.query = WaitQuery(0)
        self._flush()
        core.answers = []
        return released

    def _settle_ended(self, released: list[Released]) -> None:
        """Ends resolve children and waiters, whose own ends do the same, within bounds."""
        core = self.core
        budget = CASCADED_AT_ONCE
        while budget > 0:
            if not core.ended:
                return
            task = core.ended.pop()
            budget -= 1 + len(core.edges.get(task.id, ()))
            if self.waiters.by_task:
                self.waiters.on_end(task, released)
            if task.status.has_children and task.status.state >= COMPLETED:
                outcome = STATE_NAMES[task.status.state]
                dependencies.release_children(core, task, outcome)
        for task in core.ended:
            if self.waiters.by_task:
                self.waiters.on_end(task, released)
            if task.status.has_children and task.status.state >= COMPLETED:
                core.edges.pop(task.id, None)  # makes it a job
                dependencies.release_children(core, task, STATE_NAMES[task.status.state])
        core.ended.clear()

    def _flush(self) -> None:
        core = self.core
        for partition in core.dirty:
            if partition.dirty:
                partition.dirty = False
                place = partition.place
                if core.partitions.get(place.number) is partition:  # else it went in this turn
                    core.batches[place.tier].put_partition(place, partition.to_record())
        core.dirty.clear()
        for partition, group in core.dirty_groups.values():
            batch = core.batches[partition.place.tier]
            if group.idle:
                batch.delete_group(partition.place, group.hash)
            else:
                batch.put_group(partition.place, group.hash, group.record)
        core.dirty_groups.clear()
        core.trim()
        core.children.clear()
        if len(core.unique_read) > 10_000:
            core.unique_read.clear()

    def on_batch(self) -> None:
        """The batch that grew sets out: what it hides from reads is the older overlay now."""
        core = self.core
        core.unique_written, core.unique = core.unique, {}

    def on_written(self) -> None:
        """The batch that set out is readable."""
        self.core.unique_written = {}

    def trim(self) -> None:
        """Keeps memory bounded over many queues and groups. Only while no batch is under way."""
        core = self.core
        if len(core.tasks) - len(core.leases) > HOT_TASKS_MAX:
            width = max(64, HOT_TASKS_MAX // (2 * len(core.partitions)))
            for partition in core.partitions.values():
                partition.ready.width = min(partition.ready.width, width)
                if not partition.grouped and partition.ready.hot_count > 2 * width:
                    core.evict(partition, partition.ready.shrink())
        for partition in core.partitions.values():
            if len(partition.groups) > 20_000:
                for key, group in list(partition.groups.items()):
                    if group.window.asked is None and key not in partition.unsettled:
                        self.core.evict(partition, group.window.peek(group.window.hot_count))
                        del partition.groups[key]

    # Reads

    def take_reads(self) -> list[ReadRequest]:
        """Reads that the engine wants for itself; the writer runs each once."""
        wants, self.core.wants = self.core.wants, []
        return wants

    def deliver(self, read: ReadRequest, answer: Any) -> ReadRequest | None:
        """Takes the answer to a read. Returns a read to run in its stead, where the answer came too late."""
        core = self.core
        again: ReadRequest | None = None
        if isinstance(read, ReadTasks):
            again = core.take_tasks(read, answer)
        elif isinstance(read, ReadIndex) and not isinstance(read.owner, Job):
            self._refill(read, *answer)
        elif isinstance(read, ReadUnique):
            core.unique_read[read.place.number, read.key_hash] = answer
        elif isinstance(read, ReadGroup):
            core.take_group(read, answer)
        elif isinstance(read, ReadEnded):
            on_ended_rows(core, read, answer)
        elif isinstance(read, ReadChildren) and read.owner is None:
            core.children[read.parent] = [child for child, _ in answer]
        elif isinstance(read, ReadWorkflow):
            self._take_workflow(read, answer)
        if isinstance(read.owner, Job) and again is None:
            read.owner.page = answer
        if again is None:
            self._let_go(read)
        else:
            self._swap(read, again)
        return again

    def _let_go(self, read: ReadRequest) -> None:
        read_landed(self.core, read)
        for name in self.core.waiting_on_reads.pop(id(read), ()):
            self.core.woken[name] = None

    def _swap(self, read: ReadRequest, again: ReadRequest) -> None:
        read_replaced(self.core, read, again)
        names = self.core.waiting_on_reads.pop(id(read), None)
        if names is not None:
            self.core.waiting_on_reads[id(again)] = names

    def _refill(
        self, read: ReadIndex, keys: list[bytes], exhausted: bool, found: dict[bytes, StoredTask]
    ) -> None:
        core = self.core
        partition: Partition
        window: Window
        group: Group | None
        partition, window, group = read.owner
        if core.partitions.get(partition.place.number) is not partition:
            return
        current = partition.groups.get(group.hash) is group if group is not None else (
            window is partition.ready or window is partition.timers or window is partition.age
        )  # fmt: skip
        if not current or window.read is not read:
            return  # a re-sort has replaced the window, or a staged batch has lowered its border
        cut = len(read.prefix)
        keys = [key[cut:] for key in keys] if cut else keys
        last = keys[-1] if keys else None
        keys = staging.unmasked(core, partition, read, keys)
        touched = window.touched
        fresh = set(window.refill(keys, exhausted, last))
        if found:
            discipline = partition.discipline
            for key in keys:
                if key in fresh:
                    task_id = id_of(discipline, key)
                    if task_id not in touched and task_id in found:
                        core.keep(task_id, found[task_id], hot=True)
        if group is not None:
            if partition.unsettled.pop(group.hash, None) is not None:
                core.refresh_head(partition, group)
                core.mark(partition)
        elif window is partition.timers:
            partition.alarm_at = 1 << 62
            set_alarms(core, partition)
        core.woken[partition.queue.name] = None

    def _take_workflow(self, read: ReadWorkflow, record: WorkflowRecord | None) -> None:
        if record is not None:
            self.core.workflows.setdefault(read.workflow, record)
        else:
            self.core.missing.add(read.workflow)

    # Calls that may wait

    def _dequeue(self, core: Core, call: Call) -> Applied:
        body: Dequeue = call.body
        return self._take(core, call, Taking.of(body), body.wait_ms, None)

    def _dequeue_queue(self, core: Core, call: Call) -> Applied:
        body = call.body
        taking = Taking([call.target], None, body.max, body.lease_ms or 0, body.worker)
        return self._take(core, call, taking, body.wait_ms, None)

    def _take(
        self, core: Core, call: Call, taking: Taking, wait_ms: int, prefix: SettleReply | None
    ) -> Applied:
        consume.take(core, taking)
        if not taking.tasks and wait_ms and not self._has_news(taking):
            self.waiters.add(Waiter(call, core.now_ms + wait_ms, taking, prefix))
            return WAITS
        return 200, reply_with(core, call, taking, prefix)

    def _has_news(self, taking: Taking) -> bool:
        """Whether an empty poll is answered at once, since its worker is asked for something new.

        A worker that rests and knows it may wait, but in no line: others stand behind it there.
        """
        if taking.control is None:
            return False
        worker = self.core.controlled[taking.worker]
        if worker.rests:
            taking.names = []
        return worker.news

    def _settle(self, core: Core, call: Call) -> Applied:
        body = call.body
        prefix = call.settled
        if prefix is None:
            prefix = call.settled = consume.settle_items(core, call)
            self._settle_ended_now()
            if body.worker is not None:
                hear(core, body.worker)
        if body.dequeue is None:
            if body.worker is not None:
                prefix.control = settle_control(core, body)
            return 200, prefix
        wait_ms = body.dequeue.wait_ms
        if body.wait != "always" and (body.ack or body.fail or body.release or body.heartbeat):
            wait_ms = 0
        taking = Taking.of(body.dequeue)
        if body.worker is not None and not taking.worker:
            taking.worker = body.worker.name
        return self._take(core, call, taking, wait_ms, prefix)

    def _settle_ended_now(self) -> None:
        """A settle's dequeue sees the effect of its items: children that they released."""
        self._settle_ended(self.core.answers)

    def _ask_worker(self, core: Core, call: Call) -> Applied:
        answer = ask(core, call)
        self.waiters.on_control(core, call.target, core.answers)
        return answer

    def _get_task(self, core: Core, call: Call) -> Applied:
        reply = views.get_task(core, call)
        wait_ms = call.query.wait_ms if call.query is not None else 0
        task = core.find(parse_id(call.target))
        if wait_ms and task.status.state < COMPLETED:
            self.waiters.add(Waiter(call, core.now_ms + wait_ms, task_id=task.id))
            return WAITS
        return reply

    def _cancel_workflow(self, core: Core, call: Call) -> Applied:
        workflow = parse_id(call.target)
        if workflow not in core.workflows:
            if workflow in core.missing:
                core.level = LEVEL_DURABLE
                raise NotFound(f"no workflow {call.target}")
            raise Need([ReadWorkflow(workflow)])
        sweeps.cancel_workflow(core, call)
        return WAITS

    def drop_sink(self, sink: Any) -> None:
        """A connection is gone."""
        self.waiters.drop_sink(sink)

    def give_back(self, tasks: Iterable[Any]) -> None:
        """Leases whose answer nobody received: the attempts end uncounted."""
        core = self.core
        for leased in tasks:
            task_id = parse_id(leased.id)
            lease, task = core.leases.get(task_id), core.tasks.get(task_id)
            if lease is None or task is None or lease.attempt != leased.attempt:
                continue
            try:
                core.prepare(task)
            except Need as need:
                core.wants.extend(need.reads)
                continue  # it expires instead
            core.log_event(task, "released", lease.worker, "the connection closed before the reply", lease)
            consume.give_back(core, task, lease, 0)

    def next_alarm_ms(self) -> int | None:
        """When the next turn is due if nobody calls, Unix milliseconds."""
        core = self.core
        times = [heap[0][0] for heap in (core.alarms, core.lease_alarms, core.agenda) if heap]
        deadline = self.waiters.next_deadline()
        if deadline is not None:
            times.append(deadline)
        return min(times, default=None)

    # Recovery

    def restore(
        self,
        now_ms: int,
        next_number: int,
        rows: Iterable[tuple[QueueRecord, list[tuple[Place, PartitionRecord | None]]]],
        leases: Iterable[tuple[bytes, LeaseRecord, Place]],
        jobs: Iterable[tuple[bytes, JobRecord]],
        schedule_rows: list[tuple[ScheduleRecord, ScheduleState | None]],
    ) -> None:
        """Takes what storage has: queues, partitions, leases, jobs, schedules. Windows fill on first use."""
        core = self.core
        core.now_ms = max(core.now_ms, now_ms)
        core.next_number = next_number
        for record, places in rows:
            self._restore_queue(record, places)
        for task_id, lease, place in leases:
            self._restore_lease(task_id, lease, core.partitions[place.number])
        heapq.heapify(core.lease_alarms)
        for job_id, job in jobs:
            if job.kind == "stage":
                job.kind = "unstage"  # it was not finished, so it never was
            if job.kind == "unstage":
                core.staged[job_id] = (int.from_bytes(job.subject, "big"), job.cursor, job.until)
                core.ids.observe(job.until)
            take_job(core, Job(job_id, job))
        schedules.restore_schedules(core, schedule_rows)
        for partition in core.partitions.values():
            if partition.regroup:
                resort.regroup_again(core, partition)
        for ghost in core.ghosts.values():
            if not sum(ghost.counts()):
                sweeps.drop_again(core, ghost)

    def _restore_queue(self, record: QueueRecord, places: list[tuple[Place, PartitionRecord | None]]) -> None:
        core = self.core
        queue = Queue(record.name, record.config, record.created_at)
        queue.paused = record.paused
        queue.deleted = record.deleted
        (core.ghosts if record.deleted else core.queues)[record.name] = queue
        for index, (place, row) in enumerate(places):
            row = row or PartitionRecord(record.name)
            place = place.at_generation(row.generation)
            partition = Partition(queue, index, place, row, core.hot_width)
            queue.partitions.append(partition)
            core.partitions[place.number] = partition
            if row.last_id:
                core.ids.observe(row.last_id)
            if index == 0:
                queue.tokens, queue.tokens_at = row.tokens, row.tokens_at
            set_alarms(core, partition)
            due = [bound for bound in partition.forget_bounds if bound]
            if due:
                partition.forget_alarm_at = min(due)
                core.alarm(min(due), "forget", partition)

    def _restore_lease(self, task_id: bytes, lease: LeaseRecord, partition: Partition) -> None:
        """A recovered lease holds for its own length from now: its holder could not reach us."""
        core = self.core
        lease.expires_at = max(lease.expires_at, core.now_ms + max(lease.length_ms, lease.grace_ms))
        core.leases[task_id] = lease
        partition.queue.running += 1
        look_at = min(lease.expires_at, lease.timeout_at) if lease.timeout_at else lease.expires_at
        core.lease_alarms.append((look_at, task_id, lease.attempt))
