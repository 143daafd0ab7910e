"""The command table: routes, validation, OpenAPI and the calls of the CLI all come from it.

Every path has at most one parameter, the command's `target`. `kind` says who answers:

    engine   the engine, through the writer's inbox (all changes, and reads of live state)
    query    a bounded read of storage, off the loop
    server   the node itself
    page     the web page's files, which are no part of the interface, and not in the table

`scope` is what a caller needs, and `queues` for which queues:

    none      the scope is about no queue: admin, or nothing at all
    target    the queue that the path names
    body      all queues that the body names (dequeue: a mapping's keys, or a list)
    tasks     the queue of each task of the body
    task      the queue of the task that the path names, which the engine looks up: a task of another
              queue answers 403, and nothing else of it is told
    settle    `body` for its dequeue; its items are as `task`, each refused in its own place
    filter    the queue of the filter, which must be allowed; without one, only tasks of queues that are
              allowed are seen or changed
    each      what belongs to other queues is left out: queues, schedules, tasks of a workflow and its
              counts. A workflow without any task that may be seen is not there
    schedule  the queue of the schedule as it is, and for a put the queue that it shall have as well
    all       every queue: the scope without a pattern. These tell of the server as a whole

A parent that a new task depends on must be in a queue that the caller may read or put tasks into; where
the task is handed the results of its parents, in one that it has both `read` and `payload` for, since whoever
consumes the task sees them.

The scope `payload` allows no call. Where `payloads` is true, the answer shows tasks or schedules, and leaves
out payload and result of those whose queue the caller has it not for (`engine/views.py`). What a consumer
is handed has them always.

Scope `public` needs no credentials, `any` needs some, whatever they allow.
"""

from types import MappingProxyType
from typing import Any, Literal

import msgspec

from taskqueuex.commands import access, admin, consume, events, produce, queues, schedules, tasks

__all__ = ["COMMANDS", "Command", "Queues", "Target", "command", "page_command"]

