"""`tqx bench`: load against a server that runs, and what it did under it."""

import asyncio
import os
import signal
import sys
from typing import Annotated, Any, Final

import typer
import uvloop
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from taskqueuex.cli.app import app, asks_server
from taskqueuex.cli.connection import Connection
from taskqueuex.cli.failures import CONFLICT, INTERRUPTED, USAGE, ApiError, Failure, Unreachable
from taskqueuex.cli.http import Client
from taskqueuex.cli.load import NAME, Load, Operation, Tally, run_load
from taskqueuex.cli.terminal import Terminal
from taskqueuex.errors import ConnectionFailed, Invalid, TaskQueueError

__all__ = ["bench"]

_LIVE: Final = ("scheduled", "blocked", "ready", "running", "retrying")
_QUANTILES: Final = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999))
_BATCH_BYTES_MAX: Final = 15 << 20  # of payloads: the server takes 16 MiB a request
_CLEANUP_TIMEOUT_S: Final = 300.0  # hundreds of thousands of tasks are deleted within one call
_BUSY: Final = 0.9  # of a core: from there on the client holds the figures down


@asks_server(app, "bench")
def bench(
    tqx: Terminal,
    duration: Annotated[float, typer.Option(metavar="SECONDS", min=0.1, max=86_400, help="How long.")] = 10.0,
    connections: Annotated[
        int, typer.Option(min=1, max=1_000, help="At once; each has one operation under way.")
    ] = 32,
    payload_bytes: Annotated[int, typer.Option(min=3, max=1 << 20, help="Of each task, as JSON.")] = 100,
    queue: Annotated[
        str, typer.Option(metavar="NAME", help="Where; one that does not exist is deleted afterwards.")
    ] = NAME,
    operation: Annotated[
        Operation,
        typer.Option(
            help="enqueue: one task. pair: put one in, take one, ack it. batch: many tasks in one request."
        ),
    ] = "enqueue",
    batch_size: Annotated[int, typer.Option(min=1, max=10_000, help="Tasks of each batch.")] = 1_000,
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.01, help="Operations a second; latency counts from when each was due. (as many as can be)"
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also into a queue that has tasks, which stay. Not for pair.")
    ] = False,
) -> None:
    """Put load on the server, and say how many operations it did and how long they took.

    Exit code 1 where operations failed. What was put in is deleted afterwards, and so is the queue if it did
    not exist. This program takes part of a machine: where the server is on the same one, they share it.
    """
    if operation == "batch" and batch_size * payload_bytes > _BATCH_BYTES_MAX:
        raise Failure("--batch-size times --payload-bytes: a request takes up to 15 MiB of payloads", USAGE)
    load = Load(queue, operation, duration, connections, payload_bytes, batch_size, rate)
    existed = _check_queue(tqx.client, load, force)
    tally = Tally()
    try:
        interrupted = _measure(tqx.connection, load, tally)
        _tell(tqx, load, tally)
        sys.stdout.flush()  # it may take a while to delete millions of tasks
    finally:
        _clean_up(tqx.connection, queue, existed)
    if interrupted:
        raise Failure("interrupted: the figures are of the time until then", INTERRUPTED)
    if tally.errors:
        raise Failure(f"{tally.errors.total()} operations failed")


def _check_queue(client: Client, load: Load, force: bool) -> bool:
    """Whether the queue exists; raises Failure where it must not be touched."""
    try:
        counts = client.ask("get_queue", load.queue)["counts"]
    except ApiError as error:
        if error.status != 404:
            raise
        # What ends need not be kept for reading, so that it does not pile up.
        client.ask("put_queue", load.queue, body={"result_ttl_ms": 0})
        return False
    live = sum(counts[state] for state in _LIVE)
    if live and load.operation == "pair":
        raise Failure(f"queue {load.queue} has {live} tasks, which pair would take and ack", CONFLICT)
    if live and not force:
        raise Failure(f"queue {load.queue} has {live} tasks: name another --queue, or --force", CONFLICT)
    return True


def _measure(server: Connection, load: Load, tally: Tally) -> bool:
    """Runs the load; True if it was interrupted. Raises Failure."""
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_under_way(server, load, tally))
    except ConnectionFailed as error:
        raise Unreachable(str(error)) from error
    except Invalid as error:
        raise Failure(str(error), USAGE) from error
    except TaskQueueError as error:
        raise Failure(str(error)) from error


