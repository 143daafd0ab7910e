"""The graph: what waits for what, and what an end does to those that wait.

An edge is a row under its parent: the child, the policy, whether it is met. A child knows how many
of its edges are not met (`pending`); at none it is let go. An end with children is either resolved
in the turn of the end (few children, all in memory), or becomes a job that walks the edges in
slices, each slice one batch, so that ten thousand children stop nobody and a crash midway resumes.

Edges stay until the parent is forgotten, which is not before all its children have ended.
"""

from taskqueuex.engine.core import Core, Need, Partition, Task
from taskqueuex.engine.jobs import Job, add_job, finish_job, save_job
from taskqueuex.model.ids import format_id
from taskqueuex.model.jobs import JobRecord
from taskqueuex.model.reads import ReadChildren
from taskqueuex.model.states import (
    BLOCKED,
    CANCELLED,
    COMPLETED,
    DEAD,
    EXPIRED,
    READY,
    SCHEDULED,
    STATE_NAMES,
)
from taskqueuex.model.task import (
    EDGE_CANCEL,
    EDGE_HOLD,
    EDGE_RUN,
    DependencyRecord,
    TaskRecord,
    TaskStatus,
)

__all__ = ["create_child", "let_go", "release_children", "step_forget", "step_release"]

PAGE = 500
EDGES_IN_MEMORY = 100  # children of one parent that are resolved in the turn of its end
DELETED = "deleted"


def create_child(
    core: Core,
    partition: Partition,
    record: TaskRecord,
    status: TaskStatus,
    parents: list[tuple[Task, int]],
    key_hash: bytes,
) -> Task:
    """A task with parents, and its edges. One whose fate is sealed already is cancelled at once."""
    met = [_meets(STATE_NAMES[parent.status.state], policy) for parent, policy in parents]
    status.pending = met.count(False)
    if status.pending:
        status.state = BLOCKED
    elif status.run_at > core.now_ms:
        status.state = SCHEDULED
    task = core.create(partition, record, status)
    if key_hash:
        core.set_unique(partition, key_hash, task.id)
    doomed = False
    for (parent, policy), is_met in zip(parents, met, strict=True):
        _add_edge(core, parent, task, DependencyRecord(policy, is_met))
        doomed = doomed or (not is_met and policy == EDGE_CANCEL and parent.status.state >= COMPLETED)
    if doomed:
        core.log_event(task, "cancelled", detail="a task it depends on did not complete")
        core.move(task, CANCELLED, reason="dependency_failed")
    return task


def _meets(outcome: str, policy: int) -> bool:
    if outcome == "completed":
        return True
    return policy == EDGE_RUN and outcome in ("cancelled", "expired", "dead", DELETED)


def _add_edge(core: Core, parent: Task, child: Task, edge: DependencyRecord) -> None:
    core.batches[parent.partition.place.tier].put_dependency(parent.id, child.id, edge)
    status = parent.status
    if not status.has_children:
        status.has_children = True
        core.save(parent)
        if status.state >= COMPLETED:
            core.put_ended(parent, status.forget_at)
        core.remember_edges(parent.id)
    edges = core.edges.get(parent.id)
    if edges is not None:
        if len(edges) >= EDGES_IN_MEMORY:
            del core.edges[parent.id]
        else:
            edges[child.id] = edge


def release_children(core: Core, parent: Task, outcome: str) -> None:
    """An end, or a deletion, of a task with children."""
    edges = core.edges.get(parent.id)
    if edges is not None and len(edges) <= EDGES_IN_MEMORY:
        tier = parent.partition.place.tier
        try:
            children = _children(core, list(edges))
        except Need as need:
            core.wants.extend(need.reads)  # the job will want them
        else:
            for child in children:
                _resolve(core, tier, parent.id, child, edges[child.id], outcome)
            if outcome == DELETED:
                _drop_edges(core, tier, parent.id, list(edges))
                del core.edges[parent.id]
            return
    core.edges.pop(parent.id, None)
    record = JobRecord(
        "release", core.now_ms, subject=parent.id, action=outcome, tier=parent.partition.place.tier
    )
    add_job(core, b"release" + parent.id, record)


def _children(core: Core, ids: list[bytes]) -> list[Task]:
    """Those of the children that are not forgotten, ready to be changed; raises Need."""
    core.require(ids)
    children = [child for i in ids if (child := core.tasks.get(i) or core.recent.get(i)) is not None]
    core.prepare_all(children)
    return children


def step_release(core: Core, job: Job) -> None:
    """One slice of the children of a task that ended."""
    record = job.record
    page = job.page
    if page is None:
        raise Need([job.ask(ReadChildren(record.subject, record.cursor, PAGE))])
    edges: dict[bytes, DependencyRecord] = dict(page)
    ids = list(edges)
    for child in _children(core, ids):
        _resolve(core, record.tier, record.subject, child, edges[child.id], record.action)
    if record.action == DELETED:
        _drop_edges(core, record.tier, record.subject, ids)
    job.page = None
    if len(page) < PAGE:
        finish_job(core, job)
    else:
        record.cursor = ids[-1] + b"\0"
        save_job(core, job)


def _drop_edges(core: Core, tier: int, parent_id: bytes, children: list[bytes]) -> None:
    for child_id in children:
        core.batches[tier].delete_dependency(parent_id, child_id)


def _resolve(
    core: Core, tier: int, parent_id: bytes, child: Task, edge: DependencyRecord, outcome: str
) -> None:
    status = child.status
    if edge.met or status.state != BLOCKED:
        return
    if _meets(outcome, edge.policy):
        edge.met = True
        core.batches[tier].put_dependency(parent_id, child.id, edge)
        if status.successor_of == parent_id:
            status.successor_of = b""
        status.pending -= 1
        if status.pending:
            core.save(child)
        else:
            let_go(core, child)
    elif edge.policy == EDGE_CANCEL or outcome == DELETED:
        detail = f"{format_id(parent_id)} was {outcome}" if outcome in (DELETED, "cancelled") else ""
        core.log_event(child, "cancelled", detail=detail or f"{format_id(parent_id)} ended {outcome}")
        core.move(child, CANCELLED, reason="dependency_failed")
    else:
        assert edge.policy == EDGE_HOLD


def let_go(core: Core, child: Task) -> None:
    """A blocked task waits for nothing any more."""
    core.log_event(child, "unblocked")
    child.status.pending = 0
    core.move(child, SCHEDULED if child.status.run_at > core.now_ms else READY)


def step_forget(core: Core, job: Job) -> None:
    """Removes an ended task with children, slice by slice; puts it off while one of them is alive."""
    record = job.record
    page = job.page
    if page is None:
        raise Need([job.ask(ReadChildren(record.subject, record.cursor, PAGE))])
    ids = [child_id for child_id, _ in page]
    core.require([record.subject, *ids])
    parent = core.tasks.get(record.subject) or core.recent.get(record.subject)
    children = [core.tasks.get(i) or core.recent.get(i) for i in ids]
    if parent is None or parent.status.state not in (COMPLETED, CANCELLED, EXPIRED, DEAD):
        finish_job(core, job)
        return
    core.require_workflow(parent.record)
    alive = any(child is not None and child.status.state < COMPLETED for child in children)
    if alive:
        core.postpone_forgetting(parent)
        finish_job(core, job)
        return
    _drop_edges(core, parent.partition.place.tier, parent.id, ids)
    job.page = None
    if len(page) < PAGE:
        core.erase_ended(parent)
        finish_job(core, job)
    else:
        record.cursor = ids[-1] + b"\0"
        save_job(core, job)
