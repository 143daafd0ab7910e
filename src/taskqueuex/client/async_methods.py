"""The methods of `AsyncClient`: one for every row of the command table.

Written by scripts/generate_client.py from the command table; do not edit.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal, TypeVar, overload

from msgspec import UNSET, UnsetType

from taskqueuex.client import requests
from taskqueuex.client.paging import async_pages
from taskqueuex.client.request import Request
from taskqueuex.commands import access, admin, consume, produce, queues, schedules, tasks

__all__ = ["AsyncMethods"]

T = TypeVar("T")


class AsyncMethods:
    """Every operation of the API. All raise the errors of `taskqueuex.errors`."""

    async def send(self, request: Request[T]) -> T:
        """Makes a call: what all methods do."""
        raise NotImplementedError

    async def enqueue(
        self,
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
    ) -> produce.EnqueueReply:
        """Put a task into a queue.

        A task to do.

        POST /v1/queues/{queue}/tasks
        """
        return await self.send(
            requests.enqueue(
                queue,
                payload=payload,
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
                idempotency_key=idempotency_key,
            )
        )

    @overload
    async def enqueue_batch(
        self,
        queue: str,
        *,
        tasks: Sequence[produce.EnqueueTask | Mapping[str, Any]],
        partial: Literal[False] = ...,
        idempotency_key: str | None = ...,
    ) -> produce.BatchReply: ...

    @overload
    async def enqueue_batch(
        self,
        queue: str,
        *,
        tasks: Sequence[produce.EnqueueTask | Mapping[str, Any]],
        partial: Literal[True],
        idempotency_key: str | None = ...,
    ) -> produce.PartialReply: ...

    @overload
    async def enqueue_batch(
        self,
        queue: str,
        *,
        tasks: Sequence[produce.EnqueueTask | Mapping[str, Any]],
        partial: bool,
        idempotency_key: str | None = ...,
    ) -> produce.BatchReply | produce.PartialReply: ...

    async def enqueue_batch(
        self,
        queue: str,
        *,
        tasks: Sequence[produce.EnqueueTask | Mapping[str, Any]],
        partial: bool = False,
        idempotency_key: str | None = None,
    ) -> produce.BatchReply | produce.PartialReply:
        """Put many tasks into a queue.

        Many tasks of one queue: all or nothing, or each on its own with `partial`.

        POST /v1/queues/{queue}/tasks/batch
        """
        return await self.send(
            requests.enqueue_batch(queue, tasks=tasks, partial=partial, idempotency_key=idempotency_key)
        )

    async def create_workflow(
        self,
        *,
        tasks: Sequence[produce.WorkflowTask | Mapping[str, Any]],
        name: str = "",
        idempotency_key: str | None = None,
    ) -> produce.WorkflowReply:
        """Put in tasks that depend on each other.

        Tasks of any queues with dependencies among them: all or nothing.

        POST /v1/workflows
        """
        return await self.send(
            requests.create_workflow(tasks=tasks, name=name, idempotency_key=idempotency_key)
        )

    async def dequeue(
        self,
        *,
        queues: Sequence[str] | Mapping[str, int],
        max: int = 1,
        wait_ms: int = 0,
        lease_ms: int | None = None,
        worker: str = "",
    ) -> consume.DequeueReply:
        """Take tasks from several queues.

        Take up to `max` tasks: of the first queue of a list that has any, or drawn by weight.

        POST /v1/dequeue
        """
        return await self.send(
            requests.dequeue(queues=queues, max=max, wait_ms=wait_ms, lease_ms=lease_ms, worker=worker)
        )

    async def dequeue_queue(
        self, queue: str, *, max: int = 1, wait_ms: int = 0, lease_ms: int | None = None, worker: str = ""
    ) -> consume.DequeueReply:
        """Take tasks from one queue.

        Take up to `max` tasks of the queue in the path, waiting up to `wait_ms` for the first.

        POST /v1/queues/{queue}/dequeue
        """
        return await self.send(
            requests.dequeue_queue(queue, max=max, wait_ms=wait_ms, lease_ms=lease_ms, worker=worker)
        )

    async def ack(self, id: str, *, lease: str, result: Any = UNSET) -> consume.SettledReply:
        """The work is done.

        The work is done.

        POST /v1/tasks/{id}/ack
        """
        return await self.send(requests.ack(id, lease=lease, result=result))

    async def fail(
        self,
        id: str,
        *,
        lease: str,
        error: consume.ErrorSpec | Mapping[str, Any] | UnsetType = UNSET,
        retryable: bool = True,
        delay_ms: int | None = None,
    ) -> consume.SettledReply:
        """The attempt failed.

        The attempt failed; `retryable: false` makes the task dead at once.

        POST /v1/tasks/{id}/fail
        """
        return await self.send(
            requests.fail(id, lease=lease, error=error, retryable=retryable, delay_ms=delay_ms)
        )

    async def release(self, id: str, *, lease: str, delay_ms: int | None = None) -> consume.SettledReply:
        """Give a task back without counting the attempt as failed.

        Back to the queue; the attempt is not counted as a failure.

        POST /v1/tasks/{id}/release
        """
        return await self.send(requests.release(id, lease=lease, delay_ms=delay_ms))

    async def heartbeat(
        self, id: str, *, lease: str, extend_ms: int | None = None, progress: Any = UNSET
    ) -> consume.HeartbeatReply:
        """The attempt goes on.

        The attempt goes on: the lease is set to now + `extend_ms`, or its own length.

        POST /v1/tasks/{id}/heartbeat
        """
        return await self.send(requests.heartbeat(id, lease=lease, extend_ms=extend_ms, progress=progress))

    async def settle(
        self,
        *,
        ack: Sequence[consume.AckItem | Mapping[str, Any]] = (),
        fail: Sequence[consume.FailItem | Mapping[str, Any]] = (),
        release: Sequence[consume.ReleaseItem | Mapping[str, Any]] = (),
        heartbeat: Sequence[consume.HeartbeatItem | Mapping[str, Any]] = (),
        dequeue: consume.Dequeue | Mapping[str, Any] | None = None,
        wait: Literal["always"] | None = None,
        worker: consume.WorkerInfo | Mapping[str, Any] | None = None,
    ) -> consume.SettleReply:
        """A worker's whole round trip: what ended, what goes on, what to take next.

        A worker's whole round trip: what ended, what goes on, and what to take next.

        POST /v1/settle
        """
        return await self.send(
            requests.settle(
                ack=ack,
                fail=fail,
                release=release,
                heartbeat=heartbeat,
                dequeue=dequeue,
                wait=wait,
                worker=worker,
            )
        )

    async def get_task(self, id: str, *, wait_ms: int = 0) -> tasks.TaskView:
        """A task.

        `wait_ms`: answer when the task has ended, or after that long.

        GET /v1/tasks/{id}
        """
        return await self.send(requests.get_task(id, wait_ms=wait_ms))

    async def list_tasks(
        self,
        *,
        queue: str | None = None,
        state: Literal[
            "scheduled",
            "blocked",
            "ready",
            "running",
            "retrying",
            "completed",
            "cancelled",
            "expired",
            "dead",
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
    ) -> tasks.TaskList:
        """Tasks that match a filter.

        A filter and a page. `after` and `before` bound `created_at`.

        GET /v1/tasks
        """
        return await self.send(
            requests.list_tasks(
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
            )
        )

    async def task_history(self, id: str) -> list[tasks.HistoryEvent]:
        """What happened to a task: who, when, which attempt.

        GET /v1/tasks/{id}/history
        """
        return await self.send(requests.task_history(id))

    async def task_why(self, id: str) -> tasks.WhyReply:
        """Why a task is not running.

        GET /v1/tasks/{id}/why
        """
        return await self.send(requests.task_why(id))

    async def edit_task(
        self,
        id: str,
        *,
        priority: int | UnsetType = UNSET,
        run_at: int | UnsetType = UNSET,
        payload: Any = UNSET,
        expires_at: int | None | UnsetType = UNSET,
        idempotency_key: str | None = None,
    ) -> tasks.TaskStateReply:
        """Change a task that waits.

        Changes to a task that waits; a field that is not given stays.

        PATCH /v1/tasks/{id}
        """
        return await self.send(
            requests.edit_task(
                id,
                priority=priority,
                run_at=run_at,
                payload=payload,
                expires_at=expires_at,
                idempotency_key=idempotency_key,
            )
        )

    async def cancel_task(self, id: str, *, idempotency_key: str | None = None) -> tasks.CancelReply:
        """Cancel a task.

        POST /v1/tasks/{id}/cancel
        """
        return await self.send(requests.cancel_task(id, idempotency_key=idempotency_key))

    async def retry_task(self, id: str, *, idempotency_key: str | None = None) -> tasks.TaskStateReply:
        """Give a dead task another life.

        POST /v1/tasks/{id}/retry
        """
        return await self.send(requests.retry_task(id, idempotency_key=idempotency_key))

    async def kill_task(self, id: str, *, idempotency_key: str | None = None) -> tasks.TaskStateReply:
        """Make a task dead, revoking its lease.

        POST /v1/tasks/{id}/kill
        """
        return await self.send(requests.kill_task(id, idempotency_key=idempotency_key))

    async def unblock_task(self, id: str, *, idempotency_key: str | None = None) -> tasks.TaskStateReply:
        """Let a blocked task run without waiting for what it depends on.

        POST /v1/tasks/{id}/unblock
        """
        return await self.send(requests.unblock_task(id, idempotency_key=idempotency_key))

    async def delete_task(self, id: str, *, idempotency_key: str | None = None) -> tasks.DeletedReply:
        """Forget a task that waits or has ended.

        DELETE /v1/tasks/{id}
        """
        return await self.send(requests.delete_task(id, idempotency_key=idempotency_key))

    async def bulk(
        self,
        *,
        action: Literal["retry", "cancel", "kill", "delete"],
        filter: tasks.BulkFilter | Mapping[str, Any],
        dry_run: bool = False,
        idempotency_key: str | None = None,
    ) -> tasks.BulkReply:
        """One action on all tasks of a filter.

        One action on all tasks of a filter; `dry_run` counts them and changes nothing.

        POST /v1/bulk
        """
        return await self.send(
            requests.bulk(action=action, filter=filter, dry_run=dry_run, idempotency_key=idempotency_key)
        )

    async def list_workflows(self, *, limit: int = 100, cursor: str | None = None) -> tasks.WorkflowList:
        """Workflows.

        A page of a listing.

        GET /v1/workflows
        """
        return await self.send(requests.list_workflows(limit=limit, cursor=cursor))

    async def get_workflow(
        self, id: str, *, limit: int = 100, cursor: str | None = None
    ) -> tasks.WorkflowView:
        """A workflow and its tasks.

        A page of a listing.

        GET /v1/workflows/{id}
        """
        return await self.send(requests.get_workflow(id, limit=limit, cursor=cursor))

    async def cancel_workflow(self, id: str, *, idempotency_key: str | None = None) -> tasks.BulkReply:
        """Cancel what has not ended of a workflow.

        POST /v1/workflows/{id}/cancel
        """
        return await self.send(requests.cancel_workflow(id, idempotency_key=idempotency_key))

    async def dead_groups(
        self, *, queue: str | None = None, limit: int = 100, max_age_ms: int | None = None
    ) -> tasks.DeadGroups:
        """Dead letters by error.

        Dead letters of one queue, or of all. `max_age_ms`: one that was made for others will do, so
        old.

        GET /v1/dead/groups
        """
        return await self.send(requests.dead_groups(queue=queue, limit=limit, max_age_ms=max_age_ms))

    async def put_queue(
        self,
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
    ) -> queues.QueueView:
        """Create a queue or change its settings.

        Creates a queue or changes the fields given; null restores a default.

        PUT /v1/queues/{queue}
        """
        return await self.send(
            requests.put_queue(
                queue,
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
            )
        )

    async def get_queue(self, queue: str) -> queues.QueueView:
        """A queue.

        GET /v1/queues/{queue}
        """
        return await self.send(requests.get_queue(queue))

    async def queue_why(self, queue: str) -> queues.QueueWhyReply:
        """Why a queue is slow.

        GET /v1/queues/{queue}/why
        """
        return await self.send(requests.queue_why(queue))

    async def queue_groups(self, queue: str, *, limit: int = 100) -> queues.QueueGroups:
        """Which groups share a queue.

        How many groups to show, those with the most ready tasks first.

        GET /v1/queues/{queue}/groups
        """
        return await self.send(requests.queue_groups(queue, limit=limit))

    async def list_queues(self, *, active: bool = False, max_age_ms: int | None = None) -> queues.QueueList:
        """All queues.

        `active`: only those that are paused, have live tasks, or had in the last seconds.
        `max_age_ms`: an answer that was made for somebody else will do, up to that old.

        GET /v1/queues
        """
        return await self.send(requests.list_queues(active=active, max_age_ms=max_age_ms))

    async def delete_queue(
        self, queue: str, *, force: bool = False, idempotency_key: str | None = None
    ) -> tasks.BulkReply:
        """Forget a queue.

        `force` cancels what waits and revokes leases.

        DELETE /v1/queues/{queue}
        """
        return await self.send(requests.delete_queue(queue, force=force, idempotency_key=idempotency_key))

    async def pause_queue(self, queue: str, *, idempotency_key: str | None = None) -> queues.QueueView:
        """Hand out nothing more.

        POST /v1/queues/{queue}/pause
        """
        return await self.send(requests.pause_queue(queue, idempotency_key=idempotency_key))

    async def resume_queue(self, queue: str, *, idempotency_key: str | None = None) -> queues.QueueView:
        """Hand out again.

        POST /v1/queues/{queue}/resume
        """
        return await self.send(requests.resume_queue(queue, idempotency_key=idempotency_key))

    async def purge_queue(self, queue: str, *, idempotency_key: str | None = None) -> queues.PurgeReply:
        """Cancel all that waits.

        POST /v1/queues/{queue}/purge
        """
        return await self.send(requests.purge_queue(queue, idempotency_key=idempotency_key))

    async def put_schedule(
        self,
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
    ) -> schedules.ScheduleView:
        """Create a schedule or replace its definition.

        Creates a schedule or replaces its definition. Exactly one of `cron` and `every_ms` is
        given.  `paused`: null leaves it as it is.

        PUT /v1/schedules/{name}
        """
        return await self.send(
            requests.put_schedule(
                name,
                queue=queue,
                task=task,
                cron=cron,
                every_ms=every_ms,
                timezone=timezone,
                overlap=overlap,
                catch_up=catch_up,
                paused=paused,
            )
        )

    async def get_schedule(self, name: str) -> schedules.ScheduleView:
        """A schedule, its next runs and its last.

        GET /v1/schedules/{name}
        """
        return await self.send(requests.get_schedule(name))

    async def list_schedules(self, *, limit: int = 100, cursor: str | None = None) -> schedules.ScheduleList:
        """Schedules.

        A page of the schedules, by name.

        GET /v1/schedules
        """
        return await self.send(requests.list_schedules(limit=limit, cursor=cursor))

    async def delete_schedule(self, name: str, *, idempotency_key: str | None = None) -> tasks.DeletedReply:
        """Forget a schedule; tasks that it has enqueued stay.

        DELETE /v1/schedules/{name}
        """
        return await self.send(requests.delete_schedule(name, idempotency_key=idempotency_key))

    async def pause_schedule(
        self, name: str, *, idempotency_key: str | None = None
    ) -> schedules.ScheduleView:
        """Let a schedule enqueue nothing more.

        POST /v1/schedules/{name}/pause
        """
        return await self.send(requests.pause_schedule(name, idempotency_key=idempotency_key))

    async def resume_schedule(
        self, name: str, *, idempotency_key: str | None = None
    ) -> schedules.ScheduleView:
        """Let a schedule go on from now.

        POST /v1/schedules/{name}/resume
        """
        return await self.send(requests.resume_schedule(name, idempotency_key=idempotency_key))

    async def trigger_schedule(
        self, name: str, *, idempotency_key: str | None = None
    ) -> produce.EnqueueReply:
        """Enqueue the task of a schedule now.

        POST /v1/schedules/{name}/trigger
        """
        return await self.send(requests.trigger_schedule(name, idempotency_key=idempotency_key))

    async def stats(self) -> admin.StatsReply:
        """The server in one look.

        GET /v1/stats
        """
        return await self.send(requests.stats())

    async def list_workers(self, *, max_age_ms: int | None = None) -> admin.WorkerList:
        """Workers and what they run.

        `max_age_ms`: an answer that was made for somebody else will do, up to that old.

        GET /v1/workers
        """
        return await self.send(requests.list_workers(max_age_ms=max_age_ms))

    async def quiet_worker(self, name: str, *, idempotency_key: str | None = None) -> consume.WorkerControl:
        """Ask a worker to take no more tasks.

        POST /v1/workers/{name}/quiet
        """
        return await self.send(requests.quiet_worker(name, idempotency_key=idempotency_key))

    async def resume_worker(self, name: str, *, idempotency_key: str | None = None) -> consume.WorkerControl:
        """Ask a worker to take tasks again.

        POST /v1/workers/{name}/resume
        """
        return await self.send(requests.resume_worker(name, idempotency_key=idempotency_key))

    async def stop_worker(self, name: str, *, idempotency_key: str | None = None) -> consume.WorkerControl:
        """Ask a worker to finish what it has, and exit.

        POST /v1/workers/{name}/stop
        """
        return await self.send(requests.stop_worker(name, idempotency_key=idempotency_key))

    async def metrics_history(
        self, *, range: Literal["1h", "24h", "30d"] = "1h", series: str | None = None
    ) -> admin.MetricsHistoryReply:
        """Metrics over time.

        `range`: 1h in steps of 10 s, 24h of 1 min, 30d of 15 min; `series`: names, by commas.

        GET /v1/metrics/history
        """
        return await self.send(requests.metrics_history(range=range, series=series))

    async def metrics(self) -> str:
        """Metrics in the Prometheus text format.

        GET /metrics
        """
        return await self.send(requests.metrics())

    async def healthz(self) -> admin.HealthReply:
        """Whether the process is alive.

        GET /healthz
        """
        return await self.send(requests.healthz())

    async def readyz(self) -> admin.HealthReply:
        """Whether the server takes work.

        GET /readyz
        """
        return await self.send(requests.readyz())

    async def openapi(self) -> dict[str, Any]:
        """This interface as an OpenAPI 3.1 document.

        GET /openapi.json
        """
        return await self.send(requests.openapi())

    async def backup(self, *, path: str) -> admin.BackupReply:
        """Copy the store while serving.

        `path`: a directory on the server that does not exist yet.

        POST /v1/admin/backup
        """
        return await self.send(requests.backup(path=path))

    async def drain(self) -> admin.DrainReply:
        """Finish what is under way, then exit.

        POST /v1/admin/drain
        """
        return await self.send(requests.drain())

    async def create_token(
        self,
        *,
        name: str,
        scopes: Sequence[str],
        expires_in_ms: int | None = None,
        expires_at: int | None = None,
        rate_limit: access.TokenRate | Mapping[str, Any] | None = None,
        tasks_rate_limit: access.TokenRate | Mapping[str, Any] | None = None,
        tasks_per_day: int | None = None,
    ) -> access.TokenCreated:
        """Make a token, which is shown this one time.

        A token. At most one of `expires_in_ms` and `expires_at` is given; neither: it never
        expires.  `rate_limit` bounds its requests, `tasks_rate_limit` and `tasks_per_day` the tasks
        that it enqueues, those of a batch each; a day is one of UTC.

        POST /v1/tokens
        """
        return await self.send(
            requests.create_token(
                name=name,
                scopes=scopes,
                expires_in_ms=expires_in_ms,
                expires_at=expires_at,
                rate_limit=rate_limit,
                tasks_rate_limit=tasks_rate_limit,
                tasks_per_day=tasks_per_day,
            )
        )

    async def list_tokens(self) -> access.TokenList:
        """All tokens, without what they are made of.

        GET /v1/tokens
        """
        return await self.send(requests.list_tokens())

    async def delete_token(self, id: str) -> tasks.DeletedReply:
        """Revoke a token, at once.

        DELETE /v1/tokens/{id}
        """
        return await self.send(requests.delete_token(id))

    async def sign_in(self, *, token: str) -> access.SessionView:
        """Begin a web session, with a token; the answer sets its cookie.

        The web page's way in: a token for a session.

        POST /v1/session
        """
        return await self.send(requests.sign_in(token=token))

    async def get_session(self) -> access.SessionView:
        """Who calls, whatever the credentials.

        GET /v1/session
        """
        return await self.send(requests.get_session())

    async def sign_out(self) -> tasks.DeletedReply:
        """End the web session that the call is made in.

        DELETE /v1/session
        """
        return await self.send(requests.sign_out())

    async def list_audit(
        self,
        *,
        limit: int = 100,
        cursor: str | None = None,
        who: str | None = None,
        command: str | None = None,
        after: int | None = None,
        before: int | None = None,
    ) -> access.AuditList:
        """Who did what, and with what outcome.

        A page of the audit, the newest first. `who` is an id or a name; `after` and `before` bound
        `at`.

        GET /v1/audit
        """
        return await self.send(
            requests.list_audit(
                limit=limit, cursor=cursor, who=who, command=command, after=after, before=before
            )
        )

    async def iterate_tasks(
        self,
        *,
        queue: str | None = None,
        state: Literal[
            "scheduled",
            "blocked",
            "ready",
            "running",
            "retrying",
            "completed",
            "cancelled",
            "expired",
            "dead",
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
    ) -> AsyncIterator[tasks.TaskView]:
        """Tasks that match a filter. All pages, `limit` a call.

        A filter and a page. `after` and `before` bound `created_at`.

        GET /v1/tasks
        """
        async for page in async_pages(
            lambda cursor: self.list_tasks(
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
            )
        ):
            for item in page.tasks or ():
                yield item

    async def iterate_workflows(self, *, limit: int = 100) -> AsyncIterator[tasks.WorkflowView]:
        """Workflows. All pages, `limit` a call.

        A page of a listing.

        GET /v1/workflows
        """
        async for page in async_pages(lambda cursor: self.list_workflows(limit=limit, cursor=cursor)):
            for item in page.workflows or ():
                yield item

    async def iterate_workflow_tasks(self, id: str, *, limit: int = 100) -> AsyncIterator[tasks.TaskView]:
        """A workflow and its tasks. All pages, `limit` a call.

        A page of a listing.

        GET /v1/workflows/{id}
        """
        async for page in async_pages(lambda cursor: self.get_workflow(id, limit=limit, cursor=cursor)):
            for item in page.tasks or ():
                yield item

    async def iterate_schedules(self, *, limit: int = 100) -> AsyncIterator[schedules.ScheduleView]:
        """Schedules. All pages, `limit` a call.

        A page of the schedules, by name.

        GET /v1/schedules
        """
        async for page in async_pages(lambda cursor: self.list_schedules(limit=limit, cursor=cursor)):
            for item in page.schedules or ():
                yield item

    async def iterate_audit(
        self,
        *,
        limit: int = 100,
        who: str | None = None,
        command: str | None = None,
        after: int | None = None,
        before: int | None = None,
    ) -> AsyncIterator[access.AuditEntry]:
        """Who did what, and with what outcome. All pages, `limit` a call.

        A page of the audit, the newest first. `who` is an id or a name; `after` and `before` bound
        `at`.

        GET /v1/audit
        """
        async for page in async_pages(
            lambda cursor: self.list_audit(
                limit=limit, who=who, command=command, after=after, before=before, cursor=cursor
            )
        ):
            for item in page.entries or ():
                yield item
