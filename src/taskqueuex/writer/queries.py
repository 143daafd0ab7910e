"""Listings: reads of storage that go past the engine, off the loop, after the growing batch is written."""

import base64
import binascii
import heapq
from collections.abc import Callable
from typing import Any

from taskqueuex.access import AUDIT_KEY_BYTES, entry_of
from taskqueuex.commands import admin
from taskqueuex.commands.access import AuditEntry, AuditList, ListAudit
from taskqueuex.commands.call import Call
from taskqueuex.commands.queues import QueueGroup, QueueGroups
from taskqueuex.commands.tasks import DeadGroup, DeadGroups, TaskList, TaskView, WorkflowList, WorkflowView
from taskqueuex.engine.core import Core
from taskqueuex.engine.groups import may_run
from taskqueuex.engine.sweeps import task_filter
from taskqueuex.engine.views import task_view
from taskqueuex.errors import Invalid, NotFound
from taskqueuex.model.access import AuditRecord
from taskqueuex.model.ids import format_id, parse_id
from taskqueuex.model.place import VOLATILE
from taskqueuex.model.queue import QueueConfig, layout_of
from taskqueuex.model.reads import ReadRequest, TaskFilter
from taskqueuex.model.rows import StoredTask
from taskqueuex.model.states import COMPLETED, DEAD, STATE_NAMES
from taskqueuex.model.task import GroupRecord, TaskStatus
from taskqueuex.storage.query import EXAMINED_MAX, select, state_of
from taskqueuex.writer.stores import Tiers

__all__ = ["Query", "is_query"]

CHILDREN_SHOWN = 1_000
_AUDIT_PAGE = 500
GROUPS_SCANNED_MAX = 10_000
GROUPS_INLINE_MAX = 1_000  # of a queue in memory, which is read on the loop
_GROUPS_PAGE = 1_000
_HISTORY = {
    "1h": (0, 3_600_000, 10_000),
    "24h": (1, 86_400_000, 60_000),
    "30d": (2, 30 * 86_400_000, 900_000),
}


def is_query(call: Call) -> bool:
    """Whether a call is answered by a query."""
    return call.command.kind == "query"


class Query(ReadRequest):
    """One listing. Made on the loop, where it copies what it needs of the engine; run on a thread."""

    __slots__ = (
        "allowed", "answer", "call", "config", "filter", "inline_only", "now_ms", "queues", "resorting",
    )  # fmt: skip

    def __init__(self, core: Core, call: Call) -> None:
        super().__init__()
        self.call = call
        self.answer: Any = None
        self.now_ms = core.now_ms
        self.queues = {
            partition.place.number: (queue.name, queue.config.max_attempts)
            for queue in core.queues.values()
            for partition in queue.partitions
        }
        self.config = QueueConfig()  # of the queue that the path names, where it names one
        self.resorting = False
        if call.command.target == "queue":
            queue = core.queue(call.target)
            self.config, self.resorting = queue.config, queue.resorting
        self.filter = _filter_of(core, call)
        self.allowed: set[int] | None = None  # numbers of the queues that may be looked at; None: all
        if call.principal.patterns_of("read") is not None:
            self.allowed = {place.number for _, place, _ in self.filter.places}
        # The tier in memory has no reader but the loop. The audit is not in it, and may be long.
        self.inline_only = call.command.name != "list_audit" and any(
            place.tier == VOLATILE for _, place, _ in self.filter.places
        )

    def run(self, tiers: Tiers) -> Any:
        """The reply's body; raises TaskQueueError or StorageError."""
        return _RUNS[self.call.command.name](self, tiers)

    def view(self, tiers: Tiers, task_id: bytes, task: StoredTask) -> TaskView:
        """A task as read."""
        name, max_attempts = self.queues.get(task.record.queue_number, ("", 0))
        status = task.status or TaskStatus()
        status.state = state_of(task)
        if task.lease is not None:
            status.attempt, status.worker = task.lease.attempt, task.lease.worker
            status.started_at, status.progress = task.lease.leased_at, task.lease.progress
        children = []
        if status.has_children:
            edges = tiers.durable.scan_children(task_id, b"", CHILDREN_SHOWN)
            if self.inline_only:
                edges += tiers.volatile.scan_children(task_id, b"", CHILDREN_SHOWN)
            children = [child for child, _ in edges]
        return task_view(
            self.call.principal, task_id, name, max_attempts, task.record, status, task.lease, children
        )


