"""Finding tasks by a filter, in bounded pages.

Queue, state and name have indexes; a filter on anything else reads the rows of what the best index
gives, and stops after EXAMINED_MAX of them with a cursor, even if nothing was found.

A cursor is the mark of a source and the key in it to go on from. Marks are made of queue numbers and
generations, which only grow, and sources are read in their order: what is created meanwhile comes
later, what is gone is passed over, and a queue that was re-sorted is read anew. So a walk over the
pages may meet a task twice, but misses none that was there all the time.
"""

import struct
from collections.abc import Callable
from hashlib import blake2b
from typing import Protocol

from taskqueuex.model.place import Place
from taskqueuex.model.reads import TaskFilter
from taskqueuex.model.rows import DUE, GWAIT, ORDER, StoredTask
from taskqueuex.model.states import COMPLETED, READY, RETRYING, RUNNING, SCHEDULED, TERMINAL
from taskqueuex.model.task import TaskStatus
from taskqueuex.storage.protocol import Storage

__all__ = ["EXAMINED_MAX", "Stores", "select", "state_of"]

EXAMINED_MAX = 20_000
_PAGE = 500

Layout = tuple[str, bool, bool]
Source = Callable[[bytes, int], list[tuple[bytes, bytes]]]  # (start, limit) -> [(key, task id)]
_MARK = struct.Struct(">IIB")  # queue number, generation, which of its sources


class Stores(Protocol):
    """Both tiers of a node."""

    durable: Storage
    volatile: Storage

    def of(self, place: Place) -> Storage: ...
    def get_tasks(self, ids: list[bytes], *, leases: bool = False) -> dict[bytes, StoredTask]: ...


def state_of(task: StoredTask) -> int:
    """The state that the rows of a task say."""
    if task.lease is not None:
        return RUNNING
    return READY if task.status is None else task.status.state


def select(
    stores: Stores, wanted: TaskFilter, cursor: bytes, limit: int, examined_max: int = EXAMINED_MAX
) -> tuple[dict[bytes, StoredTask], bytes, int]:
    """Up to `limit` tasks that match; the cursor (empty: no more); how many were examined."""
    begun, rest = cursor[: _MARK.size], cursor[_MARK.size :]
    found: dict[bytes, StoredTask] = {}
    examined = 0
    for mark, source in _sources(stores, wanted):
        if mark < begun:
            continue
        start = rest if mark == begun else b""
        while True:
            page = min(_PAGE, examined_max - examined)
            if page <= 0:
                return found, mark + start, examined
            entries = source(start, page)
            tasks = stores.get_tasks([task_id for _, task_id in entries if task_id], leases=True)
            for key, task_id in entries:
                examined += 1
                start = key + b"\0"
                task = tasks.get(task_id)
                if task is not None and _matches(wanted, task_id, task):
                    found[task_id] = task
                    if len(found) >= limit:
                        return found, mark + start, examined
            if len(entries) < page:
                break
    return found, b"", examined


def _sources(stores: Stores, wanted: TaskFilter) -> list[tuple[bytes, Source]]:
    """In the order of their marks."""
    only = _MARK.pack(0, 0, 0)
    if wanted.ids is not None:
        ids = sorted(set(wanted.ids))
        return [(only, lambda start, limit: [(i, i) for i in ids if i >= start][:limit])]
    if wanted.workflow is not None:
        workflow = wanted.workflow
        return [
            (
                only,
                lambda start, limit: [
                    (i, i) for i in stores.durable.scan_workflow_tasks(workflow, start, limit)
                ],
            )
        ]
    sources: list[tuple[bytes, Source]] = []
    whole: set[tuple[int, int]] = set()  # slots that are read whole, which several partitions may share
    for _, place, layout in sorted(wanted.places, key=lambda each: each[1].number):
        of_place = _sources_of_place(stores.of(place), place, layout, wanted)
        if of_place is None:
            if (place.slot, place.tier) in whole:
                continue
            whole.add((place.slot, place.tier))
            of_place = [_whole_slot(stores.of(place), place.slot)]
        for at, source in enumerate(of_place):
            sources.append((_MARK.pack(place.number, place.generation, at), source))
    return sources


