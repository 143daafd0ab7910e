"""One torture run: clients at work, kills at random moments, the drain, the verdict."""

from __future__ import annotations

import asyncio
import contextlib
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
from tests.torture.checker import KINDS, Violation, check, events_of
from tests.torture.clients import DEEP, QUEUES, UNTOUCHED, Consumer, Producer, queue_settings
from tests.torture.drain import drain
from tests.torture.history import History, Outcome
from tests.torture.server import ServerFailed, TorturedServer

LIFE_S_MIN, LIFE_S_MAX = 0.020, 0.700
"""The server lives for a random time between these after it became ready."""

_SHOWN_OF_A_KIND = 2  # violations whose history is printed


class Plan(msgspec.Struct, frozen=True):
    """What to do."""

    kills: int
    seed: int
    seconds: float = float("inf")
    """Stop killing after so long, whatever the number."""
    producers: int = 4
    consumers: int = 5
    fill: int = 9_000
    """Tasks put into each deep queue before the first kill."""
    check_storage_every: int = 0
    """Kills between two offline checks of the storage; 0: none."""


class Verdict(msgspec.Struct):
    """What a run found."""

    history: History
    violations: list[Violation]
    seconds: float
    restart_s: list[float]
    failure: str = ""
    """Why the run ended before its time; empty when it did not."""

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.violations and not self.failure


async def torture(plan: Plan, progress: Callable[[str], None] = print) -> Verdict:
    """Run the plan in a temporary directory and return the verdict."""
    history = History(
        disciplines={name: _discipline(settings) for name, settings in QUEUES.items()}, untouched=[UNTOUCHED]
    )
    started = time.monotonic()
    failure = ""
    with tempfile.TemporaryDirectory(prefix="taskqueuex-torture-") as directory:
        server = TorturedServer(Path(directory) / "data", Path(directory) / "log")
        try:
            await _live_and_die(plan, server, history, progress)
            progress(f"{history.kills} kills in {time.monotonic() - started:.0f} s; draining")
            await drain(server, history, plan.seed)
            server.kill()
            if plan.check_storage_every:
                _check_storage(server, history)
        except ServerFailed as error:
            failure = str(error)
        finally:
            _make_sure_it_is_dead(server)
    # A run that was cut short never drained, so what is left in the queues would count as lost.
    violations = [v for v in check(history) if not failure or v.kind != "lost"]
    return Verdict(history, violations, time.monotonic() - started, server.restart_s, failure)


def _discipline(settings: dict[str, object]) -> str:
    return "ordered" if settings.get("ordered_groups") else str(settings["discipline"])


def _check_storage(server: TorturedServer, history: History) -> None:
    found = server.check_storage()
    if found:
        history.damage.append(f"after kill {history.kills}:\n{found}")


def _make_sure_it_is_dead(server: TorturedServer) -> None:
    with contextlib.suppress(ServerFailed):  # it is dead, and the verdict has said so
        server.kill()


async def _live_and_die(
    plan: Plan, server: TorturedServer, history: History, progress: Callable[[str], None]
) -> None:
    await server.start()
    queued = _Backlog(history, dict.fromkeys(DEEP, plan.fill))
    producers = [
        Producer(f"producer{number}", server, history, plan.seed, queued.of)
        for number in range(plan.producers)
    ]
    consumers = [
        Consumer(f"consumer{number}", server, history, plan.seed) for number in range(plan.consumers)
    ]
    clients: list[Producer | Consumer] = [*producers, *consumers]
    for name in QUEUES:
        _, answer, _ = await clients[0].call_until_known("PUT", f"/v1/queues/{name}", queue_settings(name))
        if answer is None or not answer.ok:
            raise ServerFailed(f"queue {name} could not be made: {answer}")
    for queue in DEEP:
        await producers[0].fill(queue, plan.fill)
    running = [asyncio.create_task(client.run()) for client in clients]
    try:
        await _kill_again_and_again(plan, server, history, running, progress)
        for client in clients:
            client.stopping = True
        await asyncio.gather(*running)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for client in clients:
            client.close()


async def _kill_again_and_again(
    plan: Plan,
    server: TorturedServer,
    history: History,
    running: list[asyncio.Task[None]],
    progress: Callable[[str], None],
) -> None:
    draw = random.Random(f"{plan.seed}/kills")
    until = time.monotonic() + plan.seconds
    while history.kills < plan.kills and time.monotonic() < until:
        # The life of the server; a client that ends within it has failed, and ends the run.
        ended, _ = await asyncio.wait(
            running, timeout=draw.uniform(LIFE_S_MIN, LIFE_S_MAX), return_when=asyncio.FIRST_COMPLETED
        )
        for task in ended:
            task.result()
        server.kill()
        history.kills += 1
        if plan.check_storage_every and history.kills % plan.check_storage_every == 0:
            _check_storage(server, history)
        if history.kills % 20 == 0:
            progress(f"{history.kills} kills, {_activity(history)}")
        await server.start()


class _Backlog:
    """How many tasks wait by queue beyond what it was filled with, as far as clients know.

    The history is read incrementally: this is asked before every enqueue.
    """

    def __init__(self, history: History, filled: dict[str, int]) -> None:
        self._history = history
        self._counts: Counter[str] = Counter({queue: -tasks for queue, tasks in filled.items()})
        self._enqueues = self._settlements = 0
        self._queue_of: dict[str, str] = {}

    def of(self, queue: str) -> int:
        for event in self._history.enqueues[self._enqueues :]:
            self._counts[event.specs[0].queue] += len(event.specs)
            for task_id in event.ids:
                self._queue_of[task_id] = event.specs[0].queue
        for settlement in self._history.settlements[self._settlements :]:
            if settlement.outcome is Outcome.OK and settlement.state in ("completed", "dead"):
                self._counts[self._queue_of.get(settlement.id, "")] -= 1
        self._enqueues = len(self._history.enqueues)
        self._settlements = len(self._history.settlements)
        return self._counts[queue]


def _activity(history: History) -> str:
    tasks = sum(len(event.specs) for event in history.enqueues)
    return f"{tasks} tasks sent, {len(history.deliveries)} deliveries, {len(history.settlements)} settlements"


def report(verdict: Verdict) -> str:
    """Return the summary, and the histories of the first offending tasks."""
    history = verdict.history
    unknown = sum(event.outcome is Outcome.UNKNOWN for event in history.enqueues)
    repeated = sum(event.tries > 1 for event in history.enqueues)
    repeated += sum(event.tries > 1 for event in history.settlements)
    restarts = sorted(verdict.restart_s) or [0.0]
    lines = [
        f"{history.kills} kills in {verdict.seconds:.0f} s: {_activity(history)}",
        f"{unknown} enqueues left unknown, {repeated} calls repeated until their outcome was known",
        f"restart to ready: median {restarts[len(restarts) // 2]:.2f} s, longest {restarts[-1]:.2f} s",
        "",
    ]
    counts = Counter(violation.kind for violation in verdict.violations)
    lines += [f"  {counts[kind]:>6}  {kind:<12} {meaning}" for kind, meaning in KINDS.items()]
    shown: Counter[str] = Counter()
    for violation in verdict.violations:
        shown[violation.kind] += 1
        if shown[violation.kind] > (_SHOWN_OF_A_KIND if violation.subject else 10):
            continue
        lines += ["", f"{violation.kind}: {violation.subject}: {violation.text}"]
        lines += (
            [f"    {line}" for line in events_of(history, violation.subject)] if violation.subject else []
        )
    if verdict.failure:
        lines += ["", f"the run was cut short: {verdict.failure}"]
    return "\n".join(lines)
