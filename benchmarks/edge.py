"""The edge: overload, connections that wait, TLS, and clients that mean harm."""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import attack
from measure import Client, Figures, cpu_seconds, finish_load, resident_bytes, run_load, start_load
from results import Bar, Result, Scale
from servers import LOAD_CORE, Bench, Server, pin

HERE = Path(__file__).resolve().parent
IDLE_CONNECTIONS = 10_000
OVERLOADED_BY = 1_000  # connections
CALM_MS = 5.0


def _figures(server: Server, name: str, raw: dict[str, float], cpu_s: float) -> Figures:
    return Figures(
        program=name,
        operations=int(raw["ops"]),
        ops_per_s=raw["ops_per_s"],
        cpu_us_per_op=cpu_s * 1e6 / max(1.0, raw["ops"]),
        p50_us=raw["ack_p50_us"],
        p90_us=0.0,
        p99_us=raw["ack_p99_us"],
        max_us=raw["max_us"],
        errors=int(raw["errors"]),
    )


def overload(bench: Bench, scale: Scale) -> Result:
    """Twice the load that saturates it: goodput, acks, memory, and how soon it is over."""
    result = Result("overload", "half enqueue, a quarter dequeue, a quarter ack; the latencies are the acks'")
    pairs = 2 * scale.rounds  # of peak and overload, one after the other: the machine's pace changes
    with bench.taskqueuex() as server:
        rounds: dict[str, list[dict[str, float]]] = {"calm": [], "peak": [], "twice the peak": []}
        run_load(bench, server, "-s", 1, "mixed")  # warm
        recovered: list[float] = []
        memory = 0
        for number in range(pairs):
            if number == pairs // 2:
                memory = resident_bytes(server.pid)  # the store's caches are full from here on
            for name in rounds:
                peak = rounds["peak"][-1]["ops_per_s"] if rounds["peak"] else 0
                options = {
                    "calm": ("-c", 64, "-r", 2_000),
                    "peak": ("-c", 64),
                    "twice the peak": ("-c", OVERLOADED_BY, "-r", 2 * peak),
                }[name]
                before = cpu_seconds(server.pids())
                raw = finish_load(start_load(bench, server, *options, "-s", scale.seconds, "mixed"))
                if name == "twice the peak":
                    recovered.append(_recovered_s(server))
                figures = _figures(server, name, raw, cpu_seconds(server.pids()) - before)
                rounds[name].append(raw)
                result.figures.append(figures)
        grown = (resident_bytes(server.pid) - memory) / (1 << 20)
    median = {
        name: {key: statistics.median(float(one[key]) for one in many) for key in ("ops_per_s", "ack_p99_us")}
        for name, many in rounds.items()
    }
    shed = sum(one["ack_errors"] for many in rounds.values() for one in many)
    acks = sum(one["acks"] for many in rounds.values() for one in many)
    goodput = statistics.median(
        over["ops_per_s"] / peak["ops_per_s"]
        for peak, over in zip(rounds["peak"], rounds["twice the peak"], strict=True)
    )
    result.bars = [
        Bar("goodput at twice the peak, median of the pairs", goodput, 0.9, "x", at_least=True),
        Bar("acks' p99, calm", median["calm"]["ack_p99_us"] / 1e3, CALM_MS, "ms"),
        Bar("acks' p99 at twice the peak", median["twice the peak"]["ack_p99_us"] / 1e3, 50.0, "ms"),
        Bar("acks sent away", float(shed), 0.0, ""),
        Bar("over after the load", max(recovered), 1.0, "s"),
        Bar("resident memory grown in the second half", grown, 32.0, "MiB"),
    ]
    result.notes.append(f"{acks:,.0f} acks; a quarter of what is done leaves a task behind")
    return result


def _recovered_s(server: Server) -> float:
    """Seconds until the last enqueue that was refused or took over 20 ms, of two seconds of them."""
    client = Client(server.port)
    started = time.monotonic()
    last = 0.0
    while (now := time.monotonic() - started) < 2.0:
        begun = time.monotonic()
        try:
            client.call("POST", "/v1/queues/after/tasks", {})
            slow = time.monotonic() - begun > 0.02
        except RuntimeError:
            slow = True
        if slow:
            last = now
        time.sleep(0.005)
    client.close()
    return last


def idle(bench: Bench, scale: Scale) -> Result:
    """Ten thousand connections that wait, and a client that works beside them."""
    result = Result("idle", f"{IDLE_CONNECTIONS} connections that are open and quiet")
    with bench.taskqueuex() as server:
        run_load(bench, server, "-s", 1, "enqueue")
        quiet = [run_load(bench, server, "-c", 8, "-r", 1_000, "-s", scale.seconds, "enqueue")]
        before, started = resident_bytes(server.pid), time.monotonic()
        connections = [_connect(server.port, number) for number in range(IDLE_CONNECTIONS)]
        for each in connections:
            _ask(each)
        burst_s = time.monotonic() - started
        time.sleep(3.0)  # a quiet second, and what is given back after it
        used = (resident_bytes(server.pid) - before) / IDLE_CONNECTIONS
        beside = [run_load(bench, server, "-c", 8, "-r", 1_000, "-s", scale.seconds, "enqueue")]
        for _ in range(scale.rounds - 1):
            for each in connections:
                each.close()
            time.sleep(0.5)
            quiet.append(run_load(bench, server, "-c", 8, "-r", 1_000, "-s", scale.seconds, "enqueue"))
            connections = [_connect(server.port, number) for number in range(IDLE_CONNECTIONS)]
            for each in connections:
                _ask(each)
            beside.append(run_load(bench, server, "-c", 8, "-r", 1_000, "-s", scale.seconds, "enqueue"))
        for each in connections:
            each.close()
    alone, with_them = (statistics.median(one.p50_us for one in many) for many in (quiet, beside))
    for name, many in (("alone", quiet), ("beside them", beside)):
        for one in many:
            one.program = name
            result.figures.append(one)
    result.bars = [
        Bar("resident bytes for each, after a request", used, 5_000, "B"),
        Bar("10,000 connected and answered", burst_s, 2.0, "s"),
        Bar("latency beside them, median", with_them / alone, 1.5, "x"),
    ]
    return result


