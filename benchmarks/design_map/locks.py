"""Mutexes, reader-writer locks, atomic counters: what one costs where none is needed.

    python benchmarks/design_map/locks.py

The work is the smallest that a lock would protect: one counter, one dictionary entry. "Contended" is four
threads that do the same, as a pool would; its time is per operation over all of them.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

from timing import best_ns, show

COUNT = 400_000
THREADS = 4


class ReaderWriterLock:
    """The textbook's: readers are counted under a mutex, the first and last hold the writers' lock."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._writers = threading.Lock()
        self._readers = 0

    def __enter__(self) -> None:
        with self._mutex:
            self._readers += 1
            if self._readers == 1:
                self._writers.acquire()

    def __exit__(self, *_: object) -> None:
        with self._mutex:
            self._readers -= 1
            if not self._readers:
                self._writers.release()


class Counters:
    """What is counted."""

    def __init__(self) -> None:
        self.enqueued = 0
        self.states = {"a": 0}


def bare(count: int) -> int:
    """One writer: a plain integer."""
    counters = Counters()
    for _ in range(count):
        counters.enqueued += 1
    assert counters.enqueued == count
    return counters.enqueued


def read_bare(count: int) -> None:
    """One writer: a plain read."""
    states = Counters().states
    for _ in range(count):
        states["a"]


def locked(lock: AbstractContextManager[object], counters: Counters | None = None) -> Callable[[int], None]:
    """The same integer behind a lock."""
    counters = counters or Counters()

    def run(count: int) -> None:
        for _ in range(count):
            with lock:
                counters.enqueued += 1

    return run


def read_locked(lock: AbstractContextManager[object]) -> Callable[[int], None]:
    """The same read behind a lock."""
    states = Counters().states

    def run(count: int) -> None:
        for _ in range(count):
            with lock:
                states["a"]

    return run


def layered(count: int) -> None:
    """A task's life in a design with a mutex for each: the queue's, the task's, the graph's."""
    queue, task, graph = threading.Lock(), threading.Lock(), threading.Lock()
    counters = Counters()
    for _ in range(count):
        with queue, task, graph:
            counters.enqueued += 1


def in_threads(run: Callable[[int], None]) -> Callable[[int], None]:
    """The work shared by four threads."""

    def shared(count: int) -> None:
        threads = [threading.Thread(target=run, args=(count // THREADS,)) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return shared


def main() -> None:
    """Print every figure."""
    sys.setswitchinterval(0.0005)  # as the server sets it
    loop = best_ns(lambda count: [None for _ in range(count)], COUNT)
    print("a counter")
    show("plain integer, one writer", best_ns(bare, COUNT) - loop)
    show("behind a mutex, uncontended", best_ns(locked(threading.Lock()), COUNT) - loop)
    show("behind a mutex, 4 threads", best_ns(in_threads(locked(threading.Lock())), COUNT) - loop)
    show("behind three mutexes (queue, task, graph), uncontended", best_ns(layered, COUNT) - loop)
    print("a read of shared settings")
    show("plain", best_ns(read_bare, COUNT) - loop)
    show("behind a mutex, uncontended", best_ns(read_locked(threading.Lock()), COUNT) - loop)
    show("behind a reader-writer lock, uncontended", best_ns(read_locked(ReaderWriterLock()), COUNT) - loop)
    show(
        "behind a reader-writer lock, 4 readers",
        best_ns(in_threads(read_locked(ReaderWriterLock())), COUNT) - loop,
    )


if __name__ == "__main__":
    main()
