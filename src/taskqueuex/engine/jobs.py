"""Work that takes more than one turn: released children, bulk changes, forgetting of parents.

A job is a row while it lasts. Each step is part of one turn's batch, its own progress included, so
a crash repeats nothing and skips nothing. Steps that need a read wait for it; others go on.

There may be as many jobs as there are parents that ended at the same time, so nothing here looks at
all of them: those that can go on stand in line, those that wait are found by what they wait for.
Jobs that somebody waits for have a line of their own, and are not behind the forgetting of thousands.
"""

from collections.abc import Callable
from itertools import islice

from taskqueuex.commands.call import Call
from taskqueuex.engine.core import Core, Need
from taskqueuex.engine.job import Job
from taskqueuex.model.jobs import JobRecord
from taskqueuex.model.place import DURABLE
from taskqueuex.model.reads import ReadRequest

__all__ = ["Job", "add_job", "finish_job", "read_landed", "read_replaced", "run_jobs", "save_job", "take_job"]

_TRIED_A_TURN = 250  # jobs that are looked at in a turn, though they only ask for a read
_SMALL = frozenset({"forget", "release"})  # kinds of which a step may be about a child or two
_SMALL_COST = 0.02


def add_job(core: Core, job_id: bytes, record: JobRecord, call: Call | None = None) -> Job:
    """Starts a job; one of the same id is started anew."""
    job = take_job(core, Job(job_id, record, call))
    save_job(core, job)
    return job


def take_job(core: Core, job: Job) -> Job:
    """Has a job run from now on."""
    before = core.jobs.get(job.id)
    if before is not None:
        core.background.pop(before, None)
        core.foreground.pop(before, None)
    core.jobs[job.id] = job
    _line(core, job)[job] = None
    return job


def _line(core: Core, job: Job) -> dict[Job, None]:
    return core.background if job.call is None else core.foreground


def save_job(core: Core, job: Job) -> None:
    """Writes where a job stands."""
    if job.persistent:
        core.batches[DURABLE].put_job(job.id, job.record)


def finish_job(core: Core, job: Job) -> None:
    """A job is done."""
    if core.jobs.get(job.id) is job:
        del core.jobs[job.id]
        core.background.pop(job, None)
        core.foreground.pop(job, None)
        if job.persistent:
            core.batches[DURABLE].delete_job(job.id)


def run_jobs(core: Core, steps: dict[str, Callable[[Core, Job], None]], most: int) -> None:
    """Runs up to `most` steps of each line. Jobs that are in a line afterwards could go on at once."""
    for line in (core.foreground, core.background):
        done = 0.0
        for job in list(islice(line, _TRIED_A_TURN)):
            if done >= most:
                break
            cost = _cost(job)
            try:
                steps[job.record.kind](core, job)
                done += cost
            except Need as need:
                del line[job]
                job.waiting.update(need.reads)
                for read in need.reads:
                    core.awaited.setdefault(read, []).append(job)
                core.wants.extend(need.reads)


def _cost(job: Job) -> float:
    page = job.page
    if job.record.kind not in _SMALL or not isinstance(page, list):
        return 1.0
    return max(_SMALL_COST, min(1.0, len(page) / 250))


def read_landed(core: Core, read: ReadRequest) -> None:
    """Jobs that waited for nothing else go on."""
    for job in core.awaited.pop(read, ()):
        job.waiting.discard(read)
        if not job.waiting and core.jobs.get(job.id) is job:
            _line(core, job)[job] = None


def read_replaced(core: Core, read: ReadRequest, again: ReadRequest) -> None:
    """Jobs that waited for a read wait for another in its stead."""
    for job in core.awaited.pop(read, ()):
        job.waiting.discard(read)
        job.waiting.add(again)
        core.awaited.setdefault(again, []).append(job)
