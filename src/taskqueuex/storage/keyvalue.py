"""The storage protocol over any ordered key-value store: how records become keys.

    family  key                                            value
    task    slot id                                        TaskRecord
    status  slot id                                        TaskStatus
    lease   slot Q id                                      LeaseRecord
    order   slot Q G 'o' rank id | 'g' group rank id | slot Q 0 'd' due id kind | 'a' id
    ended   slot Q state forget_at id                      name hash, flags, workflow
            slot Q 255 name hash id                        (the name index)
    other   slot 'u' Q hash | slot 'c' parent child | slot 'r' Q G hash | slot 'p' Q
            and under slot 0xffff: 'q' name, 'j' job, 'w' workflow, 'x' workflow task,
            'i' segment hash, 'm' name, 't' tier at, 's' schedule, 'f' schedule (how far it is),
            'k' token, 'l' at tie (the audit), 'e' at tie (events)

slot u16, Q (queue number) u32, G (generation) u32, rank, due and forget_at u64, all big-endian, so
that bytes sort as numbers do. Every key begins with its slot: a slot can be handed over whole.
"""

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import msgspec

from taskqueuex.model.access import AuditRecord, TokenRecord
from taskqueuex.model.events import EventRecord
from taskqueuex.model.ids import slot_of
from taskqueuex.model.jobs import JobRecord, WorkflowRecord
from taskqueuex.model.place import Place
from taskqueuex.model.queue import PartitionRecord, QueueRecord
from taskqueuex.model.rows import DUE, Batch, EndedRow, Index, StoredTask
from taskqueuex.model.schedule import ScheduleRecord, ScheduleState
from taskqueuex.model.task import DependencyRecord, GroupRecord, LeaseRecord, TaskRecord, TaskStatus
from taskqueuex.storage import codec

__all__ = [
    "FAMILIES",
    "FAMILY_ENDED",
    "FAMILY_LEASE",
    "FAMILY_ORDER",
    "FAMILY_OTHER",
    "FAMILY_STATUS",
    "FAMILY_TASK",
    "KeyValue",
    "KeyValueBatch",
    "KeyValueStorage",
    "RowBatch",
    "after",
]

FAMILIES = ("task", "status", "lease", "order", "ended", "other")
FAMILY_TASK, FAMILY_STATUS, FAMILY_LEASE, FAMILY_ORDER, FAMILY_ENDED, FAMILY_OTHER = range(6)

_SYSTEM = b"\xff\xff"  # not a slot: what belongs to the whole node
_INDEX_TAGS = (b"o", b"g", b"d", b"a")
_U64 = struct.Struct(">Q").pack
_NAME_STATE = 255


def after(prefix: bytes) -> bytes:
    """The least key above every key that begins with `prefix`."""
    number = int.from_bytes(prefix, "big") + 1
    if number >> (8 * len(prefix)):
        return prefix + b"\xff" * 32
    return number.to_bytes(len(prefix), "big")


class RowBatch(Protocol):
    """Puts and deletes of rows, applied together."""

    def put(self, family: int, key: bytes, value: bytes) -> None: ...
    def delete(self, family: int, key: bytes) -> None: ...
    def delete_range(self, family: int, start: bytes, end: bytes) -> None: ...
    def __len__(self) -> int: ...


class KeyValue(Protocol):
    """An ordered key-value store with families. One writer; reads from any thread."""

    def new_rows(self) -> RowBatch: ...
    def write(self, rows: RowBatch) -> None: ...
    def sync(self) -> None: ...
    def get(self, family: int, key: bytes) -> bytes | None: ...
    def get_many(self, family: int, keys: list[bytes]) -> list[bytes | None]: ...
    def scan(
        self, family: int, start: bytes, end: bytes, limit: int, *, backwards: bool = False
    ) -> list[tuple[bytes, bytes]]: ...
    def checkpoint(self, path: Path) -> None: ...
    def sequence(self) -> int: ...
    def health(self) -> dict[str, float | int | str]: ...
    def close(self) -> None: ...


