"""One action on many tasks: bulk, purge, cancelled workflows, deleted queues.

A sweep pages through the tasks that match, in slices of one turn each; its cursor is a row, so
that it goes on after a crash. Tasks that come into being after it began are not its business.
"""

from typing import Any

from taskqueuex.commands.call import Call
from taskqueuex.commands.principal import matcher
from taskqueuex.commands.tasks import BulkReply
from taskqueuex.engine import steer
from taskqueuex.engine.core import LEVEL_DURABLE, Core, Need, Queue, Task
from taskqueuex.engine.jobs import Job, add_job, finish_job, save_job, take_job
from taskqueuex.engine.staging import is_staged
from taskqueuex.errors import Conflict, Invalid
from taskqueuex.model.ids import parse_id
from taskqueuex.model.jobs import JobRecord
from taskqueuex.model.place import Place
from taskqueuex.model.reads import ReadFilter, ReadLater, TaskFilter
from taskqueuex.model.states import DEAD, STATE_NUMBERS, WAITING

__all__ = ["bulk", "cancel_workflow", "drop_again", "start_sweep", "step_drop", "step_sweep", "task_filter"]

PAGE = 250


def bulk(core: Core, call: Call) -> None:
    """POST /v1/bulk. Answers when the sweep is done."""
    body = call.body
    wanted = {
        name: value
        for name in body.filter.__struct_fields__
        if (value := getattr(body.filter, name)) is not None
    }
    if not wanted:
        raise Invalid.field("filter", "needs at least one field")
    if wanted.get("queue") is not None:
        queue = core.queues.get(wanted["queue"])
        if queue is not None:
            core.touch(queue)
    start_sweep(core, call, body.action, wanted, dry_run=body.dry_run)


def cancel_workflow(core: Core, call: Call) -> None:
    """POST /v1/workflows/{id}/cancel. The workflow is known to exist."""
    start_sweep(core, call, "cancel", {"workflow": call.target})


def start_sweep(
    core: Core,
    call: Call | None,
    action: str,
    wanted: dict[str, Any],
    *,
    dry_run: bool = False,
    kind: str = "sweep",
) -> Job:
    """Begins a sweep; whoever called is answered when it has ended."""
    core.level = LEVEL_DURABLE
    core.sweeps += 1
    if call is not None and (patterns := call.principal.patterns_of("operate")) is not None:
        wanted = {**wanted, "allowed": patterns}  # kept with the job: it may go on after a crash
    job_id = b"sweep" + core.now_ms.to_bytes(8, "big") + core.random_bits(64).to_bytes(8, "big")
    until = max(core.now_ms, core.ids.latest_ms()).to_bytes(6, "big") + b"\xff" * 10
    record = JobRecord(
        kind,
        core.now_ms,
        queue=wanted.get("queue", ""),
        action="" if dry_run else action,
        filter=wanted,
        until=until,
    )
    if dry_run:
        job = take_job(core, Job(job_id, record, call))
        job.persistent = False
        return job
    return add_job(core, job_id, record, call)


def task_filter(core: Core, wanted: dict[str, Any], until: bytes = b"", now_ms: int = 0) -> TaskFilter:
    """The filter of a request, with the partitions it is about: those that have a task of its state.

    `allowed`, where it is there, are patterns: queues that match none of them are left out.
    """
    places: list[tuple[str, Place, tuple[str, bool, bool]]] = []
    states = (STATE_NUMBERS[wanted["state"]],) if wanted.get("state") else None
    names = [wanted["queue"]] if wanted.get("queue") else sorted(core.queues)
    if wanted.get("allowed") is not None and (allowed := matcher(wanted["allowed"])) is not None:
        names = [name for name in names if allowed.fullmatch(name.partition("\0")[0])]
    for name in names:
        queue = core.queues.get(name) or core.ghosts.get(name)
        if queue is not None:
            for partition in queue.partitions:
                if states is None or partition.counts[states[0]]:
                    layout = (partition.discipline, partition.grouped, partition.aged)
                    places.append((name, partition.place, layout))
    ids, workflow = wanted.get("id"), wanted.get("workflow")
    return TaskFilter(
        places,
        states,
        group=wanted.get("group"),
        tag=wanted.get("tag"),
        name=wanted.get("name"),
        error=wanted.get("error"),
        workflow=parse_id(workflow.lower()) if workflow else None,
        ids=[parse_id(text.lower()) for text in ids] if ids is not None else None,
        after=wanted.get("after"),
        before=wanted.get("before"),
        until=until,
        now_ms=now_ms,
        masked=tuple((first, below) for _, first, below in core.staged.values()),
    )


def step_sweep(core: Core, job: Job) -> None:
    """One slice."""
    record = job.record
    if job.page is None:
        if any(queue.resorting for queue in core.queues.values()):
            raise Need([ReadLater()])  # the rows to page through are on their way
        wanted = task_filter(core, record.filter or {}, record.until)
        raise Need([job.ask(ReadFilter(job, wanted, record.cursor, PAGE))])
    found, cursor, _ = job.page
    ids = [task_id for task_id in found if not (core.staged and is_staged(core, task_id))]
    tasks = _live(core, record.action, ids)
    if record.filter and "state" in record.filter:
        tasks = [task for task in tasks if task.status.state == STATE_NUMBERS[record.filter["state"]]]
    if record.action == "purge":
        tasks = [task for task in tasks if task.status.state in WAITING]
    record.matched += len(tasks)
    if record.action:
        record.changed += _change_all(core, record.action, tasks)
    job.page = None
    if cursor:
        record.cursor = cursor
        save_job(core, job)
        return
    if record.kind == "drop" and (ghost := core.ghosts.get(record.queue)) is not None:
        core.drop_if_empty(ghost)
    finish_job(core, job)
    if job.call is not None:
        core.answers.append((job.call, 200, BulkReply(record.matched, record.changed), LEVEL_DURABLE))


def _live(core: Core, action: str, ids: list[bytes]) -> list[Task]:
    core.require(ids)
    tasks = [task for i in ids if (task := core.tasks.get(i) or core.recent.get(i)) is not None]
    core.prepare_all(tasks)
    for task in tasks:
        if task.record.unique_key and task.status.state == DEAD:
            core.unique_holder(task.partition, core.unique_hash(task.partition, task.record))
        if action == "delete":
            core.require_workflow(task.record)
    return tasks


def _change_all(core: Core, action: str, tasks: list[Task]) -> int:
    changed = 0
    for task in tasks:
        try:
            steer.change(core, action, task)
            changed += 1
        except Conflict:
            continue  # it does not apply to this one, or not any more
        except Need as need:
            core.wants.extend(need.reads)
    return changed


step_drop = step_sweep


def drop_again(core: Core, ghost: Queue) -> None:
    """After a restart: a deleted queue whose tombstones were in memory only is removed."""
    name = ghost.name
    record = JobRecord("drop", core.now_ms, queue=name, action="force", filter={"queue": name})
    job = take_job(core, Job(b"drop" + name.encode(), record))
    job.persistent = False