def _filter_of(core: Core, call: Call) -> TaskFilter:
    query = call.query
    wanted: dict[str, Any] = {}
    if call.command.name == "list_tasks":
        wanted = {
            name: getattr(query, name) for name in query.__struct_fields__ if name not in ("limit", "cursor")
        }
        if wanted["id"] is not None:
            wanted["id"] = _ids(wanted["id"])
    elif call.command.name == "dead_groups":
        wanted = {"queue": query.queue, "state": "dead"}
    elif call.command.name == "queue_groups":
        wanted = {"queue": call.target}
    elif call.command.name == "get_workflow":
        wanted = {"workflow": call.target}
    wanted["allowed"] = call.principal.patterns_of("read")
    return task_filter(core, wanted, now_ms=core.now_ms)


def _ids(text: str) -> list[str]:
    found = [part for part in text.split(",") if part]
    for part in found:
        try:
            parse_id(part.lower())
        except ValueError as error:
            raise Invalid.field("id", f"{part!r} is not a task id") from error
    return found


def _cursor_in(text: str | None) -> bytes:
    if not text:
        return b""
    try:
        cursor = base64.urlsafe_b64decode(text.encode())
    except (binascii.Error, ValueError) as error:
        raise Invalid.field("cursor", "is not one that a listing gave") from error
    if len(cursor) < 4:
        raise Invalid.field("cursor", "is not one that a listing gave")
    return cursor


def _cursor_out(cursor: bytes) -> str | None:
    return base64.urlsafe_b64encode(cursor).decode() if cursor else None


def _list_tasks(query: Query, tiers: Tiers) -> TaskList:
    asked = query.call.query
    found, cursor, examined = select(tiers, query.filter, _cursor_in(asked.cursor), asked.limit)
    tasks = [query.view(tiers, task_id, task) for task_id, task in found.items()]
    return TaskList(tasks, _cursor_out(cursor), examined)


def _dead_groups(query: Query, tiers: Tiers) -> DeadGroups:
    groups: dict[tuple[str, str, str], DeadGroup] = {}
    cursor, examined = b"", 0
    while True:
        found, cursor, seen = select(tiers, query.filter, cursor, 500, EXAMINED_MAX - examined)
        examined += seen
        for task_id, task in found.items():
            _add_dead(groups, query, task_id, task)
        if not cursor or examined >= EXAMINED_MAX:
            break
    ordered = sorted(groups.values(), key=lambda group: (-group.count, group.queue, group.error))
    return DeadGroups(ordered[: query.call.query.limit], examined, not cursor)


def _add_dead(
    groups: dict[tuple[str, str, str], DeadGroup], query: Query, task_id: bytes, task: StoredTask
) -> None:
    status = task.status
    assert status is not None and status.state == DEAD
    queue = query.queues.get(task.record.queue_number, ("", 0))[0]
    error = status.errors[-1] if status.errors else None
    kind, message = (error.type, error.message) if error is not None else (status.reason, "")
    group = groups.setdefault(
        (queue, task.record.name, kind),
        DeadGroup(
            queue, task.record.name, kind, message, 0, status.ended_at, status.ended_at, format_id(task_id)
        ),
    )
    group.count += 1
    group.oldest_at = min(group.oldest_at, status.ended_at)
    if status.ended_at >= group.latest_at:
        group.latest_at, group.message, group.example = status.ended_at, message, format_id(task_id)


