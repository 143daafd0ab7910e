"""`tqx task`: look at tasks and steer them."""

import functools
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import typer

from taskqueuex.cli import filters
from taskqueuex.cli.app import app, asks_server
from taskqueuex.cli.failures import USAGE, ApiError, Failure
from taskqueuex.cli.inputs import json_value
from taskqueuex.cli.terminal import NOT_SHOWN, Terminal, at

__all__ = ["group"]

group = typer.Typer(
    no_args_is_help=True, help="Tasks: look, find out why, cancel, retry, kill, delete, edit."
)
app.add_typer(group, name="task")
_command = functools.partial(asks_server, group)

Id = Annotated[str, typer.Argument(metavar="ID", help="The id of the task.")]
Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="The ids of tasks.")]
_PAGE = 1_000


@_command("list")
def list_tasks(
    tqx: Terminal,
    queue: filters.Queue = None,
    state: filters.State = None,
    group: filters.Group = None,
    tag: filters.Tag = None,
    name: filters.Name = None,
    error: filters.Error = None,
    workflow: filters.Workflow = None,
    after: filters.After = None,
    before: filters.Before = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    cursor: Annotated[str | None, typer.Option(help="Where an earlier list stopped.")] = None,
) -> None:
    """Tasks that match a filter, as many as --limit."""
    wanted = filters.filter_of(locals())
    found: list[Any] = []
    while True:
        page = {**wanted, "limit": min(limit - len(found), _PAGE), "cursor": cursor}
        answer = tqx.client.ask("list_tasks", query=page)
        found += answer["tasks"]
        cursor = answer["cursor"]
        if cursor is None or len(found) >= limit:
            break
    if tqx.is_json:
        tqx.json({"tasks": found, "cursor": cursor})
        return
    columns = ("id", "queue", "state", "name", "group", "priority", "attempt", "created", "payload")
    tqx.table(columns, (_row(task) for task in found))
    if cursor is not None:
        tqx.note(f"there may be more: --cursor {cursor}")


def _row(task: dict[str, Any]) -> tuple[Any, ...]:
    payload = _short(task["payload"]) if "payload" in task else None
    created = at(task["created_at"])
    return (
        *(task[name] for name in ("id", "queue", "state", "name", "group", "priority", "attempt")),
        created,
        payload,
    )


def _short(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 40 else text[:39] + "…"


@_command("show")
def show(
    tqx: Terminal,
    id: Id,
    wait_ms: Annotated[int | None, typer.Option(help="Wait so long for its end.")] = None,
) -> None:
    """A task, with its payload, result and last errors."""
    raw = tqx.client.call("get_task", id, query={"wait_ms": wait_ms})
    if tqx.is_json:
        tqx.json(raw)
    else:
        task = msgspec.json.decode(raw)
        tqx.facts({**task, **{name: NOT_SHOWN for name in ("result", "payload") if name not in task}})


@_command("history")
def history(tqx: Terminal, id: Id) -> None:
    """What happened to a task: when, which attempt, who."""
    events = tqx.client.ask("task_history", id)
    if tqx.is_json:
        tqx.json(events)
        return
    rows = (
        (at(each["at"]), each["event"], each["attempt"], each["worker"], each["detail"]) for each in events
    )
    tqx.table(("at", "event", "attempt", "worker", "detail"), rows)


@_command("why")
def why(tqx: Terminal, id: Id) -> None:
    """Why a task is not running."""
    answer = tqx.client.ask("task_why", id)
    if tqx.is_json:
        tqx.json(answer)
        return
    tqx.line(f"{id} is {answer['state']}")
    tqx.reasons(answer["reasons"], indent="  ")


def _each(tqx: Terminal, command: str, ids: list[str], told: Callable[[Any], str]) -> None:
    """One call for each id; goes on behind a refusal, and ends with the first one's exit code."""
    answers, failures = [], []
    for id in ids:
        try:
            answer = tqx.client.ask(command, id)
        except ApiError as error:
            failures.append(error)
            tqx.note(f"tqx: {id}: {error}")
            continue
        answers.append({"id": id, **answer})
        if not tqx.is_json:
            tqx.line(f"{id} {told(answer)}")
    if tqx.is_json:
        tqx.json(answers)
    if failures:
        raise typer.Exit(failures[0].exit_code)


def _state(answer: Any) -> str:
    asked = ", asked to stop" if answer.get("cancel_requested") else ""
    return f"{answer['state']}{asked}"


@_command("cancel")
def cancel(tqx: Terminal, ids: Ids) -> None:
    """Cancel tasks; one that runs learns of it from its next heartbeat."""
    _each(tqx, "cancel_task", ids, _state)


@_command("retry")
def retry(tqx: Terminal, ids: Ids) -> None:
    """Give dead tasks another life."""
    _each(tqx, "retry_task", ids, _state)


@_command("kill")
def kill(tqx: Terminal, ids: Ids) -> None:
    """Make tasks dead, revoking their leases at once."""
    _each(tqx, "kill_task", ids, _state)


@_command("delete")
def delete(tqx: Terminal, ids: Ids) -> None:
    """Forget tasks that wait or have ended."""
    _each(tqx, "delete_task", ids, lambda answer: "deleted")


@_command("edit")
def edit(
    tqx: Terminal,
    id: Id,
    priority: Annotated[int | None, typer.Option(help="-1000 to 1000.")] = None,
    run_at: Annotated[int | None, typer.Option(help="Not before then, Unix milliseconds.")] = None,
    payload: Annotated[
        str | None, typer.Option(help="Any JSON value; - reads it from standard input.")
    ] = None,
    expires_at: Annotated[
        int | None, typer.Option(help="Must have started by then, Unix milliseconds.")
    ] = None,
    never_expires: Annotated[bool, typer.Option(help="Take the expiry away.")] = False,
) -> None:
    """Change a task that waits."""
    body: dict[str, Any] = {}
    if priority is not None:
        body["priority"] = priority
    if run_at is not None:
        body["run_at"] = run_at
    if payload is not None:
        body["payload"] = json_value(payload, "--payload")
    if expires_at is not None or never_expires:
        body["expires_at"] = expires_at
    if not body:
        raise Failure("nothing to change: name a field", USAGE)
    answer = tqx.client.ask("edit_task", id, body=body)
    if tqx.is_json:
        tqx.json(answer)
    else:
        tqx.line(f"{id} {answer['state']}")
