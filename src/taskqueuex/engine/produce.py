"""Putting work in: single tasks, batches, workflows; unique keys, bounds, dependencies at birth.

Each command is planned first (everything is checked, everything needed is read, nothing changes)
and carried out after, so that a refusal leaves no trace and a batch is all or nothing.
"""

from typing import Any

import msgspec

from taskqueuex.commands.call import Call
from taskqueuex.commands.problem import problem_of
from taskqueuex.commands.produce import (
    BatchReply,
    EnqueueReply,
    EnqueueTask,
    PartialReply,
    WorkflowReply,
)
from taskqueuex.engine import dependencies
from taskqueuex.engine.admission import admit_parents, queue_name
from taskqueuex.engine.core import LEVEL_DURABLE, Core, Need, Partition, Queue, Task, hash16
from taskqueuex.engine.disciplines import id_of
from taskqueuex.engine.staging import STAGED_ABOVE, begin_stage, can_stage
from taskqueuex.engine.steer import is_gone
from taskqueuex.errors import Conflict, Cycle, Invalid, QueueFull, TaskQueueError
from taskqueuex.model.ids import format_id, parse_id
from taskqueuex.model.jobs import WorkflowRecord
from taskqueuex.model.place import DURABLE
from taskqueuex.model.queue import Backoff, QueueConfig
from taskqueuex.model.reads import ReadLater, ReadRequest
from taskqueuex.model.states import (
    BLOCKED,
    CANCELLED,
    COMPLETED,
    READY,
    RUNNING,
    SCHEDULED,
    STATE_NAMES,
)
from taskqueuex.model.task import EDGE_CANCEL, EDGE_HOLD, EDGE_RUN, TaskRecord, TaskStatus

__all__ = ["create_workflow", "enqueue", "enqueue_batch", "place"]

_POLICIES = {"cancel": EDGE_CANCEL, "run": EDGE_RUN, "hold": EDGE_HOLD}
_EDITABLE_STATES = (SCHEDULED, READY)


class Plan:
    """One task to create, or one to find or change in its stead."""

    __slots__ = ("conflict", "holder", "key_hash", "parents", "partition", "record", "run_at", "twin")

    def __init__(self, partition: Partition, record: TaskRecord, run_at: int) -> None:
        self.partition = partition
        self.record = record
        self.run_at = run_at
        self.parents: list[tuple[Task, int]] = []
        self.key_hash = b""
        self.holder: Task | None = None  # the live task of its unique key
        self.conflict = "existing"
        self.twin: int | None = None  # an earlier item of the same batch with the same unique key


def enqueue(core: Core, call: Call) -> tuple[int, Any]:
    """POST /v1/queues/{queue}/tasks."""
    return place(core, call.target, call.body)


def place(core: Core, queue_name: str, spec: EnqueueTask) -> tuple[int, EnqueueReply]:
    """Puts one task into a queue, which comes into being with it. Raises Need, or why it is refused."""
    queue = core.queues.get(queue_name)
    if queue is None:
        queue = _new_queue(core, queue_name, spec)
    else:
        core.touch(queue)
    plan = _plan(core, queue, spec, "")
    if plan.holder is None:
        _reserve(core, plan.partition, 1)
    return _reply(core, plan)


def _reply(core: Core, plan: Plan) -> tuple[int, EnqueueReply]:
    if plan.holder is None:
        task = _carry_out(core, plan)
        return 201, EnqueueReply(format_id(task.id), STATE_NAMES[task.status.state])
    task, replaced = _meet_holder(core, plan)
    text, state = format_id(task.id), STATE_NAMES[task.status.state]
    if task is not plan.holder and not replaced:
        return 201, EnqueueReply(text, state)
    return 200, EnqueueReply(text, state, True, replaced)


def enqueue_batch(core: Core, call: Call) -> tuple[int, Any] | None:
    """POST /v1/queues/{queue}/tasks/batch."""
    specs: list[EnqueueTask] = call.body.tasks
    queue = core.queues.get(call.target)
    if queue is None:
        for spec in specs:
            if spec.depends_on:
                _parents(core, spec, "", None)
        queue = core.create_queue(call.target, QueueConfig())
    core.touch(queue)
    if call.body.partial:
        return 200, _partial(core, queue, specs)
    if len(specs) > STAGED_ABOVE and can_stage(queue, specs):
        _stage(core, call, queue, specs)
        return None
    plans = _plan_all(core, queue, specs)
    _reserve_all(core, plans)
    queue.placing += 1
    ids, duplicates = _carry_out_all(core, plans)
    return 201, BatchReply(ids, duplicates)


