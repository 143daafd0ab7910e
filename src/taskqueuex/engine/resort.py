"""A changed discipline applied to what waits.

The partition's order rows move, slice by slice, from one generation to the next: each slice reads
rows of the old layout, loads their tasks, and enters them under the new one. Meanwhile nothing is
handed out of the partition; what is enqueued goes straight to the new generation, all of it cold.
"""

from taskqueuex.engine.core import Core, Need, Partition, Queue
from taskqueuex.engine.disciplines import id_of
from taskqueuex.engine.jobs import Job, add_job, finish_job
from taskqueuex.errors import Conflict
from taskqueuex.model.jobs import JobRecord
from taskqueuex.model.queue import layout_of
from taskqueuex.model.reads import ReadIndex
from taskqueuex.model.rows import AGE, GWAIT, ORDER
from taskqueuex.model.states import READY

__all__ = ["begin", "prepare", "step_resort"]


def prepare(core: Core, queue: Queue) -> None:
    """Checks that a queue can change its order now; raises Conflict."""
    if any(sum(partition.counts[READY:5]) for partition in queue.partitions):
        raise Conflict("discipline: not yet possible while tasks wait")


def begin(core: Core, queue: Queue) -> None:
    """Moves an empty queue to the new layout."""
    for partition in queue.partitions:
        core.relayout(partition)


def step_resort(core: Core, job: Job) -> None:
    """Placeholder of the next commit."""
    finish_job(core, job)