def _whole_slot(store: Storage, slot: int) -> Source:
    return lambda start, limit: [(i, i) for i in store.scan_tasks(slot, start, limit)]


def _ready_sources(store: Storage, place: Place, layout: Layout) -> list[Source]:
    discipline, grouped, _ = layout
    end = _inverted if discipline == "lifo" else bytes
    if not grouped:
        return [_index(store, place, ORDER, lambda key: end(key[8:]))]
    sources = [_index(store, place, GWAIT, lambda key: end(key[24:]))]
    if discipline != "round_robin":
        # Here the order index holds the first of each group, found above, and tasks of no group.
        heads = _index(store, place, ORDER, lambda key: end(key[8:]))
        sources.append(lambda start, limit: _without_groups(store, heads(start, limit)))
    return sources


def _without_groups(store: Storage, entries: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    tasks = store.get_tasks([task_id for _, task_id in entries])
    return [
        (key, task_id if (task := tasks.get(task_id)) is not None and not task.record.group else b"")
        for key, task_id in entries
    ]


def _sources_of_place(
    store: Storage, place: Place, layout: Layout, wanted: TaskFilter
) -> list[Source] | None:
    """The indexes that fit; None: the rows of its whole slot have to be read."""
    if wanted.states is not None and len(wanted.states) == 1 and wanted.name is None:
        state = wanted.states[0]
        if state == READY:
            return _ready_sources(store, place, layout)
        if state in (SCHEDULED, RETRYING):
            return [_index(store, place, DUE, lambda key: key[8:24] if key[24] == 0 else b"")]
        if state == RUNNING:
            return [lambda start, limit: [(i, i) for i in store.scan_leases(place, start, limit)]]
        if state in TERMINAL:
            return [_ended(store, place, state)]
    if wanted.name is not None:
        name_hash = blake2b(wanted.name.encode(), digest_size=16).digest()
        return [lambda start, limit: [(i, i) for i in store.scan_names(place, name_hash, start, limit)]]
    return None


def _index(store: Storage, place: Place, index: int, id_of: Callable[[bytes], bytes]) -> Source:
    return lambda start, limit: [(key, id_of(key)) for key in store.scan_index(place, index, start, limit)]


def _ended(store: Storage, place: Place, state: int) -> Source:
    def scan(start: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        rows = store.scan_ended(place, state, start, limit)
        return [(row.forget_at.to_bytes(8, "big") + row.task_id, row.task_id) for row in rows]

    return scan


def _inverted(task_id: bytes) -> bytes:
    return (int.from_bytes(task_id, "big") ^ ((1 << 128) - 1)).to_bytes(16, "big")


def _matches(wanted: TaskFilter, task_id: bytes, task: StoredTask) -> bool:
    record, status = task.record, task.status
    if record.queue_number not in wanted.numbers:
        return False
    if wanted.until and task_id >= wanted.until:
        return False
    if any(first <= task_id < below for first, below in wanted.masked):
        return False
    if wanted.states is not None and state_of(task) not in wanted.states:
        return False
    if (
        wanted.now_ms
        and status is not None
        and status.state >= COMPLETED
        and wanted.now_ms >= status.gone_at
        and not status.has_children
    ):
        return False
    if wanted.group is not None and record.group != wanted.group:
        return False
    if wanted.name is not None and record.name != wanted.name:
        return False
    if wanted.tag is not None and wanted.tag not in record.tags:
        return False
    if wanted.workflow is not None and record.workflow != wanted.workflow:
        return False
    if wanted.after is not None and record.created_at < wanted.after:
        return False
    if wanted.before is not None and record.created_at >= wanted.before:
        return False
    return wanted.error is None or (status is not None and _has_error(status, wanted.error))


def _has_error(status: TaskStatus, wanted: str) -> bool:
    """Whether it is the type of the last error, or within its message; where nothing failed, the reason."""
    if not status.errors:
        return wanted == status.reason
    error = status.errors[-1]
    return wanted == error.type or wanted in error.message
