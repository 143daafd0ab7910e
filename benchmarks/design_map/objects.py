"""Object pooling: a new object against a used one out of a pool; and what the collector costs.

python benchmarks/design_map/objects.py
"""

from __future__ import annotations

import gc
import sys
import time

import msgspec
from timing import best_ns, show

COUNT = 200_000
ALIVE = 300_000


class Partition:
    """What a task points to: with such a reference the collector cannot leave a container out."""


MAIL = Partition()


class Task(msgspec.Struct, gc=False):
    """A task's fields, in a struct that the collector does not visit."""

    id: bytes
    partition: object
    priority: int
    attempt: int
    payload: bytes


class VisitedTask(msgspec.Struct):
    """The same, visited by the collector."""

    id: bytes
    partition: object
    priority: int
    attempt: int
    payload: bytes


class PlainTask:
    """The same, as an ordinary class."""

    def __init__(self, id: bytes, partition: object, priority: int, attempt: int, payload: bytes) -> None:
        self.id = id
        self.partition = partition
        self.priority = priority
        self.attempt = attempt
        self.payload = payload


def made(kind: type) -> float:
    """Nanoseconds to make one and drop it."""

    def run(count: int) -> None:
        for _ in range(count):
            kind(b"0123456789abcdef", MAIL, 0, 1, b"{}")

    return best_ns(run, COUNT)


def pooled(count: int) -> None:
    """Take one out of a pool, set its fields, put it back: no memory is allocated."""
    pool = [Task(b"", MAIL, 0, 0, b"") for _ in range(64)]
    for _ in range(count):
        task = pool.pop()
        task.id = b"0123456789abcdef"
        task.partition = MAIL
        task.priority = 0
        task.attempt = 1
        task.payload = b"{}"
        pool.append(task)


def collection_ms(kind: type) -> float:
    """Milliseconds of a full collection with many alive."""
    alive = [kind(number.to_bytes(16, "big"), MAIL, 0, 1, b"{}") for number in range(ALIVE)]
    took = []
    for _ in range(5):
        started = time.perf_counter()
        gc.collect()
        took.append((time.perf_counter() - started) * 1000)
    del alive
    return min(took)


def main() -> None:
    """Print every figure."""
    print("an object for a task, made and dropped")
    show("struct without the collector (what the engine uses)", made(Task))
    show("out of a pool and back", best_ns(pooled, COUNT))
    show("struct with the collector", made(VisitedTask))
    show("ordinary class", made(PlainTask))
    print("size of one")
    show("struct without the collector", sys.getsizeof(Task(b"", MAIL, 0, 0, b"")), "bytes")
    plain = PlainTask(b"", MAIL, 0, 0, b"")
    show("ordinary class, with its dictionary", sys.getsizeof(plain) + sys.getsizeof(plain.__dict__), "bytes")
    print(f"a full collection with {ALIVE:,} of them alive")
    for what, kind in (("struct without", Task), ("struct with", VisitedTask), ("ordinary class", PlainTask)):
        show(what, collection_ms(kind), "ms", 1)


if __name__ == "__main__":
    main()
