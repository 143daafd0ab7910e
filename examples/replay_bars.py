"""Replay 5,000 hourly EUR/USD bars through a running server, and check that every promise held.

    python examples/replay_bars.py [http://127.0.0.1:7470] [--workers 4]

What it shows, with the standard library alone:

- Bars go in by batches, each with an idempotency key, so a batch may be sent again after a broken connection.
- The bars of one day share a group of a queue with `ordered_groups`: a day's bars are worked off one at a
  time and in order, while separate worker processes take many days side by side.
- For each day a summary task depends on that day's bars. It is handed out when all of them are done, with
  their results (`with_parents`), from which the worker computes the day's open, high, low, close and volume.

The script then checks that each bar came out exactly once, that within each day none was taken before the
one before it was done, that no summary was taken before its last bar was done, and that each summary equals
the one computed from the file. It exits with 1 if anything is wrong.

The bars are read from the installed package `backtesting` (test/EURUSD.csv); nothing of it is imported.
"""

from __future__ import annotations

import argparse
import csv
import http.client
import importlib.util
import json
import multiprocessing
import sys
import time
import urllib.parse
import uuid
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

BATCH = 500  # tasks a request
TAKE = 32  # tasks a worker asks for at once: of as many days, since a day gives one at a time
GIVE_UP_S = 120.0

Bar = dict[str, Any]
"""One hour: time, open, high, low, close, volume."""


@dataclass(frozen=True)
class Handled:
    """One task as a worker saw it; times are the host's monotonic clock, the same in all processes."""

    kind: str  # "bar" or "summary"
    day: str
    time: str  # of the bar; empty for a summary
    worker: str
    attempt: int
    taken_ns: int  # when the reply with the task was read
    settled_ns: int  # when its ack was about to be sent
    result: dict[str, Any]


class Server:
    """The few calls needed, over one keep-alive connection that is opened again when it breaks."""

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        self._address = (parts.hostname or "127.0.0.1", parts.port or 7470)
        self._connection: http.client.HTTPConnection | None = None

    def call(self, method: str, path: str, body: object = None, key: str = "") -> Any:
        """Send a request that is safe to repeat, repeating it while the connection breaks.

        Raises:
            RuntimeError: the answer is not 2xx; the message holds it.
            OSError: the server could not be reached five times in a row.
        """
        headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key else {})
        content = None if body is None else json.dumps(body)
        for tries_left in reversed(range(5)):
            try:
                if self._connection is None:
                    self._connection = http.client.HTTPConnection(*self._address, timeout=60)
                self._connection.request(method, path, content, headers)
                reply = self._connection.getresponse()
                answer = reply.read()
            except (OSError, http.client.HTTPException):
                self._connection = None
                if not tries_left:
                    raise
                time.sleep(0.2)
                continue
            if not 200 <= reply.status < 300:
                raise RuntimeError(f"{method} {path}: {reply.status} {answer.decode()}")
            return json.loads(answer) if answer else None
        raise AssertionError("unreachable")


def read_bars() -> list[Bar]:
    """Return the bars of the file that the package `backtesting` ships, in the file's order.

    Raises:
        SystemExit: the package is not installed.
    """
    package = importlib.util.find_spec("backtesting")  # finds it without importing it
    if package is None or not package.submodule_search_locations:
        raise SystemExit("install the package `backtesting`: its test/EURUSD.csv holds the bars")
    path = Path(package.submodule_search_locations[0]) / "test" / "EURUSD.csv"
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {
                "time": row[""],
                "open": float(row["Open"]),
                "high": float(row["High"]),
                "low": float(row["Low"]),
                "close": float(row["Close"]),
                "volume": int(row["Volume"]),
            }
            for row in csv.DictReader(file)
        ]


def day_of(bar: Bar) -> str:
    """Return the date of a bar."""
    return str(bar["time"]).partition(" ")[0]


def summarise(bars: list[Bar]) -> dict[str, Any]:
    """Return a day's open, high, low, close, volume and number of bars."""
    bars = sorted(bars, key=lambda bar: str(bar["time"]))
    return {
        "open": bars[0]["open"],
        "high": max(bar["high"] for bar in bars),
        "low": min(bar["low"] for bar in bars),
        "close": bars[-1]["close"],
        "volume": sum(bar["volume"] for bar in bars),
        "bars": len(bars),
    }


# ---- the producer ------------------------------------------------------------------------------


