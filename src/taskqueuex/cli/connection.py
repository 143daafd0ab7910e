"""Which server is asked, what it is shown and trusted by: the options that every command has for it."""

import inspect
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import typer

from taskqueuex.cli.failures import USAGE, Failure
from taskqueuex.client import DEFAULT_SERVER, TLS, Credentials
from taskqueuex.errors import Invalid

__all__ = [
    "OPTIONS",
    "CaOption",
    "CertificateOption",
    "Connection",
    "KeyOption",
    "ServerOption",
    "TokenFileOption",
    "TokenOption",
    "credentials_of",
    "parameters",
]

_PANEL: Final = "Connection"
_FLAGS: Final = {
    "token": "--token",
    "token_file": "--token-file",
    "ca": "--ca",
    "certificate": "--cert",
    "key": "--key",
}

ServerOption = Annotated[
    str | None,
    typer.Option(
        "--server",
        metavar="URL",
        help=f"The server to ask. (env: TQX_SERVER, else {DEFAULT_SERVER})",
        rich_help_panel=_PANEL,
    ),
]
TokenOption = Annotated[
    str | None,
    typer.Option(
        "--token",
        metavar="TOKEN",
        help="What to show it; other users of this machine can see it. (env: TQX_TOKEN)",
        rich_help_panel=_PANEL,
    ),
]
TokenFileOption = Annotated[
    str | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        help="A file with the token. (env: TQX_TOKEN_FILE)",
        rich_help_panel=_PANEL,
    ),
]
CaOption = Annotated[
    str | None,
    typer.Option(
        "--ca",
        metavar="FILE",
        help="Whose certificates to trust, as PEM. (env: TQX_CA, else the system's)",
        rich_help_panel=_PANEL,
    ),
]
CertificateOption = Annotated[
    str | None,
    typer.Option(
        "--cert",
        metavar="FILE",
        help="The certificate to show, as PEM. (env: TQX_CERT)",
        rich_help_panel=_PANEL,
    ),
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key", metavar="FILE", help="The key of it. (env: TQX_KEY, else in it)", rich_help_panel=_PANEL
    ),
]
OPTIONS: Final[Mapping[str, Any]] = {
    "server": ServerOption,
    "token": TokenOption,
    "token_file": TokenFileOption,
    "ca": CaOption,
    "certificate": CertificateOption,
    "key": KeyOption,
}


def parameters() -> list[inspect.Parameter]:
    """The options, for the signature of a command."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    return [inspect.Parameter(name, keyword, default=None, annotation=kind) for name, kind in OPTIONS.items()]


@dataclass(frozen=True, slots=True)
class Connection:
    """A server, and what its clients need."""

    server: str
    token: str | None = field(default=None, repr=False)  # it is not to be seen in tracebacks
    tls: TLS | None = None

    @classmethod
    def of(cls, given: Mapping[str, str | None]) -> "Connection":
        """From options by their names, and the environment. Raises Failure."""
        server = given.get("server") or os.environ.get("TQX_SERVER") or DEFAULT_SERVER
        found = credentials_of(os.environ, server, given)
        return cls(server, found.token, found.tls)


def credentials_of(environ: Mapping[str, str], server: str, given: Mapping[str, str | None]) -> Credentials:
    """See `Credentials.of`. Raises Failure, which names the option."""
    options = {name: given.get(name) for name in _FLAGS}
    try:
        return Credentials.of(environ, server, **options)
    except Invalid as error:
        raise Failure(f"{_FLAGS[error.errors[0].field]}: {error.errors[0].message}", USAGE) from error
