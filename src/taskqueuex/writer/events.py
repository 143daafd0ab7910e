"""The log of events: a row for each turn in which something happened, in the batch of the change itself."""

from taskqueuex.engine import Engine
from taskqueuex.model.rows import Batch

__all__ = ["EventLog"]


class EventLog:
    """Where the events of turns go."""

    __slots__ = ("_at_ms", "_count")

    def __init__(self) -> None:
        self._at_ms = 0
        self._count = 0

    def keep(self, engine: Engine, batch: Batch) -> None:
        """Adds the events of a turn to its batch."""
        stored, passing = engine.core.events
        if not stored and not passing:
            return
        at_ms = engine.core.now_ms
        if at_ms != self._at_ms:
            self._at_ms, self._count = at_ms, 0
        self._count += 1
        if stored:
            batch.put_events(at_ms.to_bytes(8, "big") + self._count.to_bytes(4, "big"), stored)
        engine.core.events = ([], [])
