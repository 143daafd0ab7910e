"""Schedules as they are kept."""

import msgspec

__all__ = ["ScheduleRecord", "ScheduleState"]


class ScheduleRecord(msgspec.Struct, array_like=True, gc=False):
    """What was asked for: the row of a schedule, written when its definition changes."""

    name: str
    created_at: int  # Unix milliseconds
    queue: str
    task: bytes  # JSON
    cron: str | None
    every_ms: int | None
    timezone: str
    overlap: str  # skip | queue
    catch_up: bool
    paused: bool = False


class ScheduleState(msgspec.Struct, array_like=True, gc=False):
    """How far a schedule is: a row of its own, small, written with every occurrence."""

    next_at: int  # the first occurrence that is not decided yet; 0: there is none
    previous: bytes = b""  # the task of the occurrence before; empty: none
    fired: int = 0
    skipped: int = 0
    missed: int = 0
    refused: int = 0
    last_at: int = 0  # when the last occurrence was due; 0: there was none
    last_outcome: str = ""  # fired | skipped | refused
    last_task: bytes = b""
    last_detail: str = ""