def produce(server: Server, run: str, bars: list[Bar]) -> dict[str, str]:
    """Put in all bars, then a summary for each day that depends on its bars; return summary ids by day."""
    server.call("PUT", f"/v1/queues/{run}-bars", {"discipline": "fifo", "ordered_groups": True})
    server.call("PUT", f"/v1/queues/{run}-summaries", {"with_parents": True})
    bar_ids: dict[str, list[str]] = defaultdict(list)
    for number, batch in enumerate(batches(bars)):
        tasks = [{"name": "bar", "payload": bar, "group": day_of(bar)} for bar in batch]
        path = f"/v1/queues/{run}-bars/tasks/batch"
        ids = server.call("POST", path, {"tasks": tasks}, key=f"{run}-bars-{number}")["ids"]
        for bar, task_id in zip(batch, ids, strict=True):
            bar_ids[day_of(bar)].append(task_id)
    summary_ids: dict[str, str] = {}
    for number, days in enumerate(batches(list(bar_ids))):
        tasks = [{"name": "summary", "payload": {"day": day}, "depends_on": bar_ids[day]} for day in days]
        path = f"/v1/queues/{run}-summaries/tasks/batch"
        ids = server.call("POST", path, {"tasks": tasks}, key=f"{run}-summaries-{number}")["ids"]
        summary_ids |= dict(zip(days, ids, strict=True))
    return summary_ids


def batches(items: list[Any]) -> Iterator[list[Any]]:
    """Cut a list into pieces of `BATCH`."""
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


# ---- the workers -------------------------------------------------------------------------------


def work(url: str, run: str, worker: str, finished: Event, handled: SimpleQueue[Handled | str]) -> None:
    """Take and ack tasks until told that all is done: the body of one worker process."""
    server = Server(url)
    # Summaries first: what is complete is brought to an end before new work is begun.
    order = {"queues": [f"{run}-summaries", f"{run}-bars"], "max": TAKE, "wait_ms": 500, "worker": worker}
    try:
        while not finished.is_set():
            tasks = server.call("POST", "/v1/dequeue", order)["tasks"]
            taken_ns = time.monotonic_ns()
            if not tasks:
                continue
            results = [compute(task) for task in tasks]
            acks = [
                {"id": task["id"], "lease": task["lease"], "result": result}
                for task, result in zip(tasks, results, strict=True)
            ]
            settled_ns = time.monotonic_ns()
            answers = server.call("POST", "/v1/settle", {"ack": acks})["ack"]
            for task, result, answer in zip(tasks, results, answers, strict=True):
                if answer.get("state") != "completed":
                    handled.put(f"an ack was refused: {answer}")
                else:
                    handled.put(describe(task, result, worker, taken_ns, settled_ns))
    except (RuntimeError, OSError, KeyError) as error:
        handled.put(f"{worker} failed: {error!r}")


def compute(task: dict[str, Any]) -> dict[str, Any]:
    """Return the result of a task: a bar itself with its range, or the summary of the parents' results."""
    if task["name"] == "bar":
        bar: Bar = task["payload"]
        return bar | {"range": bar["high"] - bar["low"]}
    return summarise(list(task["parents"].values()))


def describe(
    task: dict[str, Any], result: dict[str, Any], worker: str, taken_ns: int, settled_ns: int
) -> Handled:
    """Return what there is to check about a task that was done."""
    payload = task["payload"]
    is_bar = task["name"] == "bar"
    day, moment = (day_of(payload), payload["time"]) if is_bar else (payload["day"], "")
    return Handled(task["name"], day, moment, worker, task["attempt"], taken_ns, settled_ns, result)


# ---- the check ---------------------------------------------------------------------------------


def check(bars: list[Bar], handled: list[Handled]) -> list[str]:
    """Return what is wrong with what came out; empty when all is well."""
    faults: list[str] = []
    days: dict[str, list[Bar]] = defaultdict(list)
    for bar in bars:
        days[day_of(bar)].append(bar)
    done_bars: dict[str, list[Handled]] = defaultdict(list)
    done_summaries: dict[str, list[Handled]] = defaultdict(list)
    for one in handled:
        (done_bars if one.kind == "bar" else done_summaries)[one.day].append(one)
    for day, wanted in days.items():
        done = sorted(done_bars[day], key=lambda one: one.taken_ns)
        if [one.time for one in done] != [bar["time"] for bar in wanted]:
            faults.append(f"{day}: bars came out as {[one.time for one in done]}")
        for before, after in pairwise(done):
            if after.taken_ns < before.settled_ns:
                faults.append(f"{day}: {after.time} was taken before {before.time} was done")
        summaries = done_summaries[day]
        if len(summaries) != 1:
            faults.append(f"{day}: {len(summaries)} summaries")
            continue
        if summaries[0].taken_ns < max((one.settled_ns for one in done), default=0):
            faults.append(f"{day}: the summary was taken before its last bar was done")
        if summaries[0].result != summarise(wanted):
            faults.append(f"{day}: summary {summaries[0].result}, expected {summarise(wanted)}")
    if len(handled) != len(bars) + len(days):
        faults.append(f"{len(handled)} tasks came out, expected {len(bars) + len(days)}")
    return faults


