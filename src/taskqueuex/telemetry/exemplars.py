"""Exemplars: for each exposed bucket of a histogram, the trace of the latest value that fell into it.

They lead from "one in a hundred waits for ten seconds" to a task that did. Kept for what is traced and
sampled only: whatever else there is to say of a value has no bound. See
https://prometheus.io/docs/specs/om/open_metrics_spec/#exemplars.
"""

from __future__ import annotations

import re
from bisect import bisect_left

import msgspec

__all__ = ["BOUNDS_S", "Exemplar", "Exemplars"]

BOUNDS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0, 600.0)
"""Upper bounds of the exposed buckets in seconds: from a fast request to a long run; +Inf follows."""

_BOUNDS_US = [round(bound * 1_000_000) for bound in BOUNDS_S]
# https://www.w3.org/TR/trace-context/#traceparent-header: version, trace, span, flags.
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?").fullmatch
_FLAGS = slice(53, 55)


class Exemplar(msgspec.Struct, frozen=True):
    """A value and the trace that it is from."""

    value_us: int
    at_ms: int
    trace_id: str


class Exemplars:
    """Those of one histogram."""

    __slots__ = ("_latest",)

    def __init__(self) -> None:
        self._latest: list[Exemplar | None] = [None] * (len(BOUNDS_S) + 1)

    def note(self, value_us: int, at_ms: int, traceparent: str) -> None:
        """A value was recorded within a trace; what is not a sampled one's `traceparent` is passed over."""
        found = _TRACEPARENT(traceparent)
        if found is not None and int(traceparent[_FLAGS], 16) & 1:
            self._latest[bisect_left(_BOUNDS_US, value_us)] = Exemplar(value_us, at_ms, found[1])

    def snapshot(self) -> tuple[Exemplar | None, ...]:
        """By bucket, that beyond the last bound included; None where there is none."""
        return tuple(self._latest)
