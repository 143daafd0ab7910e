"""The sizes that requests are held to, in one place. Beyond them: 422, or 413 for whole bodies."""

from typing import Annotated, Any

import msgspec

__all__ = [
    "BATCH_MAX",
    "BODY_BYTES_MAX",
    "DURATION_MS_MAX",
    "LABEL_BYTES_MAX",
    "PARENTS_MAX",
    "PAYLOAD_BYTES_MAX",
    "REPLY_BYTES_MAX",
    "DequeueMax",
    "DurationMs",
    "EntryName",
    "GroupWeight",
    "Instant",
    "Label",
    "MaxAgeMs",
    "PositiveMs",
    "Priority",
    "QueueName",
    "TaskId",
    "WaitMs",
    "WorkerName",
]

PAYLOAD_BYTES_MAX = 1 << 20
BODY_BYTES_MAX = 16 << 20
REPLY_BYTES_MAX = 16 << 20
BATCH_MAX = 10_000
PARENTS_MAX = 1_000
LABEL_BYTES_MAX = 256
TAGS_MAX = 32
TAG_BYTES_MAX = 64
META_MAX = 32
META_BYTES_MAX = 4096
DURATION_MS_MAX = 10 * 366 * 86_400_000
INSTANT_MAX = 253_402_300_799_999  # the end of the year 9999


def _meta(**kwargs: Any) -> msgspec.Meta:
    return msgspec.Meta(**kwargs)


# `$` alone would let a trailing newline pass, in Python.
QueueName = Annotated[
    str, _meta(pattern=r"^[A-Za-z0-9._-]{1,128}$(?!\n)", description="1 to 128 of A-Z a-z 0-9 . _ -")
]
WorkerName = Annotated[str, _meta(min_length=1, max_length=LABEL_BYTES_MAX, description="at most 256 bytes")]
TaskId = Annotated[
    str,
    _meta(
        pattern=r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-7[0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}$(?!\n)",
        description="A task's id: a UUIDv7",
    ),
]
Label = Annotated[str, _meta(max_length=LABEL_BYTES_MAX, description="at most 256 bytes")]
EntryName = Annotated[str, _meta(min_length=1, max_length=LABEL_BYTES_MAX)]
Priority = Annotated[int, _meta(ge=-1000, le=1000, description="higher is served first")]
GroupWeight = Annotated[int, _meta(ge=1, le=100)]
DurationMs = Annotated[int, _meta(ge=0, le=DURATION_MS_MAX, description="milliseconds")]
PositiveMs = Annotated[int, _meta(ge=1, le=DURATION_MS_MAX, description="milliseconds")]
Instant = Annotated[int, _meta(ge=0, le=INSTANT_MAX, description="Unix milliseconds")]
MaxAgeMs = Annotated[int, _meta(ge=0, le=60_000, description="milliseconds, of an answer that is shared")]
WaitMs = Annotated[int, _meta(ge=0, le=60_000, description="milliseconds, at most one minute")]
DequeueMax = Annotated[int, _meta(ge=1, le=1_000)]
