"""An ordered key-value store in memory: for queues that say so, for tests, and as the model of the other."""

from pathlib import Path

from sortedcontainers import SortedDict

from taskqueuex.storage.keyvalue import FAMILIES, KeyValueStorage, RowBatch

__all__ = ["MemoryKeyValue", "MemoryRows", "memory_storage"]


class MemoryRows:
    """Puts and deletes, remembered in order."""

    __slots__ = ("operations",)

    def __init__(self) -> None:
        self.operations: list[tuple[int, bytes, bytes | None]] = []

    def put(self, family: int, key: bytes, value: bytes) -> None:
        self.operations.append((family, key, value))

    def delete(self, family: int, key: bytes) -> None:
        self.operations.append((family, key, None))

    def delete_range(self, family: int, start: bytes, end: bytes) -> None:
        self.operations.append((-1 - family, start, end))

    def __len__(self) -> int:
        return len(self.operations)


class MemoryKeyValue:
    """One sorted dictionary a family."""

    def __init__(self) -> None:
        self.families: list[SortedDict] = [SortedDict() for _ in FAMILIES]
        self._sequence = 0

    def new_rows(self) -> MemoryRows:
        return MemoryRows()

    def write(self, rows: RowBatch) -> None:
        assert isinstance(rows, MemoryRows)
        for family, key, value in rows.operations:
            if family < 0:
                kept = self.families[-1 - family]
                for each in list(kept.irange(key, value, inclusive=(True, False))):
                    del kept[each]
            elif value is None:
                self.families[family].pop(key, None)
            else:
                self.families[family][key] = value
        self._sequence += len(rows)

    def sync(self) -> None:
        return

    def get(self, family: int, key: bytes) -> bytes | None:
        return self.families[family].get(key)  # type: ignore[no-any-return]  # untyped library

    def get_many(self, family: int, keys: list[bytes]) -> list[bytes | None]:
        rows = self.families[family]
        return [rows.get(key) for key in keys]

    def scan(
        self, family: int, start: bytes, end: bytes, limit: int, *, backwards: bool = False
    ) -> list[tuple[bytes, bytes]]:
        rows = self.families[family]
        found: list[tuple[bytes, bytes]] = []
        for key in rows.irange(start, end, inclusive=(True, False), reverse=backwards):
            if len(found) == limit:
                break
            found.append((key, rows[key]))
        return found

    def checkpoint(self, path: Path) -> None:
        raise NotImplementedError("what is kept in memory has no backup")

    def sequence(self) -> int:
        return self._sequence

    def health(self) -> dict[str, float | int | str]:
        return {"backend": "memory", "rows": sum(len(rows) for rows in self.families)}

    def close(self) -> None:
        return


def memory_storage() -> KeyValueStorage:
    """An empty store in memory."""
    return KeyValueStorage(MemoryKeyValue())
