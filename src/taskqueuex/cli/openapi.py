"""`tqx openapi`: the interface as a document."""

import sys

import msgspec

from taskqueuex import __version__
from taskqueuex.cli.app import app

__all__ = ["openapi"]


@app.command("openapi")
def openapi() -> None:
    """Print the OpenAPI 3.1 document of this version; needs no server."""
    from taskqueuex.commands.openapi import document

    sys.stdout.write(
        msgspec.json.format(msgspec.json.encode(document(__version__)), indent=2).decode() + "\n"
    )