def _stage(core: Core, call: Call, queue: Queue, specs: list[EnqueueTask]) -> None:
    queue.placing += 1
    partition = core.pick_partition(queue, "", "", queue.placing)
    _reserve(core, partition, len(specs))
    begin_stage(
        core, call, partition, specs, lambda index: _plan(core, queue, specs[index], "", spread=False).record
    )


def _plan_all(core: Core, queue: Queue, specs: list[EnqueueTask]) -> list[Plan]:
    plans: list[Plan] = []
    seen: dict[tuple[int, bytes], int] = {}
    reads: list[ReadRequest] = []
    needs: list[bytes] = [parent for spec in specs if spec.depends_on for parent in _parent_ids(spec)]
    if needs:
        core.require(needs)
    _require_holders(core, [(queue, spec) for spec in specs])
    for index, spec in enumerate(specs):
        try:
            plan = _plan(core, queue, spec, f"tasks[{index}].", spread=False)
        except Need as need:
            reads += need.reads
            continue
        if plan.key_hash and plan.holder is None:
            twin = seen.setdefault((plan.partition.place.number, plan.key_hash), index)
            if twin != index:
                _refuse_if_reject(plan, f"tasks[{index}].unique_key")
                plan.twin = twin
        plans.append(plan)
    if reads:
        raise Need(reads)
    return plans


def _require_holders(core: Core, specs: list[tuple[Queue, Any]]) -> None:
    """Has the holders of all unique keys read at once: one after the other would take as many turns."""
    reads: list[ReadRequest] = []
    holders: list[bytes] = []
    for queue, spec in specs:
        if spec.unique_key:
            group = spec.group or ""
            partition = core.pick_partition(queue, group, spec.unique_key, 0)
            record = TaskRecord(0, 0, group=group, unique_key=spec.unique_key)
            try:
                holder = core.unique_holder(partition, core.unique_hash(partition, record))
            except Need as need:
                reads += need.reads
            else:
                holders += [holder] if holder is not None else []
    if reads:
        raise Need(reads)
    core.require(holders)
    tasks = [task for i in holders if (task := core.tasks.get(i) or core.recent.get(i)) is not None]
    core.require([task.status.successor for task in tasks if task.status.successor])


def _reserve_all(core: Core, plans: list[Plan]) -> None:
    for task in _room_for_all(core, plans):
        _drop(core, task)


def _room_for_all(core: Core, plans: list[Plan]) -> list[Task]:
    """What has to be dropped for all of the plans; refuses, or raises Need, before anything is.

    A task that is to be dropped holds its unique key no longer: plans that would have met it make a
    task of their own, and take room too.
    """
    while True:
        victims: list[Task] = []
        for partition, count in _room_wanted(plans):
            victims += _victims_for(core, partition, count)
        dropped = {task.id for task in victims}
        first: dict[tuple[int, bytes], int] = {}
        for index, plan in enumerate(plans):
            if plan.holder is not None and plan.holder.id in dropped:
                plan.holder = None
                earlier = first.setdefault((plan.partition.place.number, plan.key_hash), index)
                plan.twin = earlier if earlier != index else None
        if not first:
            return victims


def _room_wanted(plans: list[Plan]) -> list[tuple[Partition, int]]:
    wanted: dict[int, tuple[Partition, int]] = {}
    succeeded: set[bytes] = set()
    for plan in plans:
        holder = plan.holder
        if plan.twin is not None:
            continue
        if holder is not None:
            succeeds = plan.conflict == "replace" and holder.status.state == RUNNING
            if not succeeds or holder.status.successor or holder.id in succeeded:
                continue
            succeeded.add(holder.id)
        number = plan.partition.place.number
        wanted[number] = (plan.partition, wanted.get(number, (plan.partition, 0))[1] + 1)
    return list(wanted.values())


def _carry_out_all(core: Core, plans: list[Plan]) -> tuple[list[str], list[int]]:
    ids: list[str] = []
    duplicates: list[int] = []
    made: list[Task | None] = []
    for index, plan in enumerate(plans):
        if plan.twin is not None:
            plan.holder = made[plan.twin]
        if plan.holder is None:
            task = _carry_out(core, plan)
        else:
            task, replaced = _meet_holder(core, plan)
            if replaced or task is plan.holder:
                duplicates.append(index)
        made.append(task)
        ids.append(format_id(task.id))
    return ids, duplicates


