"""What is measured: one function for each line of the table, each returning its `Result`.

Programs that are compared take turns within one scenario, round by round, on fresh data, so that a noisy
neighbour on the machine hits them alike. A bar is a figure the project set itself to reach.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack

from edge import EDGE_SCENARIOS
from measure import (
    Client,
    Figures,
    fdatasync_us,
    finish_load,
    median_of,
    resident_bytes,
    run_load,
    start_load,
)
from results import Bar, Result, Scale
from sdk import SDK_SCENARIOS
from seeing import SEEING_SCENARIOS
from servers import Bench, NotInstalled, Server, answers_http

FULL = Scale(seconds=3.0, rounds=3, backlog=2_000_000)
QUICK = Scale(seconds=1.0, rounds=1, backlog=200_000)

Start = Callable[[], AbstractContextManager[Server]]
Load = Callable[[Server, int], Figures]


def _alternate(result: Result, scale: Scale, contenders: Sequence[tuple[Start, Load]]) -> dict[str, Figures]:
    """Run each contender's load in turn, round by round, and append the medians to the result."""
    rounds: dict[str, list[Figures]] = {}
    with ExitStack() as stack:
        running: list[tuple[Server, Load]] = []
        for start, load in contenders:
            try:
                running.append((stack.enter_context(start()), load))
            except NotInstalled as missing:
                result.notes.append(f"{missing} is not installed: left out")
        for number in range(scale.rounds):
            for server, load in running:
                rounds.setdefault(server.name, []).append(load(server, number))
    medians = {name: median_of(measured) for name, measured in rounds.items()}
    result.figures.extend(medians.values())
    for figures in medians.values():
        if figures.errors:
            result.notes.append(f"{figures.program}: {figures.errors} errors")
    return medians


def _ratio_bar(what: str, medians: dict[str, Figures], peer: str, limit: float) -> list[Bar]:
    if peer not in medians:
        return []
    ratio = medians["taskqueuex"].ops_per_s / medians[peer].ops_per_s
    return [Bar(what, ratio, limit, "x", at_least=True)]


def enqueue(bench: Bench, scale: Scale) -> Result:
    """Single durable enqueues beside the same in the peers, and nginx as the floor of HTTP."""
    result = Result("enqueue", "one task of 100 bytes a request, fsync before the reply")
    time_limit = ("-s", scale.seconds)
    medians = _alternate(
        result,
        scale,
        [
            (bench.taskqueuex, lambda server, _: run_load(bench, server, *time_limit, "enqueue")),
            (bench.redis, lambda server, _: run_load(bench, server, *time_limit, "redis-lpush")),
            (bench.beanstalkd, lambda server, _: run_load(bench, server, *time_limit, "beanstalk-put")),
            (bench.nginx, lambda server, _: run_load(bench, server, *time_limit, "get", "/")),
        ],
    )
    result.bars.append(Bar("enqueue, CPU", medians["taskqueuex"].cpu_us_per_op, 36, "us"))
    result.bars += _ratio_bar("enqueue rate / Redis LPUSH, always", medians, "redis", 0.75)
    result.bars += _ratio_bar("enqueue rate / beanstalkd -f0", medians, "beanstalkd", 1.0)
    return result


def pair(bench: Bench, scale: Scale) -> Result:
    """A dequeue, then its ack, as two requests, beside a Redis stream with a group and beanstalkd."""
    result = Result("pair", "dequeue, then ack: two requests, both durable; one operation is the pair")
    enough = int(scale.seconds * 30_000)

    def ours(server: Server, number: int) -> Figures:
        _fill(bench, server, f"pair{number}", enough)
        return run_load(bench, server, "-q", f"pair{number}", "-s", scale.seconds, "pair")

    def redis(server: Server, number: int) -> Figures:
        stream = f"stream{number}"
        _redis_group(server.port, stream)
        finish_load(start_load(bench, server, "-q", stream, "-n", enough, "-s", 60, "redis-xadd"))
        return run_load(bench, server, "-q", stream, "-s", scale.seconds, "redis-stream")

    def beanstalkd(server: Server, number: int) -> Figures:
        finish_load(start_load(bench, server, "-s", scale.seconds, "beanstalk-put"))
        return run_load(bench, server, "-s", scale.seconds, "beanstalk-pair")

    contenders = [(bench.taskqueuex, ours), (bench.redis, redis), (bench.beanstalkd, beanstalkd)]
    medians = _alternate(result, scale, contenders)
    result.bars.append(Bar("dequeue + ack, CPU a pair", medians["taskqueuex"].cpu_us_per_op, 80, "us"))
    result.bars += _ratio_bar("pair rate / Redis XREADGROUP+XACK", medians, "redis", 1.0)
    return result


