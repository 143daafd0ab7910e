"""Groups: fairness and order by key.

In a queue that looks at groups (round_robin, ordered_groups, max_running_per_group) the order
index holds one key for each group that may be served now, and each group keeps its own waiting
tasks in an index of its own, hot window over cold tail like any other:

    plain disciplines   the group's key is that of its first task, so the order across groups is
                        the discipline's, and a group at its limit is simply not in the index
    round_robin         the key is the group's turn: the groups form a ring. One that has been served
                        as often as its weight says, or that was empty, goes to the end of the ring
                        (deficit round robin with unit cost; Shreedhar and Varghese, 1995)
"""

from taskqueuex.engine.window import Window
from taskqueuex.model.queue import QueueConfig
from taskqueuex.model.task import GroupRecord

__all__ = ["Group", "may_run"]

GROUP_WIDTH = 64


class Group:
    """A group that has, or lately had, tasks that wait, run or retry."""

    __slots__ = ("hash", "record", "window")

    def __init__(self, group_hash: bytes, record: GroupRecord, width: int = GROUP_WIDTH) -> None:
        self.hash = group_hash
        self.record = record
        self.window = Window(width, record.waiting)

    @property
    def idle(self) -> bool:
        """Whether it has no task that matters to it; its row need not be kept."""
        record = self.record
        return not (record.waiting or record.running or record.retrying)


def may_run(record: GroupRecord, config: QueueConfig) -> bool:
    """Whether the limits of groups let another task of a group run."""
    if not record.name and config.discipline == "round_robin":
        return True  # no group, no restriction
    if config.ordered_groups and (record.running or record.retrying):
        return False
    limit = config.max_running_per_group
    return limit is None or record.running < limit
