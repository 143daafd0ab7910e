import os
import sys

import pytest

from taskqueuex.telemetry import process, read_host, read_process

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


@linux
def test_the_process_reading_is_plausible() -> None:
    reading = read_process()
    assert reading.cpu_user_s > 0
    assert 1_000_000 < reading.resident_bytes <= reading.resident_peak_bytes + 10_000_000
    assert reading.python_blocks > 1_000
    assert reading.open_files > 0
    assert reading.threads >= 1
    assert len(reading.gc_collections) == 3


@linux
def test_an_opened_file_is_counted() -> None:
    before = read_process().open_files
    descriptor = os.open("/dev/null", os.O_RDONLY)
    try:
        assert read_process().open_files == before + 1
    finally:
        os.close(descriptor)


@linux
def test_the_host_reading_is_plausible(tmp_path: os.PathLike[str]) -> None:
    reading = read_host(os.fspath(tmp_path))
    assert reading.cpu_count >= 1
    assert 0 < reading.cpu_busy_s <= reading.cpu_total_s
    assert 0 < reading.memory_available_bytes <= reading.memory_total_bytes
    assert 0 <= reading.disk_free_bytes <= reading.disk_total_bytes


def test_without_proc_the_readings_are_zero_and_nothing_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_read_lines", lambda path: [])
    assert read_process().resident_bytes == 0
    reading = read_host("/no/such/path")
    assert (reading.memory_total_bytes, reading.disk_total_bytes, reading.network_sent_bytes) == (0, 0, 0)
