"""Threads where they do help, and how many: cold tasks read from RocksDB beside a loop that must not wait.

    python benchmarks/design_map/cold_reads.py [DIRECTORY]

400,000 rows are written; then 400 reads of 1,000 random ones each run in a pool, while an event loop measures
how late it is called. The multi-get lets go of the interpreter, but what it returns is made under it.
"""

from __future__ import annotations

import asyncio
import gc
import random
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import uvloop
from rocksdict import Options, Rdict, WriteBatch

ROWS, READS, WIDTH = 400_000, 400, 1_000
TICK_S = 0.001


def fill(path: str) -> Rdict:
    """Rows of the size of a small task."""
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    store = Rdict(path, options=options)
    value = random.randbytes(130)
    for start in range(0, ROWS, 10_000):
        batch = WriteBatch(raw_mode=True)
        for number in range(start, start + 10_000):
            batch.put(number.to_bytes(16, "big"), value)
        store.write(batch)
    store.flush(True)
    return store


async def measure(store: Rdict, pool_size: int) -> tuple[float, list[float]]:
    """Rows a second, and how late the loop was, in milliseconds, sorted."""
    late: list[float] = []
    ended = asyncio.Event()

    async def watch() -> None:
        while not ended.is_set():
            due = time.perf_counter() + TICK_S
            await asyncio.sleep(TICK_S)
            late.append(max(0.0, time.perf_counter() - due) * 1000)

    choose = random.Random(1)
    wanted = [[choose.randrange(ROWS).to_bytes(16, "big") for _ in range(WIDTH)] for _ in range(READS)]
    watcher = asyncio.create_task(watch())
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(pool_size) as pool:
        started = time.perf_counter()
        await asyncio.gather(*(loop.run_in_executor(pool, store.get, keys) for keys in wanted))
        took = time.perf_counter() - started
    ended.set()
    await watcher
    return READS * WIDTH / took, sorted(late)


def main() -> None:
    """Print a line per pool size."""
    sys.setswitchinterval(0.0005)
    directory = tempfile.mkdtemp(dir=sys.argv[1] if len(sys.argv) > 1 else "/var/tmp")
    try:
        store = fill(directory + "/db")
        gc.collect()
        gc.freeze()
        print(f"{READS} reads of {WIDTH:,} tasks\n  threads   rows/s      loop late, ms: p50     p99     max")
        for pool_size in (1, 2, 4, 32):
            rate, late = uvloop.run(measure(store, pool_size))
            p50, p99 = late[len(late) // 2], late[int(len(late) * 0.99)]
            print(f"  {pool_size:>7}{rate:>11,.0f}{p50:>22.2f}{p99:>8.2f}{late[-1]:>8.2f}")
        store.close()
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
