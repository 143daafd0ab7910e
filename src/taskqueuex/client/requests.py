"""A builder for every row of the command table.

Written by scripts/generate_client.py from the command table; do not edit.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import UNSET, UnsetType

from taskqueuex.client.request import Operation, Request, encode_value, settle_wait_ms
from taskqueuex.commands import access, admin, consume, produce, queues, schedules, tasks

__all__ = [
    "ack",
    "backup",
    "bulk",
    "cancel_task",
    "cancel_workflow",
    "create_token",
    "create_workflow",
    "dead_groups",
    "delete_queue",
    "delete_schedule",
    "delete_task",
    "delete_token",
    "dequeue",
    "dequeue_queue",
    "drain",
    "edit_task",
    "enqueue",
    "enqueue_batch",
    "fail",
    "get_queue",
    "get_schedule",
    "get_session",
    "get_task",
    "get_workflow",
    "healthz",
    "heartbeat",
    "kill_task",
    "list_audit",
    "list_queues",
    "list_schedules",
    "list_tasks",
    "list_tokens",
    "list_workers",
    "list_workflows",
    "metrics",
    "metrics_history",
    "openapi",
    "pause_queue",
    "pause_schedule",
    "purge_queue",
    "put_queue",
    "put_schedule",
    "queue_groups",
    "queue_why",
    "quiet_worker",
    "readyz",
    "release",
    "resume_queue",
    "resume_schedule",
    "resume_worker",
    "retry_task",
    "settle",
    "sign_in",
    "sign_out",
    "stats",
    "stop_worker",
    "task_history",
    "task_why",
    "trigger_schedule",
    "unblock_task",
]

_ENQUEUE = Operation("enqueue")
_ENQUEUE_BATCH = Operation("enqueue_batch")
_CREATE_WORKFLOW = Operation("create_workflow")
_DEQUEUE = Operation("dequeue")
_DEQUEUE_QUEUE = Operation("dequeue_queue")
_ACK = Operation("ack")
_FAIL = Operation("fail")
_RELEASE = Operation("release")
_HEARTBEAT = Operation("heartbeat")
_SETTLE = Operation("settle")
_GET_TASK = Operation("get_task")
_LIST_TASKS = Operation("list_tasks")
_TASK_HISTORY = Operation("task_history")
_TASK_WHY = Operation("task_why")
_EDIT_TASK = Operation("edit_task")
_CANCEL_TASK = Operation("cancel_task")
_RETRY_TASK = Operation("retry_task")
_KILL_TASK = Operation("kill_task")
_UNBLOCK_TASK = Operation("unblock_task")
_DELETE_TASK = Operation("delete_task")
_BULK = Operation("bulk")
_LIST_WORKFLOWS = Operation("list_workflows")
_GET_WORKFLOW = Operation("get_workflow")
_CANCEL_WORKFLOW = Operation("cancel_workflow")
_DEAD_GROUPS = Operation("dead_groups")
_PUT_QUEUE = Operation("put_queue")
_GET_QUEUE = Operation("get_queue")
_QUEUE_WHY = Operation("queue_why")
_QUEUE_GROUPS = Operation("queue_groups")
_LIST_QUEUES = Operation("list_queues")
_DELETE_QUEUE = Operation("delete_queue")
_PAUSE_QUEUE = Operation("pause_queue")
_RESUME_QUEUE = Operation("resume_queue")
_PURGE_QUEUE = Operation("purge_queue")
_PUT_SCHEDULE = Operation("put_schedule")
_GET_SCHEDULE = Operation("get_schedule")
_LIST_SCHEDULES = Operation("list_schedules")
_DELETE_SCHEDULE = Operation("delete_schedule")
_PAUSE_SCHEDULE = Operation("pause_schedule")
_RESUME_SCHEDULE = Operation("resume_schedule")
_TRIGGER_SCHEDULE = Operation("trigger_schedule")
_STATS = Operation("stats")
_LIST_WORKERS = Operation("list_workers")
_QUIET_WORKER = Operation("quiet_worker")
_RESUME_WORKER = Operation("resume_worker")
_STOP_WORKER = Operation("stop_worker")
_METRICS_HISTORY = Operation("metrics_history")
_METRICS = Operation("metrics")
_HEALTHZ = Operation("healthz")
_READYZ = Operation("readyz")
_OPENAPI = Operation("openapi")
_BACKUP = Operation("backup")
_DRAIN = Operation("drain")
_CREATE_TOKEN = Operation("create_token")
_LIST_TOKENS = Operation("list_tokens")
_DELETE_TOKEN = Operation("delete_token")
_SIGN_IN = Operation("sign_in")
_GET_SESSION = Operation("get_session")
_SIGN_OUT = Operation("sign_out")
_LIST_AUDIT = Operation("list_audit")

# They are given more than they say: mappings for structs, values for JSON.
_AckTask: Any = consume.AckTask
_BackupRequest: Any = admin.BackupRequest
_Bulk: Any = tasks.Bulk
_CreateToken: Any = access.CreateToken
_CursorQuery: Any = tasks.CursorQuery
_DeadQuery: Any = tasks.DeadQuery
_DeleteQueueQuery: Any = queues.DeleteQueueQuery
_Dequeue: Any = consume.Dequeue
_DequeueQueue: Any = consume.DequeueQueue
_EditTask: Any = tasks.EditTask
_EnqueueBatch: Any = produce.EnqueueBatch
_EnqueueTask: Any = produce.EnqueueTask
_FailTask: Any = consume.FailTask
_GroupsQuery: Any = queues.GroupsQuery
_HeartbeatTask: Any = consume.HeartbeatTask
_ListAudit: Any = access.ListAudit
_ListQueues: Any = queues.ListQueues
_ListSchedules: Any = schedules.ListSchedules
_ListTasks: Any = tasks.ListTasks
_ListWorkers: Any = admin.ListWorkers
_MetricsHistoryQuery: Any = admin.MetricsHistoryQuery
_PutQueue: Any = queues.PutQueue
_PutSchedule: Any = schedules.PutSchedule
_ReleaseTask: Any = consume.ReleaseTask
_Settle: Any = consume.Settle
_SignIn: Any = access.SignIn
_WaitQuery: Any = tasks.WaitQuery
_WorkflowCreate: Any = produce.WorkflowCreate


def enqueue(
    queue: str,
    *,
    payload: Any = None,
    name: str = "",
    priority: int = 0,
    group: str | None = None,
    group_weight: int | None = None,
    delay_ms: int | None = None,
    ttl_ms: int | None = None,
    timeout_ms: int | None = None,
    lease_ms: int | None = None,
    max_attempts: int | None = None,
    backoff: produce.BackoffSpec | Mapping[str, Any] | None = None,
    unique_key: str | None = None,
    on_conflict: Literal["existing", "reject", "replace"] = "existing",
    tags: Sequence[str] | None = None,
    meta: Mapping[str, str] | None = None,
    result_ttl_ms: int | None = None,
    with_parents: bool | None = None,
    run_at: int | None = None,
    expires_at: int | None = None,
    depends_on: Sequence[str | produce.Dependency | Mapping[str, Any]] | None = None,
    on_dependency_failure: Literal["cancel", "run", "hold"] = "cancel",
    idempotency_key: str | None = None,
) -> Request[produce.EnqueueReply]:
    """Put a task into a queue.

    A task to do.

    POST /v1/queues/{queue}/tasks
    """
    return Request(
        _ENQUEUE,
        _ENQUEUE.path(queue),
        body=_EnqueueTask(
            payload=encode_value(payload, "payload"),
            name=name,
            priority=priority,
            group=group,
            group_weight=group_weight,
            delay_ms=delay_ms,
            ttl_ms=ttl_ms,
            timeout_ms=timeout_ms,
            lease_ms=lease_ms,
            max_attempts=max_attempts,
            backoff=backoff,
            unique_key=unique_key,
            on_conflict=on_conflict,
            tags=tags,
            meta=meta,
            result_ttl_ms=result_ttl_ms,
            with_parents=with_parents,
            run_at=run_at,
            expires_at=expires_at,
            depends_on=depends_on,
            on_dependency_failure=on_dependency_failure,
        ),
        key=idempotency_key,
    )


def enqueue_batch(
    queue: str,
    *,
    tasks: Sequence[produce.EnqueueTask | Mapping[str, Any]],
    partial: bool = False,
    idempotency_key: str | None = None,
) -> Request[produce.BatchReply | produce.PartialReply]:
    """Put many tasks into a queue.

    Many tasks of one queue: all or nothing, or each on its own with `partial`.

    POST /v1/queues/{queue}/tasks/batch
    """
    return Request(
        _ENQUEUE_BATCH,
        _ENQUEUE_BATCH.path(queue),
        body=_EnqueueBatch(tasks=list(tasks), partial=partial),
        key=idempotency_key,
    )


def create_workflow(
    *,
    tasks: Sequence[produce.WorkflowTask | Mapping[str, Any]],
    name: str = "",
    idempotency_key: str | None = None,
) -> Request[produce.WorkflowReply]:
    """Put in tasks that depend on each other.

    Tasks of any queues with dependencies among them: all or nothing.

    POST /v1/workflows
    """
    return Request(
        _CREATE_WORKFLOW,
        "/v1/workflows",
        body=_WorkflowCreate(tasks=list(tasks), name=name),
        key=idempotency_key,
    )


def dequeue(
    *,
    queues: Sequence[str] | Mapping[str, int],
    max: int = 1,
    wait_ms: int = 0,
    lease_ms: int | None = None,
    worker: str = "",
) -> Request[consume.DequeueReply]:
    """Take tasks from several queues.

    Take up to `max` tasks: of the first queue of a list that has any, or drawn by weight.

    POST /v1/dequeue
    """
    return Request(
        _DEQUEUE,
        "/v1/dequeue",
        body=_Dequeue(queues=list(queues), max=max, wait_ms=wait_ms, lease_ms=lease_ms, worker=worker),
        wait_ms=wait_ms,
    )


def dequeue_queue(
    queue: str, *, max: int = 1, wait_ms: int = 0, lease_ms: int | None = None, worker: str = ""
) -> Request[consume.DequeueReply]:
    """Take tasks from one queue.

    Take up to `max` tasks of the queue in the path, waiting up to `wait_ms` for the first.

    POST /v1/queues/{queue}/dequeue
    """
    return Request(
        _DEQUEUE_QUEUE,
        _DEQUEUE_QUEUE.path(queue),
        body=_DequeueQueue(max=max, wait_ms=wait_ms, lease_ms=lease_ms, worker=worker),
        wait_ms=wait_ms,
    )


def ack(id: str, *, lease: str, result: Any = UNSET) -> Request[consume.SettledReply]:
    """The work is done.

    The work is done.

    POST /v1/tasks/{id}/ack
    """
    return Request(_ACK, _ACK.path(id), body=_AckTask(lease=lease, result=encode_value(result, "result")))


def fail(
    id: str,
    *,
    lease: str,
    error: consume.ErrorSpec | Mapping[str, Any] | UnsetType = UNSET,
    retryable: bool = True,
    delay_ms: int | None = None,
) -> Request[consume.SettledReply]:
    """The attempt failed.

    The attempt failed; `retryable: false` makes the task dead at once.

    POST /v1/tasks/{id}/fail
    """
    return Request(
        _FAIL,
        _FAIL.path(id),
        body=_FailTask(lease=lease, error=error, retryable=retryable, delay_ms=delay_ms),
    )


def release(id: str, *, lease: str, delay_ms: int | None = None) -> Request[consume.SettledReply]:
    """Give a task back without counting the attempt as failed.

    Back to the queue; the attempt is not counted as a failure.

    POST /v1/tasks/{id}/release
    """
    return Request(_RELEASE, _RELEASE.path(id), body=_ReleaseTask(lease=lease, delay_ms=delay_ms))


def heartbeat(
    id: str, *, lease: str, extend_ms: int | None = None, progress: Any = UNSET
) -> Request[consume.HeartbeatReply]:
    """The attempt goes on.

    The attempt goes on: the lease is set to now + `extend_ms`, or its own length.

    POST /v1/tasks/{id}/heartbeat
    """
    return Request(
        _HEARTBEAT,
        _HEARTBEAT.path(id),
        body=_HeartbeatTask(lease=lease, extend_ms=extend_ms, progress=encode_value(progress, "progress")),
    )


def settle(
    *,
    ack: Sequence[consume.AckItem | Mapping[str, Any]] = (),
    fail: Sequence[consume.FailItem | Mapping[str, Any]] = (),
    release: Sequence[consume.ReleaseItem | Mapping[str, Any]] = (),
    heartbeat: Sequence[consume.HeartbeatItem | Mapping[str, Any]] = (),
    dequeue: consume.Dequeue | Mapping[str, Any] | None = None,
    wait: Literal["always"] | None = None,
    worker: consume.WorkerInfo | Mapping[str, Any] | None = None,
) -> Request[consume.SettleReply]:
    """A worker's whole round trip: what ended, what goes on, what to take next.

    A worker's whole round trip: what ended, what goes on, and what to take next.

    POST /v1/settle
    """
    return Request(
        _SETTLE,
        "/v1/settle",
        body=_Settle(
            ack=list(ack),
            fail=list(fail),
            release=list(release),
            heartbeat=list(heartbeat),
            dequeue=dequeue,
            wait=wait,
            worker=worker,
        ),
        wait_ms=settle_wait_ms(dequeue, wait, bool(ack or fail or release or heartbeat)),
    )


def get_task(id: str, *, wait_ms: int = 0) -> Request[tasks.TaskView]:
    """A task.

    `wait_ms`: answer when the task has ended, or after that long.

    GET /v1/tasks/{id}
    """
    return Request(_GET_TASK, _GET_TASK.path(id), query=_WaitQuery(wait_ms=wait_ms), wait_ms=wait_ms)


def list_tasks(
    *,
    queue: str | None = None,
    state: Literal[
        "scheduled", "blocked", "ready", "running", "retrying", "completed", "cancelled", "expired", "dead"
    ]
    | None = None,
    group: str | None = None,
    tag: str | None = None,
    name: str | None = None,
    error: str | None = None,
    workflow: str | None = None,
    id: str | None = None,
    after: int | None = None,
    before: int | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> Request[tasks.TaskList]:
    """Tasks that match a filter.

    A filter and a page. `after` and `before` bound `created_at`.

    GET /v1/tasks
    """
    return Request(
        _LIST_TASKS,
        "/v1/tasks",
        query=_ListTasks(
            queue=queue,
            state=state,
            group=group,
            tag=tag,
            name=name,
            error=error,
            workflow=workflow,
            id=id,
            after=after,
            before=before,
            limit=limit,
            cursor=cursor,
        ),
    )


def task_history(id: str) -> Request[list[tasks.HistoryEvent]]:
    """What happened to a task: who, when, which attempt.

    GET /v1/tasks/{id}/history
    """
    return Request(_TASK_HISTORY, _TASK_HISTORY.path(id))


def task_why(id: str) -> Request[tasks.WhyReply]:
    """Why a task is not running.

    GET /v1/tasks/{id}/why
    """
    return Request(_TASK_WHY, _TASK_WHY.path(id))


def edit_task(
    id: str,
    *,
    priority: int | UnsetType = UNSET,
    run_at: int | UnsetType = UNSET,
    payload: Any = UNSET,
    expires_at: int | None | UnsetType = UNSET,
    idempotency_key: str | None = None,
) -> Request[tasks.TaskStateReply]:
    """Change a task that waits.

    Changes to a task that waits; a field that is not given stays.

    PATCH /v1/tasks/{id}
    """
    return Request(
        _EDIT_TASK,
        _EDIT_TASK.path(id),
        body=_EditTask(
            priority=priority, run_at=run_at, payload=encode_value(payload, "payload"), expires_at=expires_at
        ),
        key=idempotency_key,
    )


def cancel_task(id: str, *, idempotency_key: str | None = None) -> Request[tasks.CancelReply]:
    """Cancel a task.

    POST /v1/tasks/{id}/cancel
    """
    return Request(_CANCEL_TASK, _CANCEL_TASK.path(id), key=idempotency_key)


def retry_task(id: str, *, idempotency_key: str | None = None) -> Request[tasks.TaskStateReply]:
    """Give a dead task another life.

    POST /v1/tasks/{id}/retry
    """
    return Request(_RETRY_TASK, _RETRY_TASK.path(id), key=idempotency_key)


def kill_task(id: str, *, idempotency_key: str | None = None) -> Request[tasks.TaskStateReply]:
    """Make a task dead, revoking its lease.

    POST /v1/tasks/{id}/kill
    """
    return Request(_KILL_TASK, _KILL_TASK.path(id), key=idempotency_key)


def unblock_task(id: str, *, idempotency_key: str | None = None) -> Request[tasks.TaskStateReply]:
    """Let a blocked task run without waiting for what it depends on.

    POST /v1/tasks/{id}/unblock
    """
    return Request(_UNBLOCK_TASK, _UNBLOCK_TASK.path(id), key=idempotency_key)


def delete_task(id: str, *, idempotency_key: str | None = None) -> Request[tasks.DeletedReply]:
    """Forget a task that waits or has ended.

    DELETE /v1/tasks/{id}
    """
    return Request(_DELETE_TASK, _DELETE_TASK.path(id), key=idempotency_key)


def bulk(
    *,
    action: Literal["retry", "cancel", "kill", "delete"],
    filter: tasks.BulkFilter | Mapping[str, Any],
    dry_run: bool = False,
    idempotency_key: str | None = None,
) -> Request[tasks.BulkReply]:
    """One action on all tasks of a filter.

    One action on all tasks of a filter; `dry_run` counts them and changes nothing.

    POST /v1/bulk
    """
    return Request(
        _BULK, "/v1/bulk", body=_Bulk(action=action, filter=filter, dry_run=dry_run), key=idempotency_key
    )


def list_workflows(*, limit: int = 100, cursor: str | None = None) -> Request[tasks.WorkflowList]:
    """Workflows.

    A page of a listing.

    GET /v1/workflows
    """
    return Request(_LIST_WORKFLOWS, "/v1/workflows", query=_CursorQuery(limit=limit, cursor=cursor))


def get_workflow(id: str, *, limit: int = 100, cursor: str | None = None) -> Request[tasks.WorkflowView]:
    """A workflow and its tasks.

    A page of a listing.

    GET /v1/workflows/{id}
    """
    return Request(_GET_WORKFLOW, _GET_WORKFLOW.path(id), query=_CursorQuery(limit=limit, cursor=cursor))


def cancel_workflow(id: str, *, idempotency_key: str | None = None) -> Request[tasks.BulkReply]:
    """Cancel what has not ended of a workflow.

    POST /v1/workflows/{id}/cancel
    """
    return Request(_CANCEL_WORKFLOW, _CANCEL_WORKFLOW.path(id), key=idempotency_key)


def dead_groups(
    *, queue: str | None = None, limit: int = 100, max_age_ms: int | None = None
) -> Request[tasks.DeadGroups]:
    """Dead letters by error.

    Dead letters of one queue, or of all. `max_age_ms`: one that was made for others will do, so
    old.

    GET /v1/dead/groups
    """
    return Request(
        _DEAD_GROUPS, "/v1/dead/groups", query=_DeadQuery(queue=queue, limit=limit, max_age_ms=max_age_ms)
    )


def put_queue(
    queue: str,
    *,
    discipline: Literal["fifo", "lifo", "priority", "round_robin"] | None | UnsetType = UNSET,
    partitions: int | None | UnsetType = UNSET,
    max_tasks: int | None | UnsetType = UNSET,
    overflow: Literal["reject", "drop_oldest"] | None | UnsetType = UNSET,
    lease_ms: int | None | UnsetType = UNSET,
    max_attempts: int | None | UnsetType = UNSET,
    backoff: produce.BackoffSpec | Mapping[str, Any] | None | UnsetType = UNSET,
    result_ttl_ms: int | None | UnsetType = UNSET,
    dead_ttl_ms: int | None | UnsetType = UNSET,
    rate_limit: queues.RateLimitSpec | Mapping[str, Any] | None | UnsetType = UNSET,
    max_running: int | None | UnsetType = UNSET,
    max_running_per_group: int | None | UnsetType = UNSET,
    ordered_groups: bool | None | UnsetType = UNSET,
    durability: Literal["durable", "relaxed", "memory"] | None | UnsetType = UNSET,
    with_parents: bool | None | UnsetType = UNSET,
) -> Request[queues.QueueView]:
    """Create a queue or change its settings.

    Creates a queue or changes the fields given; null restores a default.

    PUT /v1/queues/{queue}
    """
    return Request(
        _PUT_QUEUE,
        _PUT_QUEUE.path(queue),
        body=_PutQueue(
            discipline=discipline,
            partitions=partitions,
            max_tasks=max_tasks,
            overflow=overflow,
            lease_ms=lease_ms,
            max_attempts=max_attempts,
            backoff=backoff,
            result_ttl_ms=result_ttl_ms,
            dead_ttl_ms=dead_ttl_ms,
            rate_limit=rate_limit,
            max_running=max_running,
            max_running_per_group=max_running_per_group,
            ordered_groups=ordered_groups,
            durability=durability,
            with_parents=with_parents,
        ),
    )


def get_queue(queue: str) -> Request[queues.QueueView]:
    """A queue.

    GET /v1/queues/{queue}
    """
    return Request(_GET_QUEUE, _GET_QUEUE.path(queue))


def queue_why(queue: str) -> Request[queues.QueueWhyReply]:
    """Why a queue is slow.

    GET /v1/queues/{queue}/why
    """
    return Request(_QUEUE_WHY, _QUEUE_WHY.path(queue))


def queue_groups(queue: str, *, limit: int = 100) -> Request[queues.QueueGroups]:
    """Which groups share a queue.

    How many groups to show, those with the most ready tasks first.

    GET /v1/queues/{queue}/groups
    """
    return Request(_QUEUE_GROUPS, _QUEUE_GROUPS.path(queue), query=_GroupsQuery(limit=limit))


def list_queues(*, active: bool = False, max_age_ms: int | None = None) -> Request[queues.QueueList]:
    """All queues.

    `active`: only those that are paused, have live tasks, or had in the last seconds.
    `max_age_ms`: an answer that was made for somebody else will do, up to that old.

    GET /v1/queues
    """
    return Request(_LIST_QUEUES, "/v1/queues", query=_ListQueues(active=active, max_age_ms=max_age_ms))


def delete_queue(
    queue: str, *, force: bool = False, idempotency_key: str | None = None
) -> Request[tasks.BulkReply]:
    """Forget a queue.

    `force` cancels what waits and revokes leases.

    DELETE /v1/queues/{queue}
    """
    return Request(
        _DELETE_QUEUE, _DELETE_QUEUE.path(queue), query=_DeleteQueueQuery(force=force), key=idempotency_key
    )


def pause_queue(queue: str, *, idempotency_key: str | None = None) -> Request[queues.QueueView]:
    """Hand out nothing more.

    POST /v1/queues/{queue}/pause
    """
    return Request(_PAUSE_QUEUE, _PAUSE_QUEUE.path(queue), key=idempotency_key)


def resume_queue(queue: str, *, idempotency_key: str | None = None) -> Request[queues.QueueView]:
    """Hand out again.

    POST /v1/queues/{queue}/resume
    """
    return Request(_RESUME_QUEUE, _RESUME_QUEUE.path(queue), key=idempotency_key)


def purge_queue(queue: str, *, idempotency_key: str | None = None) -> Request[queues.PurgeReply]:
    """Cancel all that waits.

    POST /v1/queues/{queue}/purge
    """
    return Request(_PURGE_QUEUE, _PURGE_QUEUE.path(queue), key=idempotency_key)


def put_schedule(
    name: str,
    *,
    queue: str,
    task: schedules.ScheduledTask | Mapping[str, Any] | UnsetType = UNSET,
    cron: str | None = None,
    every_ms: int | None = None,
    timezone: str = "UTC",
    overlap: Literal["skip", "queue"] = "skip",
    catch_up: bool = False,
    paused: bool | None = None,
) -> Request[schedules.ScheduleView]:
    """Create a schedule or replace its definition.

    Creates a schedule or replaces its definition. Exactly one of `cron` and `every_ms` is
    given.  `paused`: null leaves it as it is.

    PUT /v1/schedules/{name}
    """
    return Request(
        _PUT_SCHEDULE,
        _PUT_SCHEDULE.path(name),
        body=_PutSchedule(
            queue=queue,
            task=task,
            cron=cron,
            every_ms=every_ms,
            timezone=timezone,
            overlap=overlap,
            catch_up=catch_up,
            paused=paused,
        ),
    )


def get_schedule(name: str) -> Request[schedules.ScheduleView]:
    """A schedule, its next runs and its last.

    GET /v1/schedules/{name}
    """
    return Request(_GET_SCHEDULE, _GET_SCHEDULE.path(name))


def list_schedules(*, limit: int = 100, cursor: str | None = None) -> Request[schedules.ScheduleList]:
    """Schedules.

    A page of the schedules, by name.

    GET /v1/schedules
    """
    return Request(_LIST_SCHEDULES, "/v1/schedules", query=_ListSchedules(limit=limit, cursor=cursor))


def delete_schedule(name: str, *, idempotency_key: str | None = None) -> Request[tasks.DeletedReply]:
    """Forget a schedule; tasks that it has enqueued stay.

    DELETE /v1/schedules/{name}
    """
    return Request(_DELETE_SCHEDULE, _DELETE_SCHEDULE.path(name), key=idempotency_key)


def pause_schedule(name: str, *, idempotency_key: str | None = None) -> Request[schedules.ScheduleView]:
    """Let a schedule enqueue nothing more.

    POST /v1/schedules/{name}/pause
    """
    return Request(_PAUSE_SCHEDULE, _PAUSE_SCHEDULE.path(name), key=idempotency_key)


def resume_schedule(name: str, *, idempotency_key: str | None = None) -> Request[schedules.ScheduleView]:
    """Let a schedule go on from now.

    POST /v1/schedules/{name}/resume
    """
    return Request(_RESUME_SCHEDULE, _RESUME_SCHEDULE.path(name), key=idempotency_key)


def trigger_schedule(name: str, *, idempotency_key: str | None = None) -> Request[produce.EnqueueReply]:
    """Enqueue the task of a schedule now.

    POST /v1/schedules/{name}/trigger
    """
    return Request(_TRIGGER_SCHEDULE, _TRIGGER_SCHEDULE.path(name), key=idempotency_key)


def stats() -> Request[admin.StatsReply]:
    """The server in one look.

    GET /v1/stats
    """
    return Request(_STATS, "/v1/stats")


def list_workers(*, max_age_ms: int | None = None) -> Request[admin.WorkerList]:
    """Workers and what they run.

    `max_age_ms`: an answer that was made for somebody else will do, up to that old.

    GET /v1/workers
    """
    return Request(_LIST_WORKERS, "/v1/workers", query=_ListWorkers(max_age_ms=max_age_ms))


def quiet_worker(name: str, *, idempotency_key: str | None = None) -> Request[consume.WorkerControl]:
    """Ask a worker to take no more tasks.

    POST /v1/workers/{name}/quiet
    """
    return Request(_QUIET_WORKER, _QUIET_WORKER.path(name), key=idempotency_key)


def resume_worker(name: str, *, idempotency_key: str | None = None) -> Request[consume.WorkerControl]:
    """Ask a worker to take tasks again.

    POST /v1/workers/{name}/resume
    """
    return Request(_RESUME_WORKER, _RESUME_WORKER.path(name), key=idempotency_key)


def stop_worker(name: str, *, idempotency_key: str | None = None) -> Request[consume.WorkerControl]:
    """Ask a worker to finish what it has, and exit.

    POST /v1/workers/{name}/stop
    """
    return Request(_STOP_WORKER, _STOP_WORKER.path(name), key=idempotency_key)


def metrics_history(
    *, range: Literal["1h", "24h", "30d"] = "1h", series: str | None = None
) -> Request[admin.MetricsHistoryReply]:
    """Metrics over time.

    `range`: 1h in steps of 10 s, 24h of 1 min, 30d of 15 min; `series`: names, by commas.

    GET /v1/metrics/history
    """
    return Request(
        _METRICS_HISTORY, "/v1/metrics/history", query=_MetricsHistoryQuery(range=range, series=series)
    )


def metrics() -> Request[str]:
    """Metrics in the Prometheus text format.

    GET /metrics
    """
    return Request(_METRICS, "/metrics")


def healthz() -> Request[admin.HealthReply]:
    """Whether the process is alive.

    GET /healthz
    """
    return Request(_HEALTHZ, "/healthz")


def readyz() -> Request[admin.HealthReply]:
    """Whether the server takes work.

    GET /readyz
    """
    return Request(_READYZ, "/readyz")


def openapi() -> Request[dict[str, Any]]:
    """This interface as an OpenAPI 3.1 document.

    GET /openapi.json
    """
    return Request(_OPENAPI, "/openapi.json")


def backup(*, path: str) -> Request[admin.BackupReply]:
    """Copy the store while serving.

    `path`: a directory on the server that does not exist yet.

    POST /v1/admin/backup
    """
    return Request(_BACKUP, "/v1/admin/backup", body=_BackupRequest(path=path))


def drain() -> Request[admin.DrainReply]:
    """Finish what is under way, then exit.

    POST /v1/admin/drain
    """
    return Request(_DRAIN, "/v1/admin/drain")


def create_token(
    *,
    name: str,
    scopes: Sequence[str],
    expires_in_ms: int | None = None,
    expires_at: int | None = None,
    rate_limit: access.TokenRate | Mapping[str, Any] | None = None,
    tasks_rate_limit: access.TokenRate | Mapping[str, Any] | None = None,
    tasks_per_day: int | None = None,
) -> Request[access.TokenCreated]:
    """Make a token, which is shown this one time.

    A token. At most one of `expires_in_ms` and `expires_at` is given; neither: it never
    expires.  `rate_limit` bounds its requests, `tasks_rate_limit` and `tasks_per_day` the tasks
    that it enqueues, those of a batch each; a day is one of UTC.

    POST /v1/tokens
    """
    return Request(
        _CREATE_TOKEN,
        "/v1/tokens",
        body=_CreateToken(
            name=name,
            scopes=list(scopes),
            expires_in_ms=expires_in_ms,
            expires_at=expires_at,
            rate_limit=rate_limit,
            tasks_rate_limit=tasks_rate_limit,
            tasks_per_day=tasks_per_day,
        ),
    )


def list_tokens() -> Request[access.TokenList]:
    """All tokens, without what they are made of.

    GET /v1/tokens
    """
    return Request(_LIST_TOKENS, "/v1/tokens")


def delete_token(id: str) -> Request[tasks.DeletedReply]:
    """Revoke a token, at once.

    DELETE /v1/tokens/{id}
    """
    return Request(_DELETE_TOKEN, _DELETE_TOKEN.path(id))


def sign_in(*, token: str) -> Request[access.SessionView]:
    """Begin a web session, with a token; the answer sets its cookie.

    The web page's way in: a token for a session.

    POST /v1/session
    """
    return Request(_SIGN_IN, "/v1/session", body=_SignIn(token=token))


def get_session() -> Request[access.SessionView]:
    """Who calls, whatever the credentials.

    GET /v1/session
    """
    return Request(_GET_SESSION, "/v1/session")


def sign_out() -> Request[tasks.DeletedReply]:
    """End the web session that the call is made in.

    DELETE /v1/session
    """
    return Request(_SIGN_OUT, "/v1/session")


def list_audit(
    *,
    limit: int = 100,
    cursor: str | None = None,
    who: str | None = None,
    command: str | None = None,
    after: int | None = None,
    before: int | None = None,
) -> Request[access.AuditList]:
    """Who did what, and with what outcome.

    A page of the audit, the newest first. `who` is an id or a name; `after` and `before` bound
    `at`.

    GET /v1/audit
    """
    return Request(
        _LIST_AUDIT,
        "/v1/audit",
        query=_ListAudit(limit=limit, cursor=cursor, who=who, command=command, after=after, before=before),
    )
