"""Storage that fails when it is told to: EIO, a full disk, a stall, a sync that hangs, a power cut."""

import copy
import threading
from typing import Any

from taskqueuex.storage import StorageError, StoreStalled
from taskqueuex.storage.keyvalue import KeyValueStorage
from taskqueuex.storage.memory import MemoryKeyValue, MemoryRows

__all__ = ["EIO", "ENOSPC", "FaultyRows", "faulty_storage"]


class FaultyRows(MemoryKeyValue):
    """A store in memory that knows what a power cut would leave of it.

    Each `fail_*` holds the error to raise next time, once. `sync_gate` is waited for by every sync.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fail_write: Exception | None = None  # before anything of the batch is written
        self.fail_after_write: Exception | None = None  # after all of it is: nobody can know
        self.fail_sync: Exception | None = None
        self.stalls = 0  # so many writes are refused as stalled
        self.sync_gate = threading.Event()
        self.sync_gate.set()
        self.syncs = 0
        self._synced = copy.deepcopy(self.families)

    def write(self, rows: Any) -> None:
        assert isinstance(rows, MemoryRows)
        if self.stalls:
            self.stalls -= 1
            raise StoreStalled("Write stall")
        self._raise("fail_write")
        super().write(rows)
        self._raise("fail_after_write")

    def sync(self) -> None:
        self.sync_gate.wait()
        self._raise("fail_sync")
        self.syncs += 1
        self._synced = copy.deepcopy(self.families)

    def _raise(self, name: str) -> None:
        error = getattr(self, name)
        if error is not None:
            setattr(self, name, None)
            raise error

    def cut_power(self) -> None:
        """Only what was synced is left."""
        self.families = copy.deepcopy(self._synced)


def faulty_storage() -> tuple[KeyValueStorage, FaultyRows]:
    """A storage, and the rows to make trouble with."""
    rows = FaultyRows()
    return KeyValueStorage(rows), rows


EIO = StorageError("IO error: Input/output error")
ENOSPC = StorageError("IO error: No space left on device", full=True)