async def _under_way(server: Connection, load: Load, tally: Tally) -> bool:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        stop.set()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)  # a second one ends it at once

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    shown = asyncio.create_task(_show(load, tally))
    try:
        await run_load(server, load, tally, stop)
    finally:
        shown.cancel()
        await asyncio.wait([shown])
    return stop.is_set()


async def _show(load: Load, tally: Tally) -> None:
    """A bar on standard error, where somebody looks, until it is cancelled."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[done]} done"))
    loop = asyncio.get_running_loop()
    begun_s = loop.time()
    visible = sys.stderr.isatty()
    progress = Progress(
        *columns, console=Console(stderr=True), auto_refresh=False, transient=True, disable=not visible
    )
    with progress:
        bar = progress.add_task(load.operation, total=load.duration_s, done=0)
        while True:
            progress.update(bar, completed=loop.time() - begun_s, done=tally.operations, refresh=True)
            await asyncio.sleep(0.2)


def _clean_up(server: Connection, queue: str, existed: bool) -> None:
    """Deletes the tasks of the load, and a queue that was made for it. Raises Failure."""
    client = Client(server, _CLEANUP_TIMEOUT_S)
    try:
        if existed:
            client.call("bulk", body={"action": "delete", "filter": {"queue": queue, "name": NAME}})
        else:
            client.call("delete_queue", queue, query={"force": "true"})
    except Failure as error:
        raise Failure(f"tasks are left in queue {queue}: {error}", error.exit_code) from error
    finally:
        client.close()


def _tell(tqx: Terminal, load: Load, tally: Tally) -> None:
    facts = _facts(load, tally, tqx.client.url)
    if tqx.is_json:
        tqx.json(facts)
        return
    tasks = f" ({facts['tasks_per_s']:.0f} tasks)" if load.operation == "batch" else ""
    shown: dict[str, Any] = {
        "operation": load.operation,
        "a second": f"{facts['operations_per_s']:.1f}{tasks}",
        "operations": f"{tally.operations} in {tally.elapsed_s:.1f} s, {load.connections} connections",
        "latency, ms": ", ".join(f"{name} {value:.2f}" for name, value in facts["latency_ms"].items()),
        "errors": ", ".join(f"{count} {code}" for code, count in facts["errors"].items()) or "none",
    }
    if load.rate is not None:
        shown["not begun in time"] = tally.missed
    tqx.facts(shown)
    for remark in facts["remarks"]:
        tqx.line(remark)


def _facts(load: Load, tally: Tally, server: str) -> dict[str, Any]:
    elapsed_s = max(tally.elapsed_s, 1e-9)
    per_s = tally.operations / elapsed_s
    window = tally.latency.snapshot()
    # The middle of a bucket may lie a little above all that is in it.
    latency_us = {name: min(window.percentile(share), tally.latency_us_max) for name, share in _QUANTILES}
    latency_us["max"] = tally.latency_us_max
    busy = tally.cpu_s / elapsed_s
    return {
        "server": server,
        "queue": load.queue,
        "operation": load.operation,
        "connections": load.connections,
        "payload_bytes": load.payload_bytes,
        "rate": load.rate,
        "elapsed_s": round(tally.elapsed_s, 3),
        "operations": tally.operations,
        "operations_per_s": round(per_s, 1),
        "tasks_per_s": round(per_s * (load.batch_size if load.operation == "batch" else 1), 1),
        "latency_ms": {name: value / 1_000 for name, value in latency_us.items()},
        "errors": dict(tally.errors.most_common()),
        "missed": tally.missed,
        "client_cpu": round(busy, 2),
        "remarks": _remarks(busy, server),
    }


def _remarks(busy: float, server: str) -> list[str]:
    """What the reader of the figures must know of this program's own part in them."""
    remarks = [f"This client used {busy:.0%} of a core, of the {os.cpu_count()} of its machine."]
    if any(f"//{host}" in server for host in ("127.", "localhost", "[::1]")):
        remarks[0] += " The server shares the machine, and had what was left."
    if busy >= _BUSY:
        remarks.append("That is all one client can do: a server may do more than these figures say.")
    return remarks
