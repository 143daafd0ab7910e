"""The SDK and the worker beside the libraries that users come from, each with its own fast settings.

Every program of `peers/` has the same tasks and commands. Peers are installed into a virtual environment
of their own (install_peers.sh); what they keep is in Redis without persistence, or in PostgreSQL with its
default durability, as their users run them. Ours is durable: an fsync before every answer.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from measure import Figures, cpu_seconds, fdatasync_us, median_of, resident_bytes
from results import Bar, Result, Scale
from servers import LOAD_CORE, Bench, NotInstalled, Server, children_of, pin

HERE = Path(__file__).parent / "peers"
PEERS_PYTHON = Path(__file__).parent / ".peers" / "bin" / "python"
WITHIN_S = 120.0
WARM_UP = 50  # stamped tasks that are not counted, as peers/measured.py has it


class Peer(msgspec.Struct):
    """One library: where its programs run, and how its worker is started."""

    name: str
    program: str
    python: str
    environment: dict[str, str]
    worker: list[str]
    server: Server

    def run(self, *arguments: object) -> dict[str, float]:
        """Runs its producer; returns what it measured."""
        done = subprocess.run(
            [self.python, self.program, *(str(each) for each in arguments)],
            cwd=HERE, env={**os.environ, **self.environment}, capture_output=True, text=True,
            timeout=WITHIN_S, preexec_fn=pin(LOAD_CORE), check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{self.name}: {done.stderr[-2000:]}")
        measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return measured

    @contextlib.contextmanager
    def working(self, count: int) -> Iterator[Working]:
        """One worker process; it measures `count` tasks."""
        result = self.server.data / f"result-{time.monotonic_ns()}"
        environment = {**os.environ, **self.environment, "COUNT": str(count), "RESULT": str(result)}
        with open(self.server.data / f"{self.name}.log", "ab") as log:
            process = subprocess.Popen(
                self.worker, cwd=HERE, env=environment, stdout=log, stderr=log, preexec_fn=pin(LOAD_CORE)
            )
        try:
            yield Working(process, result)
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Working:
    """A worker that runs."""

    def __init__(self, process: subprocess.Popen[bytes], result: Path) -> None:
        self._process = process
        self._result = result

    def pids(self) -> list[int]:
        return [self._process.pid, *children_of(self._process.pid)]

    def cpu_seconds(self) -> float:
        return cpu_seconds(self.pids())

    def resident(self) -> int:
        return sum(resident_bytes(pid) for pid in self.pids())

    def result(self) -> dict[str, float]:
        """Waits for what it measures."""
        deadline = time.monotonic() + WITHIN_S
        while not self._result.exists():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError("the worker did not run all tasks")
            time.sleep(0.01)
        measured: dict[str, float] = json.loads(self._result.read_text())
        return measured


def _peers(bench: Bench, stack: contextlib.ExitStack, result: Result) -> list[Peer]:
    """All libraries with their servers running; those that are not installed are named in the notes."""
    found = [_ours(stack.enter_context(bench.taskqueuex()))]
    if not PEERS_PYTHON.exists():
        result.notes.append("benchmarks/.peers is not there (install_peers.sh makes it): peers left out")
        return found
    try:
        redis = stack.enter_context(bench.redis_volatile())
    except NotInstalled as missing:
        result.notes.append(f"{missing} is not installed: celery, huey and dramatiq left out")
    else:
        found += [
            _over_redis(name, redis, number) for number, name in enumerate(("celery", "huey", "dramatiq"))
        ]
    try:
        postgres = stack.enter_context(bench.postgres())
    except NotInstalled as missing:
        result.notes.append(f"{missing} is not installed: pgqueuer left out")
    else:
        found.append(_over_postgres(postgres))
    return found


def _ours(server: Server) -> Peer:
    environment = {"TQX_SERVER": f"http://127.0.0.1:{server.port}"}
    worker = [sys.executable, "-m", "taskqueuex.cli", "worker", "ours", "--log-level", "warning"]
    worker += ["--queues", "bench,bench-relaxed"]
    return Peer("taskqueuex", "ours.py", sys.executable, environment, worker, server)


def _over_redis(name: str, server: Server, database: int) -> Peer:
    tools = PEERS_PYTHON.parent
    workers = {
        "celery": ["celery", "-A", "with_celery", "worker", "-P", "solo", "-l", "WARNING", "--without-gossip",
                   "--without-mingle", "--without-heartbeat"],
        "huey": ["huey_consumer", "with_huey.huey", "-w", "4", "-k", "thread", "-q", "-d", "0.001", "-n"],
        "dramatiq": ["dramatiq", "with_dramatiq", "-p", "1", "-t", "8"],
    }  # fmt: skip
    command = [str(tools / workers[name][0]), *workers[name][1:]]
    environment = {"REDIS_URL": f"redis://127.0.0.1:{server.port}/{database}", "PYTHONPATH": str(HERE)}
    return Peer(name, f"with_{name}.py", str(PEERS_PYTHON), environment, command, server)


def _over_postgres(server: Server) -> Peer:
    environment = {"POSTGRES_URL": f"postgresql://postgres@127.0.0.1:{server.port}/postgres"}
    worker = [str(PEERS_PYTHON), "with_pgqueuer.py", "worker"]
    peer = Peer("pgqueuer", "with_pgqueuer.py", str(PEERS_PYTHON), environment, worker, server)
    subprocess.run(
        [peer.python, peer.program, "install"], cwd=HERE, env={**os.environ, **environment}, check=True
    )
    return peer


def _figures(name: str, measured: dict[str, float]) -> Figures:
    operations = int(measured["operations"])
    seconds = measured.get("seconds", 0.0)
    return Figures(
        program=name,
        operations=operations,
        ops_per_s=operations / seconds if seconds else 0.0,
        cpu_us_per_op=measured.get("cpu_s", 0.0) / operations * 1e6,
        p50_us=measured.get("p50_us", 0.0),
        p90_us=0.0,
        p99_us=measured.get("p99_us", 0.0),
        max_us=0.0,
        errors=0,
    )


def _by_turns(
    bench: Bench, scale: Scale, result: Result, measure: Callable[[Peer, int], list[Figures]]
) -> dict[str, Figures]:
    """Each library in turn, round by round; the medians by program."""
    rounds: dict[str, list[Figures]] = {}
    with contextlib.ExitStack() as stack:
        peers = _peers(bench, stack, result)
        for number in range(scale.rounds):
            for peer in peers:
                for figures in measure(peer, number):
                    rounds.setdefault(figures.program, []).append(figures)
    medians = {name: median_of(figures) for name, figures in rounds.items()}
    result.figures.extend(medians.values())
    return medians


def _share(scale: Scale, count: int) -> int:
    return max(600, int(count * min(1.0, scale.seconds / 3)))


def sdk_enqueue(bench: Bench, scale: Scale) -> Result:
    """`enqueue()` after `enqueue()` in one process."""
    result = Result("sdk-enqueue", "one by one from one process; CPU is the producer's")
    counts = {"celery": 2_000, "pgqueuer": 2_000}
    syncs = fdatasync_us(bench.directory, 500)
    result.notes.append(
        f"one fdatasync takes {syncs[len(syncs) // 2]:.0f} us (median); ours waits for one each"
    )

    def measure(peer: Peer, _: int) -> list[Figures]:
        count = _share(scale, counts.get(peer.name, 6_000))
        found = [_figures(peer.name, peer.run("one", count))]
        if peer.name == "taskqueuex":
            found.append(_figures("taskqueuex relaxed", peer.run("one-relaxed", count)))
        return found

    medians = _by_turns(bench, scale, result, measure)
    if "celery" in medians:
        ratio = medians["taskqueuex"].ops_per_s / medians["celery"].ops_per_s
        result.bars.append(Bar("enqueue(), durable / Celery's", ratio, 5.0, "x", at_least=True))
    return result


def sdk_bulk(bench: Bench, scale: Scale) -> Result:
    """Many at once, as each library has it."""
    result = Result("sdk-bulk", "many tasks from one process; CPU is the producer's")
    counts = {"taskqueuex": 100_000, "pgqueuer": 30_000, "celery": 3_000, "huey": 10_000, "dramatiq": 10_000}

    def measure(peer: Peer, _: int) -> list[Figures]:
        count = _share(scale, counts[peer.name])
        found = [_figures(peer.name, peer.run("many", count))]
        if peer.name == "taskqueuex":
            found.append(_figures("taskqueuex buffered", peer.run("buffered", count)))
        return found

    medians = _by_turns(bench, scale, result, measure)
    bar = 100_000.0
    if "pgqueuer" in medians:
        bar = min(bar, 6 * medians["pgqueuer"].ops_per_s)
    for name, what in (("taskqueuex", "enqueue_many"), ("taskqueuex buffered", "buffered producer")):
        result.bars.append(Bar(what, medians[name].ops_per_s, bar, "/s", at_least=True))
    return result


def worker(bench: Bench, scale: Scale) -> Result:
    """Tasks that do nothing, through one worker process."""
    result = Result("worker", "tasks that do nothing, one worker process; CPU is the worker's")
    counts = {"taskqueuex": 40_000, "celery": 3_000}

    def measure(peer: Peer, _: int) -> list[Figures]:
        count = _share(scale, counts.get(peer.name, 15_000))
        peer.run("many", count)
        with peer.working(count) as working:
            return [_figures(peer.name, working.result())]

    medians = _by_turns(bench, scale, result, measure)
    ours = medians.pop("taskqueuex")
    result.bars.append(Bar("worker, CPU a task", ours.cpu_us_per_op, 60, "us"))
    if "celery" in medians:
        ratio = ours.ops_per_s / medians["celery"].ops_per_s
        result.bars.append(Bar("tasks through a worker / Celery", ratio, 10, "x", at_least=True))
    if medians:
        fastest = max(medians.values(), key=lambda figures: figures.ops_per_s)
        ratio = ours.ops_per_s / fastest.ops_per_s
        what = f"tasks through a worker / the fastest peer ({fastest.program})"
        result.bars.append(Bar(what, ratio, 1.5, "x", at_least=True))
    return result


def worker_latency(bench: Bench, scale: Scale) -> Result:
    """From `enqueue()` to the first line of the task, at 100 a second."""
    result = Result("worker-latency", "from enqueue() to the start of the task, 100 a second")
    count = int(scale.seconds * 200)

    def started(peer: Peer, name: str, command: str) -> Figures:
        with peer.working(count + WARM_UP) as working:
            peer.run(command, WARM_UP, 25)  # the worker starts meanwhile
            peer.run(command, count, 100)
            return _figures(name, working.result())

    def measure(peer: Peer, _: int) -> list[Figures]:
        found = [started(peer, peer.name, "paced")]
        if peer.name == "taskqueuex":
            found.append(started(peer, "taskqueuex relaxed", "paced-relaxed"))
        return found

    ours = _by_turns(bench, scale, result, measure)["taskqueuex"]
    result.bars += [
        Bar("enqueue to start, durable, median", ours.p50_us / 1000, 1.2, "ms"),
        Bar("enqueue to start, durable, p99", ours.p99_us / 1000, 5.0, "ms"),
    ]
    return result


def worker_idle(bench: Bench, scale: Scale) -> Result:
    """A worker that has nothing to do: all its processes."""
    result = Result("worker-idle", "a worker of ours without tasks, its heartbeat process included")
    with bench.taskqueuex() as server:
        peer = _ours(server)
        peer.run("one", 600)
        with peer.working(600) as working:
            working.result()
            time.sleep(1.0)
            begun = working.cpu_seconds()
            time.sleep(scale.seconds * 2)
            share = 100 * (working.cpu_seconds() - begun) / (scale.seconds * 2)
            sizes = [resident_bytes(pid) / 1e6 for pid in working.pids()]
            shared = sum(_proportional_mb(pid) for pid in working.pids())
    sizes_text = " + ".join(f"{size:.0f}" for size in sizes)
    result.notes.append(f"resident {sizes_text} MB; {shared:.0f} MB with shared pages counted once")
    result.bars += [
        Bar("idle worker, CPU", share, 1.0, "%"),
        Bar("idle worker, memory of its own", shared, 60, "MB"),
    ]
    return result


def _proportional_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1_000
    return 0.0


SDK_SCENARIOS: dict[str, Callable[[Bench, Scale], Result]] = {
    "sdk-enqueue": sdk_enqueue,
    "sdk-bulk": sdk_bulk,
    "worker": worker,
    "worker-latency": worker_latency,
    "worker-idle": worker_idle,
}
