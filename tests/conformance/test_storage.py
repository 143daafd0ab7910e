"""One suite over every backend of the storage protocol."""

import contextlib
import random

import msgspec
import pytest

from taskqueuex.model.access import AuditRecord, RateRecord, TokenRecord
from taskqueuex.model.ids import IdGenerator
from taskqueuex.model.jobs import JobRecord, WorkflowRecord
from taskqueuex.model.place import Place
from taskqueuex.model.queue import PartitionRecord, QueueConfig, QueueRecord
from taskqueuex.model.rows import AGE, DUE, GWAIT, ORDER
from taskqueuex.model.schedule import ScheduleRecord, ScheduleState
from taskqueuex.model.task import (
    DependencyRecord,
    ErrorRecord,
    GroupRecord,
    HistoryRecord,
    LeaseRecord,
    TaskRecord,
    TaskStatus,
)
from taskqueuex.storage import memory_storage, open_rocks
from taskqueuex.storage.check import check_storage

INDEXES = [ORDER, GWAIT, DUE, AGE]


@pytest.fixture(params=["memory", "rocksdb"])
def storage(request, tmp_path):
    store = memory_storage() if request.param == "memory" else open_rocks(tmp_path / "db", "small")
    yield store
    store.close()


def ids_of(slot: int, count: int) -> list[bytes]:
    generator = IdGenerator(random.Random(slot).getrandbits)
    return [generator.next(slot, 1_700_000_000_000) for _ in range(count)]


def commit(storage, fill) -> None:
    batch = storage.new_batch()
    fill(batch)
    storage.write(batch)
    storage.sync()


@contextlib.contextmanager
def writing(storage):
    """A batch that is committed when the block ends."""
    batch = storage.new_batch()
    yield batch
    storage.write(batch)
    storage.sync()


def test_a_task_comes_back_as_it_was_put_with_its_status_and_lease(storage):
    place, (task_id, other) = Place(7, 3), ids_of(7, 2)
    record = TaskRecord(
        3,
        1,
        "name",
        -5,
        "group",
        2,
        3,
        4,
        5,
        6,
        7,
        None,
        ((other, 1),),
        "key",
        ("t",),
        {"a": "b"},
        0,
        True,
        other,
        b'{"x": [1, 2.50]}',
    )
    status = TaskStatus(
        4,
        2,
        1,
        9,
        result=b"[]",
        errors=[ErrorRecord(1, 2, "T", "m", "tb", "w")],
        history=[HistoryRecord(1, "failed", 2)],
    )
    lease = LeaseRecord(3, "3-ffffffffffffffff", 10, 20, 10, 0, "w", True, b"0.5")

    def fill(batch):
        batch.put_task(place, task_id, record)
        batch.put_status(place, task_id, status)
        batch.put_lease(place, task_id, lease)

    commit(storage, fill)
    assert storage.get_tasks([task_id, other], leases=True) == {task_id: (record, status, lease)}
    assert storage.get_tasks([task_id])[task_id].lease is None
    assert list(storage.load_leases(place)) == [(task_id, lease)]
    assert storage.scan_leases(place, b"", 10) == [task_id]


def test_nothing_of_a_batch_is_there_before_it_is_written_and_all_is_after(storage):
    place, ids = Place(1, 1), ids_of(1, 50)
    batch = storage.new_batch()
    for task_id in ids:
        batch.put_task(place, task_id, TaskRecord(1, 0))
        batch.put_index(place, ORDER, bytes(8) + task_id)
    assert len(batch) == 100
    assert storage.get_tasks(ids) == {} and storage.scan_index(place, ORDER, b"", 100) == []
    storage.write(batch)
    assert list(storage.get_tasks(ids)) == ids
    assert storage.scan_index(place, ORDER, b"", 100) == [bytes(8) + task_id for task_id in ids]


def test_later_operations_of_a_batch_win(storage):
    place, (task_id,) = Place(1, 1), ids_of(1, 1)

    def fill(batch):
        batch.put_unique(place, b"h" * 16, b"x" * 16)
        batch.put_unique(place, b"h" * 16, task_id)
        batch.put_index(place, AGE, task_id)
        batch.delete_index(place, AGE, task_id)

    commit(storage, fill)
    assert storage.get_unique(place, b"h" * 16) == task_id
    assert storage.scan_unique(place, b"", 10) == [(b"h" * 16, task_id)]
    assert storage.scan_unique(Place(1, 2), b"", 10) == []
    assert storage.scan_index(place, AGE, b"", 10) == []