def _partial(core: Core, queue: Queue, specs: list[EnqueueTask]) -> PartialReply:
    _plan_each(core, queue, specs)
    results: list[Any] = []
    encode = msgspec.json.encode
    for index, spec in enumerate(specs):
        try:
            plan = _plan(core, queue, spec, f"tasks[{index}].", spread=False)
            if plan.holder is None:
                _reserve(core, plan.partition, 1)
            results.append(msgspec.Raw(encode(_reply(core, plan)[1])))
        except TaskQueueError as error:
            results.append(msgspec.Raw(encode(problem_of(error))))
    return PartialReply(results)


def _plan_each(core: Core, queue: Queue, specs: list[EnqueueTask]) -> None:
    """Has everything read that the items will look at, before the first of them is carried out."""
    fresh = 0
    reads: list[ReadRequest] = []
    _require_holders(core, [(queue, spec) for spec in specs])
    for spec in specs:
        try:
            plan = _plan(core, queue, spec, "", spread=False)
            fresh += plan.holder is None
        except TaskQueueError:
            continue
        except Need as need:
            reads += need.reads
    if reads:
        raise Need(reads)
    limit = queue.config.max_tasks
    if limit is not None and queue.config.overflow == "drop_oldest":
        for partition in queue.partitions:
            _victims(core, partition, min(partition.waiting + fresh - limit, partition.counts[READY]))


def _new_queue(core: Core, name: str, spec: EnqueueTask) -> Queue:
    core.level = LEVEL_DURABLE
    if spec.depends_on:
        _parents(core, spec, "", None)  # a refusal must leave no queue behind
    return core.touch(core.create_queue(name, QueueConfig()))


# Planning


def _plan(core: Core, queue: Queue, spec: EnqueueTask, path: str, *, spread: bool = True) -> Plan:
    now = core.now_ms
    group = spec.group or ""
    unique_key = spec.unique_key or ""
    if spread:
        queue.placing += 1
    partition = core.pick_partition(queue, group, unique_key, queue.placing)
    run_at = 0
    if spec.delay_ms:
        run_at = now + spec.delay_ms
    elif spec.run_at:
        run_at = spec.run_at
    expires_at = 0
    if spec.ttl_ms is not None:
        expires_at = now + spec.ttl_ms
    elif spec.expires_at is not None:
        expires_at = spec.expires_at or 1
    backoff = spec.backoff
    record = TaskRecord(
        partition.place.number,
        now,
        spec.name,
        spec.priority,
        group,
        spec.group_weight or 0,
        run_at,
        expires_at,
        spec.timeout_ms or 0,
        spec.lease_ms or 0,
        spec.max_attempts or 0,
        None if backoff is None else Backoff(backoff.base_ms, backoff.factor, backoff.max_ms, backoff.jitter),
        (),
        unique_key,
        tuple(spec.tags) if spec.tags else (),
        spec.meta,
        -1 if spec.result_ttl_ms is None else spec.result_ttl_ms,
        spec.with_parents,
        b"",
        bytes(spec.payload),
    )
    plan = Plan(partition, record, run_at)
    if spec.depends_on:
        plan.parents, record.with_parents = _parents(core, spec, path, queue)
        record.depends_on = tuple((parent.id, policy) for parent, policy in plan.parents)
    if partition.grouped:
        core.group_of(partition, record)
    if unique_key:
        _plan_unique(core, plan, spec, path)
    return plan


def _parent_ids(spec: EnqueueTask) -> list[bytes]:
    found = []
    for item in spec.depends_on or ():
        try:
            found.append(parse_id(item if isinstance(item, str) else item.id))
        except ValueError:
            continue  # refused, with its path, when the item is planned
    return found


