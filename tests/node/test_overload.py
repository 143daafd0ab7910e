"""A real server that is asked for more than it may take: nothing taken is lost, and no ack is sent away."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections import Counter

import pytest

CONNECTIONS = 100
ROUNDS = 30


@pytest.fixture
def server(tmp_path):
    """One that thinks itself overloaded when calls wait for a tenth of a millisecond."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TQX_")}
    environ |= {"TQX_OVERLOAD_TARGET_MS": "0.1", "TQX_OVERLOAD_INTERVAL_MS": "5"}
    process = subprocess.Popen(
        [sys.executable, "-m", "taskqueuex.cli", "serve", "--data", str(tmp_path), "--listen", "127.0.0.1:0"],
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
    )
    assert process.stderr is not None
    line = process.stderr.readline()
    yield int(re.findall(r"127\.0\.0\.1:(\d+)", line)[0])
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 0


class Wire:
    """One connection, one request at a time."""

    async def open(self, port):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port)
        return self

    async def call(self, method, path, body=None):
        content = json.dumps(body).encode() if body is not None else b""
        head = f"{method} {path} HTTP/1.1\r\nHost: t\r\nContent-Length: {len(content)}\r\n\r\n"
        self.writer.write(head.encode() + content)
        answer = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        size = int(re.findall(r"Content-Length: (\d+)", answer)[0])
        read = await self.reader.readexactly(size)
        return int(answer.split()[1]), read.decode()

    async def close(self):
        self.writer.close()
        await self.writer.wait_closed()


async def work(port, tally):
    wire = await Wire().open(port)
    for _ in range(ROUNDS):
        status, _ = await wire.call("POST", "/v1/queues/q/tasks", {"payload": "x"})
        tally["enqueued" if status == 201 else f"enqueue {status}"] += 1
        status, text = await wire.call("POST", "/v1/queues/q/dequeue", {})
        tally[f"dequeue {status}"] += 1
        for task in json.loads(text)["tasks"] if status == 200 else ():
            status, text = await wire.call("POST", f"/v1/tasks/{task['id']}/ack", {"lease": task["lease"]})
            tally[f"ack {status}"] += 1
    await wire.close()


async def until_calm(port):
    """Waits until nothing is bounded any more, and returns what the metrics say then."""
    wire = await Wire().open(port)
    while True:
        _, text = await wire.call("GET", "/metrics")
        if "\ntaskqueuex_turn_limit 0.0" in text:
            await wire.close()
            return text
        await asyncio.sleep(0.05)


def test_what_is_taken_is_kept_and_no_ack_is_sent_away(server):
    tally: Counter[str] = Counter()

    async def run():
        await asyncio.gather(*(work(server, tally) for _ in range(CONNECTIONS)))
        metrics = await asyncio.wait_for(until_calm(server), 30)
        wire = await Wire().open(server)
        _, text = await wire.call("GET", "/v1/queues/q")
        await wire.close()
        return metrics, json.loads(text)

    metrics, queue = asyncio.run(run())
    assert set(tally) <= {"enqueued", "enqueue 503", "dequeue 200", "dequeue 503", "ack 200"}, tally
    counts = queue["counts"]
    assert counts["completed"] == tally["ack 200"]
    assert sum(counts.values()) == tally["enqueued"]
    assert counts["running"] == 0
    (intervals,) = re.findall(r"\ntaskqueuex_overloaded_intervals_total ([0-9.]+)", metrics)
    assert float(intervals) > 0, "the server was never overloaded: this test shows nothing"
    shed = sum(
        float(count) for count in re.findall(r"\ntaskqueuex_overload_shed_total\{.*\} ([0-9.]+)", metrics)
    )
    assert shed == tally["enqueue 503"] + tally["dequeue 503"]
