"""`tqx dead`: the dead letters."""

import functools
from typing import Annotated, Any

import typer

from taskqueuex.cli import filters
from taskqueuex.cli.app import app, asks_server
from taskqueuex.cli.bulk import act
from taskqueuex.cli.failures import USAGE, Failure
from taskqueuex.cli.terminal import Terminal, at

__all__ = ["group"]

group = typer.Typer(no_args_is_help=True, help="Dead letters: list by error, retry, delete.")
app.add_typer(group, name="dead")
_command = functools.partial(asks_server, group)

All = Annotated[bool, typer.Option("--all", help="Those of all queues.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Count them and change nothing.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@_command("list")
def list_dead(tqx: Terminal, queue: filters.Queue = None) -> None:
    """Dead letters by queue, name and error, the most frequent first."""
    answer = tqx.client.ask("dead_groups", query={"queue": queue})
    if tqx.is_json:
        tqx.json(answer)
        return
    columns = ("count", "queue", "name", "error", "message", "latest", "example")
    rows = (
        (*(each[name] for name in columns[:4]), each["message"][:60], at(each["latest_at"]), each["example"])
        for each in answer["groups"]
    )
    tqx.table(columns, rows)
    if not answer["complete"]:
        tqx.note(f"counted among the first {answer['scanned']} dead tasks only")


@_command("retry")
def retry(
    tqx: Terminal,
    queue: filters.Queue = None,
    name: filters.Name = None,
    error: filters.Error = None,
    all: All = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Give dead tasks another life. Asks first, with their number."""
    _act(tqx, "retry", locals())


@_command("delete")
def delete(
    tqx: Terminal,
    queue: filters.Queue = None,
    name: filters.Name = None,
    error: filters.Error = None,
    all: All = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Forget dead tasks. Asks first, with their number."""
    _act(tqx, "delete", locals())


def _act(tqx: Terminal, action: str, options: dict[str, Any]) -> None:
    wanted = filters.filter_of(options)
    if not wanted and not options["all"]:
        raise Failure("name --queue, --name or --error, or say --all", USAGE)
    act(tqx, action, {**wanted, "state": "dead"}, options["dry_run"], options["yes"])
