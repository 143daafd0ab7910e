"""Where the rows of a partition lie."""

from typing import Any

__all__ = ["DURABLE", "VOLATILE", "Place"]

DURABLE = 0  # the tier of the store that survives
VOLATILE = 1  # the tier in memory, for queues with durability `memory`


class Place:
    """A partition's address in storage: slot, queue number, generation of its order rows, tier."""

    __slots__ = ("generation", "keys", "number", "slot", "tier")

    def __init__(self, slot: int, number: int, generation: int = 0, tier: int = DURABLE) -> None:
        self.slot = slot
        self.number = number
        self.generation = generation
        self.tier = tier
        self.keys: Any = None  # a backend may keep what it derives from the address here

    def at_generation(self, generation: int) -> "Place":
        """The same partition's rows of another generation."""
        return Place(self.slot, self.number, generation, self.tier)

    def __repr__(self) -> str:
        return (
            f"Place(slot={self.slot}, number={self.number}, generation={self.generation}, tier={self.tier})"
        )