def check_stored(server: Server, bars: list[Bar], summary_ids: dict[str, str]) -> list[str]:
    """Return the days whose summary, as the server keeps it, is not the one computed from the file."""
    days: dict[str, list[Bar]] = defaultdict(list)
    for bar in bars:
        days[day_of(bar)].append(bar)
    faults = []
    for day, task_id in summary_ids.items():
        task = server.call("GET", f"/v1/tasks/{task_id}")
        if task["state"] != "completed" or task["result"] != summarise(days[day]):
            faults.append(f"{day}: the server keeps {task['state']} {task['result']}")
    return faults


# ---- the run -----------------------------------------------------------------------------------


def collect(handled: SimpleQueue[Handled | str], expected: int) -> tuple[list[Handled], list[str]]:
    """Gather what the workers did until all is done; return it, and what they complained about."""
    done: list[Handled] = []
    complaints: list[str] = []
    started = shown = time.monotonic()
    while len(done) < expected and not complaints and time.monotonic() - started < GIVE_UP_S:
        if handled.empty():
            time.sleep(0.002)
        else:
            one = handled.get()
            if isinstance(one, str):
                complaints.append(one)
            else:
                done.append(one)
        if time.monotonic() - shown > 0.5:
            shown = time.monotonic()
            print(f"  {len(done):>5} of {expected} done", flush=True)
    if len(done) < expected and not complaints:
        complaints.append(f"{expected - len(done)} tasks had not come out after {GIVE_UP_S:.0f} s")
    return done, complaints


def replay(url: str, workers: int) -> int:
    """Run it all against the server at ``url``; returns the exit code."""
    bars = read_bars()
    server = Server(url)
    run = f"replay-{uuid.uuid4().hex[:8]}"
    context = multiprocessing.get_context("spawn")
    finished, handled = context.Event(), context.SimpleQueue()
    processes = [
        context.Process(target=work, args=(url, run, f"worker-{number}", finished, handled), daemon=True)
        for number in range(workers)
    ]
    for process in processes:
        process.start()
    try:
        started = time.monotonic()
        summary_ids = produce(server, run, bars)
        print(f"{len(bars)} bars of {len(summary_ids)} days put in after {time.monotonic() - started:.2f} s")
        done, faults = collect(handled, len(bars) + len(summary_ids))
        seconds = time.monotonic() - started
    finally:
        finished.set()
        for process in processes:
            process.join(10)
    if not handled.empty():
        faults.append("a task came out after all were done")
    faults += check(bars, done) + check_stored(server, bars, summary_ids)
    for queue in (f"{run}-bars", f"{run}-summaries"):
        server.call("DELETE", f"/v1/queues/{queue}")
    return tell(faults, bars, done, seconds)


def tell(faults: list[str], bars: list[Bar], done: list[Handled], seconds: float) -> int:
    """Print the outcome; returns the exit code."""
    for fault in faults[:20]:
        print(f"WRONG: {fault}")
    if faults:
        print(f"{len(faults)} faults")
        return 1
    by_worker: dict[str, int] = defaultdict(int)
    for one in done:
        by_worker[one.worker] += 1
    whole = summarise(bars)
    print(
        f"{len(bars)} bars, each out once, in order within its day; {len(done) - len(bars)} summaries right"
    )
    print(f"open {whole['open']} high {whole['high']} low {whole['low']} close {whole['close']}")
    shares = ", ".join(f"{worker} {tasks}" for worker, tasks in sorted(by_worker.items()))
    print(f"{len(done)} tasks in {seconds:.2f} s by {len(by_worker)} processes: {shares}")
    return 0


def main() -> int:
    """Parse the command line and run; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:7470")
    parser.add_argument("--workers", type=int, default=4, help="worker processes (4)")
    arguments = parser.parse_args()
    return replay(arguments.url, arguments.workers)


if __name__ == "__main__":
    sys.exit(main())