def test_a_record_may_change_after_it_was_put(storage):
    place, (task_id,) = Place(1, 1), ids_of(1, 1)
    batch = storage.new_batch()
    record = TaskRecord(1, 0, payload=b"1")
    batch.put_task(place, task_id, record)
    record.payload = b"2"
    storage.write(batch)
    assert storage.get_tasks([task_id])[task_id].record.payload == b"1"


def test_indexes_of_different_places_and_generations_do_not_touch(storage):
    places = [Place(1, 1), Place(1, 2), Place(2, 1), Place(1, 1, 1), Place(1, 256), Place(256, 1)]
    keys = {place: bytes([at]) * 24 for at, place in enumerate(places)}

    def fill(batch):
        for place, key in keys.items():
            for index in (ORDER, GWAIT, AGE):
                batch.put_index(place, index, key)

    commit(storage, fill)
    for place, key in keys.items():
        for index in (ORDER, GWAIT, AGE):
            assert storage.scan_index(place, index, b"", 10) == [key]


def test_due_rows_are_the_same_in_every_generation(storage):
    key = b"d" * 25
    commit(storage, lambda batch: batch.put_index(Place(1, 1, 0), DUE, key))
    assert storage.scan_index(Place(1, 1, 5), DUE, b"", 10) == [key]


def test_a_scan_starts_at_its_start_stops_at_its_limit_and_keeps_to_its_prefix(storage):
    place = Place(3, 9)
    keys = [bytes([group]) * 16 + bytes([at]) * 24 for group in range(3) for at in range(10)]

    def fill(batch):
        for key in reversed(keys):
            batch.put_index(place, GWAIT, key)

    commit(storage, fill)
    assert storage.scan_index(place, GWAIT, b"", 100) == keys
    assert storage.scan_index(place, GWAIT, keys[4], 3) == keys[4:7]
    assert storage.scan_index(place, GWAIT, keys[4] + b"\0", 3) == keys[5:8]
    assert storage.scan_index(place, GWAIT, b"", 100, bytes([1]) * 16) == keys[10:20]
    assert storage.scan_index(place, GWAIT, keys[15], 100, bytes([1]) * 16) == keys[15:20]
    highest = b"\xff" * 40
    commit(storage, lambda batch: batch.put_index(place, GWAIT, highest))
    assert storage.scan_index(place, GWAIT, keys[-1], 5) == [keys[-1], highest]


def test_queues_partitions_groups_jobs_and_workflows_come_back(storage):
    place, (one, two, three) = Place(4, 4), ids_of(4, 3)
    queue = QueueRecord("q.x", QueueConfig(discipline="lifo", max_tasks=3), True, 5, [(4, 4)])
    partition = PartitionRecord(
        "q.x",
        [1, 2, 3, 4, 5, 6, 7, 8, 9],
        2,
        last_id=one,
        resort=b"moves",
        resort_layout=("fifo", True, False),
    )

    def fill(batch):
        batch.put_queue(queue)
        batch.put_partition(place, partition)
        batch.put_group(place, b"g" * 16, GroupRecord("g", 2, 3, 1, 5, 1, 0, b"h" * 24))
        batch.put_job(b"job1", JobRecord("sweep", 1, filter={"queue": "q.x"}, ids=[one]))
        for at, workflow in enumerate((one, two, three)):
            batch.put_workflow(workflow, WorkflowRecord(f"w{at}", at, 1, {"a": one}))
            batch.put_workflow_task(workflow, two)
        batch.put_meta("k", b"v")

    commit(storage, fill)
    assert storage.load_queues() == [queue]
    assert storage.load_partition(place) == partition
    assert storage.get_group(place, b"g" * 16).head == b"h" * 24
    assert [key for key, _ in storage.scan_groups(place, b"", 10)] == [b"g" * 16]
    assert storage.scan_groups(place, b"g" * 16 + b"\0", 10) == []
    assert storage.load_jobs() == [(b"job1", JobRecord("sweep", 1, filter={"queue": "q.x"}, ids=[one]))]
    assert [record.name for _, record in storage.scan_workflows(b"", 2)] == ["w2", "w1"]
    assert [record.name for _, record in storage.scan_workflows(two, 2)] == ["w0"]
    assert storage.get_workflow(two).name == "w1" and storage.get_workflow(b"?" * 16) is None
    assert storage.scan_workflow_tasks(one, b"", 10) == [two]
    assert storage.get_meta("k") == b"v" and storage.get_meta("x") is None

    def clear(batch):
        batch.delete_queue("q.x")
        batch.delete_partition(place)
        batch.delete_group(place, b"g" * 16)
        batch.delete_job(b"job1")
        batch.delete_workflow(one)
        batch.delete_workflow_task(one, two)

    commit(storage, clear)
    assert (storage.load_queues(), storage.load_partition(place), storage.load_jobs()) == ([], None, [])
    assert storage.get_workflow(one) is None and storage.scan_workflow_tasks(one, b"", 10) == []


