"""Memory, disk and syncs: what the second's look at them leads to."""

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest

from taskqueuex.access.overload import Overload, OverloadConfig
from taskqueuex.model.events import SERVER_DISK_FULL, SERVER_DISK_OK
from taskqueuex.network.config import parse_listener
from taskqueuex.node import guards
from taskqueuex.node.config import StorageConfig
from taskqueuex.node.exposure import Exposed, check_exposure
from taskqueuex.node.guards import DiskGuard, MemoryGuard, SyncWatch, memory_limit_bytes
from taskqueuex.writer import WriterMetrics

MB = 1 << 20


class WriterThatNotes:
    def __init__(self) -> None:
        self.refuse_enqueues = False
        self.polls_shed = 0
        self.notices: list[int] = []

    def notice(self, what: int, detail: str) -> None:
        self.notices.append(what)

    def shed_polls(self) -> None:
        self.polls_shed += 1


@pytest.fixture
def state():
    config = SimpleNamespace(
        overload=OverloadConfig(memory_max_mb=1_000), storage=StorageConfig(reserve_mb=100)
    )
    return SimpleNamespace(
        config=config,
        overload=Overload(config.overload, lambda: 0.5),
        writer=WriterThatNotes(),
        writer_metrics=WriterMetrics(),
    )


@pytest.mark.parametrize(("used_mb", "level"), [(100, 0), (949, 0), (950, 1), (979, 1), (980, 2), (1_200, 2)])
def test_memory_has_two_levels(state, monkeypatch, used_mb, level):
    monkeypatch.setattr(guards, "resident_bytes", lambda: used_mb * MB)
    MemoryGuard(state).tick()
    assert state.overload.memory_level == level
    assert state.writer.polls_shed == (1 if level else 0)


def test_memory_that_is_free_again_is_told_and_used(state, monkeypatch, caplog):
    guard = MemoryGuard(state)
    for used_mb in (990, 990, 500, 500):
        monkeypatch.setattr(guards, "resident_bytes", lambda: used_mb * MB)  # noqa: B023  # called in this round
        guard.tick()
    assert not state.overload.active
    assert [record.level for record in caplog.records] == [2, 0]


MACHINE = memory_limit_bytes(OverloadConfig(), Path("/nowhere"))


@pytest.fixture
def groups(tmp_path):
    """Makes a root with control groups: where this process is, and what is limited where."""

    def make(member, **limits):
        files = {"proc/self/cgroup": member, **limits}
        for name, text in files.items():
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{text}\n")
        return tmp_path

    return make


def test_a_machine_without_control_groups_is_the_limit(tmp_path):
    assert memory_limit_bytes(OverloadConfig(), tmp_path) == MACHINE > 100 * MB
    assert memory_limit_bytes(OverloadConfig(memory_max_mb=64), tmp_path) == 64 * MB


@pytest.mark.parametrize(
    ("unit", "slice_", "top", "limit"),
    [
        ("max", "max", None, MACHINE),
        (100 * MB, "max", None, 100 * MB),
        (100 * MB, 90 * MB, None, 90 * MB),
        (100 * MB, 200 * MB, 95 * MB, 95 * MB),
        (1 << 62, "max", "max", MACHINE),
    ],
)
def test_the_limit_is_the_least_of_the_unit_s_and_of_those_above_it(groups, unit, slice_, top, limit):
    root = groups(
        "0::/system.slice/taskqueuex.service",
        **{
            "sys/fs/cgroup/system.slice/taskqueuex.service/memory.max": unit,
            "sys/fs/cgroup/system.slice/memory.max": slice_,
            "sys/fs/cgroup/system.slice/other.service/memory.max": MB,
            "sys/fs/cgroup/memory/memory.limit_in_bytes": MB,  # of a hierarchy that this process is not in
        },
        **({} if top is None else {"sys/fs/cgroup/memory.max": top}),
    )
    assert memory_limit_bytes(OverloadConfig(), root) == limit


def test_a_container_sees_its_limit_at_the_top(groups):
    top = {"sys/fs/cgroup/memory.max": 70 * MB}
    assert memory_limit_bytes(OverloadConfig(), groups("0::/", **top)) == 70 * MB
    assert memory_limit_bytes(OverloadConfig(), groups("0::/../../docker/abc", **top)) == 70 * MB


def test_the_older_version_has_a_hierarchy_for_memory(groups):
    root = groups(
        "12:pids:/docker/abc\n5:cpu,memory:/docker/abc\n1:name=systemd:/docker/abc",
        **{
            "sys/fs/cgroup/memory/memory.limit_in_bytes": 9223372036854771712,
            "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": 80 * MB,
            "sys/fs/cgroup/memory.max": MB,
        },
    )
    assert memory_limit_bytes(OverloadConfig(), root) == 80 * MB


def test_the_resident_memory_is_this_process_s():
    assert 10 * MB < guards.resident_bytes() < 10_000 * MB


def test_the_disk_is_full_below_its_reserve_and_has_room_a_tenth_above(state, caplog):
    guard = DiskGuard(state)
    told = []
    for free_mb in (500, 101, 99, 101, 109, 111, 101):
        guard.tick(free_mb * MB)
        told.append(state.writer.refuse_enqueues)
    assert told == [False, False, True, True, True, False, False]
    assert state.writer.notices == [SERVER_DISK_FULL, SERVER_DISK_OK]
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.WARNING]


def test_a_slow_disk_is_told_once_a_minute(state, caplog):
    watch = SyncWatch(state)
    for _ in range(120):
        state.writer_metrics.on_sync(250_000)
        state.writer_metrics.on_sync(5_000)
        watch.tick()
    assert [(record.syncs, record.slowest_ms) for record in caplog.records] == [(1, 250), (60, 250)]
    assert state.writer_metrics.slow_syncs == 120
    assert state.writer_metrics.fsync_us.count == 240


# -- where a server may listen ------------------------------------------------------------------------


@pytest.mark.parametrize("listen", ["127.0.0.1:1", "[::1]:1", "localhost:1", "unix:/tmp/x", "127.8.0.1:1"])
def test_loopback_needs_nothing(listen):
    check_exposure([parse_listener(listen)], guarded=False)


@pytest.mark.parametrize("listen", ["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "example.org:1", "proxy+0.0.0.0:1"])
def test_beyond_it_tls_and_credentials_are_needed(listen):
    with pytest.raises(Exposed, match=r"has no TLS.*asks for no credentials.*--insecure"):
        check_exposure([parse_listener("127.0.0.1:1"), parse_listener(listen)], guarded=False)
    with pytest.raises(Exposed, match="has no TLS") as told:
        check_exposure([parse_listener(listen)], guarded=True)
    assert "credentials" not in str(told.value)


def test_with_both_it_may():
    check_exposure([parse_listener("tls:0.0.0.0:1")], guarded=True)
    with pytest.raises(Exposed, match="tqx token create"):
        check_exposure([parse_listener("tls:0.0.0.0:1")], guarded=False)
