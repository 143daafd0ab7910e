"""The nine states of a task, as small integers, and their names on the wire.

Which state may follow which is the engine's business and stands in `engine/states.py`.
"""

from typing import Final

__all__ = [
    "BLOCKED",
    "CANCELLED",
    "COMPLETED",
    "DEAD",
    "EXPIRED",
    "READY",
    "RETRYING",
    "RUNNING",
    "SCHEDULED",
    "STATES",
    "STATE_NAMES",
    "STATE_NUMBERS",
    "TERMINAL",
    "WAITING",
]

SCHEDULED: Final = 0  # not due yet
BLOCKED: Final = 1  # waits for what it depends on
READY: Final = 2  # can be leased
RUNNING: Final = 3  # leased
RETRYING: Final = 4  # waits for its next attempt
COMPLETED: Final = 5
CANCELLED: Final = 6
EXPIRED: Final = 7
DEAD: Final = 8

STATES: Final = 9
STATE_NAMES: Final = (
    "scheduled",
    "blocked",
    "ready",
    "running",
    "retrying",
    "completed",
    "cancelled",
    "expired",
    "dead",
)
STATE_NUMBERS: Final = {name: number for number, name in enumerate(STATE_NAMES)}
WAITING: Final = (SCHEDULED, BLOCKED, READY, RETRYING)
TERMINAL: Final = (COMPLETED, CANCELLED, EXPIRED, DEAD)
