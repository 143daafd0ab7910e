"""Work that takes more than one turn: released children, bulk changes, forgetting of parents.

A job is a row while it lasts. Each step is part of one turn's batch, its own progress included, so
a crash repeats nothing and skips nothing. Steps that need a read wait for it; others go on.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from taskqueuex.commands.call import Call
from taskqueuex.model.jobs import JobRecord
from taskqueuex.model.place import DURABLE
from taskqueuex.model.reads import ReadRequest

if TYPE_CHECKING:
    from taskqueuex.engine.core import Core

__all__ = ["Job", "add_job", "finish_job", "run_jobs", "save_job"]


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


def add_job(core: "Core", job_id: bytes, record: JobRecord, call: Call | None = None) -> Job:
    """Starts a job; one of the same id is started anew."""
    job = Job(job_id, record, call)
    core.jobs[job_id] = job
    save_job(core, job)
    return job


def save_job(core: "Core", job: Job) -> None:
    """Writes where a job stands."""
    if job.persistent:
        core.batches[DURABLE].put_job(job.id, job.record)


def finish_job(core: "Core", job: Job) -> None:
    """A job is done."""
    if core.jobs.get(job.id) is job:
        del core.jobs[job.id]
        if job.persistent:
            core.batches[DURABLE].delete_job(job.id)


def run_jobs(core: "Core", steps: dict[str, Callable[["Core", Job], None]], most: int) -> int:
    """Runs up to `most` steps of jobs that wait for no read; returns how many could go on at once."""
    from taskqueuex.engine.core import Need

    done = 0
    for job in list(core.jobs.values()):
        if job.waiting or done >= most:
            continue
        try:
            steps[job.record.kind](core, job)
            done += 1
        except Need as need:
            job.waiting.update(need.reads)
            core.wants.extend(need.reads)
    return sum(1 for job in core.jobs.values() if not job.waiting)
