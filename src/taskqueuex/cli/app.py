"""The program `tqx`: its options, its commands, and how it ends."""

import contextlib
import functools
import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import typer
from typer import main as typer_main

from taskqueuex import __version__
from taskqueuex.cli import connection
from taskqueuex.cli.connection import Connection
from taskqueuex.cli.failures import INTERRUPTED, OK, PIPE_CLOSED, USAGE, Failure
from taskqueuex.cli.terminal import Terminal, printable

__all__ = ["app", "asks_server", "options_of", "run"]

Format = Literal["table", "json"]
OutputOption = Annotated[
    Format | None, typer.Option("--output", "-o", help="How to show answers. (env: TQX_OUTPUT, else table)")
]

app = typer.Typer(
    name="tqx",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="TaskQueueX: a durable task queue for work that cannot wait.",
    epilog="Exit codes: 0 done, 1 refused or failed, 2 wrong usage or input, 3 not found, 4 conflict, "
    "5 the server cannot be reached.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"tqx {__version__}\n")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    server: connection.ServerOption = None,
    token: connection.TokenOption = None,
    token_file: connection.TokenFileOption = None,
    ca: connection.CaOption = None,
    certificate: connection.CertificateOption = None,
    key: connection.KeyOption = None,
    output: OutputOption = None,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Say the version and exit."),
    ] = False,
) -> None:
    context.obj = {
        "server": server,
        "token": token,
        "token_file": token_file,
        "ca": ca,
        "certificate": certificate,
        "key": key,
        "output": output,
    }


def options_of(context: typer.Context, own: Mapping[str, str | None]) -> dict[str, str | None]:
    """The options of a command, and where it was not given one, what stands before its name."""
    given: dict[str, str | None] = dict(context.find_root().obj or {})
    if own.get("token") or own.get("token_file"):
        given["token"] = given["token_file"] = None
    return given | {name: value for name, value in own.items() if value is not None}


def asks_server(group: typer.Typer, name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Registers a command that talks to the server.

    Its function takes a `Terminal` first; --output and the options of the connection are added to its own,
    so that they may stand before or behind the command's name.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def command(context: typer.Context, **given: Any) -> None:
            shared = {name: given.pop(name) for name in (*connection.OPTIONS, "output")}
            with contextlib.closing(_terminal(options_of(context, shared))) as tqx:
                function(tqx, **given)

        own = list(inspect.signature(function).parameters.values())[1:]
        keyword = inspect.Parameter.KEYWORD_ONLY
        added = [
            inspect.Parameter("context", keyword, annotation=typer.Context),
            *(each.replace(kind=keyword) for each in own),
            *connection.parameters(),
            inspect.Parameter("output", keyword, default=None, annotation=OutputOption),
        ]
        command.__signature__ = inspect.Signature(added)  # type: ignore[attr-defined]
        command.__annotations__ = {each.name: each.annotation for each in added}
        del command.__wrapped__
        group.command(name)(command)
        return function

    return register


def _terminal(given: Mapping[str, str | None]) -> Terminal:
    wanted = given.get("output") or os.environ.get("TQX_OUTPUT") or "table"
    if wanted not in ("table", "json"):
        raise Failure(f"TQX_OUTPUT is table or json, not {wanted!r}", USAGE)
    return Terminal(Connection.of(given), wanted)


def run(arguments: Sequence[str]) -> int:
    """Runs one command line. Returns the exit code; writes failures to standard error, a line each."""
    from taskqueuex.cli import register  # the nouns, which need `app`

    register.nouns()
    code = _run(list(arguments))
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
        return PIPE_CLOSED
    return code


def _run(arguments: list[str]) -> int:
    command = typer_main.get_command(app)
    try:
        # A command that returns has done its work; whatever else happened is raised.
        code = command.main(arguments, prog_name="tqx", standalone_mode=False)
    except Failure as failure:
        sys.stderr.write(f"tqx: {printable(str(failure))}\n")
        return failure.exit_code
    except typer.Abort:
        return INTERRUPTED
    except SystemExit as ended:
        if not isinstance(ended.__context__, BrokenPipeError):  # which typer ends with
            raise
        _drop_output()
        return PIPE_CLOSED
    except typer.TyperException as error:
        return _wrong_usage(error)
    return code if isinstance(code, int) else OK


def _wrong_usage(error: Any) -> int:
    message = error.format_message()
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        if message:
            sys.stdout.write(message + "\n")
        return USAGE
    hint = f" (see {context.command_path} --help)" if context is not None else ""
    sys.stderr.write(f"tqx: {printable(message)}{hint}\n")
    return USAGE


def _drop_output() -> None:
    """Nobody reads: keep the interpreter from complaining of it at exit."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
