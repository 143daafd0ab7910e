"""`tqx serve`: the server."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from taskqueuex.cli.app import app
from taskqueuex.cli.failures import USAGE, Failure

__all__ = ["serve"]


@app.command("serve")
def serve(
    data: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Where tasks are kept. (TQX_DATA, else ./taskqueuex-data)"),
    ] = None,
    listen: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[tls:]HOST:PORT|unix:PATH",
            help="Where to listen; may be repeated. With proxy+ before it, behind a balancer that speaks the "
            "PROXY protocol. (TQX_LISTEN, else 127.0.0.1:7470)",
        ),
    ] = None,
    tls_certificate: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="The certificate and its chain, PEM; read anew on SIGHUP."),
    ] = None,
    tls_key: Annotated[str | None, typer.Option(metavar="FILE", help="Its key, PEM.")] = None,
    tls_client_ca: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Ask clients for a certificate of one of these CAs, PEM."),
    ] = None,
    tls_client_crl: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="What those have revoked, PEM; read anew on SIGHUP."),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen beyond loopback without TLS or without tokens.")
    ] = False,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", envvar="TQX_CONFIG", help="A TOML file of settings.")
    ] = None,
    preset: Annotated[
        Literal["small", "default", "throughput"] | None,
        typer.Option(help="How much memory and disk bandwidth the store may take."),
    ] = None,
    cache_mb: Annotated[
        int | None, typer.Option(help="The store's block cache, megabytes. (the preset's)")
    ] = None,
    pool_size: Annotated[int | None, typer.Option(help="Threads that read cold tasks. (2)")] = None,
    commit: Annotated[
        Literal["inline", "thread"] | None, typer.Option(help="Where batches are synced to disk. (inline)")
    ] = None,
    max_connections: Annotated[int | None, typer.Option(help="Beyond: 503. (20000)")] = None,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"] | None,
        typer.Option(help="The least that is logged. (info)"),
    ] = None,
    log_format: Annotated[
        Literal["text", "json"] | None, typer.Option(help="For people or collectors. (text)")
    ] = None,
) -> None:
    """Run the server until SIGTERM or Ctrl-C. Ready when GET /readyz answers 200.

    Settings come from --config, then the environment (TQX_SECTION_KEY, such as TQX_WRITER_COMMIT),
    then flags; later ones win. All that is wrong with them is said at once.
    """
    flags = {
        "storage.data": data,
        "network.listen": listen or None,
        "network.tls_certificate": tls_certificate,
        "network.tls_key": tls_key,
        "network.tls_client_ca": tls_client_ca,
        "network.tls_client_crl": tls_client_crl,
        "network.insecure": insecure or None,
        "storage.preset": preset,
        "storage.cache_mb": cache_mb,
        "storage.pool_size": pool_size,
        "writer.commit": commit,
        "network.max_connections": max_connections,
        "log.level": log_level,
        "log.format": log_format,
    }
    raise typer.Exit(_serve(config, flags))


def _serve(file: Path | None, flags: dict[str, Any]) -> int:
    from taskqueuex.node.config import ConfigError, load

    try:
        settings = load(file, os.environ, flags)
    except ConfigError as error:
        for problem in error.problems[:-1]:
            sys.stderr.write(f"tqx: {problem}\n")
        raise Failure(error.problems[-1], USAGE) from error
    from taskqueuex.node.node import run

    return run(settings)
