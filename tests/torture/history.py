"""What the clients of a torture run saw: the only thing the checker looks at.

Times are seconds of `time.time()`, as the server on the same host sees them. A call's `started_s` is
before its first byte was sent and `ended_s` after its last reply was read: what the server did lies in
between. A call that was repeated after an unknown outcome is one record, with the outcome of the last try.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Outcome(StrEnum):
    """What a call is known to have done."""

    OK = "ok"
    NOT_APPLIED = "not_applied"
    """An answer that says that nothing changed, a 409 included."""
    UNKNOWN = "unknown"
    """The connection broke, or the answer said so: it may or may not have happened."""


class Spec(msgspec.Struct, frozen=True):
    """One task as a producer asked for it."""

    marker: str
    """Unique in the run, and the heart of the payload: it tells a delivered task's origin."""
    queue: str
    priority: int = 0
    group: str | None = None
    group_weight: int = 1
    delay_ms: int = 0
    unique_key: str | None = None
    max_attempts: int = 5
    depends_on: tuple[str, ...] = ()
    """Ids of tasks that must have ended, however, before this one runs."""

    def payload(self) -> dict[str, object]:
        """Return the payload that must come out exactly as it went in."""
        return {"marker": self.marker, "queue": self.queue, "text": f"\u00e9 {self.marker}" * 3}


class Enqueue(msgspec.Struct):
    """A single enqueue or a batch."""

    started_s: float
    ended_s: float
    specs: list[Spec]
    outcome: Outcome
    ids: list[str] = []
    """By spec, when the outcome is ok."""
    duplicates: list[int] = []
    """Indexes of specs for which a live task with the same unique_key was named instead."""
    tries: int = 1


class Delivery(msgspec.Struct):
    """A task handed out to a consumer."""

    started_s: float
    """When the dequeue was sent."""
    ended_s: float
    id: str
    queue: str
    attempt: int
    lease: str
    expires_s: float
    """Until when the lease held, later heartbeats included."""
    payload: object
    priority: int = 0
    group: str | None = None
    consumer: str = ""
    order: int = -1
    """The position in the final drain, where one consumer takes everything; -1 before."""


class Settlement(msgspec.Struct):
    """An ack, fail or release of one delivery."""

    started_s: float
    ended_s: float
    id: str
    attempt: int
    kind: str
    outcome: Outcome
    state: str = ""
    """The task's state by the answer."""
    run_at_s: float = 0.0
    """When a failed task may run again, by the answer; 0 when it did not say."""
    tries: int = 1


class FinalState(msgspec.Struct):
    """What GET said of a task after the drain."""

    id: str
    status: int
    state: str = ""
    attempt: int = 0


class History(msgspec.Struct):
    """All of one run."""

    disciplines: dict[str, str]
    """By queue: fifo, lifo, priority, round_robin; and `ordered` (fifo with ordered_groups)."""
    untouched: list[str] = []
    """Queues that nobody consumed before the final drain: round_robin is strict there."""
    enqueues: list[Enqueue] = []
    deliveries: list[Delivery] = []
    settlements: list[Settlement] = []
    finals: dict[str, FinalState] = {}
    kills: int = 0
    damage: list[str] = []
    """What the offline checks of the store found between two lives of the server."""
    unexpected: list[str] = []
    """Answers that should not be, and requests that a server that was up left without any."""


def describe(event: Enqueue | Delivery | Settlement | FinalState) -> str:
    """Return one line about an event, for the report on an offending task."""
    fields = {name: getattr(event, name) for name in event.__struct_fields__}
    if isinstance(event, Enqueue) and len(event.specs) > 3:
        fields |= {"specs": f"{len(event.specs)} specs", "ids": f"{len(event.ids)} ids"}
    return f"{type(event).__name__} " + " ".join(f"{name}={value}" for name, value in fields.items())
