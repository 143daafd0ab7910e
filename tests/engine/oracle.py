"""What must be served next, computed from the records alone: no index, window or bound is believed."""

from taskqueuex.model.place import DURABLE, Place
from taskqueuex.model.states import READY, RETRYING, RUNNING
from taskqueuex.storage.keyvalue import KeyValueStorage
from taskqueuex.storage.memory import MemoryKeyValue
from taskqueuex.storage.query import state_of

_ONES = (1 << 128) - 1


def shadow_of(sim, tier: int = DURABLE) -> KeyValueStorage:
    """A tier's store as it will be when the batch that grows is written."""
    rows = MemoryKeyValue()
    store, batch = (sim.tiers.durable, sim.batch) if tier == DURABLE else (sim.tiers.volatile, sim.volatile)
    for family, kept in enumerate(store.rows.families):
        rows.families[family].update(kept)
    rows.write(batch.rows)
    return KeyValueStorage(rows)


def tasks_of(store: KeyValueStorage, place: Place, staged=()):
    found = store.get_tasks(store.scan_tasks(place.slot, b"", 100_000), leases=True)
    return {
        task_id: task
        for task_id, task in found.items()
        if task.record.queue_number == place.number
        and not any(first <= task_id < below for _, first, below in staged)
    }


def expected_order(sim, name: str) -> list[bytes] | None:
    """Ids in the order in which a series of single dequeues must serve them now, its first at least.

    None where nothing is handed out.
    """
    orders = expected_orders(sim, name)
    if orders is None:
        return None
    assert len(orders) == 1
    return orders[0]


def expected_orders(sim, name: str) -> list[list[bytes]] | None:
    """The same for each partition: the order is strict within one."""
    queue = sim.engine.core.queues.get(name)
    if queue is None or queue.paused:
        return None
    store = shadow_of(sim, queue.tier)
    staged = sim.engine.core.staged.values()
    of_partition = [tasks_of(store, partition.place, staged) for partition in queue.partitions]
    running = sum(state_of(task) == RUNNING for tasks in of_partition for task in tasks.values())
    if queue.config.max_running is not None and running >= queue.config.max_running:
        return None
    return [
        [] if partition.resort else _order(sim, store, queue.config, partition.place, tasks)
        for partition, tasks in zip(queue.partitions, of_partition, strict=True)
    ]


def _order(sim, store, config, place, tasks) -> list[bytes]:
    groups: dict[str, list[int]] = {}
    for task in tasks.values():
        counts = groups.setdefault(task.record.group, [0, 0])
        counts[0] += state_of(task) == RUNNING
        counts[1] += state_of(task) == RETRYING
    able = []
    for task_id, task in tasks.items():
        record = task.record
        if state_of(task) != READY or (record.expires_at and record.expires_at <= sim.now_ms):
            continue
        count = groups[record.group]
        if record.group:
            if config.ordered_groups and (count[0] or count[1]):
                continue
            if config.max_running_per_group is not None and count[0] >= config.max_running_per_group:
                continue
        able.append((task_id, record))
    if config.discipline == "fifo":
        return sorted(task_id for task_id, _ in able)
    if config.discipline == "lifo":
        return sorted((task_id for task_id, _ in able), reverse=True)
    by_priority = [task_id for task_id, record in sorted(able, key=lambda pair: (-pair[1].priority, pair[0]))]
    if config.discipline == "priority":
        return by_priority
    turns = {record.name: record.turn for _, record in store.scan_groups(place, b"", 100_000)}
    of_group = {task_id: record.group for task_id, record in able}
    return sorted(by_priority, key=lambda task_id: turns.get(of_group[task_id], 1 << 60))