class _Keys:
    """The key prefixes of a place, made once."""

    __slots__ = ("ended", "groups", "indexes", "lease", "partition", "slot", "unique")

    def __init__(self, place: Place) -> None:
        slot, number = place.slot.to_bytes(2, "big"), place.number.to_bytes(4, "big")
        self.slot = slot
        self.lease = slot + number
        self.indexes = tuple(
            slot + number + (0 if index == DUE else place.generation).to_bytes(4, "big") + tag
            for index, tag in enumerate(_INDEX_TAGS)
        )
        self.ended = slot + number
        self.unique = slot + b"u" + number
        self.groups = slot + b"r" + number + place.generation.to_bytes(4, "big")
        self.partition = slot + b"p" + number


def _keys(place: Place) -> _Keys:
    keys = place.keys
    if keys is None:
        keys = place.keys = _Keys(place)
    return keys  # type: ignore[no-any-return]  # Place.keys is ours to fill


class KeyValueBatch:
    """A batch of records as a batch of rows."""

    __slots__ = ("_delete", "_put", "rows")

    def __init__(self, rows: RowBatch) -> None:
        self.rows = rows
        self._put = rows.put
        self._delete = rows.delete

    def __len__(self) -> int:
        return len(self.rows)

    def put_task(self, place: Place, task_id: bytes, record: TaskRecord) -> None:
        self._put(FAMILY_TASK, _keys(place).slot + task_id, codec.TASK.encode(record))

    def delete_task(self, place: Place, task_id: bytes) -> None:
        self._delete(FAMILY_TASK, _keys(place).slot + task_id)

    def put_status(self, place: Place, task_id: bytes, status: TaskStatus) -> None:
        self._put(FAMILY_STATUS, _keys(place).slot + task_id, codec.STATUS.encode(status))

    def delete_status(self, place: Place, task_id: bytes) -> None:
        self._delete(FAMILY_STATUS, _keys(place).slot + task_id)

    def put_lease(self, place: Place, task_id: bytes, lease: LeaseRecord) -> None:
        self._put(FAMILY_LEASE, _keys(place).lease + task_id, codec.LEASE.encode(lease))

    def delete_lease(self, place: Place, task_id: bytes) -> None:
        self._delete(FAMILY_LEASE, _keys(place).lease + task_id)

    def put_index(self, place: Place, index: Index, key: bytes) -> None:
        self._put(FAMILY_ORDER, _keys(place).indexes[index] + key, b"")

    def delete_index(self, place: Place, index: Index, key: bytes) -> None:
        self._delete(FAMILY_ORDER, _keys(place).indexes[index] + key)

    def put_ended(
        self, place: Place, state: int, forget_at: int, task_id: bytes, name_hash: bytes, has_children: bool,
        workflow: bytes,
    ) -> None:  # fmt: skip
        value = b""
        if name_hash or has_children or workflow:
            value = msgspec.msgpack.encode((name_hash, has_children, workflow))
        self._put(FAMILY_ENDED, _ended_key(place, state, forget_at, task_id), value)

    def delete_ended(self, place: Place, state: int, forget_at: int, task_id: bytes) -> None:
        self._delete(FAMILY_ENDED, _ended_key(place, state, forget_at, task_id))

    def put_name(self, place: Place, name_hash: bytes, task_id: bytes) -> None:
        self._put(FAMILY_ENDED, _name_prefix(place, name_hash) + task_id, b"")

    def delete_name(self, place: Place, name_hash: bytes, task_id: bytes) -> None:
        self._delete(FAMILY_ENDED, _name_prefix(place, name_hash) + task_id)

    def put_unique(self, place: Place, key_hash: bytes, task_id: bytes) -> None:
        self._put(FAMILY_OTHER, _keys(place).unique + key_hash, task_id)

    def delete_unique(self, place: Place, key_hash: bytes) -> None:
        self._delete(FAMILY_OTHER, _keys(place).unique + key_hash)

    def put_group(self, place: Place, group_hash: bytes, record: GroupRecord) -> None:
        self._put(FAMILY_OTHER, _keys(place).groups + group_hash, codec.GROUP.encode(record))

    def delete_group(self, place: Place, group_hash: bytes) -> None:
        self._delete(FAMILY_OTHER, _keys(place).groups + group_hash)

    def put_dependency(self, parent: bytes, child: bytes, record: DependencyRecord) -> None:
        self._put(FAMILY_OTHER, _children_prefix(parent) + child, codec.DEPENDENCY.encode(record))

    def delete_dependency(self, parent: bytes, child: bytes) -> None:
        self._delete(FAMILY_OTHER, _children_prefix(parent) + child)

    def put_queue(self, record: QueueRecord) -> None:
        self._put(FAMILY_OTHER, _SYSTEM + b"q" + record.name.encode(), codec.QUEUE.encode(record))

    def delete_queue(self, name: str) -> None:
        self._delete(FAMILY_OTHER, _SYSTEM + b"q" + name.encode())

    def put_partition(self, place: Place, record: PartitionRecord) -> None:
        self._put(FAMILY_OTHER, _keys(place).partition, codec.PARTITION.encode(record))

    def delete_partition(self, place: Place) -> None:
        self._delete(FAMILY_OTHER, _keys(place).partition)

    def put_job(self, job_id: bytes, record: JobRecord) -> None:
        self._put(FAMILY_OTHER, _SYSTEM + b"j" + job_id, codec.JOB.encode(record))

    def delete_job(self, job_id: bytes) -> None:
        self._delete(FAMILY_OTHER, _SYSTEM + b"j" + job_id)

    def put_workflow(self, workflow: bytes, record: WorkflowRecord) -> None:
        self._put(FAMILY_OTHER, _SYSTEM + b"w" + workflow, codec.WORKFLOW.encode(record))

    def delete_workflow(self, workflow: bytes) -> None:
        self._delete(FAMILY_OTHER, _SYSTEM + b"w" + workflow)

    def put_workflow_task(self, workflow: bytes, task_id: bytes) -> None:
        self._put(FAMILY_OTHER, _SYSTEM + b"x" + workflow + task_id, b"")

    def delete_workflow_task(self, workflow: bytes, task_id: bytes) -> None:
        self._delete(FAMILY_OTHER, _SYSTEM + b"x" + workflow + task_id)

    def put_schedule(self, record: ScheduleRecord) -> None:
        self._put(FAMILY_OTHER, _SYSTEM + b"s" + record.name.encode(), codec.SCHEDULE.encode(record))

    def put_schedule_state(self, name: str, state: ScheduleState) -> None:
        self._put(FAMILY_OTHER, _SYSTEM + b"f" + name.encode(), codec.SCHEDULE_STATE.encode(state))

    def delete_schedule(self, name: str) -> None:
        self._delete(FAMILY_OTHER, _SYSTEM + b"s" + name.encode())
        self._delete(FAMILY_OTHER, _SYSTEM + b"f" + name.encode())

    def put_token(self, record: TokenRecord) -> None:
        self._put(FAMILY_OTHER, _SYSTEM + b"k" + record.id.encode(), codec.TOKEN.encode(record))

    def delete_token(self, token_id: str) -> None:
        self._delete(FAMILY_OTHER, _SYSTEM + b"k" + token_id.encode())

    def put_audit(self, key: bytes, record: AuditRecord) -> None:
        self._put(FAMILY_OTHER, _SYSTEM + b"l" + key, codec.AUDIT.encode(record))

    def put_events(self, key: bytes, events: list[EventRecord]) -> None:
        self._put(FAMILY_OTHER, _SYSTEM + b"e" + key, codec.EVENTS.encode(events))

    def put_idempotent(self, segment: int, key_hash: bytes, value: bytes) -> None:
        self._put(FAMILY_OTHER, _segment_prefix(segment) + key_hash, value)

    def put_meta(self, key: str, value: bytes) -> None:
        self._put(FAMILY_OTHER, _SYSTEM + b"m" + key.encode(), value)

    def put_point(self, tier: int, at_ms: int, values: dict[str, float]) -> None:
        key = _SYSTEM + b"t" + bytes([tier]) + _U64(at_ms)
        self._put(FAMILY_OTHER, key, codec.ANY.encode(values))

    def drop_idempotent(self, segment: int) -> None:
        root = _segment_prefix(segment)
        self.rows.delete_range(FAMILY_OTHER, root, after(root))

    def drop_points(self, tier: int, before_ms: int) -> None:
        root = _SYSTEM + b"t" + bytes([tier])
        self.rows.delete_range(FAMILY_OTHER, root, root + _U64(before_ms))

    def drop_events(self, before: bytes) -> None:
        root = _SYSTEM + b"e"
        self.rows.delete_range(FAMILY_OTHER, root, root + before)

    def drop_audit(self, before_ms: int) -> None:
        root = _SYSTEM + b"l"
        self.rows.delete_range(FAMILY_OTHER, root, root + _U64(before_ms))


