"""The data directory of a node: whose it is, which format it has, and how far it was synced.

LOCK        held with flock while a process serves it; its text is that process's id
FORMAT      the version of keys and tables; a newer one is refused
WATERMARK   a sequence number that was synced, at most a second behind: a store that opens
            below it has lost acknowledged changes, and is refused
db/         RocksDB
"""

import fcntl
import os
from pathlib import Path

from taskqueuex.storage.keyvalue import KeyValueStorage
from taskqueuex.storage.memory import memory_storage
from taskqueuex.storage.protocol import StorageError
from taskqueuex.storage.rocks import open_rocks

__all__ = ["FORMAT", "MEMORY", "DataDirectory", "MemoryDirectory"]

FORMAT = 1
MEMORY = ":memory:"
"""The name of no directory: everything is kept in memory."""


class DataDirectory:
    """An exclusive hold on a data directory."""

    def __init__(self, path: Path) -> None:
        """Creates the directory where there is none, and locks it.

        Raises StorageError: another process holds it, it is of a newer format, or it cannot be used.
        """
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(path / "LOCK", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StorageError(f"cannot use the data directory {path}: {error.strerror}") from error
        try:
            self._take_lock()
            self._check_format()
        except StorageError:
            os.close(self._lock)
            raise

    def _take_lock(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._lock, 32, 0).decode(errors="replace").strip() or "unknown"
            raise StorageError(
                f"another process (pid {holder}) serves the data directory {self.path}"
            ) from error
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    def _check_format(self) -> None:
        file = self.path / "FORMAT"
        if not file.exists():
            if (self.path / "db").exists():
                raise StorageError(
                    f"{self.path} has a store but no FORMAT file: it is not one of ours, or damaged"
                )
            _write_synced(file, f"{FORMAT}\n")
            return
        text = file.read_text().strip()
        if not text.isdigit():
            raise StorageError(f"{file} is damaged: {text[:40]!r} is no format number")
        if int(text) > FORMAT:
            raise StorageError(
                f"{self.path} has format {text}, and this program knows up to {FORMAT}: use a newer version"
            )

    def open(self, preset: str = "default", cache_mb: int | None = None) -> KeyValueStorage:
        """Opens the store; raises StorageError where it is damaged or has lost what was synced."""
        storage = open_rocks(self.path / "db", preset, cache_mb)
        watermark, sequence = self.watermark(), storage.sequence()
        if sequence < watermark:
            storage.close()
            raise StorageError(
                f"the store at {self.path} ends at change {sequence}, but {watermark} was synced: "
                "acknowledged changes are missing. Restore a backup with `tqx restore`, or remove the file "
                "WATERMARK to accept the loss"
            )
        return storage

    def watermark(self) -> int:
        """The highest sequence number known to have been synced; 0 where none was noted."""
        try:
            text = (self.path / "WATERMARK").read_text().strip()
        except FileNotFoundError:
            return 0
        if not text.isdigit():
            raise StorageError(f"{self.path / 'WATERMARK'} is damaged: {text[:40]!r} is no number")
        return int(text)

    def set_watermark(self, sequence: int) -> None:
        """Notes a sequence number that was synced. The file is replaced whole, and synced itself."""
        _write_synced(self.path / "WATERMARK", f"{sequence}\n")

    def free_bytes(self) -> int:
        """Free space of the file system, for an ordinary user."""
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def close(self) -> None:
        """Lets go of the directory."""
        os.close(self._lock)


class MemoryDirectory:
    """Stands where a data directory would, for a server whose store is gone when it ends: for tests."""

    def __init__(self) -> None:
        self._storage = memory_storage()

    def open(self, preset: str = "default", cache_mb: int | None = None) -> KeyValueStorage:
        """The same store each time, so that a server that recovers finds what it had."""
        return self._storage

    def watermark(self) -> int:
        """There is nothing to compare with."""
        return 0

    def set_watermark(self, sequence: int) -> None:
        """Nothing outlives the store."""

    def free_bytes(self) -> int:
        """Memory is bounded elsewhere."""
        return 1 << 62

    def close(self) -> None:
        """Nothing is held."""


def _write_synced(file: Path, text: str) -> None:
    fresh = file.with_name(file.name + ".new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.write(handle, text.encode())
        os.fsync(handle)
    finally:
        os.close(handle)
    fresh.replace(file)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