def _queue_groups(query: Query, tiers: Tiers) -> QueueGroups:
    config = query.config
    if not layout_of(config)[1]:
        return QueueGroups([], False, 0, True)
    partitions, scanned, whole = _group_rows(query, tiers)
    complete = whole and not query.resorting
    shares = _shares(partitions, config) if complete and config.discipline == "round_robin" else None
    limit = query.call.query.limit
    named = ((record, at) for at, records in enumerate(partitions) for record in records if record.name)
    first = heapq.nsmallest(limit, named, key=lambda each: _group_order(each[0]))
    groups = [_group_view(config, shares, [each]) for each in first]
    # Tasks of no group have a row in each partition, the others one in all.
    of_none = [(record, at) for at, records in enumerate(partitions) for record in records if not record.name]
    if of_none:
        groups.append(_group_view(config, shares, of_none))
        groups.sort(key=lambda group: (-group.ready, -group.running, group.group or ""))
    return QueueGroups(groups[:limit], True, scanned, complete)


def _group_order(record: GroupRecord) -> tuple[int, int, str]:
    return -record.waiting, -record.running, record.name


def _group_view(
    config: QueueConfig, shares: list[float] | None, rows: list[tuple[GroupRecord, int]]
) -> QueueGroup:
    """A group by its rows, each with its partition; `shares` are those of a weight of 1, by partition."""
    able = [(record, at) for record, at in rows if record.waiting and may_run(record, config)]
    record = rows[0][0]
    return QueueGroup(
        record.name or None,
        record.weight,
        sum(each.waiting for each, _ in rows),
        sum(each.running for each, _ in rows),
        sum(each.retrying for each, _ in rows),
        not able and any(each.waiting for each, _ in rows),
        None if shares is None else sum(shares[at] * each.weight for each, at in able),
    )


def _group_rows(query: Query, tiers: Tiers) -> tuple[list[list[GroupRecord]], int, bool]:
    """The rows of each partition, how many, and whether these are all."""
    partitions: list[list[GroupRecord]] = []
    scanned = 0
    most = GROUPS_INLINE_MAX if query.inline_only else GROUPS_SCANNED_MAX
    for _, place, _ in query.filter.places:
        records: list[GroupRecord] = []
        partitions.append(records)
        start = b""
        while True:
            page = tiers.of(place).scan_groups(place, start, _GROUPS_PAGE)
            if scanned + len(page) > most:
                records += [record for _, record in page[: most - scanned]]
                return partitions, most, False
            records += [record for _, record in page]
            scanned += len(page)
            if len(page) < _GROUPS_PAGE:
                break
            start = page[-1][0] + b"\0"
    return partitions, scanned, True


def _shares(partitions: list[list[GroupRecord]], config: QueueConfig) -> list[float]:
    """Of each partition: which part of all hand-outs a weight of 1 gets.

    Within a partition it is the weights that decide. Dequeues begin at one partition after the other, and
    one that has nothing is served by the next.
    """
    weights = [
        sum(record.weight for record in records if record.waiting and may_run(record, config))
        for records in partitions
    ]
    count = len(weights)
    turns = [0] * count
    for start in range(count):
        serves = next((at % count for at in range(start, start + count) if weights[at % count]), None)
        if serves is not None:
            turns[serves] += 1
    return [turn / count / weight if weight else 0.0 for turn, weight in zip(turns, weights, strict=True)]


def _workflow_counts(query: Query, tiers: Tiers, workflow: bytes) -> dict[str, int]:
    counts: dict[str, int] = {}
    start = b""
    while True:
        ids = tiers.durable.scan_workflow_tasks(workflow, start, 500)
        for task in tiers.get_tasks(ids, leases=True).values():
            if query.allowed is not None and task.record.queue_number not in query.allowed:
                continue
            name = STATE_NAMES[state_of(task)]
            counts[name] = counts.get(name, 0) + 1
        if len(ids) < 500:
            return counts
        start = ids[-1] + b"\0"


def _workflow_state(counts: dict[str, int]) -> str:
    live = sum(counts.get(name, 0) for name in STATE_NAMES[:COMPLETED])
    if live:
        return "running"
    failed = any(counts.get(name) for name in ("dead", "cancelled", "expired"))
    return "failed" if failed else "completed"


