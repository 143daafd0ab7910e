"""`tqx enqueue`: put a task in."""

from typing import Annotated, Literal

import typer

from taskqueuex.cli.app import app, asks_server
from taskqueuex.cli.inputs import given, json_value, pairs
from taskqueuex.cli.terminal import Terminal

__all__ = ["enqueue"]


@asks_server(app, "enqueue")
def enqueue(
    tqx: Terminal,
    queue: Annotated[str, typer.Argument(help="The queue; made with defaults where there is none.")],
    payload: Annotated[str, typer.Argument(help="Any JSON value; - reads it from standard input.")] = "null",
    name: Annotated[str | None, typer.Option(help="What to run, such as trades.settle.")] = None,
    priority: Annotated[int | None, typer.Option(help="-1000 to 1000; higher is served first.")] = None,
    group: Annotated[str | None, typer.Option(help="The fairness and ordering key.")] = None,
    group_weight: Annotated[int | None, typer.Option(help="1 to 100.")] = None,
    delay_ms: Annotated[int | None, typer.Option(help="Not before so many milliseconds.")] = None,
    run_at: Annotated[int | None, typer.Option(help="Not before then, Unix milliseconds.")] = None,
    ttl_ms: Annotated[int | None, typer.Option(help="Must have started within so many milliseconds.")] = None,
    expires_at: Annotated[
        int | None, typer.Option(help="Must have started by then, Unix milliseconds.")
    ] = None,
    timeout_ms: Annotated[int | None, typer.Option(help="The longest that one attempt may run.")] = None,
    lease_ms: Annotated[int | None, typer.Option(help="The length of its leases.")] = None,
    max_attempts: Annotated[int | None, typer.Option(help="Failed attempts before it is dead.")] = None,
    backoff: Annotated[str | None, typer.Option(help='JSON, such as {"base_ms":1000,"factor":2}.')] = None,
    depends_on: Annotated[list[str] | None, typer.Option(help="The id of a parent; may be repeated.")] = None,
    on_dependency_failure: Annotated[
        Literal["cancel", "run", "hold"] | None, typer.Option(help="When a parent does not complete.")
    ] = None,
    unique_key: Annotated[str | None, typer.Option(help="At most one live task per key and queue.")] = None,
    on_conflict: Annotated[
        Literal["existing", "reject", "replace"] | None, typer.Option(help="When there is one already.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="May be repeated.")] = None,
    meta: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="May be repeated.")] = None,
    result_ttl_ms: Annotated[int | None, typer.Option(help="How long the ended task can be read.")] = None,
    with_parents: Annotated[
        bool | None, typer.Option(help="Hand the parents' results to the worker.")
    ] = None,
    idempotency_key: Annotated[str | None, typer.Option(help="Makes a repeat of this call harmless.")] = None,
) -> None:
    """Put a task into a queue, and say its id."""
    body = given(
        {
            "payload": json_value(payload, "PAYLOAD"),
            "name": name,
            "priority": priority,
            "group": group,
            "group_weight": group_weight,
            "delay_ms": delay_ms,
            "run_at": run_at,
            "ttl_ms": ttl_ms,
            "expires_at": expires_at,
            "timeout_ms": timeout_ms,
            "lease_ms": lease_ms,
            "max_attempts": max_attempts,
            "backoff": None if backoff is None else json_value(backoff, "--backoff"),
            "depends_on": depends_on,
            "on_dependency_failure": on_dependency_failure,
            "unique_key": unique_key,
            "on_conflict": on_conflict,
            "tags": tag,
            "meta": pairs(meta, "--meta") if meta else None,
            "result_ttl_ms": result_ttl_ms,
            "with_parents": with_parents,
        }
    )
    headers = {"Idempotency-Key": idempotency_key} if idempotency_key is not None else {}
    answer = tqx.client.ask("enqueue", queue, body=body, headers=headers)
    if tqx.is_json:
        tqx.json(answer)
        return
    found = " (already there)" if answer.get("duplicate") else ""
    if answer.get("replaced"):
        found = " (replaced)"
    tqx.line(f"{answer['id']} {answer['state']}{found}")
