"""Records to bytes and back, each behind a version byte.

To change what a record means: raise its VERSION here, keep the decoder of the old one, and
convert on read. Appending a field with a default needs no new version. The version of the
whole directory (`FORMAT`, in directory.py) is raised when keys or tables change, so that an
older server refuses what it would misread.

Rows of tokens and of the audit came after the first stores were written. They have keys of their own,
so FORMAT is what it was: an old store has none of them, and a server that is older than they are does not
look at them. It asks for no credentials, too: after going back to one, keep it from the network.
"""

from typing import Any, Generic, TypeVar

import msgspec

from taskqueuex.model.access import AuditRecord, TokenRecord
from taskqueuex.model.events import EventRecord
from taskqueuex.model.jobs import JobRecord, WorkflowRecord
from taskqueuex.model.queue import PartitionRecord, QueueRecord
from taskqueuex.model.schedule import ScheduleRecord, ScheduleState
from taskqueuex.model.task import DependencyRecord, GroupRecord, LeaseRecord, TaskRecord, TaskStatus
from taskqueuex.storage.protocol import StorageError

__all__ = [
    "AUDIT",
    "DEPENDENCY",
    "EVENTS",
    "GROUP",
    "JOB",
    "LEASE",
    "PARTITION",
    "QUEUE",
    "SCHEDULE",
    "SCHEDULE_STATE",
    "STATUS",
    "TASK",
    "TOKEN",
    "WORKFLOW",
    "Codec",
    "CorruptRecord",
]

T = TypeVar("T")

VERSION = b"\x01"


class CorruptRecord(StorageError):
    """A row that cannot be read: it was damaged, or a newer program wrote it."""


class Codec(Generic[T]):
    """Encodes one kind of record."""

    __slots__ = ("_decode", "_encode", "name")

    def __init__(self, kind: type[T]) -> None:
        self.name = kind.__name__
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(kind).decode

    def encode(self, record: T) -> bytes:
        """The bytes of a record."""
        return VERSION + self._encode(record)

    def decode(self, value: bytes) -> T:
        """The record of some bytes; raises CorruptRecord."""
        if value[:1] != VERSION:
            raise CorruptRecord(f"{self.name}: version {value[:1]!r} is not known here")
        try:
            return self._decode(memoryview(value)[1:])
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise CorruptRecord(f"{self.name}: {error}") from error


TASK: Codec[TaskRecord] = Codec(TaskRecord)
STATUS: Codec[TaskStatus] = Codec(TaskStatus)
LEASE: Codec[LeaseRecord] = Codec(LeaseRecord)
DEPENDENCY: Codec[DependencyRecord] = Codec(DependencyRecord)
GROUP: Codec[GroupRecord] = Codec(GroupRecord)
QUEUE: Codec[QueueRecord] = Codec(QueueRecord)
PARTITION: Codec[PartitionRecord] = Codec(PartitionRecord)
JOB: Codec[JobRecord] = Codec(JobRecord)
WORKFLOW: Codec[WorkflowRecord] = Codec(WorkflowRecord)
SCHEDULE: Codec[ScheduleRecord] = Codec(ScheduleRecord)
SCHEDULE_STATE: Codec[ScheduleState] = Codec(ScheduleState)
TOKEN: Codec[TokenRecord] = Codec(TokenRecord)
AUDIT: Codec[AuditRecord] = Codec(AuditRecord)
EVENTS: Codec[list[EventRecord]] = Codec(list[EventRecord])
ANY: Codec[Any] = Codec(object)