def _ended_key(place: Place, state: int, forget_at: int, task_id: bytes) -> bytes:
    return _keys(place).ended + bytes((state,)) + _U64(forget_at) + task_id


def _name_prefix(place: Place, name_hash: bytes) -> bytes:
    return _keys(place).ended + bytes((_NAME_STATE,)) + name_hash


def _children_prefix(parent: bytes) -> bytes:
    return slot_of(parent).to_bytes(2, "big") + b"c" + parent


def _segment_prefix(segment: int) -> bytes:
    return _SYSTEM + b"i" + segment.to_bytes(8, "big")


def _by_id(task_id: bytes) -> bytes:
    return slot_of(task_id).to_bytes(2, "big") + task_id


class KeyValueStorage:
    """Records over a KeyValue."""

    def __init__(self, rows: KeyValue) -> None:
        self.rows = rows

    def new_batch(self) -> KeyValueBatch:
        return KeyValueBatch(self.rows.new_rows())

    def write(self, batch: Batch) -> None:
        assert isinstance(batch, KeyValueBatch), "a batch is written to the store that made it"
        self.rows.write(batch.rows)

    def sync(self) -> None:
        self.rows.sync()

    def close(self) -> None:
        self.rows.close()

    def checkpoint(self, path: Path) -> None:
        self.rows.checkpoint(path)

    def sequence(self) -> int:
        return self.rows.sequence()

    def health(self) -> dict[str, float | int | str]:
        return self.rows.health()

    def _system(self, tag: bytes) -> list[tuple[bytes, bytes]]:
        prefix = _SYSTEM + tag
        found: list[tuple[bytes, bytes]] = []
        start, end = prefix, after(prefix)
        while True:
            page = self.rows.scan(FAMILY_OTHER, start, end, 1_000)
            found += [(key[3:], value) for key, value in page]
            if len(page) < 1_000:
                return found
            start = page[-1][0] + b"\0"

    def load_queues(self) -> list[QueueRecord]:
        return [codec.QUEUE.decode(value) for _, value in self._system(b"q")]

    def load_partition(self, place: Place) -> PartitionRecord | None:
        value = self.rows.get(FAMILY_OTHER, _keys(place).partition)
        return None if value is None else codec.PARTITION.decode(value)

    def load_leases(self, place: Place) -> Iterator[tuple[bytes, LeaseRecord]]:
        prefix = _keys(place).lease
        start, end = prefix, after(prefix)
        while True:
            page = self.rows.scan(FAMILY_LEASE, start, end, 1_000)
            for key, value in page:
                yield key[6:], codec.LEASE.decode(value)
            if len(page) < 1_000:
                return
            start = page[-1][0] + b"\0"

    def scan_leases(self, place: Place, start: bytes, limit: int) -> list[bytes]:
        root = _keys(place).lease
        return [key[6:] for key, _ in self.rows.scan(FAMILY_LEASE, root + start, after(root), limit)]

    def load_jobs(self) -> list[tuple[bytes, JobRecord]]:
        return [(key, codec.JOB.decode(value)) for key, value in self._system(b"j")]

    def load_schedules(self) -> list[tuple[ScheduleRecord, ScheduleState | None]]:
        states = dict(self._system(b"f"))
        return [
            (
                codec.SCHEDULE.decode(value),
                codec.SCHEDULE_STATE.decode(states[name]) if name in states else None,
            )
            for name, value in self._system(b"s")
        ]

    def load_tokens(self) -> list[TokenRecord]:
        return [codec.TOKEN.decode(value) for _, value in self._system(b"k")]

    def get_tasks(self, ids: Iterable[bytes], *, leases: bool = False) -> dict[bytes, StoredTask]:
        wanted = list(ids)
        keys = [_by_id(task_id) for task_id in wanted]
        records = self.rows.get_many(FAMILY_TASK, keys)
        statuses = self.rows.get_many(FAMILY_STATUS, keys)
        found: dict[bytes, StoredTask] = {}
        for task_id, value, status in zip(wanted, records, statuses, strict=True):
            if value is not None:
                found[task_id] = StoredTask(
                    codec.TASK.decode(value), None if status is None else codec.STATUS.decode(status), None
                )
        return self._with_leases(found) if leases else found

    def _with_leases(self, found: dict[bytes, StoredTask]) -> dict[bytes, StoredTask]:
        keys = [
            task_id[:0]
            + slot_of(task_id).to_bytes(2, "big")
            + task.record.queue_number.to_bytes(4, "big")
            + task_id
            for task_id, task in found.items()
        ]
        values = self.rows.get_many(FAMILY_LEASE, keys)
        return {
            task_id: task if value is None else task._replace(lease=codec.LEASE.decode(value))
            for (task_id, task), value in zip(found.items(), values, strict=True)
        }

    def get_unique(self, place: Place, key_hash: bytes) -> bytes | None:
        return self.rows.get(FAMILY_OTHER, _keys(place).unique + key_hash)

    def scan_unique(self, place: Place, start: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        root = _keys(place).unique
        rows = self.rows.scan(FAMILY_OTHER, root + start, after(root), limit)
        return [(key[len(root) :], task_id) for key, task_id in rows]

    def get_group(self, place: Place, group_hash: bytes) -> GroupRecord | None:
        value = self.rows.get(FAMILY_OTHER, _keys(place).groups + group_hash)
        return None if value is None else codec.GROUP.decode(value)

    def get_idempotent(self, segment: int, key_hash: bytes) -> bytes | None:
        return self.rows.get(FAMILY_OTHER, _segment_prefix(segment) + key_hash)

    def get_workflow(self, workflow: bytes) -> WorkflowRecord | None:
        value = self.rows.get(FAMILY_OTHER, _SYSTEM + b"w" + workflow)
        return None if value is None else codec.WORKFLOW.decode(value)

    def get_meta(self, key: str) -> bytes | None:
        return self.rows.get(FAMILY_OTHER, _SYSTEM + b"m" + key.encode())

    def scan_index(
        self, place: Place, index: Index, start: bytes, limit: int, prefix: bytes = b""
    ) -> list[bytes]:
        root = _keys(place).indexes[index]
        cut = len(root)
        rows = self.rows.scan(FAMILY_ORDER, root + max(start, prefix), after(root + prefix), limit)
        return [key[cut:] for key, _ in rows]

    def scan_groups(self, place: Place, start: bytes, limit: int) -> list[tuple[bytes, GroupRecord]]:
        root = _keys(place).groups
        rows = self.rows.scan(FAMILY_OTHER, root + start, after(root), limit)
        return [(key[len(root) :], codec.GROUP.decode(value)) for key, value in rows]

    def scan_ended(self, place: Place, state: int, start: bytes, limit: int) -> list[EndedRow]:
        root = _keys(place).ended + bytes((state,))
        rows = self.rows.scan(FAMILY_ENDED, root + start, after(root), limit)
        return [_ended_row(key, value) for key, value in rows]

    def scan_names(self, place: Place, name_hash: bytes, start: bytes, limit: int) -> list[bytes]:
        root = _name_prefix(place, name_hash)
        rows = self.rows.scan(FAMILY_ENDED, root + start, after(root), limit)
        return [key[len(root) :] for key, _ in rows]

    def scan_tasks(self, slot: int, start: bytes, limit: int) -> list[bytes]:
        root = slot.to_bytes(2, "big")
        rows = self.rows.scan(FAMILY_TASK, root + start, after(root), limit)
        return [key[2:] for key, _ in rows]

    def scan_children(self, parent: bytes, start: bytes, limit: int) -> list[tuple[bytes, DependencyRecord]]:
        root = _children_prefix(parent)
        rows = self.rows.scan(FAMILY_OTHER, root + start, after(root), limit)
        return [(key[len(root) :], codec.DEPENDENCY.decode(value)) for key, value in rows]

    def scan_workflows(self, before: bytes, limit: int) -> list[tuple[bytes, WorkflowRecord]]:
        root = _SYSTEM + b"w"
        end = root + before if before else after(root)
        rows = self.rows.scan(FAMILY_OTHER, root, end, limit, backwards=True)
        return [(key[3:], codec.WORKFLOW.decode(value)) for key, value in rows]

    def scan_workflow_tasks(self, workflow: bytes, start: bytes, limit: int) -> list[bytes]:
        root = _SYSTEM + b"x" + workflow
        rows = self.rows.scan(FAMILY_OTHER, root + start, after(root), limit)
        return [key[len(root) :] for key, _ in rows]

    def scan_audit(self, start: bytes, before: bytes, limit: int) -> list[tuple[bytes, AuditRecord]]:
        root = _SYSTEM + b"l"
        end = root + before if before else after(root)
        rows = self.rows.scan(FAMILY_OTHER, root + start, end, limit, backwards=True)
        return [(key[len(root) :], codec.AUDIT.decode(value)) for key, value in rows]

    def scan_events(self, start: bytes, limit: int) -> list[tuple[bytes, list[EventRecord]]]:
        root = _SYSTEM + b"e"
        rows = self.rows.scan(FAMILY_OTHER, root + start, after(root), limit)
        return [(key[len(root) :], codec.EVENTS.decode(value)) for key, value in rows]

    def newest_events(self) -> bytes:
        root = _SYSTEM + b"e"
        rows = self.rows.scan(FAMILY_OTHER, root, after(root), 1, backwards=True)
        return rows[0][0][len(root) :] if rows else b""

    def scan_points(self, tier: int, since_ms: int, limit: int) -> list[tuple[int, dict[str, float]]]:
        root = _SYSTEM + b"t" + bytes([tier])
        rows = self.rows.scan(FAMILY_OTHER, root + _U64(since_ms), after(root), limit)
        return [(int.from_bytes(key[len(root) :], "big"), codec.ANY.decode(value)) for key, value in rows]


def _ended_row(key: bytes, value: bytes) -> EndedRow:
    name_hash, has_children, workflow = msgspec.msgpack.decode(value) if value else (b"", False, b"")
    return EndedRow(int.from_bytes(key[7:15], "big"), key[15:], name_hash, has_children, workflow)