def _connect(port: int, number: int) -> socket.socket:
    connection = socket.socket()
    connection.bind((f"127.0.2.{1 + number % 50}", 0))
    connection.setblocking(False)
    connection.connect_ex(("127.0.0.1", port))
    connection.setblocking(True)
    connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: t\r\n\r\n")
    return connection


def _ask(connection: socket.socket) -> None:
    if not connection.recv(4_096).startswith(b"HTTP/1.1 200"):
        raise RuntimeError("a connection was refused")


def tls(bench: Bench, scale: Scale) -> Result:
    """Requests over connections that stay, plain and through TLS, by the same client."""
    result = Result("tls", "enqueues over 32 connections that stay, by one client in Python")
    used: dict[str, list[float]] = {"plain": [], "TLS": []}
    with bench.taskqueuex_tls() as server:
        for _ in range(scale.rounds):
            for name, port in (("plain", server.port), ("TLS", server.tls_port)):
                before = cpu_seconds(server.pids())
                command = [sys.executable, str(HERE / "tls_load.py"), str(port), str(scale.seconds), name]
                output = subprocess.run(
                    command, capture_output=True, text=True, check=True, preexec_fn=pin(LOAD_CORE)
                )
                raw = json.loads(output.stdout)
                figures = Figures(
                    program=name,
                    operations=raw["ops"],
                    ops_per_s=raw["ops"] / raw["seconds"],
                    cpu_us_per_op=(cpu_seconds(server.pids()) - before) * 1e6 / raw["ops"],
                    p50_us=raw["p50_us"],
                    p90_us=0.0,
                    p99_us=raw["p99_us"],
                    max_us=raw["max_us"],
                    errors=0,
                )
                used[name].append(figures.cpu_us_per_op)
                result.figures.append(figures)
    ratio = statistics.median(used["TLS"]) / statistics.median(used["plain"])
    result.bars = [Bar("CPU of a request through TLS / plain", ratio, 1.5, "x")]
    return result


def hostile(bench: Bench, scale: Scale) -> Result:
    """A client that behaves, beside 50 connections of each kind that do not."""
    result = Result("hostile", "300 enqueues a second over 32 connections, beside 50 that mean harm")
    names = attack.names() if scale.rounds > 1 else attack.names()[::12]
    seconds = min(0.8, scale.seconds)
    ratios: dict[str, float] = {}
    calm: list[float] = []
    with bench.taskqueuex() as server:

        def behave(program: str) -> float:
            """The median p99 of three short loads: a single one may meet a slow disk."""
            load = ("-c", 32, "-r", 300, "-s", seconds, "enqueue")
            three = sorted((run_load(bench, server, *load) for _ in range(3)), key=lambda one: one.p99_us)
            three[1].program = program
            result.figures.append(three[1])
            return three[1].p99_us

        behave("warm")
        result.figures.clear()
        for number, name in enumerate(names):
            if number % 8 == 0:
                calm.append(behave("quiet"))
            command = [sys.executable, str(HERE / "attack.py"), str(server.port), str(3 * seconds + 2), name]
            attacker = subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=_meekly())
            time.sleep(0.7)
            ratios[name] = behave(name)
            attacker.wait()
    quiet_us = statistics.median(calm)
    ratios = {name: p99_us / quiet_us for name, p99_us in ratios.items()}
    worst = sorted(ratios, key=lambda name: -ratios[name])[:10]
    within = sum(ratio <= 3.0 for ratio in ratios.values())
    result.bars = [
        Bar(
            "p99 beside a hostile case / quiet, median of the cases",
            statistics.median(ratios.values()),
            3.0,
            "x",
        ),
        Bar("p99 beside the worst case / quiet", ratios[worst[0]], 3.0, "x"),
    ]
    result.notes.append(
        f"{within} of {len(ratios)} cases within 3 times the quiet p99 of {quiet_us / 1e3:.1f} ms"
    )
    result.notes += [f"{ratios[name]:.1f} x: {name}" for name in worst]
    return result


def _meekly() -> Callable[[], None]:
    """The attacker shares a core with the client that is measured, and must not hold that one up."""
    pinned = pin(LOAD_CORE)

    def prepare() -> None:
        if pinned is not None:
            pinned()
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))

    return prepare


EDGE_SCENARIOS: dict[str, Callable[[Bench, Scale], Result]] = {
    "overload": overload,
    "idle": idle,
    "tls": tls,
    "hostile": hostile,
}
