"""Looking at the server: what open web pages cost it, and how soon each page is answered."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from measure import Client, Figures, cpu_seconds, run_load
from results import Bar, Result, Scale
from servers import LOAD_CORE, Bench, Server, pin

HERE = Path(__file__).resolve().parent
VIEWERS = 10
# What the overview asks for, and what the list of events does.
OVERVIEW = "stats=true&kind=queue,worker,server&rate=20"
EVENTS = "rate=50"
# And what it asks for every so many milliseconds; the ages are three quarters of that.
POLLS = (
    "2000:/v1/queues?max_age_ms=1500",
    "3000:/v1/workers",
    "5000:/v1/dead/groups?limit=20&max_age_ms=3750",
)
QUEUES = 1_000
TASKS = 10_000_000
BATCH = 10_000


@contextmanager
def _viewers(server: Server, seconds: float, query: str) -> Iterator[None]:
    command = [sys.executable, str(HERE / "viewers.py"), str(server.port), str(VIEWERS), str(seconds), query]
    command += POLLS if query == OVERVIEW else ()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=pin(LOAD_CORE))
    try:
        time.sleep(0.5)
        yield
    finally:
        process.terminate()
        process.wait()


def viewers(bench: Bench, scale: Scale) -> Result:
    """Enqueues with ten web pages open and without, and what the pages cost while nothing happens."""
    result = Result("viewers", f"enqueues without and with {VIEWERS} web pages open")
    rates: dict[str, list[float]] = {"nobody looks": [], "overviews": [], "lists of events": []}
    load = ("-s", scale.seconds, "enqueue")
    with bench.taskqueuex() as server:
        client = Client(server.port)
        for number in range(QUEUES):
            client.call("PUT", f"/v1/queues/q{number:04}", {})
        run_load(bench, server, "-s", 1, "enqueue")
        idle: dict[str, float] = {}
        for name, query in (("nobody looks", ""), ("overviews", OVERVIEW)):
            with _viewers(server, 60, query or "kind=server"):
                before, begun = cpu_seconds(server.pids()), time.monotonic()
                time.sleep(4 * scale.seconds)
                idle[name] = (cpu_seconds(server.pids()) - before) / (time.monotonic() - begun)
        for _ in range(2 * scale.rounds):
            for name, query in (("nobody looks", ""), ("overviews", OVERVIEW), ("lists of events", EVENTS)):
                if query:
                    with _viewers(server, 60, query):
                        figures = run_load(bench, server, *load)
                else:
                    figures = run_load(bench, server, *load)
                figures.program = name
                rates[name].append(figures.ops_per_s)
                result.figures.append(figures)
        client.close()
    alone = statistics.median(rates["nobody looks"])
    result.bars = [
        Bar(
            f"CPU of {VIEWERS} overviews, {QUEUES} queues",
            100 * (idle["overviews"] - idle["nobody looks"]),
            2.0,
            "% of a core",
        ),
        Bar(
            "enqueues beside overviews, of those alone",
            statistics.median(rates["overviews"]) / alone,
            0.97,
            "x",
            at_least=True,
        ),
        Bar(
            "enqueues beside lists of events, of those alone",
            statistics.median(rates["lists of events"]) / alone,
            0.97,
            "x",
            at_least=True,
        ),
    ]
    return result


def pages(bench: Bench, scale: Scale) -> Result:
    """How long the server takes for what each page asks, with 1,000 queues and ten million tasks."""
    tasks = TASKS if scale.rounds > 1 else TASKS // 50
    result = Result("pages", f"what the web page's pages ask for, {QUEUES} queues and {tasks:,} tasks")
    with bench.taskqueuex() as server:
        client = Client(server.port)
        task = _fill(client, tasks)
        slowest: dict[str, float] = {}
        for name, path in _asked(task):
            times = []
            for _ in range(5):
                begun = time.monotonic()
                client.call("GET", path)
                times.append(1e6 * (time.monotonic() - begun))
            slowest[name] = max(times) / 1e3
            result.figures.append(
                Figures(
                    program=name,
                    operations=len(times),
                    ops_per_s=1e6 / statistics.mean(times),
                    cpu_us_per_op=0.0,
                    p50_us=statistics.median(times),
                    p90_us=0.0,
                    p99_us=0.0,
                    max_us=max(times),
                    errors=0,
                )
            )
        client.close()
    worst = max(slowest, key=lambda name: slowest[name])
    first_page = max(slowest[name] for name in slowest if name.startswith("tasks of a queue"))
    result.bars = [
        Bar(f"the slowest page's call, of five each ({worst})", slowest[worst], 300, "ms"),
        Bar("first page of tasks by queue and state", first_page, 100, "ms"),
    ]
    return result


def _fill(client: Client, tasks: int) -> str:
    """Queues and tasks, a hundred of them dead; returns one of these."""
    for number in range(QUEUES):
        client.call("PUT", f"/v1/queues/q{number:04}", {})
    batch = {"tasks": [{"name": f"job{number % 7}", "payload": {"n": number}} for number in range(BATCH)]}
    for number in range(tasks // BATCH):
        client.call("POST", f"/v1/queues/q{number % QUEUES:04}/tasks/batch", batch)
    leased = client.call("POST", "/v1/queues/q0001/dequeue", {"max": 100})["tasks"]
    failed = [
        {"id": each["id"], "lease": each["lease"], "error": {"type": "E", "message": "m"}, "retryable": False}
        for each in leased
    ]
    client.call("POST", "/v1/settle", {"fail": failed})
    found: str = leased[0]["id"]
    return found


def _asked(task: str) -> list[tuple[str, str]]:
    return [
        ("stats", "/v1/stats"),
        ("queues", "/v1/queues"),
        ("a queue", "/v1/queues/q0001"),
        ("tasks", "/v1/tasks?limit=50"),
        ("tasks of a queue and state", "/v1/tasks?queue=q0001&state=ready&limit=50"),
        ("tasks of a queue that are dead", "/v1/tasks?queue=q0001&state=dead&limit=50"),
        ("tasks that are dead", "/v1/tasks?state=dead&limit=50"),
        ("tasks that run", "/v1/tasks?state=running&limit=50"),
        ("tasks by name", "/v1/tasks?name=job3&limit=50"),
        ("a task", f"/v1/tasks/{task}"),
        ("its history", f"/v1/tasks/{task}/history"),
        ("why it does not run", f"/v1/tasks/{task}/why"),
        ("dead letters by error", "/v1/dead/groups"),
        ("workers", "/v1/workers"),
        ("schedules", "/v1/schedules"),
        ("workflows", "/v1/workflows"),
        ("metrics, an hour", "/v1/metrics/history?range=1h"),
        ("metrics, a month", "/v1/metrics/history?range=30d"),
        ("audit", "/v1/audit?limit=100"),
    ]


SEEING_SCENARIOS: dict[str, Callable[[Bench, Scale], Result]] = {"viewers": viewers, "pages": pages}
