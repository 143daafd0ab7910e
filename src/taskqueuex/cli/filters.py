"""The options that select tasks, shared by the commands that take a filter."""

from typing import Annotated, Any, Literal

import typer

from taskqueuex.cli.inputs import given

__all__ = ["After", "Before", "Error", "Group", "Name", "Queue", "State", "Tag", "Workflow", "filter_of"]

States = Literal[
    "scheduled", "blocked", "ready", "running", "retrying", "completed", "cancelled", "expired", "dead"
]
Queue = Annotated[str | None, typer.Option(help="Of this queue.")]
State = Annotated[States | None, typer.Option(help="In this state.")]
Group = Annotated[str | None, typer.Option(help="Of this group.")]
Tag = Annotated[str | None, typer.Option(help="With this tag.")]
Name = Annotated[str | None, typer.Option(help="With this name.")]
Error = Annotated[str | None, typer.Option(help="Whose latest error is of this type.")]
Workflow = Annotated[str | None, typer.Option(help="Of this workflow.")]
After = Annotated[int | None, typer.Option(help="Created at or after, Unix milliseconds.")]
Before = Annotated[int | None, typer.Option(help="Created before, Unix milliseconds.")]

_FIELDS = ("queue", "state", "group", "tag", "name", "error", "workflow", "after", "before")


def filter_of(options: dict[str, Any]) -> dict[str, Any]:
    """The filter among a command's options."""
    return given({field: options.get(field) for field in _FIELDS})
