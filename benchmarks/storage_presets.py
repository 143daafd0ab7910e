"""Memory and restart of each RocksDB preset, with many tasks queued.

    python benchmarks/storage_presets.py [--tasks 2000000] [--directory /var/tmp]

For each preset: an empty server, tasks of 100 bytes in batches of 1,000, SIGKILL, a restart, the first
dequeue.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from measure import Client, resident_bytes, run_load
from servers import Bench, Server, answers_http, free_port

PRESETS = ("small", "default", "throughput")


def main() -> None:
    """Print a line per preset."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tasks", type=int, default=2_000_000)
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"), help="on the disk to be measured")
    arguments = parser.parse_args()
    bench = Bench(arguments.directory)
    print(
        f"{arguments.tasks:,} tasks\n  preset        empty   filled   restarted, MB   "
        "ready, s   first dequeue, s     in/s   disk, MB"
    )
    try:
        bench.compile_load()
        for preset in PRESETS:
            _measure(bench, preset, arguments.tasks)
    finally:
        bench.remove()


def _measure(bench: Bench, preset: str, tasks: int) -> None:
    port, data = free_port(), bench.directory / preset
    command = [sys.executable, "-m", "taskqueuex.cli", "serve", "--data", str(data), "--preset", preset]
    server = Server(preset, [*command, "--listen", f"127.0.0.1:{port}"], port, data)
    server.environment = {"MALLOC_ARENA_MAX": "2"}
    server.start(answers_http("/readyz"))
    try:
        empty = resident_bytes(server.pid) / 1e6
        figures = run_load(bench, server, "-c", 4, "-n", tasks, "-s", 600, "batch-enqueue")
        filled = resident_bytes(server.pid) / 1e6
        disk = sum(file.stat().st_size for file in data.rglob("*") if file.is_file()) / 1e6
        server.kill()
        started = time.perf_counter()
        server.start(answers_http("/readyz"))
        ready = time.perf_counter() - started
        client = Client(port)
        reply = client.call("POST", "/v1/queues/bench/dequeue", {"max": 1, "wait_ms": 30_000})
        dequeued = time.perf_counter() - started
        client.close()
        assert len(reply["tasks"]) == 1, json.dumps(reply)
        restarted = resident_bytes(server.pid) / 1e6
    finally:
        server.stop()
    print(
        f"  {preset:<12}{empty:>7.0f}{filled:>9.0f}{restarted:>16.0f}{ready:>11.2f}{dequeued:>19.2f}"
        f"{figures.ops_per_s:>9,.0f}{disk:>11,.0f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
