"""The command table: routes, validation, OpenAPI and the calls of the CLI all come from it.

Every path has at most one parameter, the command's `target`. `kind` says who answers:

    engine   the engine, through the writer's inbox (all changes, and reads of live state)
    query    a bounded read of storage, off the loop
    server   the node itself
"""

from types import MappingProxyType
from typing import Any, Literal

import msgspec

from taskqueuex.commands import admin, consume, produce, queues, tasks

__all__ = ["COMMANDS", "Command", "command"]

Kind = Literal["engine", "query", "server"]
Scope = Literal["produce", "consume", "read", "operate", "admin", "public"]
Target = Literal["queue", "task", "workflow", "none"]


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table. `replies` maps a status to the struct of its body (None: not JSON)."""

    name: str
    method: str
    path: str  # with {queue}, {id}; at most one
    kind: Kind
    scope: Scope
    summary: str
    target: Target = "none"
    body: Any = None  # the struct of the request's body; None: no body is read
    body_required: bool = True  # False: an absent body stands for all defaults
    query: Any = None  # the struct of the query string; None: none is allowed
    replies: MappingProxyType[int, Any]
    errors: tuple[int, ...] = ()  # statuses of its own, beside those that any call can have
    idempotent_key: bool = False  # whether an Idempotency-Key is honoured


def _row(name: str, method: str, path: str, kind: Kind, scope: Scope, summary: str, **more: Any) -> Command:
    target: Target = "none"
    if "{queue}" in path:
        target = "queue"
    elif "{id}" in path:
        target = "workflow" if "/workflows/" in path else "task"
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
        query=tasks.WaitQuery,
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
        query=tasks.ListTasks,
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
        query=tasks.CursorQuery,
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
        query=tasks.CursorQuery,
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
        replies={200: queues.QueueView},
        errors=(404,),
    ),
    _row("list_queues", "GET", "/v1/queues", "engine", "read", "All queues", replies={200: queues.QueueList}),
    _row(
        "delete_queue",
        "DELETE",
        "/v1/queues/{queue}",
        "engine",
        "operate",
        "Forget a queue",
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
        replies={200: queues.PurgeReply},
        errors=(404,),
    ),
    _row(
        "stats",
        "GET",
        "/v1/stats",
        "server",
        "read",
        "The server in one look",
        replies={200: admin.StatsReply},
    ),
    _row(
        "list_workers",
        "GET",
        "/v1/workers",
        "engine",
        "read",
        "Workers and what they run",
        replies={200: admin.WorkerList},
    ),
    _row(
        "metrics_history",
        "GET",
        "/v1/metrics/history",
        "query",
        "read",
        "Metrics over time",
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
)

COMMANDS: MappingProxyType[str, Command] = MappingProxyType({row.name: row for row in _ROWS})


def command(name: str) -> Command:
    """The row of a name; raises KeyError where there is none."""
    return COMMANDS[name]