def _parents(
    core: Core, spec: EnqueueTask, path: str, queue: Queue | None
) -> tuple[list[tuple[Task, int]], bool | None]:
    """The parents that a task of a queue (None: it does not exist yet) names, and its `with_parents`."""
    items = spec.depends_on or []
    ids: dict[bytes, int] = {}
    default = _POLICIES[spec.on_dependency_failure]
    for index, item in enumerate(items):
        text, policy = (item, None) if isinstance(item, str) else (item.id, item.on_failure)
        try:
            ids[parse_id(text.lower())] = default if policy is None else _POLICIES[policy]
        except ValueError as error:
            raise Invalid.field(f"{path}depends_on[{index}]", "not a task id") from error
    core.require(list(ids))
    found = []
    for index, (parent_id, edge) in enumerate(ids.items()):
        parent = core.tasks.get(parent_id) or core.recent.get(parent_id)
        if parent is None or is_gone(core, parent):
            raise Invalid.field(f"{path}depends_on[{index}]", f"no task {format_id(parent_id)}")
        core.touch(parent.partition.queue)
        found.append((parent, edge))
    with_parents = spec.with_parents
    if core.principal.restricted:
        names = [queue_name(parent.partition.queue) for parent, _ in found]
        with_parents = admit_parents(core, queue, with_parents, names)
    return found, with_parents


def _plan_unique(core: Core, plan: Plan, spec: EnqueueTask, path: str) -> None:
    plan.conflict = spec.on_conflict
    plan.key_hash = core.unique_hash(plan.partition, plan.record)
    holder_id = core.unique_holder(plan.partition, plan.key_hash)
    if holder_id is None:
        return
    core.require([holder_id])
    holder = core.tasks.get(holder_id) or core.recent.get(holder_id)
    if holder is None or holder.status.state >= COMPLETED:
        return
    core.prepare(holder)
    if holder.status.successor:
        core.require([holder.status.successor])
    plan.holder = holder
    _refuse_if_reject(plan, f"{path}unique_key")
    if spec.on_conflict == "replace" and spec.depends_on:
        raise Invalid.field(f"{path}depends_on", "cannot be replaced in a task that waits already")


def _refuse_if_reject(plan: Plan, field: str) -> None:
    if plan.conflict == "reject":
        raise Conflict(f"{field}: a live task has the unique key {plan.record.unique_key!r}")


def _reserve(core: Core, partition: Partition, count: int) -> None:
    """Makes room in a bounded queue, or refuses."""
    for task in _victims_for(core, partition, count):
        _drop(core, task)


def _drop(core: Core, task: Task) -> None:
    core.log_event(task, "dropped")
    core.move(task, CANCELLED, reason="dropped")
    task.partition.queue.metrics.dropped += 1


def _victims_for(core: Core, partition: Partition, count: int) -> list[Task]:
    """What has to be dropped for `count` more tasks; refuses where that is no help."""
    config = partition.queue.config
    if config.max_tasks is None:
        return []
    excess = partition.waiting + count - config.max_tasks
    if excess <= 0:
        return []
    if config.overflow == "reject":
        raise QueueFull(f"queue {partition.queue.name!r} holds {config.max_tasks} tasks", retry_after_s=1)
    if excess > partition.counts[READY]:
        raise QueueFull(f"queue {partition.queue.name!r} has no ready task left to drop", retry_after_s=1)
    return _victims(core, partition, excess)


def _victims(core: Core, partition: Partition, count: int) -> list[Task]:
    """The `count` ready tasks of lowest sequence; raises Need."""
    if count <= 0:
        return []
    if partition.resort:
        raise Need([ReadLater()])
    window = partition.ready if partition.age is None else partition.age
    if window.hot_count < count and window.cold:
        window.width = max(window.width, count)
        raise Need([core.refill(partition) if partition.age is None else core.refill_age(partition)])
    keys = window.peek(count)
    ids = [id_of("fifo", key) for key in keys] if partition.age is None else keys
    core.require(ids)
    tasks = [core.find(task_id) for task_id in ids]
    core.prepare_all(tasks)
    return tasks


# Carrying out


def _carry_out(core: Core, plan: Plan) -> Task:
    record = plan.record
    status = TaskStatus(run_at=plan.run_at)
    if plan.parents:
        return dependencies.create_child(core, plan.partition, record, status, plan.parents, plan.key_hash)
    if plan.run_at > core.now_ms:
        status.state = SCHEDULED
    task = core.create(plan.partition, record, status)
    if plan.key_hash:
        core.set_unique(plan.partition, plan.key_hash, task.id)
    return task


