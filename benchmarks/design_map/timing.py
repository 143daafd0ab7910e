"""How the scripts of this directory take a time: the best of several rounds, which noise only lengthens."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

ROUNDS = 7


def best_ns(function: Callable[[int], object], count: int, rounds: int = ROUNDS) -> float:
    """Nanoseconds per operation of `function(count)`, which does `count` of them."""
    best = float("inf")
    gc.collect()
    for _ in range(rounds):
        started = time.perf_counter_ns()
        function(count)
        best = min(best, (time.perf_counter_ns() - started) / count)
    return best


def show(what: str, value: float, unit: str = "ns", digits: int = 0) -> None:
    """One line of a result."""
    print(f"  {what:<62}{value:>12,.{digits}f} {unit}")
