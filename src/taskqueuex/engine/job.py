"""A job in memory; what jobs are stands in jobs.py."""

from typing import Any

from taskqueuex.commands.call import Call
from taskqueuex.model.jobs import JobRecord
from taskqueuex.model.reads import ReadRequest

__all__ = ["Job"]


class Job:
    """A job in memory."""

    __slots__ = ("call", "gathered", "gathered_to", "id", "page", "persistent", "record", "waiting")

    def __init__(self, job_id: bytes, record: JobRecord, call: Call | None = None) -> None:
        self.id = job_id
        self.record = record
        self.call = call  # who is told when it is done
        self.page: Any = None  # the answer to its latest read
        self.gathered: dict[bytes, str] = {}  # what a step keeps for a later one; not stored
        self.gathered_to = b""
        self.persistent = True
        self.waiting: set[ReadRequest] = set()  # reads that its next step waits for

    def ask(self, read: ReadRequest) -> ReadRequest:
        """Makes a read the job's own: its answer becomes `page`."""
        read.owner = self
        return read
