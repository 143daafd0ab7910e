"""Work that takes more than one turn: released children, bulk changes, forgetting of parents.

A job is a row while it lasts. Each step is part of one turn's batch, its own progress included, so
a crash repeats nothing and skips nothing. Steps that need a read wait for it; others go on.
"""

from collections.abc import Callable

from taskqueuex.commands.call import Call
from taskqueuex.engine.core import Core, Need
from taskqueuex.engine.job import Job
from taskqueuex.model.jobs import JobRecord
from taskqueuex.model.place import DURABLE

__all__ = ["Job", "add_job", "finish_job", "run_jobs", "save_job"]


def add_job(core: Core, job_id: bytes, record: JobRecord, call: Call | None = None) -> Job:
    """Starts a job; one of the same id is started anew."""
    job = Job(job_id, record, call)
    core.jobs[job_id] = job
    save_job(core, job)
    return job


def save_job(core: Core, job: Job) -> None:
    """Writes where a job stands."""
    if job.persistent:
        core.batches[DURABLE].put_job(job.id, job.record)


def finish_job(core: Core, job: Job) -> None:
    """A job is done."""
    if core.jobs.get(job.id) is job:
        del core.jobs[job.id]
        if job.persistent:
            core.batches[DURABLE].delete_job(job.id)


def run_jobs(core: Core, steps: dict[str, Callable[[Core, Job], None]], most: int) -> int:
    """Runs up to `most` steps of jobs that wait for no read; returns how many could go on at once."""
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
