"""`tqx worker`: runs the tasks of an app."""

import os
import shlex
import sys
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import typer

from taskqueuex.cli import connection
from taskqueuex.cli.app import app, options_of
from taskqueuex.cli.connection import credentials_of
from taskqueuex.cli.failures import USAGE, Failure
from taskqueuex.client import Credentials

__all__ = ["worker"]


@app.command("worker")
def worker(
    context: typer.Context,
    app_path: Annotated[
        str, typer.Argument(metavar="MODULE:APP", help="Where the app is; `app` is the default name in it.")
    ],
    queues: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Queues in strict order (a,b), or by weight (a=3,b=1). Default: those of the app's tasks.",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Unique among workers. (host and process id)")] = None,
    concurrency: Annotated[int, typer.Option(help="Coroutines at once.")] = 100,
    threads: Annotated[int, typer.Option(help="Threads for functions that are not async.")] = 16,
    processes: Annotated[
        int | None, typer.Option(help="Processes for tasks of mode `process`. (one a core)")
    ] = None,
    max_tasks_per_child: Annotated[
        int | None, typer.Option(help="Replace a child process after so many tasks.")
    ] = None,
    memory_limit_mb: Annotated[
        int | None, typer.Option(help="Kill a child process that holds more memory.")
    ] = None,
    grace: Annotated[
        float,
        typer.Option(metavar="SECONDS", help="For what runs, when told to stop; then it is given back."),
    ] = 30.0,
    lease: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Length of leases. (the task's, or its queue's)")
    ] = None,
    reload: Annotated[
        bool, typer.Option("--reload", help="Start anew when a source file changes: for development.")
    ] = False,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], typer.Option(help="The least that is logged.")
    ] = "info",
    log_format: Annotated[Literal["text", "json"], typer.Option(help="For people or collectors.")] = "text",
    server: connection.ServerOption = None,
    token: connection.TokenOption = None,
    token_file: connection.TokenFileOption = None,
    ca: connection.CaOption = None,
    certificate: connection.CertificateOption = None,
    key: connection.KeyOption = None,
) -> None:
    """Run the tasks of an app until SIGTERM or Ctrl-C; a second one gives back what still runs.

    SIGUSR1 makes it quiet (it takes no more tasks), SIGUSR2 resumes. Its server, token and certificates
    are the app's, unless options name others.
    """
    if reload:
        _reload()
        return
    from taskqueuex.worker.config import WorkerConfig  # what only this command needs

    given: dict[str, Any] = {"name": name, "processes": processes}
    try:
        config = WorkerConfig(
            queues=None if queues is None else parse_queues(queues),
            concurrency=concurrency,
            threads=threads,
            max_tasks_per_child=max_tasks_per_child,
            memory_limit_mb=memory_limit_mb,
            grace_s=grace,
            lease_s=lease,
            **{key: value for key, value in given.items() if value is not None},
        )
    except ValueError as error:
        raise Failure(str(error), USAGE) from error
    own = {"server": server, "token": token, "token_file": token_file}
    own |= {"ca": ca, "certificate": certificate, "key": key}
    _run(app_path, config, *_connection(options_of(context, own)), log_level, log_format)


def _connection(given: Mapping[str, str | None]) -> tuple[list[str] | None, Credentials]:
    """What options say alone: what the environment says is the app's own to look up."""
    server = given.get("server")
    environ = {name: value for name, value in os.environ.items() if name in ("TQX_CA", "TQX_CERT", "TQX_KEY")}
    return [server] if server else None, credentials_of(environ, server or "", given)


def _run(app_path: str, *settings: Any) -> None:
    from taskqueuex.app import TaskDefinitionError
    from taskqueuex.errors import TaskQueueError
    from taskqueuex.worker.load import AppNotFound
    from taskqueuex.worker.program import run

    try:
        run(app_path, *settings)
    except (AppNotFound, TaskDefinitionError) as error:
        raise Failure(str(error), USAGE) from error
    except TaskQueueError as error:
        raise Failure(str(error)) from error


def _reload() -> None:
    try:
        import watchfiles
    except ImportError:
        raise Failure("--reload needs watchfiles: pip install 'taskqueuex[reload]'", USAGE) from None
    arguments = [each for each in sys.argv[1:] if each != "--reload"]
    command = shlex.join([sys.executable, "-m", "taskqueuex.cli", *arguments])
    watchfiles.run_process(
        os.getcwd(), target=command, target_type="command", watch_filter=watchfiles.PythonFilter()
    )


def parse_queues(text: str) -> list[str] | dict[str, int]:
    """`a,b` as a list, `a=3,b=1` as weights. Raises ValueError."""
    items = [item.strip() for item in text.split(",") if item.strip()]
    if not any("=" in item for item in items):
        return items
    weights: dict[str, int] = {}
    for item in items:
        queue, _, weight = item.partition("=")
        if not weight.isdecimal() or int(weight) < 1:
            raise ValueError(f"queues: {item!r}: either all queues have a weight of at least 1, or none")
        weights[queue] = int(weight)
    return weights
