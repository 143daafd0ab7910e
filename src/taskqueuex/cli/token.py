"""`tqx token`: who may call. With --data on the store of a server that does not run."""

import contextlib
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from taskqueuex.cli.app import app, asks_server
from taskqueuex.cli.failures import CONFLICT, NOT_FOUND, USAGE, Failure
from taskqueuex.cli.inputs import given
from taskqueuex.cli.terminal import Terminal, at
from taskqueuex.commands.access import CreateToken
from taskqueuex.commands.principal import parse_scope

__all__ = ["group"]

group = typer.Typer(no_args_is_help=True, help="Tokens: make, list, revoke.")
app.add_typer(group, name="token")
_command = functools.partial(asks_server, group)

Data = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="The data directory of a server that does not run, instead of asking."),
]
_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"([0-9]+)(ms|s|m|h|d)").fullmatch
_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?)/s(?:,([0-9]+))?").fullmatch


@_command("create")
def create(
    tqx: Terminal,
    name: Annotated[str, typer.Argument(help="What people call it.")],
    scope: Annotated[
        list[str],
        typer.Option(
            help="produce, consume, read, payload or operate, alone or for queues (produce:orders.*), or "
            "admin; may be repeated."
        ),
    ],
    expires: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Good for so long: 12h, 30d.")
    ] = None,
    rate: Annotated[
        str | None, typer.Option(metavar="N/s[,BURST]", help="Requests: 100/s or 100/s,500.")
    ] = None,
    tasks_rate: Annotated[
        str | None, typer.Option(metavar="N/s[,BURST]", help="Tasks that are put in.")
    ] = None,
    tasks_per_day: Annotated[int | None, typer.Option(help="Tasks that are put in, a UTC day.")] = None,
    data: Data = None,
) -> None:
    """Make a token. It is shown this one time, on the last line of the output."""
    _check_scopes(scope)
    body = {
        "name": name,
        "scopes": scope,
        "expires_in_ms": None if expires is None else _duration_ms(expires),
        "rate_limit": None if rate is None else _rate(rate, "--rate"),
        "tasks_rate_limit": None if tasks_rate is None else _rate(tasks_rate, "--tasks-rate"),
        "tasks_per_day": tasks_per_day,
    }
    if data is None:
        answer = tqx.client.ask("create_token", body=given(body))
    else:
        asked = _asked(body)
        with _offline(data, make=True) as tokens:
            answer = msgspec.to_builtins(tokens.create(asked))
    if tqx.is_json:
        tqx.json(answer)
    else:
        tqx.line(answer["token"])
    tqx.note(f"token {answer['id']} for {answer['name']}: keep it safe, it is not shown again")


def _check_scopes(scopes: list[str]) -> None:
    try:
        for each in scopes:
            parse_scope(each)
    except ValueError as error:
        raise Failure(f"--scope: {error}", USAGE) from error


def _asked(body: dict[str, Any]) -> CreateToken:
    try:
        return msgspec.convert(given(body), CreateToken)
    except msgspec.ValidationError as error:
        raise Failure(str(error), USAGE) from error


@_command("list")
def list_tokens(tqx: Terminal, data: Data = None) -> None:
    """All tokens: their scopes, when they expire and when they were used."""
    if data is None:
        answer = tqx.client.ask("list_tokens")
    else:
        with _offline(data) as tokens:
            answer = msgspec.to_builtins(tokens.list())
    if tqx.is_json:
        tqx.json(answer)
        return
    tqx.table(
        ["id", "name", "scopes", "created", "expires", "last used", "limits"],
        [
            (
                each["id"],
                each["name"],
                " ".join(each["scopes"]),
                at(each["created_at"]),
                at(each["expires_at"]),
                at(each["last_used_at"]),
                _limits(each),
            )
            for each in answer["tokens"]
        ],
    )


def _limits(token: dict[str, Any]) -> str:
    found = [
        f"{token[key]['per_second']:g} {what}/s"
        for key, what in (("rate_limit", "requests"), ("tasks_rate_limit", "tasks"))
        if token[key]
    ]
    if token["tasks_per_day"]:
        found.append(f"{token['tasks_per_day']} tasks/day")
    return ", ".join(found) or "-"


@_command("revoke")
def revoke(
    tqx: Terminal,
    token_id: Annotated[str, typer.Argument(metavar="ID", help="As `tqx token list` shows it.")],
    data: Data = None,
) -> None:
    """End a token, at once."""
    if data is None:
        tqx.client.ask("delete_token", token_id)
    else:
        with _offline(data) as tokens:
            tokens.revoke(token_id)
    if tqx.is_json:
        tqx.json({"deleted": True})
    else:
        tqx.line(f"{token_id} is revoked")


@contextlib.contextmanager
def _offline(data: Path, *, make: bool = False) -> Iterator[Any]:
    """The tokens of a store; errors as one line."""
    from taskqueuex.errors import Conflict, NotFound, TaskQueueError
    from taskqueuex.node.offline import OfflineTokens
    from taskqueuex.storage import StorageError

    try:
        with OfflineTokens(data, make=make) as tokens:
            yield tokens
    except StorageError as error:
        hint = "; ask it, without --data" if "another process" in str(error) else ""
        raise Failure(f"{error}{hint}") from error
    except TaskQueueError as error:
        code = {Conflict: CONFLICT, NotFound: NOT_FOUND}.get(type(error), USAGE)
        raise Failure(error.detail, code) from error


def _duration_ms(text: str) -> int:
    found = _DURATION(text)
    if found is None:
        raise Failure(f"--expires is a duration such as 12h or 30d, not {text!r}", USAGE)
    return int(found[1]) * _UNITS_MS[found[2]]


def _rate(text: str, option: str) -> dict[str, Any]:
    found = _RATE(text)
    if found is None:
        raise Failure(f"{option} is a rate such as 100/s or 100/s,500, not {text!r}", USAGE)
    return given({"per_second": float(found[1]), "burst": int(found[2]) if found[2] else None})
