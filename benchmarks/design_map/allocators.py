"""jemalloc: the server under glibc's allocator, as it is and with two arenas, and under jemalloc.

    apt-get install libjemalloc2
    python benchmarks/design_map/allocators.py

The load: batches of 1,000 tasks in, then all of them out and acknowledged; 16 connections. Python has an
allocator of its own for what is small, so that the C library's sees buffers, large bodies and RocksDB.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from measure import resident_bytes, run_load  # of benchmarks/
from servers import Bench, Server, answers_http, free_port

TASKS = 300_000
ROUNDS = 3
JEMALLOC = "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"
VARIANTS = (
    ("glibc", {}),
    ("glibc, MALLOC_ARENA_MAX=2", {"MALLOC_ARENA_MAX": "2"}),
    ("jemalloc", {"LD_PRELOAD": JEMALLOC}),
)


def main() -> None:
    """Print a line per allocator: the best of the rounds, which take turns."""
    bench = Bench(Path("/var/tmp"))
    best: dict[str, list[float]] = {}
    try:
        bench.compile_load()
        for number in range(ROUNDS):
            for name, environment in VARIANTS:
                if "LD_PRELOAD" in environment and not Path(JEMALLOC).exists():
                    continue
                measured = _round(bench, environment, f"{number}-{len(best)}-{name[:5]}")
                best[name] = [min(pair) for pair in zip(best.get(name, measured), measured, strict=True)]
    finally:
        bench.remove()
    print("  allocator                   CPU us a task in      out    resident, MB: filled    emptied")
    for name, (cost_in, cost_out, filled, emptied) in best.items():
        print(f"  {name:<28}{cost_in:>16.2f}{cost_out:>9.2f}{filled:>24.0f}{emptied:>11.0f}")


def _round(bench: Bench, environment: dict[str, str], name: str) -> list[float]:
    port, data = free_port(), bench.directory / name
    command = [sys.executable, "-m", "taskqueuex.cli", "serve", "--data", str(data)]
    server = Server("taskqueuex", [*command, "--listen", f"127.0.0.1:{port}"], port, data)
    # All of the load is to be served, however long it waits.
    server.environment = {**environment, "TQX_OVERLOAD_TARGET_MS": "1000"}
    server.start(answers_http("/readyz"))
    try:
        entered = run_load(bench, server, "-c", 16, "-n", TASKS, "-s", 120, "batch-enqueue")
        filled = resident_bytes(server.pid) / 1e6
        left = run_load(bench, server, "-c", 16, "-n", TASKS, "-s", 120, "batch-consume")
        refused = entered.errors + left.errors
        assert not refused, f"the server refused {refused}"
        return [entered.cpu_us_per_op, left.cpu_us_per_op, filled, resident_bytes(server.pid) / 1e6]
    finally:
        server.stop()


if __name__ == "__main__":
    main()
