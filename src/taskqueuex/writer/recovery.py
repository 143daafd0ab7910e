"""From what storage has to an engine: rows of queues, leases and jobs; windows fill on first use."""

import random
from collections.abc import Callable

from taskqueuex.engine import Engine
from taskqueuex.model.place import DURABLE, VOLATILE, Place
from taskqueuex.model.queue import PartitionRecord
from taskqueuex.writer.stores import Tiers

__all__ = ["open_engine"]


def open_engine(
    tiers: Tiers,
    now_ms: int,
    random_bits: Callable[[int], int] | None = None,
    hot_width: int = 4_096,
    recent_max: int = 10_000,
) -> Engine:
    """An engine that goes on where the stores stand; raises StorageError."""
    engine = Engine(random_bits or random.SystemRandom().getrandbits, hot_width, recent_max)
    rows = []
    leases = []
    for record in tiers.durable.load_queues():
        tier = VOLATILE if record.config.durability == "memory" else DURABLE
        places: list[tuple[Place, PartitionRecord | None]] = []
        for slot, number in record.partitions:
            place = Place(slot, number, 0, tier)
            store = tiers.of(place)
            places.append((place, store.load_partition(place)))
            leases += [(task_id, lease, place) for task_id, lease in store.load_leases(place)]
        rows.append((record, places))
    next_number = int(tiers.durable.get_meta("next_number") or b"1")
    store = tiers.durable
    engine.restore(now_ms, next_number, rows, leases, store.load_jobs(), store.load_schedules())
    return engine
