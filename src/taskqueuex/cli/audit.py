"""`tqx audit`: who did what."""

from typing import Annotated, Any

import msgspec
import typer

from taskqueuex.cli.app import app, asks_server
from taskqueuex.cli.terminal import Terminal, at

__all__ = ["audit"]

PAGE = 1_000


@asks_server(app, "audit")
def audit(
    tqx: Terminal,
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 50,
    who: Annotated[str | None, typer.Option(help="Of one caller: an id or a name.")] = None,
    command: Annotated[str | None, typer.Option(help="Of one command, such as pause_queue.")] = None,
) -> None:
    """What was steered or refused: by whom, when, from where, and with what outcome."""
    found: list[dict[str, Any]] = []
    cursor = None
    while len(found) < limit:
        query = {"limit": min(PAGE, limit - len(found)), "cursor": cursor, "who": who, "command": command}
        page = tqx.client.ask("list_audit", query=query)
        found += page["entries"]
        cursor = page["cursor"]
        if cursor is None:
            break
    if tqx.is_json:
        tqx.json({"entries": found})
        return
    tqx.table(
        ["at", "who", "from", "command", "target", "what", "status"],
        [
            (
                at(each["at"]),
                f"{each['who']['name']} ({each['who']['id'] or each['who']['kind']})",
                each["address"] or "socket",
                each["command"],
                each["target"] or "-",
                _what(each["what"]),
                _status(each),
            )
            for each in found
        ],
    )


def _status(entry: dict[str, Any]) -> str:
    if entry["status"] is None:
        return "begun"
    return f"{entry['status']} {entry['code'] or ''}".strip()


def _what(what: dict[str, Any]) -> str:
    if "action" in what:
        return f"{what['action']} {msgspec.json.encode(what['filter']).decode()}"
    return " ".join(what.get("fields", ()))
