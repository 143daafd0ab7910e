"""The page as it is built, a browser, and a server that has a bit of everything in it."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

sys.path.append(str(Path(__file__).resolve().parent))

from browsing import FLAGS, ROOT, Program, Server, Visit


@pytest.fixture(scope="session")
def built() -> Path:
    """The directory of the built page, newer than its sources."""
    subprocess.run(["make", "--no-print-directory", "dashboard"], cwd=ROOT, check=True, timeout=500)
    return ROOT / "src" / "taskqueuex" / "dashboard" / "static"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    subprocess.run(["sh", "scripts/install_browser.sh"], cwd=ROOT, check=True, timeout=500)
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def shots() -> Path:
    """Where screenshots of all pages go: they are looked at, and kept as an artefact of the run."""
    directory = ROOT / "build" / "screenshots"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@dataclass(frozen=True)
class Shop:
    """A server with tokens and a worker. `dead`, `blocked`: ids of tasks; `prices`: what the worker lacks."""

    server: Server
    prices: Path
    tokens: dict[str, str]
    dead: str
    blocked: str
    workflow: str


@pytest.fixture(scope="session")
def shop(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Nothing of it is changed by a test."""
    yield from open_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def own_shop(built: Path, tmp_path: Path) -> Iterator[Shop]:
    """One for a test that changes it."""
    yield from open_shop(tmp_path)


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
    worker = Program("worker", "shop:app", "--name", "till", "--concurrency", 4, **environment)
    try:
        yield fill(server, prices)
    finally:
        worker.stop()
        server.stop()


def fill(server: Server, prices: Path) -> Shop:
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
    return Shop(server, prices, tokens, ids[0], workflow["ids"]["sum"], workflow["id"])


@pytest.fixture
def visit(browser: Browser, built: Path) -> Iterator[Callable[..., Visit]]:
    """Opens pages, which are closed with the test. Whatever is asked of elsewhere is a failure."""
    opened: list[Visit] = []

    def open_one(server: Server, **settings: Any) -> Visit:
        axe = ROOT / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"
        opened.append(Visit(browser, server, axe, **settings))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()
        assert each.elsewhere == []
