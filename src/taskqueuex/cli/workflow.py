"""`tqx workflow`: tasks that were put in together."""

import functools
from typing import Annotated

import typer

from taskqueuex.cli.app import app, asks_server
from taskqueuex.cli.terminal import Terminal, at

__all__ = ["group"]

group = typer.Typer(no_args_is_help=True, help="Workflows: look and cancel.")
app.add_typer(group, name="workflow")
_command = functools.partial(asks_server, group)

Id = Annotated[str, typer.Argument(metavar="ID", help="The id of the workflow.")]
Limit = Annotated[int, typer.Option(min=1, max=1_000, help="At most so many.")]
Cursor = Annotated[str | None, typer.Option(help="Where an earlier page stopped.")]


@_command("list")
def list_workflows(tqx: Terminal, limit: Limit = 100, cursor: Cursor = None) -> None:
    """Workflows, the newest first."""
    answer = tqx.client.ask("list_workflows", query={"limit": limit, "cursor": cursor})
    if tqx.is_json:
        tqx.json(answer)
        return
    rows = (
        (each["id"], each["name"], each["state"], at(each["created_at"]), _counts(each["counts"]))
        for each in answer["workflows"]
    )
    tqx.table(("id", "name", "state", "created", "tasks"), rows)
    if answer["cursor"] is not None:
        tqx.note(f"there may be more: --cursor {answer['cursor']}")


@_command("show")
def show(tqx: Terminal, id: Id, limit: Limit = 100, cursor: Cursor = None) -> None:
    """A workflow and its tasks."""
    answer = tqx.client.ask("get_workflow", id, query={"limit": limit, "cursor": cursor})
    if tqx.is_json:
        tqx.json(answer)
        return
    tqx.line(f"{answer['id']} {answer['name']} {answer['state']}: {_counts(answer['counts'])}")
    tasks = answer.get("tasks") or []
    tqx.table(
        ("id", "queue", "state", "name"),
        ([task[key] for key in ("id", "queue", "state", "name")] for task in tasks),
    )
    if answer.get("cursor"):
        tqx.note(f"there may be more: --cursor {answer['cursor']}")


@_command("cancel")
def cancel(tqx: Terminal, id: Id) -> None:
    """Cancel what has not ended of a workflow."""
    answer = tqx.client.ask("cancel_workflow", id)
    if tqx.is_json:
        tqx.json(answer)
    else:
        tqx.line(f"{answer['changed']} of {answer['matched']} cancelled")


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {state}" for state, number in counts.items() if number)
