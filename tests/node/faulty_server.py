"""`tqx`, with a store and a disk that fail while a file of that name lies in TQX_TEST_FAULTS."""

import os
from pathlib import Path

from taskqueuex.cli import main
from taskqueuex.storage import StorageError
from taskqueuex.storage.directory import DataDirectory
from taskqueuex.storage.rocks import RocksKeyValue

FAULTS = Path(os.environ["TQX_TEST_FAULTS"])


def _once(name, honest):
    def patched(self, *rest):
        try:
            (FAULTS / name).unlink()
        except FileNotFoundError:
            return honest(self, *rest)
        raise StorageError(f"IO error: the {name} failed, as the test said")

    return patched


def _while(name, honest, instead):
    def patched(self, *rest):
        return instead() if (FAULTS / name).exists() else honest(self, *rest)

    return patched


def _fail_write():
    raise StorageError("IO error: every write fails, as the test said")


def _refuse():
    raise StorageError("IO error: it cannot be opened, as the test said")


RocksKeyValue.write = _while("writes", _once("write", RocksKeyValue.write), _fail_write)
RocksKeyValue.sync = _once("sync", RocksKeyValue.sync)
DataDirectory.open = _while("open", DataDirectory.open, _refuse)
DataDirectory.free_bytes = _while("full", DataDirectory.free_bytes, lambda: 0)

main()
