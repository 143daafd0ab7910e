"""A shop that is open: a server that has a bit of everything, a worker, tokens; and the pages to look at."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from browsing import Server, tqx
from tests.shared.programs import Program

PATHS = {
    "overview": "overview",
    "queues": "queues",
    "queue": "queues/orders",
    "groups": "queues/letters",
    "dead": "dead",
    "tasks": "tasks?q=queue%3Abilling",
    "task": "tasks/{shop.dead}",
    "blocked": "tasks/{shop.blocked}",
    "workers": "workers",
    "schedules": "schedules",
    "workflows": "workflows",
    "workflow": "workflows/{shop.workflow}",
    "events": "events",
    "metrics": "metrics",
    "access": "access",
}


@dataclass(frozen=True)
class Shop:
    """A server with tokens and a worker. `dead`, `blocked`: ids of tasks; `prices`: what the worker lacks."""

    server: Server
    worker: Program
    prices: Path
    tokens: dict[str, str]
    dead: str
    blocked: str
    workflow: str


def open_shop(directory: Path) -> Iterator[Shop]:
    data, prices = directory / "data", directory / "prices"
    command = [sys.executable, "-m", "taskqueuex.cli", "token", "create", "root", "--scope", "admin"]
    made = subprocess.run([*command, "--data", data], check=True, capture_output=True, text=True, timeout=60)
    server = Server(data, made.stdout.split()[-1])
    environment = {
        "TQX_SERVER": server.url,
        "TQX_TOKEN": server.make_token("worker", "consume", "produce", "operate", "read"),
        "SHOP_PRICES": str(prices),
    }
    worker = tqx("worker", "till:app", "--name", "till", "--concurrency", 4, **environment)
    try:
        yield fill(server, worker, prices)
    finally:
        worker.stop()
        server.stop()


def fill(server: Server, worker: Program, prices: Path) -> Shop:
    """Orders that fail, a paused queue with work, a queue that nobody serves, a workflow, a schedule."""
    call = server.call
    orders = [{"name": "shop.settle", "payload": {"order": n}, "max_attempts": 2} for n in range(1, 6)]
    ids = call("POST", "/v1/queues/orders/tasks/batch", {"tasks": orders})["ids"]
    call("PUT", "/v1/queues/billing", {"discipline": "priority", "max_tasks": 10})
    bills: list[dict[str, Any]] = [{"name": "bill", "payload": {"n": n}, "tags": ["eu"]} for n in range(4)]
    call("POST", "/v1/queues/billing/tasks/batch", {"tasks": bills})
    call("POST", "/v1/queues/billing/pause")
    call("PUT", "/v1/queues/letters", {"discipline": "round_robin"})
    for group, weight, count in (("acme", 3, 4), ("birch", 1, 2)):
        letters = [{"name": "letter", "group": group, "group_weight": weight} for _ in range(count)]
        call("POST", "/v1/queues/letters/tasks/batch", {"tasks": letters})
    tasks = [
        {"ref": "load", "queue": "etl", "name": "etl.load", "payload": {"id": 12345678901234567890}},
        {"ref": "sum", "queue": "etl", "name": "etl.sum", "depends_on": ["load"]},
        {"ref": "report", "queue": "etl", "name": "etl.report", "depends_on": ["sum"]},
    ]
    workflow = call("POST", "/v1/workflows", {"name": "nightly", "tasks": tasks})
    definition = {"queue": "reports", "task": {"name": "report"}, "cron": "30 2 * * *"}
    call("PUT", "/v1/schedules/nightly", definition)
    for each in ids:
        assert call("GET", f"/v1/tasks/{each}?wait_ms=60000")["state"] == "dead"
    scopes = {
        "viewer": ("read",),
        "operator": ("read", "operate", "payload"),
        "narrow": ("read:orders*", "operate:orders*"),
    }
    tokens = {name: server.make_token(name, *held) for name, held in scopes.items()}
    return Shop(server, worker, prices, tokens, ids[0], workflow["ids"]["sum"], workflow["id"])