def test_schedules_come_back_by_name_each_with_how_far_it_is(storage):
    records = [
        ScheduleRecord(name, 5, "q", b'{"payload":1.50}', "* * * * *", None, "UTC", "skip", True)
        for name in ("b", "a")
    ]
    state = ScheduleState(60_000, b"i" * 16, 1, 2, 3, 4, 5, "fired", b"i" * 16, "why")
    with writing(storage) as batch:
        for record in records:
            batch.put_schedule(record)
        batch.put_schedule_state("a", state)
        batch.put_schedule_state("gone", state)
    assert storage.load_schedules() == [(records[1], state), (records[0], None)]
    with writing(storage) as batch:
        batch.delete_schedule("a")
    assert storage.load_schedules() == [(records[0], None)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cron": "* * * * *"}, "exactly one"),
        ({"every_ms": None}, "exactly one"),
        ({"every_ms": 7_000}, "between its occurrences"),
        (None, "how far it is"),
    ],
)
def test_the_check_finds_what_is_wrong_with_a_schedule(storage, change, said):
    record = ScheduleRecord("a", 5, "q", b"{}", None, 1_000, "UTC", "skip", True)
    with writing(storage) as batch:
        batch.put_schedule(record)
        batch.put_schedule_state("a", ScheduleState(60_000))
    assert check_storage(storage).problems == []
    with writing(storage) as batch:
        if change is None:
            batch.delete_schedule("a")
            batch.put_schedule(record)
        else:
            batch.put_schedule(msgspec.structs.replace(record, **change))
    (problem,) = check_storage(storage).problems
    assert said in problem


def test_ended_rows_sort_by_time_within_their_state_and_names_by_id(storage):
    place, ids = Place(5, 5), ids_of(5, 6)

    def fill(batch):
        for at, task_id in enumerate(ids):
            batch.put_ended(place, 5 + at % 2, 1_000 - at, task_id, b"n" * 16 if at else b"", at == 2, b"")
            batch.put_name(place, b"n" * 16, task_id)

    commit(storage, fill)
    rows = storage.scan_ended(place, 5, b"", 10)
    assert [(row.forget_at, row.task_id) for row in rows] == [(1_000 - at, ids[at]) for at in (4, 2, 0)]
    assert [row.has_children for row in rows] == [False, True, False] and rows[2].name_hash == b""
    assert storage.scan_names(place, b"n" * 16, b"", 10) == ids
    commit(storage, lambda batch: batch.delete_ended(place, 5, 996, ids[4]))
    assert len(storage.scan_ended(place, 5, b"", 10)) == 2


def test_edges_lie_under_their_parent(storage):
    parent, *children = ids_of(6, 8)

    def fill(batch):
        for at, child in enumerate(children):
            batch.put_dependency(parent, child, DependencyRecord(at % 3, at % 2 == 0))

    commit(storage, fill)
    page = storage.scan_children(parent, b"", 4)
    assert [child for child, _ in page] == children[:4] and page[1][1] == DependencyRecord(1, False)
    assert [child for child, _ in storage.scan_children(parent, children[3] + b"\0", 100)] == children[4:]
    commit(storage, lambda batch: batch.delete_dependency(parent, children[0]))
    assert len(storage.scan_children(parent, b"", 100)) == 6


