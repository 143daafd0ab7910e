"""A trading desk at work, for pictures of the web page: `python -m tests.dashboard.scene build/scene`.

Three workers, orders that come in waves, statements of four clients, mail of which a part is refused, a
paused queue, workflows and schedules. After a time that fills the charts, each page is taken in light and
dark.
"""

import math
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

sys.path.append(str(Path(__file__).resolve().parent))

from browsing import FLAGS, HERE, ROOT, Server, Visit, tqx

SECONDS = 200
CLIENTS = {"acme": 3, "birch": 1, "cedar": 1, "delta": 2}
SYMBOLS = ["ADS", "BAS", "SAP", "SIE", "VOW3", "EURUSD"]
WORKERS = {
    "desk-1": ("orders,quotes", 16),
    "desk-2": ("orders,quotes", 16),
    "office-1": ("mail,statements,risk,settlement", 6),
}
PICTURES = {
    "overview": "overview",
    "queues": "queues",
    "queue": "queues/statements",
    "dead": "dead",
    "tasks": "tasks?q=queue%3Amail%20state%3Aretrying",
    "task": "tasks/{dead}",
    "blocked": "tasks/{blocked}",
    "workflows": "workflows",
    "workflow": "workflows/{workflow}",
    "schedules": "schedules",
    "workers": "workers",
    "events": "events",
    "metrics": "metrics",
    "access": "access",
}


class Scene:
    """Calls of producers, until it is told to stop."""

    def __init__(self, server: Server) -> None:
        self.call = server.call
        self.order = 0
        self.names: dict[str, str] = {}

    def prepare(self) -> None:
        call = self.call
        call("PUT", "/v1/queues/orders", {"discipline": "priority"})
        call("PUT", "/v1/queues/risk", {"max_running": 3, "max_tasks": 50_000})
        call("PUT", "/v1/queues/statements", {"discipline": "round_robin", "max_running_per_group": 2})
        call("PUT", "/v1/queues/mail", {"rate_limit": {"per_second": 25}})
        books = [{"name": "reconcile.book", "payload": {"book": f"B{n}"}, "tags": ["eod"]} for n in range(37)]
        call("POST", "/v1/queues/reconcile/tasks/batch", {"tasks": books})
        call("POST", "/v1/queues/reconcile/pause")
        statement: dict[str, Any] = {"queue": "statements", "task": {"name": "statements.render"}}
        at_night = {"cron": "30 2 1 * *", "timezone": "Europe/Berlin"}
        call("PUT", "/v1/schedules/statements-monthly", statement | at_night)
        revalue = {"name": "risk.revalue", "payload": {"book": "all"}}
        call("PUT", "/v1/schedules/revalue-books", {"queue": "risk", "task": revalue, "every_ms": 20_000})
        for name, scopes in {
            "desk": ("produce:orders", "read:orders", "payload:orders"),
            "on-call": ("read", "operate"),
        }.items():
            call("POST", "/v1/tokens", {"name": name, "scopes": scopes})

    def second(self, at: int) -> None:
        """What comes in within a second."""
        wave = 1 + 0.6 * math.sin(at / 17) + random.uniform(-0.15, 0.15)
        orders = []
        for _ in range(int(220 * wave)):
            self.order += 1
            payload = {
                "order": self.order,
                "symbol": random.choice(SYMBOLS),
                "qty": random.randrange(1, 90) * 10,
            }
            orders.append(
                {"name": "orders.route", "payload": payload, "priority": random.choice([0, 0, 0, 5, 9])}
            )
        self.put("orders", orders)
        quotes = [{"symbol": symbol, "price": round(random.uniform(20, 180), 2)} for symbol in SYMBOLS * 12]
        self.put("quotes", [{"name": "quotes.mark", "payload": each} for each in quotes])
        if at % 2 == 0:
            self.put(
                "risk", [{"name": "risk.revalue", "payload": {"book": f"B{at % 40}"}} for _ in range(18)]
            )
            statements = [
                {
                    "name": "statements.render",
                    "payload": {"client": client, "month": "2026-10"},
                    "group": client,
                    "group_weight": weight,
                }
                for client, weight in CLIENTS.items()
                for _ in range(9 if client == "acme" else random.randrange(4))
            ]
            self.put("statements", statements)
            mails = [self.mail(n) for n in range(int(14 * wave))]
            self.put("mail", mails)
        if at % 40 == 3:
            self.settle()

    def mail(self, number: int) -> dict[str, Any]:
        to = f"client{random.randrange(400)}@example.{'net' if number == 0 else 'org'}"
        return {
            "name": "mail.send",
            "payload": {"to": to, "subject": "Your confirmation"},
            "max_attempts": 3,
            "backoff": {"base_ms": 500, "max_ms": 4_000},
        }

    def put(self, queue: str, tasks: list[dict[str, Any]]) -> None:
        self.call("POST", f"/v1/queues/{queue}/tasks/batch", {"tasks": tasks})

    def settle(self) -> None:
        """A workflow of nine tasks, whose end is waited for by nobody."""
        venues = ["xetr", "xlon", "xnas"]

        def task(ref: str, seconds: float, *parents: str) -> dict[str, Any]:
            payload = {"what": ref, "seconds": seconds}
            return {
                "ref": ref,
                "queue": "settlement",
                "name": "settlement.step",
                "payload": payload,
                "depends_on": parents,
            }

        tasks = [task("trades", 2.0)]
        tasks += [task(f"match-{venue}", random.uniform(2, 5), "trades") for venue in venues]
        tasks += [task(f"net-{venue}", 9.0, f"match-{venue}") for venue in venues]
        tasks += [
            task("positions", 4.0, *(f"net-{venue}" for venue in venues)),
            task("report", 3.0, "positions"),
        ]
        made = self.call("POST", "/v1/workflows", {"name": "settlement", "tasks": tasks})
        self.names |= {"workflow": made["id"], "blocked": made["ids"]["positions"]}


