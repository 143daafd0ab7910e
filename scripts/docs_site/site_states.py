"""The states of a task as a picture, drawn from the table of transitions.

Live states stand in a row, in the order in which a task comes through them. What leads from one to the next
is an arrow between the two; anything else between them runs above the row, on a track. States in which a task
ends are lanes below; each transition into one is an arrow down from its state, with its event in the lane.

    python scripts/docs_site/site_states.py > states.svg

Colours come from the page (`docs/assets/extra.css`), so that the picture follows light and dark.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from textwrap import wrap

from taskqueuex.engine.states import NEXT, TRANSITIONS
from taskqueuex.model.states import BLOCKED, READY, SCHEDULED, STATE_NAMES, STATES, TERMINAL

__all__ = ["picture"]

_BORN = (SCHEDULED, BLOCKED, READY)
_WALK = (BLOCKED, SCHEDULED)  # drawn first; the others follow as they are numbered

_BOX, _HIGH = 118, 58  # of a live state
_GAP = 98  # between two of them
_LEFT = 108  # where the names of lanes stand
_TRACK = 34  # from one track to the next
_LANE, _BETWEEN = 56, 22
_LETTER = 7.2  # the mean width of a letter of 13 px
_LINE = 15


@dataclass
class Edge:
    """A transition, and between which columns it runs."""

    before: int
    event: str
    after: int
    track: int = 0

    def arrow(self, path: str) -> str:
        """The line, which says what it is to a pointer that rests on it."""
        before, after = STATE_NAMES[self.before], STATE_NAMES[self.after]
        event = escape(self.event)
        return (
            f'<g class="edge" data-from="{before}" data-to="{after}" data-event="{event}">'
            f"<title>{before} to {after}: {event}</title>"
            f'<path d="{path}" marker-end="url(#tqx-head)"/></g>'
        )


def picture() -> str:
    """The SVG, for a page. Raises nothing: a new row of the table is drawn like the others."""
    return _Picture().svg()


class _Picture:
    def __init__(self) -> None:
        live = [state for state in range(STATES) if state not in TERMINAL]
        self.row = [*(each for each in _WALK if each in live), *(each for each in live if each not in _WALK)]
        edges = [Edge(*transition) for transition in TRANSITIONS]
        between = [edge for edge in edges if edge.before in self.row and edge.after in self.row]
        self.direct = [edge for edge in between if self._is_step(edge)]
        self.above = [edge for edge in between if not self._is_step(edge)]
        self.ending = [edge for edge in edges if edge.after in TERMINAL]
        self.revived = [edge for edge in edges if edge.before in TERMINAL]
        self.ports = self._shared_out()
        self.tracks = self._lay_tracks()
        self.top = 24 + self.tracks * _TRACK
        self.width = self._right() + 8
        self.height = self._lane_top(TERMINAL[-1]) + _LANE + 2

    def svg(self) -> str:
        drawn = [
            *(self._along_track(number, edge) for number, edge in enumerate(self.above)),
            *(self._step(edge) for edge in self.direct),
            *(self._down(edge) for edge in self.ending),
            *(self._up(edge) for edge in self.revived),
        ]
        # Lines first: lanes hide those that go on to the next lane, words hide what they stand on.
        lines = "".join(line for line, _ in drawn)
        texts = "".join(text for _, text in drawn)
        return (
            f'<svg class="tqx-states" viewBox="0 0 {self.width:.0f} {self.height:.0f}" role="img" '
            'xmlns="http://www.w3.org/2000/svg" aria-label="The states of a task and what leads from one '
            'to another">'
            '<defs><marker id="tqx-head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
            'markerHeight="7" orient="auto"><path d="M0,0.5 L8,4 L0,7.5 z"/></marker></defs>'
            f"{lines}{self._lanes()}{self._names()}{texts}{self._births()}</svg>"
        )

    # Where things are

    def _is_step(self, edge: Edge) -> bool:
        return (edge.before, edge.after) in set(pairwise(self.row))

    def _x(self, state: int) -> float:
        return _LEFT + self.row.index(state) * (_BOX + _GAP)

    def _shared_out(self) -> dict[tuple[int, str], float]:
        """At which x each end of an edge above the row leaves or enters its state: left ends on the left."""
        ends: dict[int, list[tuple[float, int, str]]] = {state: [] for state in self.row}
        for number, edge in enumerate(self.above):
            for state, other, end in (
                (edge.before, edge.after, "out"),
                (edge.after, edge.before, "in"),
            ):
                # One that comes back to where it began takes the middle, its ends beside each other.
                ends[state].append((self._x(other) - self._x(state), number, end))
        found = {}
        for state, those in ends.items():
            those.sort()
            room = _BOX - 30  # the corner is where a task may begin
            for place, (_, number, end) in enumerate(those):
                found[number, end] = self._x(state) + 24 + room * (place + 0.5) / len(those)
        return found

    def _lay_tracks(self) -> int:
        """Gives each edge the lowest track that is free along it, short ones first. Returns their number."""
        taken: list[list[tuple[float, float]]] = []
        spans = {number: self._span(number) for number in range(len(self.above))}
        for number in sorted(spans, key=lambda each: spans[each][1] - spans[each][0]):
            low, high = spans[number]
            track = 0
            while track < len(taken) and any(low < end and begin < high for begin, end in taken[track]):
                track += 1
            if track == len(taken):
                taken.append([])
            taken[track].append((low, high))
            self.above[number].track = track
        return len(taken)

    def _span(self, number: int) -> tuple[float, float]:
        begin, end = sorted((self.ports[number, "out"], self.ports[number, "in"]))
        half = max((end - begin) / 2, len(self.above[number].event) * _LETTER / 2)
        middle = self._middle(self.above[number].event, begin, end)
        return middle - half - 8, middle + half + 8

    def _middle(self, event: str, begin: float, end: float) -> float:
        """Of an edge's words: that of the edge, where they do not leave the picture there."""
        half = len(event) * _LETTER / 2
        return min((begin + end) / 2, self._right() - half)

    def _right(self) -> float:
        return _LEFT + len(self.row) * (_BOX + _GAP) - _GAP / 2

    def _lane_top(self, state: int) -> float:
        return self.top + _HIGH + 36 + TERMINAL.index(state) * (_LANE + _BETWEEN)

    def _drop(self, state: int, lane: int) -> float:
        """Where the arrow from a state down to a lane runs: each lane has its own x in the column."""
        return self._x(state) + 14 + TERMINAL.index(lane) * 10

    # What is drawn

    def _along_track(self, number: int, edge: Edge) -> tuple[str, str]:
        begin, end = self.ports[number, "out"], self.ports[number, "in"]
        height = self.top - 22 - edge.track * _TRACK
        turn = 6 if end > begin else -6
        path = (
            f"M{begin:.1f},{self.top} V{height + 6} q0,-6 {turn},-6 H{end - turn:.1f} q{turn},0 {turn},6 "
            f"V{self.top - 1}"
        )
        return edge.arrow(path), _text(self._middle(edge.event, begin, end), height - 5, edge.event)

    def _step(self, edge: Edge) -> tuple[str, str]:
        begin, end = self._x(edge.before) + _BOX, self._x(edge.after) - 1
        middle = self.top + _HIGH / 2
        lines = wrap(edge.event, 13)
        above = lines[: (len(lines) + 1) // 2]
        below = lines[len(above) :]
        texts = [
            _text((begin + end) / 2, middle - 6 - _LINE * (len(above) - 1 - place), line)
            for place, line in enumerate(above)
        ]
        texts += [
            _text((begin + end) / 2, middle + 16 + _LINE * place, line) for place, line in enumerate(below)
        ]
        return edge.arrow(f"M{begin:.1f},{middle} H{end:.1f}"), "".join(texts)

    def _down(self, edge: Edge) -> tuple[str, str]:
        x, lane = self._drop(edge.before, edge.after), self._lane_top(edge.after)
        lines = wrap(edge.event, 28)
        first = lane + _LANE / 2 + 4 - _LINE * (len(lines) - 1) / 2
        texts = [
            _text(self._x(edge.before) + 6, first + _LINE * place, line, "start", "in-lane")
            for place, line in enumerate(lines)
        ]
        return edge.arrow(f"M{x},{self.top + _HIGH} V{lane - 1}"), "".join(texts)

    def _up(self, edge: Edge) -> tuple[str, str]:
        """Back to life: up through the column of the state, on its right."""
        x, lane = self._x(edge.after) + _BOX + 24, self._lane_top(edge.before)
        foot = self.top + _HIGH / 2 + 22
        path = f"M{x},{lane} V{foot + 6} q0,-6 -6,-6 H{self._x(edge.after) + _BOX + 1}"
        return edge.arrow(path), _text(x, lane + _LANE / 2 + 4, edge.event, "middle", "in-lane")

    def _lanes(self) -> str:
        drawn = []
        for state in TERMINAL:
            top = self._lane_top(state)
            name = STATE_NAMES[state]
            drawn.append(
                f'<g class="lane" data-state="{name}"><rect class="{name}" x="1" y="{top}" '
                f'width="{self.width - 2}" height="{_LANE}" rx="8"/>'
                f'<text class="name" x="10" y="{top + _LANE / 2 + 4}">{name}</text></g>'
            )
        return "".join(drawn)

    def _names(self) -> str:
        return "".join(
            f'<g class="state" data-state="{STATE_NAMES[state]}"><rect class="{STATE_NAMES[state]}" '
            f'x="{self._x(state)}" y="{self.top}" width="{_BOX}" height="{_HIGH}" rx="8"/>'
            f'<text class="name" text-anchor="middle" x="{self._x(state) + _BOX / 2}" '
            f'y="{self.top + _HIGH / 2 + 5}">{STATE_NAMES[state]}</text></g>'
            for state in self.row
        )

    def _births(self) -> str:
        """A dot, where a task may begin."""
        return "".join(
            f'<circle class="born" data-to="{STATE_NAMES[state]}" cx="{self._x(state) + 14}" cy="{self.top}" '
            'r="5"/>'
            for state in _BORN
        )


def _text(x: float, y: float, words: str, anchor: str = "middle", kind: str = "between") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


assert all(NEXT[state] or state in TERMINAL for state in range(STATES))  # nothing live is a dead end


if __name__ == "__main__":
    sys.stdout.write(picture() + "\n")