def batch(bench: Bench, scale: Scale) -> Result:
    """Batches of 1,000 in, then out and acked; operations are tasks."""
    result = Result("batch", "batches of 1,000 over 16 connections; one operation is a task")
    with bench.taskqueuex() as server:
        rounds_in, rounds_out = [], []
        for number in range(scale.rounds):
            arguments = ("-c", 16, "-q", f"batch{number}", "-s", scale.seconds)
            rounds_in.append(run_load(bench, server, *arguments, "batch-enqueue"))
            rounds_out.append(run_load(bench, server, *arguments, "batch-consume"))
    tasks_in, tasks_out = median_of(rounds_in), median_of(rounds_out)
    tasks_in.program, tasks_out.program = "taskqueuex in", "taskqueuex out"
    result.figures += [tasks_in, tasks_out]
    result.bars += [
        Bar("batch in, CPU a task", tasks_in.cpu_us_per_op, 8, "us"),
        Bar("batch out and acked, CPU a task", tasks_out.cpu_us_per_op, 12, "us"),
        Bar("batch in, seed figure", tasks_in.ops_per_s, 120_000, "/s", at_least=True),
    ]
    return result


def latency(bench: Bench, scale: Scale) -> Result:
    """Open-loop latency at 1,000 requests a second, beside the disk's own fdatasync."""
    result = Result("latency", "1,000 requests a second, counted from when each was due; median first")
    seconds = scale.seconds * 2
    syncs = fdatasync_us(bench.directory, int(seconds * 500))
    disk_us = syncs[len(syncs) // 2]

    def at_rate(name: str, server: Server, *arguments: object) -> Figures:
        figures = run_load(bench, server, "-r", 1000, "-s", seconds, *arguments)
        figures.program = name
        result.figures.append(figures)
        return figures

    with bench.taskqueuex() as server:
        client = Client(server.port)
        client.call("PUT", "/v1/queues/relaxed", {"durability": "relaxed"})
        known = client.call("POST", "/v1/queues/durable/tasks", {"payload": 1})["id"]
        durable = at_rate("enqueue durable", server, "-q", "durable", "enqueue")
        relaxed = at_rate("enqueue relaxed", server, "-q", "relaxed", "enqueue")
        status = at_rate("status GET", server, "get", f"/v1/tasks/{known}")
        at_rate("dequeue durable", server, "-q", "durable", "dequeue")
        dequeue = at_rate("dequeue relaxed", server, "-q", "relaxed", "dequeue")
        for durability in ("durable", "relaxed"):
            released = _dependent_us(client, server.port, durability, max(50, int(seconds * 50)))
            middle = released[len(released) // 2]
            result.notes.append(f"releasing a dependent, {durability}: p50 {middle:.0f} us")
        client.close()
    result.bars += [
        Bar("enqueue relaxed, median", relaxed.p50_us / 1000, 0.5, "ms"),
        Bar("enqueue durable over one fdatasync", (durable.p50_us - disk_us) / 1000, 0.3, "ms"),
        Bar("status, median", status.p50_us / 1000, 0.3, "ms"),
        Bar("dequeue relaxed, median", dequeue.p50_us / 1000, 0.4, "ms"),
        Bar("releasing a dependent, relaxed, median", middle / 1000, 1.2, "ms"),
    ]
    return result


def backlog(bench: Bench, scale: Scale) -> Result:
    """Two million queued tasks: memory, and a restart after SIGKILL."""
    result = Result("backlog", f"{scale.backlog:,} queued tasks")
    with bench.taskqueuex() as server:
        empty = resident_bytes(server.pid)
        _fill(bench, server, "backlog", scale.backlog)
        grown = resident_bytes(server.pid) - empty
        result.notes.append(
            f"resident memory: empty {empty / 1e6:.0f} MB, filled {(empty + grown) / 1e6:.0f} MB"
        )
        server.kill()
        started = time.perf_counter()
        server.start(answers_http("/readyz"))
        ready_s = time.perf_counter() - started
        client = Client(server.port)
        reply = client.call("POST", "/v1/queues/backlog/dequeue", {"max": 1, "wait_ms": 30_000})
        dequeued_s = time.perf_counter() - started
        client.close()
        if len(reply["tasks"]) != 1:
            result.notes.append("the first dequeue after the restart was empty")
            dequeued_s = float("inf")
        result.notes.append(
            f"after SIGKILL: ready in {ready_s:.2f} s, resident {resident_bytes(server.pid) / 1e6:.0f} MB"
        )
    result.bars += [
        Bar("memory grown by the backlog", grown / 1e6, 150, "MB"),
        Bar("SIGKILL, restart to first dequeue", dequeued_s, 2, "s"),
    ]
    return result


def neighbours(bench: Bench, scale: Scale) -> Result:
    """What other clients feel beside a stream of batches of 10,000."""
    result = Result("neighbours", "500 enqueues a second beside a stream of batches of 10,000")
    with bench.taskqueuex() as server:
        alone = run_load(bench, server, "-r", 500, "-s", scale.seconds * 2, "-q", "small", "enqueue")
        big = ("-c", 1, "-b", 10_000, "-q", "big", "-s", scale.seconds * 2 + 1, "batch-enqueue")
        stream = start_load(bench, server, *big)
        beside = run_load(bench, server, "-r", 500, "-s", scale.seconds * 2, "-q", "small", "enqueue")
        streamed = finish_load(stream)
    alone.program, beside.program = "alone", "beside batches"
    result.figures += [alone, beside]
    result.notes.append(
        f"the stream put in {streamed['ops_per_s']:,.0f} tasks/s, {streamed['errors']} errors"
    )
    result.bars.append(Bar("others' p99 beside batches of 10,000", beside.p99_us / 1000, 15, "ms"))
    return result


def mixed(bench: Bench, scale: Scale) -> Result:
    """Half enqueue, a quarter dequeue, a quarter ack, beside nginx."""
    result = Result("mixed", "half enqueue, a quarter dequeue, a quarter ack; every request is an operation")
    contenders: list[tuple[Start, Load]] = [
        (bench.taskqueuex, lambda server, _: run_load(bench, server, "-s", scale.seconds, "mixed")),
        (bench.nginx, lambda server, _: run_load(bench, server, "-s", scale.seconds, "get", "/")),
    ]
    _alternate(result, scale, contenders)
    return result


def connections(bench: Bench, scale: Scale) -> Result:
    """A new connection for each request, beside nginx."""
    result = Result("connections", "a new TCP connection for every request (GET, then close)")

    def new_connections(path: str) -> Load:
        return lambda server, _: run_load(bench, server, "-s", scale.seconds, "connect", path)

    contenders: list[tuple[Start, Load]] = [
        (bench.taskqueuex, new_connections("/healthz")),
        (bench.nginx, new_connections("/")),
    ]
    medians = _alternate(result, scale, contenders)
    result.bars = _ratio_bar("new connections / nginx", medians, "nginx", 0.7)
    return result


SCENARIOS: dict[str, Callable[[Bench, Scale], Result]] = {
    "enqueue": enqueue,
    "pair": pair,
    "batch": batch,
    "latency": latency,
    "backlog": backlog,
    "neighbours": neighbours,
    "mixed": mixed,
    "connections": connections,
    **EDGE_SCENARIOS,
    **SEEING_SCENARIOS,
    **SDK_SCENARIOS,
}


def _fill(bench: Bench, server: Server, queue: str, tasks: int) -> None:
    result = finish_load(
        start_load(bench, server, "-c", 4, "-q", queue, "-n", tasks, "-s", 300, "batch-enqueue")
    )
    if result["errors"] or result["ops"] < tasks:
        raise RuntimeError(f"filling {queue} with {tasks} tasks: {result}")


def _redis_group(port: int, stream: str) -> None:
    client = Client(port)
    client._socket.sendall(f"XGROUP CREATE {stream} workers 0 MKSTREAM\r\n".encode())
    reply = client._more()
    client.close()
    if not reply.startswith(b"+OK"):
        raise RuntimeError(reply.decode())


def _dependent_us(client: Client, port: int, durability: str, times: int) -> list[float]:
    """Return sorted microseconds from the ack of a parent to its child in the hands of a waiting consumer."""
    parents, children = f"parents-{durability}", f"children-{durability}"
    for queue in (parents, children):
        client.call("PUT", f"/v1/queues/{queue}", {"durability": durability})
    consumer = Client(port)
    latencies = []
    for _ in range(times):
        parent = client.call("POST", f"/v1/queues/{parents}/tasks", {"payload": 1})["id"]
        client.call("POST", f"/v1/queues/{children}/tasks", {"payload": 2, "depends_on": [parent]})
        consumer.send("POST", f"/v1/queues/{children}/dequeue", {"wait_ms": 10_000})
        # This call's reply comes after the consumer's request was read: it waits before the ack is sent.
        [task] = client.call("POST", f"/v1/queues/{parents}/dequeue", {})["tasks"]
        started = time.perf_counter()
        client.send("POST", f"/v1/tasks/{parent}/ack", {"lease": task["lease"]})
        children_taken = consumer.receive()["tasks"]
        if len(children_taken) != 1:
            raise RuntimeError(f"the waiting consumer got {children_taken} instead of one dependent")
        [child] = children_taken
        latencies.append((time.perf_counter() - started) * 1e6)
        client.receive()
        client.call("POST", f"/v1/tasks/{child['id']}/ack", {"lease": child["lease"]})
    consumer.close()
    return sorted(latencies)
