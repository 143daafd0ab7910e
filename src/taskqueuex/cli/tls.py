"""`tqx tls`: certificates for development. For a network, ask whoever signs certificates there."""

from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

from taskqueuex.cli.app import app
from taskqueuex.cli.failures import USAGE, Failure
from taskqueuex.commands.principal import parse_scope

__all__ = ["group"]

group = typer.Typer(no_args_is_help=True, help="Certificates for development.")
app.add_typer(group, name="tls")

_HOSTS = ("localhost", "127.0.0.1", "::1")

Out = Annotated[Path, typer.Option(metavar="DIR", help="Where the files go.")]
Days = Annotated[int, typer.Option(min=1, max=3_650, help="How long it is good.")]
Force = Annotated[bool, typer.Option("--force", help="Write over files that are there.")]


@group.command("self-signed")
def self_signed(
    host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A name or address that clients use; may be repeated. (localhost, 127.0.0.1 and ::1)",
        ),
    ] = None,
    out: Out = Path("."),
    days: Days = 30,
    force: Force = False,
) -> None:
    """Make certificate.pem and key.pem for a server. Nobody trusts them who is not told to."""
    certificates = _certificates()
    hosts = host or list(_HOSTS)
    certificate, key = out / "certificate.pem", out / "key.pem"
    certificates.write(certificates.self_signed(hosts, days), certificate, key, force=force)
    shown = f"[{hosts[0]}]" if ":" in hosts[0] else hosts[0]
    typer.echo(f"{certificate} and {key}: good for {days} days, for {', '.join(hosts)}")
    typer.echo(
        f"server: tqx serve --listen tls:127.0.0.1:7470 --tls-certificate {certificate} --tls-key {key}"
    )
    typer.echo(f"client: tqx --server https://{shown}:7470 --ca {certificate} stats")


@group.command("client")
def client(
    name: Annotated[str, typer.Argument(help="What the client goes by.")],
    scope: Annotated[
        list[str],
        typer.Option(
            help="produce, consume, read, payload or operate, alone or for queues (produce:orders.*), or "
            "admin; may be repeated."
        ),
    ],
    out: Out = Path("."),
    days: Days = 30,
    force: Force = False,
) -> None:
    """Make NAME.pem and NAME-key.pem for a client, signed by client-ca.pem, which is made if need be."""
    certificates = _certificates()
    _check(name, scope, certificates.CA_NAME)
    certificate, key = out / f"{name}.pem", out / f"{name}-key.pem"
    authority = certificates.authority_in(out)
    certificates.write(certificates.client_pair(name, scope, days, authority), certificate, key, force=force)
    typer.echo(f"{certificate} and {key}: good for {days} days, for {', '.join(scope)}")
    typer.echo(f"server: tqx serve ... --tls-client-ca {out / certificates.CA_NAME}.pem")
    typer.echo(
        f"client: tqx --server https://localhost:7470 --ca FILE --cert {certificate} --key {key} stats"
    )


def _check(name: str, scopes: list[str], reserved: str) -> None:
    if not 1 <= len(name) <= 64 or "/" in name or name.startswith((".", reserved)) or not name.isprintable():
        raise Failure(f"NAME: {name!r} cannot be the name of a file and of a client", USAGE)
    try:
        for each in scopes:
            parse_scope(each)
    except ValueError as error:
        raise Failure(f"--scope: {error}", USAGE) from error


def _certificates() -> ModuleType:
    try:
        from taskqueuex.cli import certificates
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("cryptography"):
            raise
        raise Failure("certificates need cryptography: pip install 'taskqueuex[tls]'", USAGE) from None
    return certificates
