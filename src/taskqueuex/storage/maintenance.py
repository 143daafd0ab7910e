"""Backup, restore, and the offline check of every record and index."""

import shutil
from pathlib import Path

from taskqueuex.storage.check import CheckReport, check_storage
from taskqueuex.storage.directory import FORMAT, DataDirectory
from taskqueuex.storage.protocol import Storage, StorageError

__all__ = ["CheckReport", "check", "restore", "write_backup"]


def write_backup(storage: Storage, path: Path) -> None:
    """Copies a store that is being served: a directory that `tqx serve --data` can open as it is.

    Raises StorageError. Table files are linked, not copied, where the file systems are the same.
    """
    try:
        path.mkdir()
        storage.checkpoint(path / "db")
        (path / "FORMAT").write_text(f"{FORMAT}\n")
    except (OSError, StorageError) as error:
        shutil.rmtree(path, ignore_errors=True)
        raise StorageError(f"backup to {path}: {error}", fatal=False) from error


def restore(backup: Path, data: Path) -> None:
    """Makes a data directory of a backup; the backup stays as it is.

    Raises StorageError: `backup` is none, or `data` exists and is not empty.
    """
    if not (backup / "FORMAT").is_file() or not (backup / "db").is_dir():
        raise StorageError(f"{backup} is no backup: it has no FORMAT file or no db directory")
    if data.exists() and any(data.iterdir()):
        raise StorageError(f"{data} is not empty: restore into a directory that does not exist")
    try:
        data.mkdir(parents=True, exist_ok=True)
        shutil.copytree(backup / "db", data / "db")
        shutil.copy2(backup / "FORMAT", data / "FORMAT")
    except OSError as error:
        raise StorageError(f"cannot restore to {data}: {error}") from error
    directory = DataDirectory(data)
    try:
        directory.open().close()
    finally:
        directory.close()


def check(data: Path) -> CheckReport:
    """Reads every record of a data directory that nobody serves, and holds every index against them.

    Raises StorageError: there is no store, it is being served, or it cannot be opened.
    """
    if not (data / "db").is_dir():
        raise StorageError(f"{data} has no store")
    directory = DataDirectory(data)
    try:
        storage = directory.open()
        try:
            return check_storage(storage)
        finally:
            storage.close()
    finally:
        directory.close()