Kind = Literal["engine", "query", "server", "page"]
Scope = Literal["produce", "consume", "read", "operate", "admin", "any", "public"]
Queues = Literal["none", "target", "body", "tasks", "task", "settle", "filter", "each", "schedule", "all"]
Target = Literal["queue", "task", "workflow", "schedule", "worker", "token", "none"]


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table. `replies` maps a status to the struct of its body (None: not JSON)."""

    name: str
    method: str
    path: str  # with {queue}, {id} or {name}; at most one
    kind: Kind
    scope: Scope
    summary: str
    queues: Queues = "none"  # for which queues the scope is needed
    target: Target = "none"
    body: Any = None  # the struct of the request's body; None: no body is read
    body_required: bool = True  # False: an absent body stands for all defaults
    query: Any = None  # the struct of the query string; None: none is allowed
    replies: MappingProxyType[int, Any]
    errors: tuple[int, ...] = ()  # statuses of its own, beside those that any call can have
    idempotent_key: bool = False  # whether an Idempotency-Key is honoured
    payloads: bool = False  # whether its answer has room for payloads, which the scope payload fills
    audited: bool = False  # whether the audit has a row of every call
    streams: bool = False  # whether the answer goes on, as server-sent events with the data of `replies`


def _row(name: str, method: str, path: str, kind: Kind, scope: Scope, summary: str, **more: Any) -> Command:
    target: Target = "none"
    if "{queue}" in path:
        target = "queue"
    elif "{id}" in path:
        target = "workflow" if "/workflows/" in path else "token" if "/tokens/" in path else "task"
    elif "{name}" in path:
        target = "schedule" if "/schedules/" in path else "worker"
    replies = MappingProxyType(more.pop("replies"))
    keyed = kind == "engine" and method != "GET" and more.pop("keyed", True)
    return Command(
        name=name,
        method=method,
        path=path,
        kind=kind,
        scope=scope,
        summary=summary,
        target=target,
        replies=replies,
        idempotent_key=keyed,
        audited=scope in ("operate", "admin") and method != "GET",
        **more,
    )


_ROWS = (
    _row(
        "enqueue",
        "POST",
        "/v1/queues/{queue}/tasks",
        "engine",
        "produce",
        "Put a task into a queue",
        queues="target",
        body=produce.EnqueueTask,
        replies={201: produce.EnqueueReply, 200: produce.EnqueueReply},
        errors=(409, 422, 429),
    ),
    _row(
        "enqueue_batch",
        "POST",
        "/v1/queues/{queue}/tasks/batch",
        "engine",
        "produce",
        "Put many tasks into a queue",
        queues="target",
        body=produce.EnqueueBatch,
        replies={201: produce.BatchReply, 200: produce.PartialReply},
        errors=(409, 422, 429),
    ),
    _row(
        "create_workflow",
        "POST",
        "/v1/workflows",
        "engine",
        "produce",
        "Put in tasks that depend on each other",
        queues="tasks",
        body=produce.WorkflowCreate,
        replies={201: produce.WorkflowReply},
        errors=(409, 422, 429),
    ),
    _row(
        "dequeue",
        "POST",
        "/v1/dequeue",
        "engine",
        "consume",
        "Take tasks from several queues",
        queues="body",
        body=consume.Dequeue,
        replies={200: consume.DequeueReply},
        errors=(422,),
        keyed=False,
    ),
    _row(
        "dequeue_queue",
        "POST",
        "/v1/queues/{queue}/dequeue",
        "engine",
        "consume",
        "Take tasks from one queue",
        queues="target",
        body=consume.DequeueQueue,
        body_required=False,
        replies={200: consume.DequeueReply},
        errors=(422,),
        keyed=False,
    ),
    _row(
        "ack",
        "POST",
        "/v1/tasks/{id}/ack",
        "engine",
        "consume",
        "The work is done",
        queues="task",
        body=consume.AckTask,
        replies={200: consume.SettledReply},
        errors=(404, 409, 410, 422),
    ),
    _row(
        "fail",
        "POST",
        "/v1/tasks/{id}/fail",
        "engine",
        "consume",
        "The attempt failed",
        queues="task",
        body=consume.FailTask,
        replies={200: consume.SettledReply},
        errors=(404, 409, 410, 422),
    ),
    _row(
        "release",
        "POST",
        "/v1/tasks/{id}/release",
        "engine",
        "consume",
        "Give a task back without counting the attempt as failed",
        queues="task",
        body=consume.ReleaseTask,
        replies={200: consume.SettledReply},
        errors=(404, 409, 410, 422),
    ),
    _row(
        "heartbeat",
        "POST",
        "/v1/tasks/{id}/heartbeat",
        "engine",
        "consume",
        "The attempt goes on",
        queues="task",
        body=consume.HeartbeatTask,
        replies={200: consume.HeartbeatReply},
        errors=(404, 409, 410, 422),
    ),
    _row(
        "settle",
        "POST",
        "/v1/settle",
        "engine",
        "consume",
        "A worker's whole round trip: what ended, what goes on, what to take next",
        queues="settle",
        body=consume.Settle,
        replies={200: consume.SettleReply},
        errors=(422,),
    ),
    _row(
        "get_task",
        "GET",
        "/v1/tasks/{id}",
        "engine",
        "read",
        "A task",
        queues="task",
        query=tasks.WaitQuery,
        payloads=True,
        replies={200: tasks.TaskView},
        errors=(404, 410),
    ),
    _row(
        "list_tasks",
        "GET",
        "/v1/tasks",
        "query",
        "read",
        "Tasks that match a filter",
        queues="filter",
        query=tasks.ListTasks,
        payloads=True,
        replies={200: tasks.TaskList},
        errors=(422,),
    ),
    _row(
        "task_history",
        "GET",
        "/v1/tasks/{id}/history",
        "engine",
        "read",
        "What happened to a task: who, when, which attempt",
        queues="task",
        replies={200: list[tasks.HistoryEvent]},
        errors=(404, 410),
    ),
    _row(
        "task_why",
        "GET",
        "/v1/tasks/{id}/why",
        "engine",
        "read",
        "Why a task is not running",
        queues="task",
        replies={200: tasks.WhyReply},
        errors=(404, 410),
    ),
    _row(
        "edit_task",
        "PATCH",
        "/v1/tasks/{id}",
        "engine",
        "operate",
        "Change a task that waits",
        queues="task",
        body=tasks.EditTask,
        replies={200: tasks.TaskStateReply},
        errors=(404, 409, 410, 422),
    ),
    _row(
        "cancel_task",
        "POST",
        "/v1/tasks/{id}/cancel",
        "engine",
        "operate",
        "Cancel a task",
        queues="task",
        replies={200: tasks.CancelReply},
        errors=(404, 409, 410),
    ),
    _row(
        "retry_task",
        "POST",
        "/v1/tasks/{id}/retry",
        "engine",
        "operate",
        "Give a dead task another life",
        queues="task",
        replies={200: tasks.TaskStateReply},
        errors=(404, 409, 410),
    ),
    _row(
        "kill_task",
        "POST",
        "/v1/tasks/{id}/kill",
        "engine",
        "operate",
        "Make a task dead, revoking its lease",
        queues="task",
        replies={200: tasks.TaskStateReply},
        errors=(404, 409, 410),
    ),
    _row(
        "unblock_task",
        "POST",
        "/v1/tasks/{id}/unblock",
        "engine",
        "operate",
        "Let a blocked task run without waiting for what it depends on",
        queues="task",
        replies={200: tasks.TaskStateReply},
        errors=(404, 409, 410),
    ),
    _row(
        "delete_task",
        "DELETE",
        "/v1/tasks/{id}",
        "engine",
        "operate",
        "Forget a task that waits or has ended",
        queues="task",
        replies={200: tasks.DeletedReply},
        errors=(404, 409, 410),
    ),
    _row(
        "bulk",
        "POST",
        "/v1/bulk",
        "engine",
        "operate",
        "One action on all tasks of a filter",
        queues="filter",
        body=tasks.Bulk,
        replies={200: tasks.BulkReply},
        errors=(422,),
    ),
    _row(
        "list_workflows",
        "GET",
        "/v1/workflows",
        "query",
        "read",
        "Workflows",
        queues="each",
        query=tasks.CursorQuery,
        payloads=True,
        replies={200: tasks.WorkflowList},
        errors=(422,),
    ),
    _row(
        "get_workflow",
        "GET",
        "/v1/workflows/{id}",
        "query",
        "read",
        "A workflow and its tasks",
        queues="each",
        query=tasks.CursorQuery,
        payloads=True,
        replies={200: tasks.WorkflowView},
        errors=(404, 422),
    ),
    _row(
        "cancel_workflow",
        "POST",
        "/v1/workflows/{id}/cancel",
        "engine",
        "operate",
        "Cancel what has not ended of a workflow",
        queues="each",
        replies={200: tasks.BulkReply},
        errors=(404,),
    ),
    _row(
        "dead_groups",
        "GET",
        "/v1/dead/groups",
        "query",
        "read",
        "Dead letters by error",
        queues="filter",
        query=tasks.DeadQuery,
        replies={200: tasks.DeadGroups},
        errors=(422,),
    ),
    _row(
        "put_queue",
        "PUT",
        "/v1/queues/{queue}",
        "engine",
        "operate",
        "Create a queue or change its settings",
        queues="target",
        body=queues.PutQueue,
        body_required=False,
        replies={200: queues.QueueView, 201: queues.QueueView},
        errors=(409, 422),
    ),
    _row(
        "get_queue",
        "GET",
        "/v1/queues/{queue}",
        "engine",
        "read",
        "A queue",
        queues="target",
        replies={200: queues.QueueView},
        errors=(404,),
    ),
    _row(
        "queue_why",
        "GET",
        "/v1/queues/{queue}/why",
        "engine",
        "read",
        "Why a queue is slow",
        queues="target",
        replies={200: queues.QueueWhyReply},
        errors=(404,),
    ),
    _row(
        "queue_groups",
        "GET",
        "/v1/queues/{queue}/groups",
        "query",
        "read",
        "Which groups share a queue",
        queues="target",
        query=queues.GroupsQuery,
        replies={200: queues.QueueGroups},
        errors=(404, 422),
    ),
    _row(
        "list_queues",
        "GET",
        "/v1/queues",
        "engine",
        "read",
        "All queues",
        queues="each",
        query=queues.ListQueues,
        replies={200: queues.QueueList},
        errors=(422,),
    ),
    _row(
        "delete_queue",
        "DELETE",
        "/v1/queues/{queue}",
        "engine",
        "operate",
        "Forget a queue",
        queues="target",
        query=queues.DeleteQueueQuery,
        replies={200: tasks.BulkReply},
        errors=(404, 409),
    ),
    _row(
        "pause_queue",
        "POST",
        "/v1/queues/{queue}/pause",
        "engine",
        "operate",
        "Hand out nothing more",
        queues="target",
        replies={200: queues.QueueView},
        errors=(404,),
    ),
    _row(
        "resume_queue",
        "POST",
        "/v1/queues/{queue}/resume",
        "engine",
        "operate",
        "Hand out again",
        queues="target",
        replies={200: queues.QueueView},
        errors=(404,),
    ),
    _row(
        "purge_queue",
        "POST",
        "/v1/queues/{queue}/purge",
        "engine",
        "operate",
        "Cancel all that waits",
        queues="target",
        replies={200: queues.PurgeReply},
        errors=(404,),
    ),
    _row(
        "put_schedule",
        "PUT",
        "/v1/schedules/{name}",
        "engine",
        "operate",
        "Create a schedule or replace its definition",
        queues="schedule",
        body=schedules.PutSchedule,
        payloads=True,
        replies={200: schedules.ScheduleView, 201: schedules.ScheduleView},
        errors=(422,),
    ),
    _row(
        "get_schedule",
        "GET",
        "/v1/schedules/{name}",
        "engine",
        "read",
        "A schedule, its next runs and its last",
        queues="schedule",
        payloads=True,
        replies={200: schedules.ScheduleView},
        errors=(404,),
    ),
    _row(
        "list_schedules",
        "GET",
        "/v1/schedules",
        "engine",
        "read",
        "Schedules",
        queues="each",
        query=schedules.ListSchedules,
        payloads=True,
        replies={200: schedules.ScheduleList},
        errors=(422,),
    ),
    _row(
        "delete_schedule",
        "DELETE",
        "/v1/schedules/{name}",
        "engine",
        "operate",
        "Forget a schedule; tasks that it has enqueued stay",
        queues="schedule",
        replies={200: tasks.DeletedReply},
        errors=(404,),
    ),
    _row(
        "pause_schedule",
        "POST",
        "/v1/schedules/{name}/pause",
        "engine",
        "operate",
        "Let a schedule enqueue nothing more",
        queues="schedule",
        payloads=True,
        replies={200: schedules.ScheduleView},
        errors=(404,),
    ),
    _row(
        "resume_schedule",
        "POST",
        "/v1/schedules/{name}/resume",
        "engine",
        "operate",
        "Let a schedule go on from now",
        queues="schedule",
        payloads=True,
        replies={200: schedules.ScheduleView},
        errors=(404,),
    ),
    _row(
        "trigger_schedule",
        "POST",
        "/v1/schedules/{name}/trigger",
        "engine",
        "operate",
        "Enqueue the task of a schedule now",
        queues="schedule",
        replies={200: produce.EnqueueReply, 201: produce.EnqueueReply},
        errors=(404, 409, 422, 429),
    ),
    _row(
        "stats",
        "GET",
        "/v1/stats",
        "server",
        "read",
        "The server in one look",
        queues="all",
        replies={200: admin.StatsReply},
    ),
    _row(
        "list_workers",
        "GET",
        "/v1/workers",
        "engine",
        "read",
        "Workers and what they run",
        queues="all",
        query=admin.ListWorkers,
        replies={200: admin.WorkerList},
        errors=(422,),
    ),
    _row(
        "quiet_worker",
        "POST",
        "/v1/workers/{name}/quiet",
        "engine",
        "operate",
        "Ask a worker to take no more tasks",
        queues="all",
        replies={200: consume.WorkerControl},
        errors=(404,),
    ),
    _row(
        "resume_worker",
        "POST",
        "/v1/workers/{name}/resume",
        "engine",
        "operate",
        "Ask a worker to take tasks again",
        queues="all",
        replies={200: consume.WorkerControl},
        errors=(404,),
    ),
    _row(
        "stop_worker",
        "POST",
        "/v1/workers/{name}/stop",
        "engine",
        "operate",
        "Ask a worker to finish what it has, and exit",
        queues="all",
        replies={200: consume.WorkerControl},
        errors=(404,),
    ),
    _row(
        "metrics_history",
        "GET",
        "/v1/metrics/history",
        "query",
        "read",
        "Metrics over time",
        queues="all",
        query=admin.MetricsHistoryQuery,
        replies={200: admin.MetricsHistoryReply},
        errors=(422,),
    ),
    _row(
        "metrics",
        "GET",
        "/metrics",
        "server",
        "read",
        "Metrics in the Prometheus text format",
        queues="all",
        replies={200: None},
    ),
    _row(
        "healthz",
        "GET",
        "/healthz",
        "server",
        "public",
        "Whether the process is alive",
        replies={200: admin.HealthReply},
    ),
    _row(
        "readyz",
        "GET",
        "/readyz",
        "server",
        "public",
        "Whether the server takes work",
        replies={200: admin.HealthReply},
    ),
    _row(
        "openapi",
        "GET",
        "/openapi.json",
        "server",
        "public",
        "This interface as an OpenAPI 3.1 document",
        replies={200: dict[str, Any]},
    ),
    _row(
        "backup",
        "POST",
        "/v1/admin/backup",
        "server",
        "admin",
        "Copy the store while serving",
        body=admin.BackupRequest,
        replies={200: admin.BackupReply},
        errors=(409, 422),
    ),
    _row(
        "drain",
        "POST",
        "/v1/admin/drain",
        "server",
        "admin",
        "Finish what is under way, then exit",
        replies={200: admin.DrainReply},
    ),
    _row(
        "create_token",
        "POST",
        "/v1/tokens",
        "server",
        "admin",
        "Make a token, which is shown this one time",
        body=access.CreateToken,
        replies={201: access.TokenCreated},
        errors=(409, 422),
    ),
    _row(
        "list_tokens",
        "GET",
        "/v1/tokens",
        "server",
        "admin",
        "All tokens, without what they are made of",
        replies={200: access.TokenList},
    ),
    _row(
        "delete_token",
        "DELETE",
        "/v1/tokens/{id}",
        "server",
        "admin",
        "Revoke a token, at once",
        replies={200: tasks.DeletedReply},
        errors=(404, 409),
    ),
    _row(
        "sign_in",
        "POST",
        "/v1/session",
        "server",
        "public",
        "Begin a web session, with a token; the answer sets its cookie",
        body=access.SignIn,
        replies={200: access.SessionView},
        errors=(401, 422, 429),
    ),
    _row(
        "get_session",
        "GET",
        "/v1/session",
        "server",
        "any",
        "Who calls, whatever the credentials",
        replies={200: access.SessionView},
    ),
    _row(
        "sign_out",
        "DELETE",
        "/v1/session",
        "server",
        "any",
        "End the web session that the call is made in",
        replies={200: tasks.DeletedReply},
    ),
    _row(
        "list_audit",
        "GET",
        "/v1/audit",
        "query",
        "admin",
        "Who did what, and with what outcome",
        query=access.ListAudit,
        replies={200: access.AuditList},
        errors=(422,),
    ),
    _row(
        "events",
        "GET",
        "/v1/events",
        "server",
        "read",
        "What happens, as it happens: server-sent events",
        queues="filter",
        query=events.EventsQuery,
        replies={200: events.EventView},
        errors=(422,),
        streams=True,
    ),
)

COMMANDS: MappingProxyType[str, Command] = MappingProxyType({row.name: row for row in _ROWS})


def command(name: str) -> Command:
    """The row of a name; raises KeyError where there is none."""
    return COMMANDS[name]


def page_command(path: str) -> Command:
    """The row of a file of the web page."""
    return _row("page", "GET", path, "page", "public", "A file of the web page", replies={200: None})
