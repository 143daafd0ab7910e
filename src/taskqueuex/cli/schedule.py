"""`tqx schedule`: tasks that the server enqueues again and again."""

import functools
from typing import Annotated, Any, Literal

import typer

from taskqueuex.cli.app import app, asks_server
from taskqueuex.cli.failures import USAGE, Failure
from taskqueuex.cli.inputs import given, json_value, pairs
from taskqueuex.cli.terminal import NOT_SHOWN, Terminal, at

__all__ = ["group"]

group = typer.Typer(no_args_is_help=True, help="Schedules: look, set, pause, resume, trigger, delete.")
app.add_typer(group, name="schedule")
_command = functools.partial(asks_server, group)

Name = Annotated[str, typer.Argument(metavar="SCHEDULE", help="The name of the schedule.")]
PAGE = 100


@_command("list")
def list_schedules(tqx: Terminal) -> None:
    """All schedules: when they run next, and how the last run went."""
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = tqx.client.ask("list_schedules", query={"limit": PAGE, "cursor": cursor})
        found += page["schedules"]
        cursor = page["cursor"]
        if cursor is None:
            break
    if tqx.is_json:
        tqx.json({"schedules": found})
        return
    columns = (
        "schedule",
        "when",
        "queue",
        "next",
        "last",
        "outcome",
        "fired",
        "skipped",
        "missed",
        "refused",
    )
    tqx.table(columns, [_row(each) for each in found])


def _row(schedule: dict[str, Any]) -> tuple[Any, ...]:
    last = schedule["last"] or {}
    return (
        schedule["name"],
        _timing(schedule),
        schedule["queue"],
        "paused" if schedule["paused"] else at(schedule["next_at"]),
        at(last.get("at")),
        last.get("outcome"),
        *(schedule[count] for count in ("fired", "skipped", "missed", "refused")),
    )


def _timing(schedule: dict[str, Any]) -> str:
    if schedule["every_ms"] is not None:
        return f"every {schedule['every_ms']} ms"
    return f"{schedule['cron']} ({schedule['timezone']})"


@_command("show")
def show(tqx: Terminal, name: Name) -> None:
    """A schedule: its definition, its next runs and its last."""
    _show(tqx, tqx.client.ask("get_schedule", name))


def _show(tqx: Terminal, schedule: dict[str, Any]) -> None:
    if tqx.is_json:
        tqx.json(schedule)
        return
    last = schedule.pop("last")
    runs = schedule.pop("next_runs")
    hidden = {} if "payload" in schedule["task"] else {"its payload": NOT_SHOWN}
    tqx.facts({**schedule, **hidden, "next runs": ", ".join(at(run) for run in runs)})
    if last is not None:
        tqx.facts({"last run": f"{at(last['at'])} {last['outcome']}", **given(_without_time(last))})


def _without_time(last: dict[str, Any]) -> dict[str, Any]:
    return {"its task": last["task"], "because": last["detail"]}


@_command("set")
def set_schedule(
    tqx: Terminal,
    name: Name,
    queue: Annotated[str, typer.Option(help="Where its tasks go.")],
    payload: Annotated[str | None, typer.Argument(help="JSON, or - for standard input.")] = None,
    cron: Annotated[str | None, typer.Option(help='Such as "*/5 9-16 * * mon-fri".')] = None,
    every_ms: Annotated[int | None, typer.Option(help="Instead of cron: each so many milliseconds.")] = None,
    timezone: Annotated[str | None, typer.Option(help="Of the cron expression; UTC otherwise.")] = None,
    overlap: Annotated[
        Literal["skip", "queue"] | None, typer.Option(help="While the run before has not ended.")
    ] = None,
    catch_up: Annotated[
        bool | None, typer.Option(help="Enqueue what was missed while the server was down.")
    ] = None,
    paused: Annotated[bool | None, typer.Option(help="Whether it is paused; else it stays as it is.")] = None,
    task_name: Annotated[str | None, typer.Option("--name", help="The name of the task.")] = None,
    priority: Annotated[int | None, typer.Option(help="Higher is served first.")] = None,
    group_name: Annotated[str | None, typer.Option("--group", help="The group of the task.")] = None,
    ttl_ms: Annotated[int | None, typer.Option(help="A task that has not started by then expires.")] = None,
    timeout_ms: Annotated[int | None, typer.Option(help="The longest one attempt may run.")] = None,
    max_attempts: Annotated[int | None, typer.Option(help="Failed attempts before it is dead.")] = None,
    unique_key: Annotated[str | None, typer.Option(help="One live task per key.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag; may be repeated.")] = None,
    meta: Annotated[list[str] | None, typer.Option(help="NAME=VALUE; may be repeated.")] = None,
) -> None:
    """Create a schedule, or replace its definition."""
    if (cron is None) == (every_ms is None):
        raise Failure("say exactly one of --cron and --every-ms", USAGE)
    task = {
        "payload": None if payload is None else json_value(payload, "PAYLOAD"),
        "name": task_name,
        "priority": priority,
        "group": group_name,
        "ttl_ms": ttl_ms,
        "timeout_ms": timeout_ms,
        "max_attempts": max_attempts,
        "unique_key": unique_key,
        "tags": tag,
        "meta": pairs(meta, "--meta") if meta else None,
    }
    body = {
        "queue": queue,
        "task": given(task),
        "cron": cron,
        "every_ms": every_ms,
        "timezone": timezone,
        "overlap": overlap,
        "catch_up": catch_up,
        "paused": paused,
    }
    _show(tqx, tqx.client.ask("put_schedule", name, body=given(body)))


@_command("pause")
def pause(tqx: Terminal, name: Name) -> None:
    """Enqueue nothing more."""
    _switch(tqx, "pause_schedule", name)


@_command("resume")
def resume(tqx: Terminal, name: Name) -> None:
    """Go on from now; what was left out meanwhile is not caught up."""
    _switch(tqx, "resume_schedule", name)


def _switch(tqx: Terminal, command: str, name: str) -> None:
    schedule = tqx.client.ask(command, name)
    if tqx.is_json:
        tqx.json(schedule)
    elif schedule["paused"]:
        tqx.line(f"{name} is paused")
    else:
        tqx.line(f"{name} runs next at {at(schedule['next_at'])}")


@_command("trigger")
def trigger(tqx: Terminal, name: Name) -> None:
    """Enqueue its task now; the next run stays where it is."""
    answer = tqx.client.ask("trigger_schedule", name)
    if tqx.is_json:
        tqx.json(answer)
    else:
        note = " (already there)" if answer.get("duplicate") else ""
        tqx.line(f"{answer['id']} {answer['state']}{note}")


@_command("delete")
def delete(
    tqx: Terminal, name: Name, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False
) -> None:
    """Forget a schedule; tasks that it has enqueued stay."""
    tqx.confirm(f"Delete the schedule {name}?", yes)
    answer = tqx.client.ask("delete_schedule", name)
    if tqx.is_json:
        tqx.json(answer)
    else:
        tqx.line(f"{name} is deleted")