@contextmanager
def playing(directory: Path) -> Iterator[tuple[Server, Scene]]:
    with ExitStack() as stack:
        server = Server(directory / "data")
        stack.callback(server.stop)
        scene = Scene(server)
        root = server.make_token("ada", "admin")
        server.token = root
        scene.prepare()
        desk = directory / "desk"  # so that tracebacks are of a desk's own program
        desk.mkdir()
        shutil.copy(HERE / "desk.py", desk)
        for name, (queues, concurrency) in WORKERS.items():
            environment = {"TQX_SERVER": server.url, "TQX_TOKEN": root}
            arguments = ("--name", name, "--queues", queues, "--concurrency", concurrency)
            worker = tqx("worker", "desk:app", *arguments, directory=desk, **environment)
            stack.callback(worker.stop)
        over = threading.Event()

        def play() -> None:
            second = 0
            while not over.wait(1):
                second += 1
                scene.second(second)

        player = threading.Thread(target=play)
        player.start()
        stack.callback(player.join)
        stack.callback(over.set)
        yield server, scene


def main(into: Path, seconds: float) -> None:
    into.mkdir(parents=True, exist_ok=True)
    axe = ROOT / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"
    with (
        tempfile.TemporaryDirectory() as directory,
        playing(Path(directory)) as (server, scene),
        sync_playwright() as driver,
    ):
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        visits = {theme: Visit(browser, server, axe, theme=theme) for theme in ("light", "dark")}
        for each in visits.values():
            each.enter(server.token)
            each.open("overview")
        time.sleep(seconds)
        dead = server.call("GET", "/v1/tasks?state=dead&limit=1")["tasks"]
        names = scene.names | {"dead": dead[0]["id"]}
        for name, path in PICTURES.items():
            for theme, seen in visits.items():
                page = seen.open(path.format(**names))
                page.wait_for_timeout(2_500)
                page.screenshot(path=into / f"{name}-{theme}.png")
                print(name, theme, seen.errors, flush=True)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else SECONDS)
