"""The embedded store: RocksDB through rocksdict.

What was measured of rocksdict 0.3.29 and decides the shape of this file: `write` holds the
interpreter's lock, `flush_wal(True)`, `flush` and a multi-get release it. So a batch is written
without sync, then the log is synced; iterators hold the lock, and their reads are kept short.
A write that RocksDB would stall is refused instead (`no_slowdown`), since a stall would hold the
lock; the writer waits and repeats it.
"""

from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from rocksdict import (
    AccessType,
    BlockBasedOptions,
    Cache,
    Checkpoint,
    ColumnFamily,
    DBCompressionType,
    DBRecoveryMode,
    Options,
    Rdict,
    ReadOptions,
    WriteBatch,
    WriteOptions,
)

from taskqueuex.storage.keyvalue import (
    FAMILIES,
    FAMILY_ENDED,
    FAMILY_LEASE,
    FAMILY_ORDER,
    KeyValueStorage,
    RowBatch,
)
from taskqueuex.storage.protocol import StorageError

__all__ = ["PRESETS", "Preset", "RocksKeyValue", "StoreStalled", "open_rocks"]

MIB = 1 << 20
_SKIPPED_MAX = 20_000  # tombstones that a range read may step over before it compacts the range


class StoreStalled(StorageError):
    """RocksDB cannot take a write right now; nothing was written, and it may be repeated."""

    def __init__(self, message: str) -> None:
        super().__init__(message, fatal=False)


class Preset(NamedTuple):
    """Sizes in MiB. `resident` figures and reopen times of each stand in docs/storage.md."""

    write_buffer: int
    write_buffers: int
    cache: int
    wal: int
    open_files: int


PRESETS = {
    "small": Preset(8, 2, 16, 32, 256),
    "default": Preset(16, 3, 32, 32, 512),
    "throughput": Preset(64, 4, 128, 256, 1024),
}


class RocksRows:
    """Rows that are written together.

    They are kept as they are until then: a write that the store puts off spends its WriteBatch all the same,
    and is repeated with another one.
    """

    __slots__ = ("_append", "_families", "_rows")

    def __init__(self, families: list[ColumnFamily]) -> None:
        # (family, key, value), None for a deletion, a tuple of the end for a range of them.
        self._rows: list[tuple[int, bytes, bytes | tuple[bytes] | None]] = []
        self._append = self._rows.append
        self._families = families

    def put(self, family: int, key: bytes, value: bytes) -> None:
        self._append((family, key, value))

    def delete(self, family: int, key: bytes) -> None:
        self._append((family, key, None))

    def delete_range(self, family: int, start: bytes, end: bytes) -> None:
        self._append((family, start, (end,)))

    def to_batch(self) -> WriteBatch:
        """All of them, in order, for one write."""
        batch = WriteBatch(raw_mode=True)
        families, put, delete = self._families, batch.put, batch.delete
        for family, key, value in self._rows:
            if value is None:
                delete(key, families[family])
            elif type(value) is tuple:
                batch.delete_range(key, value[0], families[family])
            else:
                put(key, value, families[family])
        return batch

    def __len__(self) -> int:
        return len(self._rows)


def _options(preset: Preset, cache: Cache) -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.create_missing_column_families(True)
    options.set_wal_recovery_mode(DBRecoveryMode.tolerate_corrupted_tail_records())
    options.set_max_total_wal_size(preset.wal * MIB)
    options.set_db_write_buffer_size(preset.write_buffer * preset.write_buffers * MIB)
    options.set_max_open_files(preset.open_files)
    options.set_max_background_jobs(2)
    options.set_allow_concurrent_memtable_write(False)  # there is one writer: nobody to share it with
    options.set_enable_write_thread_adaptive_yield(False)  # or to spin for
    options.set_keep_log_file_num(4)
    options.set_max_log_file_size(4 * MIB)
    options.set_stats_dump_period_sec(0)
    options.set_bytes_per_sync(MIB)
    _family_options(options, preset, cache)
    return options


def _family_options(options: Options, preset: Preset, cache: Cache) -> None:
    table = BlockBasedOptions()
    table.set_block_cache(cache)
    table.set_bloom_filter(10, False)
    table.set_cache_index_and_filter_blocks(True)
    table.set_pin_l0_filter_and_index_blocks_in_cache(True)
    table.set_block_size(8 * 1024)
    options.set_block_based_table_factory(table)
    options.set_write_buffer_size(preset.write_buffer * MIB)
    options.set_max_write_buffer_number(preset.write_buffers)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_level_compaction_dynamic_level_bytes(True)


def _queue_like(options: Options) -> None:
    """For families whose rows are mostly deleted again: compact where deletions pile up."""
    options.add_compact_on_deletion_collector_factory(256, 64, 0.25)


