"""A pool of 32 threads and a request queue: what it costs to hand a request over, and to get its answer back.

    python benchmarks/design_map/handover.py

The work is three dictionary operations, about what an enqueue does to memory. Nothing in it waits, so that
a pool has nothing to overlap: this is the engine's case, not the disk's.
"""

from __future__ import annotations

import queue
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from timing import best_ns, show

COUNT = 20_000
POOL = 32


def work(store: dict[int, int], number: int) -> int:
    """Puts a task in and takes another out."""
    store[number] = number
    store.pop(number - 100, None)
    return store[number]


def inline(count: int) -> None:
    """The turn: every request that came, one after the other."""
    store: dict[int, int] = {}
    for number in range(count):
        work(store, number)


def pooled(count: int) -> None:
    """64 requests outstanding, as from 64 connections; a future brings each answer back."""
    store: dict[int, int] = {}
    lock = threading.Lock()

    def guarded(number: int) -> int:
        with lock:
            return work(store, number)

    with ThreadPoolExecutor(POOL) as pool:
        outstanding = [pool.submit(guarded, number) for number in range(64)]
        for number in range(64, count):
            outstanding[number % 64].result()
            outstanding[number % 64] = pool.submit(guarded, number)


def one_by_one(count: int) -> None:
    """One request outstanding: the pure latency of there and back."""
    store: dict[int, int] = {}
    asked: queue.SimpleQueue[int] = queue.SimpleQueue()
    answered: queue.SimpleQueue[int] = queue.SimpleQueue()

    def serve() -> None:
        while (number := asked.get()) >= 0:
            answered.put(work(store, number))

    thread = threading.Thread(target=serve)
    thread.start()
    for number in range(count):
        asked.put(number)
        answered.get()
    asked.put(-1)
    thread.join()


def main() -> None:
    """Print every figure."""
    sys.setswitchinterval(0.0005)
    print("a request that only touches memory")
    show("applied where it was read", best_ns(inline, COUNT) / 1000, "us", 2)
    show("handed to a thread and back, one outstanding", best_ns(one_by_one, COUNT) / 1000, "us", 2)
    show("handed to a pool of 32 and back, 64 outstanding", best_ns(pooled, COUNT) / 1000, "us", 2)


if __name__ == "__main__":
    main()
