"""`tqx backup`, `tqx restore`, `tqx storage check`: copies of the store, and its soundness."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from taskqueuex.cli.app import app, asks_server
from taskqueuex.cli.failures import Failure
from taskqueuex.cli.terminal import Terminal, printable

__all__ = ["group"]

group = typer.Typer(no_args_is_help=True, help="The store on disk, while no server uses it.")
app.add_typer(group, name="storage")

Data = Annotated[Path, typer.Option(metavar="DIR", help="The data directory of a server that does not run.")]


@asks_server(app, "backup")
def backup(
    tqx: Terminal,
    path: Annotated[
        str, typer.Argument(help="A directory that does not exist yet, on the server's machine.")
    ],
) -> None:
    """Copy the store while the server serves."""
    # The server resolves nothing: a relative path means one thing here and another there.
    answer = tqx.client.ask("backup", body={"path": str(Path(path).absolute())})
    if tqx.is_json:
        tqx.json(answer)
    else:
        tqx.line(f"{answer['path']}: {answer['bytes']} bytes in {answer['took_ms']} ms")


@app.command("restore")
def restore(
    backup: Annotated[Path, typer.Argument(help="A backup that `tqx backup` made.")],
    data: Annotated[
        Path, typer.Option(metavar="DIR", help="The data directory to make; empty or not there.")
    ],
) -> None:
    """Make a data directory out of a backup."""
    from taskqueuex.storage import maintenance

    with _told():
        maintenance.restore(backup, data)
    typer.echo(f"{data} is restored from {backup}: tqx serve --data {data}")


@group.command("check")
def check(data: Data) -> None:
    """Verify every record and index. Exit code 1 where something is wrong."""
    from taskqueuex.storage import maintenance

    with _told():
        report = maintenance.check(data)
    for problem in report.problems:
        typer.echo(printable(problem))
    typer.echo(f"{report.records} records, {len(report.problems)} problems")
    if report.problems:
        raise typer.Exit(1)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Errors of the disk and the store as one line."""
    from taskqueuex.storage import StorageError

    try:
        yield
    except (StorageError, OSError) as error:
        raise Failure(str(error)) from error
