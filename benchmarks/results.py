"""What a scenario returns: figures, the bars set for them, notes."""

from __future__ import annotations

import msgspec

from measure import Figures


class Bar(msgspec.Struct):
    """One figure against the limit set for it."""

    what: str
    measured: float
    limit: float
    unit: str
    at_least: bool = False
    """The measured figure must reach the limit; otherwise it must stay at or below it."""

    @property
    def met(self) -> bool:
        """Whether the bar is reached."""
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit


class Result(msgspec.Struct):
    """All of one scenario."""

    name: str
    what: str
    figures: list[Figures] = []
    bars: list[Bar] = []
    notes: list[str] = []


class Scale(msgspec.Struct, frozen=True):
    """How much to measure."""

    seconds: float
    rounds: int
    backlog: int
