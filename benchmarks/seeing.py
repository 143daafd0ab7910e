"""Looking at the server: what open web pages cost it, and how soon each page is answered."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from measure import Client, Figures, cpu_seconds, median_of, run_load, start_load
from results import Bar, Result, Scale
from servers import LOAD_CORE, Bench, Server, pin

HERE = Path(__file__).resolve().parent
VIEWERS = 10
# What the overview asks for, and what the list of events does.
OVERVIEW = "stats=true&kind=queue,worker,server&rate=20"
EVENTS = "rate=50"
# And what it asks for every so many milliseconds; the ages are three quarters of that.
POLLS = (
    "2000:/v1/queues?active=true&max_age_ms=1500",
    "3000:/v1/workers?max_age_ms=2250",
    "5000:/v1/dead/groups?limit=20&max_age_ms=3750",
)
QUEUES = 1_000
PAIRS = 60
SLICE_S = 1
SETTLE_S = 0.1
TASKS = 10_000_000
BATCH = 10_000


class _Viewers:
    """Ten pages of one kind, open or not."""

    def __init__(self, server: Server, query: str, polls: tuple[str, ...]) -> None:
        command = [sys.executable, str(HERE / "viewers.py"), str(server.port), str(VIEWERS), query, *polls]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, preexec_fn=pin(LOAD_CORE), bufsize=0)
        time.sleep(0.5)

    def look(self, looking: bool) -> None:
        """Opens the pages, or puts them away."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"on\n" if looking else b"off\n")
        time.sleep(SETTLE_S)

    def close(self) -> None:
        """Ends them."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        if self._process.wait(10):
            raise RuntimeError("the viewers failed")


def viewers(bench: Bench, scale: Scale) -> Result:
    """Enqueues while ten web pages are open and while not, and what these cost while nothing happens."""
    result = Result("viewers", f"enqueues without and with {VIEWERS} web pages open")
    pairs = PAIRS if scale.rounds > 1 else PAIRS // 20
    with bench.taskqueuex() as server:
        client = Client(server.port)
        for number in range(QUEUES):
            client.call("PUT", f"/v1/queues/q{number:04}", {})
            if number % 10 == 0:
                client.call("POST", f"/v1/queues/q{number:04}/tasks", {})
        run_load(bench, server, "-s", 1, "enqueue")
        for name, query, polls in (("overviews", OVERVIEW, POLLS), ("lists of events", EVENTS, ())):
            pages = _Viewers(server, query, polls)
            idle = {}
            for looking in (False, True):
                pages.look(looking)
                before, begun = cpu_seconds(server.pids()), time.monotonic()
                time.sleep(4 * scale.seconds)
                idle[looking] = (cpu_seconds(server.pids()) - before) / (time.monotonic() - begun)
            pages.look(False)
            load = start_load(bench, server, "-s", 4 * pairs * (SLICE_S + SETTLE_S), "enqueue")
            time.sleep(1)
            slices = [_pair(server, client, pages, first=bool(turn % 2)) for turn in range(pairs)]
            load.terminate()
            load.wait()
            pages.close()
            result.figures += [_summed(name, slices, True), _summed(f"without {name}", slices, False)]
            ratio = statistics.median(pair[True].ops_per_s / pair[False].ops_per_s for pair in slices)
            result.bars += [
                Bar(f"CPU of {VIEWERS} {name}", 100 * (idle[True] - idle[False]), 2.0, "% of a core"),
                Bar(f"enqueues beside {name}, of those alone", ratio, 0.97, "x", at_least=True),
            ]
        client.close()
    note = f"{QUEUES} queues, a tenth with tasks; medians of {pairs} pairs of seconds beside one load"
    result.notes.append(note)
    return result


def _pair(server: Server, client: Client, pages: _Viewers, *, first: bool) -> dict[bool, Figures]:
    """A slice with the pages open and one without. The pace of a machine changes within a minute by more than
    the bar, and hardly within a second."""
    slices = {}
    for looking in (first, not first):
        pages.look(looking)
        done, used, begun = _done(client), cpu_seconds(server.pids()), time.monotonic()
        time.sleep(SLICE_S)
        operations, took = _done(client) - done, time.monotonic() - begun
        cpu_us = 1e6 * (cpu_seconds(server.pids()) - used) / max(1, operations)
        slices[looking] = Figures("", operations, operations / took, cpu_us, 0.0, 0.0, 0.0, 0.0, 0)
    pages.look(False)
    return slices


def _done(client: Client) -> int:
    enqueued: int = client.call("GET", "/v1/stats")["totals"]["enqueued"]
    return enqueued


def _summed(name: str, slices: list[dict[bool, Figures]], looking: bool) -> Figures:
    figures = median_of([pair[looking] for pair in slices])
    figures.program = name
    return figures


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
