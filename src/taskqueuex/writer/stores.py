"""Both tiers of a node behind one face, and how a read of the engine is run on them."""

from typing import Any

from taskqueuex.model.place import VOLATILE, Place
from taskqueuex.model.reads import (
    ReadChildren,
    ReadEnded,
    ReadFilter,
    ReadGroup,
    ReadGroups,
    ReadIndex,
    ReadLater,
    ReadRequest,
    ReadSlot,
    ReadTasks,
    ReadUnique,
    ReadWorkflow,
    ReadWorkflowTasks,
)
from taskqueuex.model.rows import StoredTask
from taskqueuex.storage import Storage
from taskqueuex.storage.query import select

__all__ = ["Tiers", "answer_inline", "run_read"]

_ALL_ONES = (1 << 128) - 1


class Tiers:
    """The store that survives, and the one in memory for queues that say so."""

    __slots__ = ("durable", "volatile")

    def __init__(self, durable: Storage, volatile: Storage) -> None:
        self.durable = durable
        self.volatile = volatile

    def of(self, place: Place) -> Storage:
        """The store of a place."""
        return self.volatile if place.tier == VOLATILE else self.durable

    def get_tasks(self, ids: list[bytes], *, leases: bool = False) -> dict[bytes, StoredTask]:
        """Tasks of either tier."""
        found = self.volatile.get_tasks(ids, leases=leases)
        absent = [task_id for task_id in ids if task_id not in found] if found else ids
        found.update(self.durable.get_tasks(absent, leases=leases))
        return found


def answer_inline(tiers: Tiers, read: ReadRequest) -> tuple[bool, Any]:
    """Answers a read on the loop where it belongs there: (whether it did, the answer).

    Single lookups do, and all that touches the tier in memory, which has no reader but the loop.
    """
    if read.inline:
        return True, run_read(tiers, read)
    place: Place | None = getattr(read, "place", None)
    if place is not None:
        return (True, run_read(tiers, read)) if place.tier == VOLATILE else (False, None)
    if isinstance(read, ReadTasks):
        found = tiers.volatile.get_tasks(read.ids)
        return len(found) == len(read.ids), found
    if isinstance(read, ReadChildren):
        rows = tiers.volatile.scan_children(read.parent, read.start, read.limit)
        return bool(rows), rows
    if isinstance(read, ReadFilter) and any(each.tier == VOLATILE for _, each, _ in read.filter.places):
        return True, run_read(tiers, read)
    return False, None


def run_read(tiers: Tiers, read: ReadRequest) -> Any:
    """The answer to a read; raises StorageError."""
    if isinstance(read, ReadTasks):
        return tiers.get_tasks(read.ids)
    if isinstance(read, ReadIndex):
        return _run_index(tiers, read)
    if isinstance(read, ReadUnique):
        return tiers.of(read.place).get_unique(read.place, read.key_hash)
    if isinstance(read, ReadGroup):
        return tiers.of(read.place).get_group(read.place, read.group_hash)
    if isinstance(read, ReadLater):
        return None
    if isinstance(read, ReadSlot):
        store = tiers.of(read.place)
        ids = [i for i in store.scan_tasks(read.place.slot, read.start, read.limit) if i < read.end]
        return ids, store.get_tasks(ids)
    if isinstance(read, ReadGroups):
        return [key for key, _ in tiers.of(read.place).scan_groups(read.place, read.start, read.limit)]
    if isinstance(read, ReadEnded):
        return tiers.of(read.place).scan_ended(read.place, read.state, read.start, read.limit)
    if isinstance(read, ReadFilter):
        return select(tiers, read.filter, read.cursor, read.limit)
    if isinstance(read, ReadChildren):
        return tiers.durable.scan_children(read.parent, read.start, read.limit)
    if isinstance(read, ReadWorkflow):
        return tiers.durable.get_workflow(read.workflow)
    assert isinstance(read, ReadWorkflowTasks)
    return tiers.durable.scan_workflow_tasks(read.workflow, read.start, read.limit)


def _run_index(tiers: Tiers, read: ReadIndex) -> tuple[list[bytes], bool, dict[bytes, StoredTask]]:
    store = tiers.of(read.place)
    keys = store.scan_index(read.place, read.index, read.start, read.limit, read.prefix)
    found: dict[bytes, StoredTask] = {}
    if read.id_at >= 0:
        ids = [key[read.id_at :] for key in keys]
        if read.inverted:
            ids = [(int.from_bytes(i, "big") ^ _ALL_ONES).to_bytes(16, "big") for i in ids]
        found = store.get_tasks(ids)
    return keys, len(keys) < read.limit, found