def _meet_holder(core: Core, plan: Plan) -> tuple[Task, bool]:
    """What becomes of a plan whose key is held: the task it stands for, and whether it was replaced."""
    holder = plan.holder
    assert holder is not None
    if plan.conflict != "replace":
        return holder, False
    if holder.status.state != RUNNING:
        return _replace(core, holder, plan), True
    successor = core.recent.get(holder.status.successor) or core.tasks.get(holder.status.successor)
    if successor is not None:
        return _replace(core, successor, plan), True
    return _succeed(core, holder, plan), False


def _replace(core: Core, task: Task, plan: Plan) -> Task:
    """Conflation: the waiting task keeps id and place, and takes the new fields."""
    old, new = task.record, plan.record
    new.created_at, new.depends_on, new.workflow = old.created_at, old.depends_on, old.workflow
    new.group = old.group if task.partition.grouped else new.group
    if new.name != old.name:
        _rename(core, task, new.name)
    state = task.status.state
    if state != BLOCKED:
        state = SCHEDULED if plan.run_at > core.now_ms else READY
    core.log_event(task, "replaced")
    core.reseat(task, new, state, plan.run_at)
    return task


def _rename(core: Core, task: Task, name: str) -> None:
    place = task.partition.place
    batch = core.batches[place.tier]
    if task.record.name:
        batch.delete_name(place, hash16(task.record.name), task.id)
    if name:
        batch.put_name(place, hash16(name), task.id)


def _succeed(core: Core, holder: Task, plan: Plan) -> Task:
    """The one successor of a running holder: blocked until that ends, whatever its end."""
    plan.record.depends_on = ((holder.id, EDGE_RUN),)
    status = TaskStatus(run_at=plan.run_at, successor_of=holder.id)
    _reserve(core, plan.partition, 1)
    task = dependencies.create_child(core, plan.partition, plan.record, status, [(holder, EDGE_RUN)], b"")
    holder.status.successor = task.id
    core.save(holder)
    return task


# Workflows


def create_workflow(core: Core, call: Call) -> tuple[int, WorkflowReply]:
    """POST /v1/workflows: any queues, references within the call or existing ids, all or nothing."""
    specs = call.body.tasks
    refs = _references(specs)
    order = _topological(specs, refs)
    outside = _outside_parents(core, specs, refs)
    _refuse_twins(core, specs)
    with_parents = [_with_parents(core, spec, specs, refs, outside) for spec in specs]
    names = list(dict.fromkeys(spec.queue for spec in specs))
    plans = _plan_workflow(core, specs, [name for name in names if name in core.queues])
    victims = _room_for_all(core, list(plans.values()))  # the last that may refuse; new queues have room
    fresh = [name for name in names if name not in core.queues]
    for name in fresh:
        core.create_queue(name, QueueConfig())
    plans |= _plan_workflow(core, specs, fresh)
    for task in victims:
        _drop(core, task)
    in_order = [plans[index] for index in range(len(specs))]
    for plan, value in zip(in_order, with_parents, strict=True):
        plan.record.with_parents = value
    return 201, _carry_out_workflow(core, call.body.name, specs, in_order, order, outside)


def _with_parents(
    core: Core, spec: Any, specs: list[Any], refs: dict[str, int], outside: dict[str, Task]
) -> bool | None:
    """Of one task of a workflow; raises Forbidden where its parents are none of the caller's business."""
    if not core.principal.restricted or not spec.depends_on:
        return spec.with_parents  # type: ignore[no-any-return]  # of a struct that has it
    texts = [item if isinstance(item, str) else item.id for item in spec.depends_on]
    names = [
        specs[refs[text]].queue if text in refs else queue_name(outside[text].partition.queue)
        for text in texts
    ]
    return admit_parents(core, core.queues.get(spec.queue), spec.with_parents, names)


def _refuse_twins(core: Core, specs: list[Any]) -> None:
    seen: dict[tuple[str, str, str], int] = {}
    for index, spec in enumerate(specs):
        if spec.unique_key:
            queue = core.queues.get(spec.queue)
            group = spec.group or "" if queue is not None and len(queue.partitions) > 1 else ""
            if seen.setdefault((spec.queue, spec.unique_key, group), index) != index:
                raise Conflict(f"tasks[{index}].unique_key: {spec.unique_key!r} is used twice")