def test_a_segment_of_idempotency_keys_is_dropped_whole(storage):
    def fill(batch):
        for at in range(20):
            batch.put_idempotent(1, bytes([at]) * 16, b"one")
            batch.put_idempotent(2, bytes([at]) * 16, b"two")

    commit(storage, fill)
    commit(storage, lambda batch: batch.drop_idempotent(1))
    assert storage.get_idempotent(1, bytes([3]) * 16) is None
    assert storage.get_idempotent(2, bytes([3]) * 16) == b"two"


def test_points_of_a_tier_come_in_order_and_the_old_are_dropped(storage):
    def fill(batch):
        for at in (30, 10, 20):
            batch.put_point(1, at, {"x": float(at)})
        batch.put_point(2, 10, {"y": 1.0})

    commit(storage, fill)
    assert storage.scan_points(1, 15, 10) == [(20, {"x": 20.0}), (30, {"x": 30.0})]
    commit(storage, lambda batch: batch.drop_points(1, 25))
    assert storage.scan_points(1, 0, 10) == [(30, {"x": 30.0})] and len(storage.scan_points(2, 0, 10)) == 1


def test_random_batches_leave_both_backends_alike(tmp_path):
    chance = random.Random(4)
    stores = [memory_storage(), open_rocks(tmp_path / "db", "small")]
    places = [Place(chance.randrange(4), chance.randrange(3), chance.randrange(2)) for _ in range(5)]
    ids = [task_id for slot in range(4) for task_id in ids_of(slot, 30)]
    for _ in range(60):
        batches = [store.new_batch() for store in stores]
        for _ in range(chance.randrange(40)):
            place, task_id, index = chance.choice(places), chance.choice(ids), chance.choice(INDEXES)
            key = bytes([chance.randrange(4)]) * 8 + task_id
            what = chance.randrange(6)
            for batch in batches:
                if what < 2:
                    batch.put_index(place, index, key)
                elif what < 4:
                    batch.delete_index(place, index, key)
                elif what == 4:
                    batch.put_task(place, task_id, TaskRecord(place.number, 0))
                else:
                    batch.delete_task(place, task_id)
        for store, batch in zip(stores, batches, strict=True):
            store.write(batch)
        for place in places:
            start = bytes([chance.randrange(4)]) * 8
            for index in INDEXES:
                scans = [store.scan_index(place, index, start, 7) for store in stores]
                assert scans[0] == scans[1]
            assert stores[0].scan_tasks(place.slot, b"", 20) == stores[1].scan_tasks(place.slot, b"", 20)
    stores[1].close()


def test_rocksdb_has_what_was_synced_after_it_is_opened_again(tmp_path):
    store = open_rocks(tmp_path / "db", "small")
    place, ids = Place(1, 1), ids_of(1, 100)

    def fill(batch):
        for task_id in ids:
            batch.put_task(place, task_id, TaskRecord(1, 0))

    commit(store, fill)
    sequence = store.sequence()
    store.close()
    again = open_rocks(tmp_path / "db", "throughput")
    assert again.scan_tasks(1, b"", 1_000) == ids and again.sequence() >= sequence
    again.close()


def test_a_range_full_of_tombstones_is_read_all_the_same(tmp_path):
    store = open_rocks(tmp_path / "db", "small")
    place = Place(1, 1)
    for begin in range(0, 60_000, 5_000):
        commit(
            store,
            lambda batch, b=begin: [
                batch.put_index(place, ORDER, n.to_bytes(24, "big")) for n in range(b, b + 5_000)
            ],
        )
    for begin in range(0, 55_000, 5_000):
        commit(
            store,
            lambda batch, b=begin: [
                batch.delete_index(place, ORDER, n.to_bytes(24, "big")) for n in range(b, b + 5_000)
            ],
        )
    assert len(store.scan_index(place, ORDER, b"", 10_000)) == 5_000
    store.close()


# Tokens and the audit

ADMIN = TokenRecord("aaaaaaaaaa", "root", ("admin",), bytes(32), 1)