class RocksKeyValue:
    """Rows in RocksDB. One instance owns its directory."""

    def __init__(self, path: Path, preset: Preset, cache_mb: int | None = None) -> None:
        cache = Cache((cache_mb or preset.cache) * MIB)
        families: dict[str, Options] = {}
        for number, name in enumerate(FAMILIES):
            options = Options(raw_mode=True)
            _family_options(options, preset, cache)
            if number in (FAMILY_ORDER, FAMILY_LEASE, FAMILY_ENDED):
                _queue_like(options)
            families[name] = options
        try:
            self._db = Rdict(
                str(path),
                options=_options(preset, cache),
                column_families=families,
                access_type=AccessType.read_write(),
            )
        except Exception as error:
            raise StorageError(f"cannot open the store at {path}: {error}") from error
        self._cache = cache
        self._families = [self._db.get_column_family(name) for name in FAMILIES]
        self._handles = [self._db.get_column_family_handle(name) for name in FAMILIES]
        self._write_options = WriteOptions()
        self._write_options.no_slowdown = True

    def new_rows(self) -> RocksRows:
        return RocksRows(self._handles)

    def write(self, rows: RowBatch) -> None:
        assert isinstance(rows, RocksRows)
        try:
            self._db.write(rows.to_batch(), self._write_options)
        except Exception as error:
            raise _storage_error(error) from error

    def sync(self) -> None:
        try:
            self._db.flush_wal(True)
        except Exception as error:
            raise _storage_error(error) from error

    def get(self, family: int, key: bytes) -> bytes | None:
        return self._families[family].get(key)

    def get_many(self, family: int, keys: list[bytes]) -> list[bytes | None]:
        if not keys:
            return []
        return self._families[family].get(keys)  # type: ignore[arg-type, return-value]  # stubs want a wider list

    def scan(
        self, family: int, start: bytes, end: bytes, limit: int, *, backwards: bool = False
    ) -> list[tuple[bytes, bytes]]:
        try:
            return self._scan(family, start, end, limit, backwards)
        except _Skipped:
            # Too many tombstones on the way: compact the range away, then read it in full.
            self._families[family].compact_range(start, end)
            return self._scan(family, start, end, limit, backwards, bounded=False)

    def _scan(
        self, family: int, start: bytes, end: bytes, limit: int, backwards: bool, bounded: bool = True
    ) -> list[tuple[bytes, bytes]]:
        options = ReadOptions()
        options.set_iterate_upper_bound(end)
        if bounded:
            options.set_max_skippable_internal_keys(_SKIPPED_MAX)
        found: list[tuple[bytes, bytes]] = []
        if not backwards:
            # A tenth of the cost of stepping an RdictIter, but where it ends it does not say why.
            entries: Any = self._families[family].items(from_key=start, read_opt=options)
            found = list(islice(entries, limit))
            if len(found) == limit:
                return found
            if found:
                start = found[-1][0] + b"\0"
        return self._step(family, options, start, limit, backwards, found)

    def _step(
        self,
        family: int,
        options: ReadOptions,
        start: bytes,
        limit: int,
        backwards: bool,
        found: list[tuple[bytes, bytes]],
    ) -> list[tuple[bytes, bytes]]:
        """Reads on, entry by entry, up to the limit or to an end whose reason is known."""
        rows = self._families[family].iter(options)
        if backwards:
            rows.seek_to_last()
        else:
            rows.seek(start)
        advance = rows.prev if backwards else rows.next
        try:
            while rows.valid() and len(found) < limit:
                key = rows.key()
                if key < start:  # a lower bound of ReadOptions was not kept to by prev()
                    break
                found.append((key, rows.value()))
                advance()
            rows.status()
        except Exception as error:
            if "ncomplete" in str(error):
                raise _Skipped from error
            raise _storage_error(error) from error
        return found

    def checkpoint(self, path: Path) -> None:
        try:
            # A checkpoint flushes what is in memory, and holds the interpreter's lock over it; a flush
            # does not. So that nearly nothing is left to do under the lock, it comes first.
            for family in self._families:
                family.flush()
            Checkpoint(self._db).create_checkpoint(str(path))
        except Exception as error:
            raise StorageError(f"checkpoint: {error}", fatal=False) from error

    def sequence(self) -> int:
        return self._db.latest_sequence_number()

    def health(self) -> dict[str, float | int | str]:
        def number(name: str) -> int:
            return sum(family.property_int_value(name) or 0 for family in self._families)

        return {
            "backend": "rocksdb",
            "memtable_bytes": number("rocksdb.cur-size-all-mem-tables"),
            "table_bytes": number("rocksdb.total-sst-files-size"),
            "cache_bytes": self._cache.get_usage(),
            "pending_compaction_bytes": number("rocksdb.estimate-pending-compaction-bytes"),
            "keys_estimate": number("rocksdb.estimate-num-keys"),
        }

    def close(self) -> None:
        self._families.clear()
        self._handles.clear()
        self._db.close()


class _Skipped(Exception):
    """A range read stepped over too many tombstones."""


def _storage_error(error: Exception) -> StorageError:
    text = str(error)
    if "Write stall" in text:
        return StoreStalled(text)
    return StorageError(text, full="No space left" in text)


def open_rocks(path: Path, preset: str = "default", cache_mb: int | None = None) -> KeyValueStorage:
    """Opens or creates a store in a directory; raises StorageError."""
    return KeyValueStorage(RocksKeyValue(path, PRESETS[preset], cache_mb))