def _plan_workflow(core: Core, specs: list[Any], names: list[str]) -> dict[int, Plan]:
    """By index, the plans of the tasks that go to some queues."""
    for name in names:
        core.touch(core.queues[name])
    plans: dict[int, Plan] = {}
    reads: list[ReadRequest] = []
    _require_holders(core, [(core.queues[spec.queue], spec) for spec in specs if spec.queue in names])
    for index, spec in enumerate(specs):
        if spec.queue in names:
            bare = msgspec.structs.replace(spec, depends_on=None)
            try:
                plan = _plan(core, core.queues[spec.queue], bare, f"tasks[{index}].", spread=False)
            except Need as need:
                reads += need.reads
                continue
            if plan.holder is not None:
                raise Conflict(
                    f"tasks[{index}].unique_key: a live task has the unique key {spec.unique_key!r}"
                )
            plans[index] = plan
    if reads:
        raise Need(reads)
    return plans


def _references(specs: list[Any]) -> dict[str, int]:
    refs: dict[str, int] = {}
    for index, spec in enumerate(specs):
        if refs.setdefault(spec.ref, index) != index:
            raise Invalid.field(f"tasks[{index}].ref", f"{spec.ref!r} is used twice")
    return refs


def _topological(specs: list[Any], refs: dict[str, int]) -> list[int]:
    """Indexes, parents first (Kahn, 1962); raises Cycle naming the refs on or behind one."""
    children: list[list[int]] = [[] for _ in specs]
    missing = [0] * len(specs)
    for index, spec in enumerate(specs):
        for text in dict.fromkeys(
            item if isinstance(item, str) else item.id for item in spec.depends_on or ()
        ):
            if text in refs:
                children[refs[text]].append(index)
                missing[index] += 1
    order = [index for index, count in enumerate(missing) if not count]
    for index in order:
        for child in children[index]:
            missing[child] -= 1
            if not missing[child]:
                order.append(child)
    if len(order) < len(specs):
        stuck = sorted(specs[index].ref for index, count in enumerate(missing) if count)
        raise Cycle(f"tasks: dependencies form a cycle through {', '.join(stuck[:10])}")
    return order


def _outside_parents(core: Core, specs: list[Any], refs: dict[str, int]) -> dict[str, Task]:
    wanted: dict[str, tuple[int, int]] = {}
    for index, spec in enumerate(specs):
        for position, item in enumerate(spec.depends_on or ()):
            text = item if isinstance(item, str) else item.id
            if text not in refs:
                wanted.setdefault(text, (index, position))
    ids: dict[str, bytes] = {}
    for text, (index, position) in wanted.items():
        try:
            ids[text] = parse_id(text.lower())
        except ValueError as error:
            field = f"tasks[{index}].depends_on[{position}]"
            raise Invalid.field(field, f"{text!r} is no ref of this call, and no task id") from error
    core.require(list(ids.values()))
    found: dict[str, Task] = {}
    for text, task_id in ids.items():
        task = core.tasks.get(task_id) or core.recent.get(task_id)
        if task is None or is_gone(core, task):
            index, position = wanted[text]
            raise Invalid.field(f"tasks[{index}].depends_on[{position}]", f"no task {text}")
        found[text] = task
    return found


def _carry_out_workflow(
    core: Core, name: str, specs: list[Any], plans: list[Plan], order: list[int], outside: dict[str, Task]
) -> WorkflowReply:
    slot = plans[0].partition.place.slot
    workflow = core.ids.next(slot, core.now_ms)
    made: dict[str, Task] = {}
    batch = core.batches[DURABLE]
    for index in order:
        spec, plan = specs[index], plans[index]
        plan.record.workflow = workflow
        default = _POLICIES[spec.on_dependency_failure]
        parents: dict[bytes, tuple[Task, int]] = {}
        for item in spec.depends_on or ():
            text, policy = (item, None) if isinstance(item, str) else (item.id, item.on_failure)
            parent = made.get(text) or outside[text]
            parents[parent.id] = (parent, default if policy is None else _POLICIES[policy])
        plan.parents = list(parents.values())
        plan.record.depends_on = tuple((parent.id, policy) for parent, policy in plan.parents)
        task = made[spec.ref] = _carry_out(core, plan)
        batch.put_workflow_task(workflow, task.id)
    record = WorkflowRecord(name, core.now_ms, len(specs))
    core.workflows[workflow] = record
    batch.put_workflow(workflow, record)
    return WorkflowReply(format_id(workflow), {spec.ref: format_id(made[spec.ref].id) for spec in specs})