def test_tokens_come_back_with_all_that_was_put(storage):
    shop = TokenRecord(
        "bbbbbbbbbb",
        "shop",
        ("produce:a.*", "read"),
        bytes(range(32)),
        1,
        2,
        RateRecord(1.5, 3),
        RateRecord(10.0, 20),
        100,
        4,
        5,
        6,
    )
    with writing(storage) as batch:
        batch.put_token(shop)
        batch.put_token(ADMIN)
    assert storage.load_tokens() == [ADMIN, shop]
    with writing(storage) as batch:
        batch.put_token(msgspec.structs.replace(ADMIN, last_used_at=9))
        batch.delete_token(shop.id)
    assert storage.load_tokens() == [msgspec.structs.replace(ADMIN, last_used_at=9)]
    assert check_storage(storage).problems == []


def audit_row(at: int, tie: int = 0) -> tuple[bytes, AuditRecord]:
    record = AuditRecord(at, "token", "i", "n", "::1", "put_queue", "q", {"fields": ["x"]}, 200, "")
    return at.to_bytes(8, "big") + tie.to_bytes(10, "big"), record


def test_events_are_read_oldest_first_and_end_before_a_key(storage):
    def key(at: int, count: int) -> bytes:
        return at.to_bytes(8, "big") + count.to_bytes(4, "big")

    assert storage.newest_events() == b"" and storage.scan_events(b"", 10) == []
    rows = [
        (key(at, count), [(2, b"i" * 16, "q", count, "n", ""), (120, b"", "", 0, "", "d")])
        for at in (5, 6, 1 << 41)
        for count in range(3)
    ]
    with writing(storage) as batch:
        for each, events in reversed(rows):
            batch.put_events(each, events)
        batch.put_audit(*audit_row(5))
        batch.put_meta("events_kept", b"18")
    assert storage.scan_events(b"", 100) == rows
    assert storage.scan_events(key(6, 1), 2) == rows[4:6]
    assert storage.scan_events(key(6, 1) + b"\0", 2) == rows[5:7]
    assert storage.newest_events() == rows[-1][0]
    with writing(storage) as batch:
        batch.drop_events(key(6, 1))
    assert storage.scan_events(b"", 100) == rows[4:]
    with writing(storage) as batch:
        batch.drop_events(key(1 << 42, 0))
    assert storage.newest_events() == b"" and len(storage.scan_audit(b"", b"", 9)) == 1
    assert check_storage(storage).problems == []


def test_the_audit_is_read_newest_first_and_ends_before_a_time(storage):
    rows = [audit_row(at, tie) for at in (5, 6, 1 << 41) for tie in range(3)]
    with writing(storage) as batch:
        for key, record in rows:
            batch.put_audit(key, record)
    newest = list(reversed(rows))
    assert storage.scan_audit(b"", b"", 100) == newest
    assert storage.scan_audit(b"", b"", 2) == newest[:2]
    assert storage.scan_audit(b"", newest[1][0], 3) == newest[2:5]
    assert storage.scan_audit((6).to_bytes(8, "big"), b"", 100) == newest[:6]
    assert storage.scan_audit((6).to_bytes(8, "big"), (7).to_bytes(8, "big"), 100) == newest[3:6]
    with writing(storage) as batch:
        batch.drop_audit(6)
    assert storage.scan_audit(b"", b"", 100) == newest[:6]
    with writing(storage) as batch:
        batch.put_audit(newest[0][0], msgspec.structs.replace(newest[0][1], status=404))
    assert storage.scan_audit(b"", b"", 1)[0][1].status == 404, "the same key is the same row"
    assert check_storage(storage).problems == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"digest": b"short"}, "has a digest of 5 bytes"),
        ({"scopes": ()}, "has no scope"),
        ({"scopes": ("read",)}, "none of them has the scope admin"),
        ({"id": "bbbbbbbbbb"}, "has the digest of another"),
    ],
)
def test_the_check_finds_what_is_wrong_with_tokens(storage, change, said):
    with writing(storage) as batch:
        if "id" in change:
            batch.put_token(ADMIN)
        batch.put_token(msgspec.structs.replace(ADMIN, **change))
    assert any(said in problem for problem in check_storage(storage).problems)


def test_the_check_finds_a_row_of_the_audit_at_another_time(storage):
    with writing(storage) as batch:
        batch.put_audit(audit_row(5)[0], audit_row(6)[1])
    assert check_storage(storage).problems == ["the audit has a row of 6 at another time"]