def _list_workflows(query: Query, tiers: Tiers) -> WorkflowList:
    asked = query.call.query
    before = _cursor_in(asked.cursor)[4:]
    limit = min(asked.limit, 100)
    rows = tiers.durable.scan_workflows(before, limit)
    views = []
    for workflow, record in rows:
        counts = _workflow_counts(query, tiers, workflow)
        if query.allowed is not None and not counts:
            continue
        views.append(
            WorkflowView(format_id(workflow), record.name, _workflow_state(counts), record.created_at, counts)
        )
    more = len(rows) == limit
    return WorkflowList(views, _cursor_out(bytes(4) + rows[-1][0]) if more else None)


def _get_workflow(query: Query, tiers: Tiers) -> WorkflowView:
    workflow = parse_id(query.call.target)
    record = tiers.durable.get_workflow(workflow)
    if record is None:
        raise NotFound(f"no workflow {query.call.target}")
    asked = query.call.query
    limit = 100 if asked is None else asked.limit
    cursor_text = None if asked is None else asked.cursor
    found, cursor, _ = select(tiers, query.filter, _cursor_in(cursor_text), limit)
    counts = _workflow_counts(query, tiers, workflow)
    if query.allowed is not None and not counts:
        raise NotFound(f"no workflow {query.call.target}")
    tasks = [query.view(tiers, task_id, task) for task_id, task in found.items()]
    return WorkflowView(
        format_id(workflow),
        record.name,
        _workflow_state(counts),
        record.created_at,
        counts,
        tasks,
        _cursor_out(cursor),
    )


def _metrics_history(query: Query, tiers: Tiers) -> admin.MetricsHistoryReply:
    asked = query.call.query
    tier, span_ms, step_ms = _HISTORY[asked.range if asked is not None else "1h"]
    names = {part for part in (asked.series or "").split(",") if part} if asked is not None else set()
    points = tiers.durable.scan_points(tier, query.now_ms - span_ms, span_ms // step_ms + 1)
    return admin.MetricsHistoryReply(
        step_ms,
        [
            admin.HistoryPoint(
                at, {name: value for name, value in values.items() if not names or name in names}
            )
            for at, values in points
        ],
    )


def _list_audit(query: Query, tiers: Tiers) -> AuditList:
    """Rows that match, and a cursor where the rows that were looked at ended before the audit did."""
    asked = query.call.query
    start = _instant_key(asked.after)
    before = _cursor_in(asked.cursor) or (b"" if asked.before is None else _instant_key(asked.before))
    if asked.cursor and len(before) != AUDIT_KEY_BYTES:
        raise Invalid.field("cursor", "is not one that a listing gave")
    entries: list[AuditEntry] = []
    examined = 0
    while examined < EXAMINED_MAX:
        page = tiers.durable.scan_audit(start, before, _AUDIT_PAGE)
        for key, record in page:
            before = key
            if _is_asked_for(asked, record):
                entries.append(entry_of(record))
                if len(entries) == asked.limit:
                    return AuditList(entries, _cursor_out(before))
        if len(page) < _AUDIT_PAGE:
            return AuditList(entries, None)
        examined += len(page)
    return AuditList(entries, _cursor_out(before))


def _instant_key(at_ms: int | None) -> bytes:
    return (at_ms or 0).to_bytes(8, "big")


def _is_asked_for(asked: ListAudit, record: AuditRecord) -> bool:
    if asked.who is not None and asked.who not in (record.id, record.name):
        return False
    return asked.command is None or asked.command == record.command


_RUNS: dict[str, Callable[[Query, Tiers], Any]] = {
    "list_tasks": _list_tasks,
    "dead_groups": _dead_groups,
    "queue_groups": _queue_groups,
    "list_workflows": _list_workflows,
    "get_workflow": _get_workflow,
    "metrics_history": _metrics_history,
    "list_audit": _list_audit,
}
