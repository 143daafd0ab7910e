"""A write that RocksDB puts off, for its memory is full, is repeated whole."""

import random
import time

import pytest

from taskqueuex.model.jobs import JobRecord
from taskqueuex.storage import StorageError, StoreStalled, open_rocks

VALUE_BYTES = 1 << 20
WRITES_MAX = 400


def test_a_write_that_is_put_off_can_be_repeated_and_loses_nothing(tmp_path):
    store = open_rocks(tmp_path / "db", "small")
    noise = random.Random(7).randbytes(VALUE_BYTES)  # which no compression makes smaller
    stalls = 0
    for number in range(WRITES_MAX):
        batch = store.new_batch()
        job_id = number.to_bytes(4, "big")
        batch.put_job(job_id, JobRecord("sweep", number, subject=job_id + noise))
        batch.put_job(b"deleted", JobRecord("sweep", number))
        batch.delete_job(b"deleted")
        while True:
            try:
                store.write(batch)
                break
            except StoreStalled:
                stalls += 1
                batch.put_meta(f"stalled {number}", b"grows while it waits")
                time.sleep(0.005)
        if stalls > 3:
            break
    assert stalls, "the store never put a write off: this test shows nothing"
    store.sync()
    found = dict(store.load_jobs())
    assert sorted(found) == [n.to_bytes(4, "big") for n in range(number + 1)]
    assert all(record.subject == job_id + noise for job_id, record in found.items())
    assert store.get_meta(f"stalled {number}") == b"grows while it waits"
    store.close()


def test_other_failures_are_no_stalls(tmp_path):
    store = open_rocks(tmp_path / "db", "small")
    store.close()
    batch = store.new_batch()
    batch.put_meta("a", b"b")
    with pytest.raises(StorageError):
        store.write(batch)
