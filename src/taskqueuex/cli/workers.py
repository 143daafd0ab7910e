"""`tqx workers`: who works, and asking them to be quiet, to go on, or to stop."""

import functools
from typing import Annotated, Any

import typer

from taskqueuex.cli.app import app, asks_server
from taskqueuex.cli.terminal import Terminal, at

__all__ = ["group"]

group = typer.Typer(no_args_is_help=True, help="Workers: look, make quiet, resume, stop.")
app.add_typer(group, name="workers")
_command = functools.partial(asks_server, group)

Name = Annotated[str, typer.Argument(metavar="WORKER", help="The name of the worker.")]


@_command("list")
def list_workers(tqx: Terminal) -> None:
    """The workers seen in the last minutes, and how much they run."""
    answer = tqx.client.ask("list_workers")
    if tqx.is_json:
        tqx.json(answer)
        return
    columns = ("worker", "state", "running", "of", "queues", "host", "pid", "version", "seen")
    tqx.table(columns, [_row(each) for each in answer["workers"]])


def _row(worker: dict[str, Any]) -> tuple[Any, ...]:
    return (
        worker["name"],
        "stopping" if worker["stopping"] else "quiet" if worker["quiet"] else "",
        len(worker["running"]),
        worker["concurrency"],
        " ".join(worker["queues"]),
        worker["host"],
        worker["pid"],
        worker["version"],
        at(worker["last_seen_at"]),
    )


@_command("quiet")
def quiet(tqx: Terminal, name: Name) -> None:
    """Ask a worker to take no more tasks; what it runs goes on."""
    _ask(tqx, "quiet_worker", name, "takes no more tasks")


@_command("resume")
def resume(tqx: Terminal, name: Name) -> None:
    """Ask a worker to take tasks again."""
    _ask(tqx, "resume_worker", name, "takes tasks again")


@_command("stop")
def stop(tqx: Terminal, name: Name) -> None:
    """Ask a worker to finish what it has, and exit."""
    _ask(tqx, "stop_worker", name, "finishes what it has, and exits")


def _ask(tqx: Terminal, command: str, name: str, text: str) -> None:
    answer = tqx.client.ask(command, name)
    if tqx.is_json:
        tqx.json(answer)
    else:
        tqx.line(f"{name} {text}")
