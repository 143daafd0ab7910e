"""A timing wheel: when each connection is to be looked at next.

After G. Varghese, A. Lauck, "Hashed and hierarchical timing wheels", SOSP 1987. A tick is a second. A
connection is in one slot, and a deadline that moves further away moves nothing: when its slot is due the
connection says when it is really due, and is put there. So a request costs no timer, and a second costs
as much as connections are due in it.
"""

from collections.abc import Iterator
from typing import Protocol

__all__ = ["Watched", "Wheel"]


class Watched(Protocol):
    """What the wheel asks of a connection."""

    due: int  # the tick of the slot that it is in; the wheel's

    def on_due(self, tick: int) -> int:
        """Does what is due, and returns the tick at which to be asked again; 0: never."""
        ...


class Wheel:
    """Every connection, by when it is due. `tick` is the present second."""

    __slots__ = ("_slots", "tick")

    def __init__(self) -> None:
        self.tick = 0
        self._slots: dict[int, set[Watched]] = {}

    def __iter__(self) -> Iterator[Watched]:
        """All of them, the next due ones first. Nothing may be placed or removed meanwhile."""
        for tick in sorted(self._slots):
            yield from self._slots[tick]

    def place(self, watched: Watched, tick: int) -> None:
        """Puts a connection into the slot of a tick to come, out of the one that it was in."""
        self.remove(watched)
        watched.due = tick = max(tick, self.tick + 1)
        slot = self._slots.get(tick)
        if slot is None:
            slot = self._slots[tick] = set()
        slot.add(watched)

    def hasten(self, watched: Watched, tick: int) -> None:
        """Puts a connection into an earlier slot, if it would be asked later."""
        if watched.due > tick:
            self.place(watched, tick)

    def remove(self, watched: Watched) -> None:
        """Takes a connection out; one that is not in is no error."""
        slot = self._slots.get(watched.due)
        if slot is not None:
            slot.discard(watched)
            if not slot:
                del self._slots[watched.due]
        watched.due = 0

    def advance(self) -> None:
        """A second has passed."""
        self.tick += 1
        for watched in self._slots.pop(self.tick, ()):
            watched.due = 0
            again = watched.on_due(self.tick)
            if again:
                self.place(watched, again)
