"""What happens, as it is kept: one record an event, one row a turn.

The numbers are stored, and never change their meaning. Below `NOTICES` they are states that a task has
come to (`model/states.py`), from there on what happened to something else.
"""

from typing import Final

__all__ = [
    "CHANGES",
    "KINDS",
    "NOTICES",
    "QUEUE_CHANGED",
    "QUEUE_CREATED",
    "QUEUE_DELETED",
    "QUEUE_FILLED",
    "QUEUE_PAUSED",
    "QUEUE_PURGED",
    "QUEUE_RESUMED",
    "SERVER_CALM",
    "SERVER_DISK_FULL",
    "SERVER_DISK_OK",
    "SERVER_OVERLOADED",
    "SERVER_RECOVERED",
    "SERVER_STARTED",
    "SERVER_STOPPING",
    "WORKER_CAME",
    "WORKER_LEFT",
    "WORKER_QUIETED",
    "WORKER_RESUMED",
    "WORKER_STOPPED",
    "EventRecord",
]

EventRecord = tuple[int, bytes, str, int, str, str]
"""(what; a task's id, or none; the queue; the attempt; the name of the task or worker; the detail)."""

NOTICES: Final = 100
QUEUE_CREATED: Final = 100
QUEUE_CHANGED: Final = 101
QUEUE_PAUSED: Final = 102
QUEUE_RESUMED: Final = 103
QUEUE_PURGED: Final = 104
QUEUE_DELETED: Final = 105
QUEUE_FILLED: Final = 106  # with so many tasks of one large batch; they have no events of their own
WORKER_CAME: Final = 110
WORKER_LEFT: Final = 111
WORKER_QUIETED: Final = 112
WORKER_RESUMED: Final = 113
WORKER_STOPPED: Final = 114
SERVER_STARTED: Final = 120
SERVER_STOPPING: Final = 121
SERVER_RECOVERED: Final = 122
SERVER_OVERLOADED: Final = 123
SERVER_CALM: Final = 124
SERVER_DISK_FULL: Final = 125
SERVER_DISK_OK: Final = 126

KINDS: Final = ("task", "queue", "worker", "server")

CHANGES: Final = {
    QUEUE_CREATED: ("queue", "created"),
    QUEUE_CHANGED: ("queue", "changed"),
    QUEUE_PAUSED: ("queue", "paused"),
    QUEUE_RESUMED: ("queue", "resumed"),
    QUEUE_PURGED: ("queue", "purged"),
    QUEUE_DELETED: ("queue", "deleted"),
    QUEUE_FILLED: ("queue", "filled"),
    WORKER_CAME: ("worker", "came"),
    WORKER_LEFT: ("worker", "left"),
    WORKER_QUIETED: ("worker", "quieted"),
    WORKER_RESUMED: ("worker", "resumed"),
    WORKER_STOPPED: ("worker", "stopped"),
    SERVER_STARTED: ("server", "started"),
    SERVER_STOPPING: ("server", "stopping"),
    SERVER_RECOVERED: ("server", "recovered"),
    SERVER_OVERLOADED: ("server", "overloaded"),
    SERVER_CALM: ("server", "calm"),
    SERVER_DISK_FULL: ("server", "disk_full"),
    SERVER_DISK_OK: ("server", "disk_ok"),
}
"""What the numbers of notices stand for: what it is about, and what happened to it."""
