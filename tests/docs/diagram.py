"""The state diagram of ARCHITECTURE.md, out of the table of transitions.

python -m tests.docs.diagram     puts it into the page
"""

from __future__ import annotations

import re

from tests.docs.tour import ROOT

from taskqueuex.engine.states import TRANSITIONS
from taskqueuex.model.states import BLOCKED, READY, SCHEDULED, STATE_NAMES, TERMINAL

PAGE = ROOT / "ARCHITECTURE.md"
FENCE = re.compile(r"(?<=^```mermaid\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)


def diagram() -> str:
    """The diagram in mermaid's language. Its labels know no colon, which begins them."""
    born = [f"    [*] --> {STATE_NAMES[state]}" for state in (SCHEDULED, BLOCKED, READY)]
    edges = [
        f"    {STATE_NAMES[before]} --> {STATE_NAMES[after]}: {event.replace(': ', ', ')}"
        for before, event, after in TRANSITIONS
    ]
    ends = [f"    {STATE_NAMES[state]} --> [*]" for state in TERMINAL]
    return "\n".join(["stateDiagram-v2", *born, *edges, *ends]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(FENCE.sub(diagram(), PAGE.read_text()))
