"""`tqx bulk`: one action on all tasks of a filter."""

from typing import Annotated, Any, Literal

import typer

from taskqueuex.cli import filters
from taskqueuex.cli.app import app, asks_server
from taskqueuex.cli.failures import USAGE, Failure
from taskqueuex.cli.terminal import Terminal

__all__ = ["act"]

Action = Literal["retry", "cancel", "kill", "delete"]


@asks_server(app, "bulk")
def bulk(
    tqx: Terminal,
    action: Annotated[Action, typer.Argument(help="What to do with each.")],
    id: Annotated[list[str] | None, typer.Option(help="This task; may be repeated.")] = None,
    queue: filters.Queue = None,
    state: filters.State = None,
    group: filters.Group = None,
    tag: filters.Tag = None,
    name: filters.Name = None,
    error: filters.Error = None,
    workflow: filters.Workflow = None,
    after: filters.After = None,
    before: filters.Before = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count them and change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Retry, cancel, kill or delete all tasks of a filter. Asks first, with their number."""
    wanted = filters.filter_of(locals())
    if id:
        wanted["id"] = id
    if not wanted:
        raise Failure("name at least one filter, such as --queue", USAGE)
    act(tqx, action, wanted, dry_run, yes)


def act(tqx: Terminal, action: str, wanted: dict[str, Any], dry_run: bool, yes: bool) -> None:
    """Counts the tasks of a filter, asks, and does it."""
    body = {"action": action, "filter": wanted}
    if dry_run or not yes:
        counted = tqx.client.ask("bulk", body={**body, "dry_run": True})
        if dry_run:
            _say(tqx, counted, f"{_tasks(counted['matched'])} would be touched; nothing was changed")
            return
        tqx.confirm(f"{action.capitalize()} {_tasks(counted['matched'])}?", yes)
    answer = tqx.client.ask("bulk", body=body)
    _say(tqx, answer, f"{answer['changed']} of {answer['matched']} changed")


def _tasks(number: int) -> str:
    return "1 task" if number == 1 else f"{number} tasks"


def _say(tqx: Terminal, answer: Any, text: str) -> None:
    if tqx.is_json:
        tqx.json(answer)
    else:
        tqx.line(text)
