"""Cache-friendly data: the order of a queue as byte strings in a list, against tuples, objects and a heap.

    python benchmarks/design_map/order_keys.py

A queue's window holds some thousand keys. Each step adds one and takes the first.
"""

from __future__ import annotations

import heapq
import random
import sys
from bisect import bisect_left, insort
from functools import total_ordering

from timing import best_ns, show

WINDOW = 4_096
COUNT = 40_000


@total_ordering
class Entry:
    """An order as an object that compares itself."""

    __slots__ = ("number", "rank")

    def __init__(self, rank: int, number: int) -> None:
        self.rank = rank
        self.number = number

    def __lt__(self, other: Entry) -> bool:
        return (self.rank, self.number) < (other.rank, other.number)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Entry) and (self.rank, self.number) == (other.rank, other.number)

    def __hash__(self) -> int:
        return hash((self.rank, self.number))


def numbers() -> list[tuple[int, int]]:
    """Rank and sequence of each entry, the same in every run."""
    choose = random.Random(7)
    return [(choose.randrange(2_001), number) for number in range(WINDOW + COUNT)]


def in_list(entries: list[object]) -> float:
    """Nanoseconds per entry that is put in its place and taken from the front."""

    def run(count: int) -> None:
        window, head = sorted(entries[:WINDOW]), 0  # type: ignore[type-var]
        for entry in entries[WINDOW : WINDOW + count]:
            insort(window, entry, head)  # type: ignore[type-var]
            head += 1
            if head > 1_024:
                del window[:head]
                head = 0

    return best_ns(run, COUNT)


def in_heap(entries: list[object]) -> float:
    """The same in a binary heap, which cannot take one out of the middle."""

    def run(count: int) -> None:
        heap = entries[:WINDOW]
        heapq.heapify(heap)  # type: ignore[type-var]
        for entry in entries[WINDOW : WINDOW + count]:
            heapq.heappush(heap, entry)  # type: ignore[type-var]
            heapq.heappop(heap)  # type: ignore[type-var]

    return best_ns(run, COUNT)


def in_order(count: int) -> None:
    """Fifo: what comes is always the last, what goes always the first."""
    keys = [number.to_bytes(24, "big") for number in range(WINDOW + count)]
    window, head = keys[:WINDOW], 0
    for key in keys[WINDOW:]:
        if key > window[-1]:
            window.append(key)
        head += 1
        if head > 1_024:
            del window[:head]
            head = 0


def in_order_heap(count: int) -> None:
    """The same in a heap."""
    keys = [number.to_bytes(24, "big") for number in range(WINDOW + count)]
    heap = keys[:WINDOW]
    for key in keys[WINDOW:]:
        heapq.heappush(heap, key)
        heapq.heappop(heap)


def removal(entries: list[object]) -> float:
    """Nanoseconds to take one out of the middle of the list, and put it back."""
    window = sorted(entries[:WINDOW])  # type: ignore[type-var]

    def run(count: int) -> None:
        for entry in entries[: min(count, WINDOW)]:
            del window[bisect_left(window, entry)]  # type: ignore[type-var]
            insort(window, entry)  # type: ignore[type-var]

    return best_ns(run, WINDOW)


def main() -> None:
    """Print every figure."""
    pairs = numbers()
    keys: list[object] = [rank.to_bytes(8, "big") + number.to_bytes(16, "big") for rank, number in pairs]
    tuples: list[object] = list(pairs)
    objects: list[object] = [Entry(*pair) for pair in pairs]
    print(f"one in at a random place, first out, in a window of {WINDOW:,}: priority")
    show("byte keys in a list (what the engine uses)", in_list(keys))
    show("tuples in a list", in_list(tuples))
    show("byte keys in a heap", in_heap(keys))
    show("tuples in a heap", in_heap(tuples))
    show("objects in a heap", in_heap(objects))
    print("one in at the end, first out: fifo")
    show("byte keys in a list (what the engine uses)", best_ns(in_order, COUNT))
    show("byte keys in a heap", best_ns(in_order_heap, COUNT))
    print("one out of the middle and back, which a cancel or an edit needs")
    show("byte keys in a list", removal(keys))
    print("memory of an entry, its place in the list included")
    show("byte key", sys.getsizeof(keys[0]) + 8, "bytes")
    show("tuple with its two integers", sys.getsizeof(pairs[0]) + 2 * sys.getsizeof(1 << 20) + 8, "bytes")


if __name__ == "__main__":
    main()
