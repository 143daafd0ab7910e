"""`tqx events`: what happened, and what happens."""

import time
from collections.abc import Iterator
from typing import Annotated, Any, Final

import msgspec
import typer

from taskqueuex.cli.app import app, asks_server
from taskqueuex.cli.failures import Unreachable
from taskqueuex.cli.terminal import Terminal, at
from taskqueuex.commands.tasks import StateName

__all__ = ["events"]

_AGAIN_S: Final = 1.0  # before it is asked again where the stream broke
_TRIES: Final = 30


@asks_server(app, "events")
def events(
    tqx: Terminal,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens now.")] = False,
    since: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=0, help="From so long ago on; else an hour ago.")
    ] = None,
    queue: Annotated[str | None, typer.Option(help="Of one queue.")] = None,
    state: Annotated[StateName | None, typer.Option(help="Of tasks that come to this state.")] = None,
    name: Annotated[str | None, typer.Option(help="Of tasks of this name.")] = None,
    id: Annotated[str | None, typer.Option(help="Of these tasks; ids by commas.")] = None,
    kind: Annotated[
        str | None, typer.Option(metavar="KINDS", help="task, queue, worker, server; several by commas.")
    ] = None,
) -> None:
    """What happened to tasks, queues, workers and the server; with --follow, as it happens.

    With --follow and without --since it begins now. Where the connection breaks it goes on by itself, and
    misses nothing that is kept.

    With --output json every event is a line of JSON.
    """
    query: dict[str, Any] = {"queue": queue, "state": state, "name": name, "id": id, "kind": kind}
    if since is not None or not follow:
        query["since"] = max(0, int((time.time() - (3_600 if since is None else since)) * 1_000))
    if not follow:
        query["follow"] = "false"
    for what, data in _events(tqx, query, follow):
        if tqx.is_json:
            tqx.line(data.decode())
        elif what in ("task", "queue", "worker", "server"):
            tqx.line(_line(msgspec.json.decode(data)))
        elif what == "gap":
            tqx.note("some events are no longer kept")


def _events(tqx: Terminal, query: dict[str, Any], follow: bool) -> Iterator[tuple[str, bytes]]:
    """Names and data of events; goes on where a connection breaks, behind the last event."""
    last, failed = b"", 0
    while True:
        headers = {}
        if last:
            headers["Last-Event-ID"] = last.decode("ascii")
            query.pop("since", None)
        what, data = "message", b""
        try:
            for line in tqx.client.stream("events", query, headers):
                field, _, value = line.rstrip(b"\n").partition(b": ")
                if field == b"id":
                    last = value
                elif field == b"event":
                    what = value.decode()
                elif field == b"data":
                    data = value
                elif not field and data:
                    failed = 0
                    if what != "end":
                        yield what, data
                    what, data = "message", b""
        except Unreachable:
            failed += 1
            if not follow or not last or failed > _TRIES:
                raise
        if not follow:
            return
        time.sleep(_AGAIN_S)
        tqx.client.close()


def _line(event: dict[str, Any]) -> str:
    parts = [at(event["at"]), event.get("state") or f"{event['kind']} {event['change']}"]
    parts += [event[field] for field in ("queue", "id", "name") if field in event]
    if event.get("attempt"):
        parts.append(f"attempt {event['attempt']}")
    if "worker" in event:
        parts.append(f"on {event['worker']}" if event["kind"] == "task" else event["worker"])
    if "detail" in event:
        parts.append(event["detail"])
    return "  ".join(parts)
