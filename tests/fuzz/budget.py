"""Runs a property on new examples until its time is over, and keeps what fails.

Each run has a new seed, which is printed. An example that fails is made as small as Hypothesis can, printed,
and written to `cases/`, where a test tries it again from then on; commit it with its repair.

    TQX_FUZZ_SECONDS    of all fuzzers together (60)
    TQX_FUZZ_SEED       one round with this seed, to see a failure again
"""

import ast
import hashlib
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

__all__ = ["CASES", "SECONDS", "cases_of", "fuzz"]

CASES: Final = Path(__file__).parent / "cases"
SECONDS: Final = float(os.environ.get("TQX_FUZZ_SECONDS", "60"))
_ROUND: Final = 400  # examples with one seed; more of them look alike

_SETTINGS: Final = settings(
    max_examples=_ROUND,
    deadline=None,
    database=None,  # cases/ is
    derandomize=False,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)


def fuzz(name: str, share: float, strategy: SearchStrategy[Any], check: Callable[[Any], None]) -> int:
    """Runs `check` on examples for its share of the time. Returns how many there were. Raises what it raises.

    An example must be made of what Python literals can say: bytes, texts, numbers, lists, tuples.
    """
    until_s = time.monotonic() + share * SECONDS
    given_seed = os.environ.get("TQX_FUZZ_SEED")
    count = 0
    last: list[Any] = [None]

    def checked(example: Any) -> None:
        nonlocal count
        count += 1
        last[0] = example
        check(example)

    while True:
        number = int(given_seed) if given_seed else secrets.randbits(48)
        print(f"{name}: TQX_FUZZ_SEED={number}", flush=True)
        try:
            seed(number)(_SETTINGS(given(strategy)(checked)))()
        except Exception:
            print(f"{name}: kept as {_keep(name, last[0])}: {last[0]!r}", flush=True)
            raise
        if given_seed or time.monotonic() >= until_s:
            print(f"{name}: {count} examples", flush=True)
            return count


def _keep(name: str, example: Any) -> str:
    text = repr(example)
    file = CASES / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.txt"
    file.write_text(text + "\n")
    return file.name


def cases_of(name: str) -> list[Any]:
    """The examples of a property that failed once."""
    return [ast.literal_eval(each.read_text()) for each in sorted(CASES.glob(f"{name}-*.txt"))]
