"""What each program of this directory measures, the same way for all.

    python PROGRAM.py one N       N enqueues, one after another
    python PROGRAM.py many N      N enqueues in bulk, as the library has it
    python PROGRAM.py paced N R   N enqueues, R a second, each with the time at which it was made

Each prints one JSON line. In the worker, `ran` counts the tasks that do nothing; from the task numbered
WARM_UP to the last, their time goes to the file RESULT. `started` collects how long stamped tasks took to
start.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence

__all__ = ["main", "ran", "started"]

WARM_UP = 500
STAMPED_WARM_UP = 50
_begun = _begun_cpu = 0.0
_counted = 0
_waits: list[float] = []


def ran() -> None:
    """A task that does nothing has run."""
    global _begun, _begun_cpu, _counted
    _counted += 1
    if _counted == WARM_UP:
        _begun, _begun_cpu = time.perf_counter(), time.process_time()
    elif _counted == int(os.environ["COUNT"]):
        seconds, cpu = time.perf_counter() - _begun, time.process_time() - _begun_cpu
        _write({"operations": _counted - WARM_UP, "seconds": seconds, "cpu_s": cpu})


def started(made_at: float) -> None:
    """A stamped task has started."""
    _waits.append(time.time() - made_at)
    if len(_waits) == int(os.environ["COUNT"]):
        ordered = sorted(_waits[STAMPED_WARM_UP:])
        middle, high = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
        _write({"operations": len(_waits), "p50_us": middle * 1e6, "p99_us": high * 1e6})


def _write(result: dict[str, float]) -> None:
    path = os.environ["RESULT"]
    with open(path + ".new", "w") as file:
        json.dump(result, file)
    os.rename(path + ".new", path)


def main(
    one: Callable[[int], object], many: Callable[[Sequence[int]], object], stamp: Callable[[float], object]
) -> None:
    """Does what the command line says."""
    what, count = sys.argv[1], int(sys.argv[2])
    begun, cpu = time.perf_counter(), time.process_time()
    if what == "one":
        for number in range(count):
            one(number)
    elif what == "many":
        many(range(count))
    else:
        _pace(stamp, count, float(sys.argv[3]))
    result = {"operations": count, "seconds": time.perf_counter() - begun, "cpu_s": time.process_time() - cpu}
    print(json.dumps(result))


def _pace(stamp: Callable[[float], object], count: int, rate: float) -> None:
    begun = time.perf_counter()
    for number in range(count):
        due = begun + number / rate
        time.sleep(max(0.0, due - time.perf_counter()))
        stamp(time.time())
