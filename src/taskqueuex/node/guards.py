"""What is looked at once a second, so that memory, disk and syncs end in a refusal and not in a crash."""

import logging
import os
from pathlib import Path
from typing import Final

from taskqueuex.access.overload import OverloadConfig
from taskqueuex.model.events import SERVER_CALM, SERVER_DISK_FULL, SERVER_DISK_OK, SERVER_OVERLOADED
from taskqueuex.node.state import NodeState

__all__ = ["DiskGuard", "MemoryGuard", "OverloadWatch", "SyncWatch", "memory_limit_bytes"]

_log = logging.getLogger("taskqueuex.node")

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_ROOT: Final = Path("/")
_HYSTERESIS: Final = 1.1  # of the reserve, before enqueues are taken again
_WARN_EVERY_S: Final = 60


def memory_limit_bytes(config: OverloadConfig, root: Path = _ROOT) -> int:
    """What the process may use: what it was told, else the least limit of the control groups that it is in,
    else the machine's memory. `root` is where proc and sys are."""
    if config.memory_max_mb is not None:
        return config.memory_max_mb << 20
    machine = os.sysconf("SC_PHYS_PAGES") * _PAGE_BYTES
    return min([machine, *_control_group_limits(root)])


def _control_group_limits(root: Path) -> list[int]:
    """Those of its own control group and of all above: each holds for what is below it.

    A container may be told of a path that it does not see: then the files of what it sees as the top are
    the container's own.
    """
    found = []
    for line in _text_of(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":  # the one hierarchy of version 2
            top, file = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            top, file = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        names = [name for name in path.split("/") if name not in ("", "..")]
        for depth in range(len(names) + 1):
            text = _text_of(top.joinpath(*names[:depth], file)).strip()
            if text.isdigit():  # else it is "max", or there is none
                found.append(int(text))
    return found


def _text_of(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


def resident_bytes() -> int:
    """Of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES


class MemoryGuard:
    """At 95 % of the limit nothing is taken that needs memory, at 98 % no connection."""

    def __init__(self, state: NodeState) -> None:
        self._state = state
        self._config = state.config.overload
        self.limit_bytes = memory_limit_bytes(self._config)

    def tick(self) -> None:
        """Looks at the memory, and sends waiting polls away while it is nearly full."""
        percent = 100 * resident_bytes() / self.limit_bytes
        level = 0
        if percent >= self._config.memory_shed_percent:
            level = 2 if percent >= self._config.memory_stop_percent else 1
        overload = self._state.overload
        if level != overload.memory_level:
            _log.warning("memory", extra={"percent": round(percent, 1), "level": level})
            overload.set_memory(level)
        if level and self._state.writer is not None:
            self._state.writer.shed_polls()


class DiskGuard:
    """Refuses tasks while less than the reserve is free, so that acks still have room."""

    def __init__(self, state: NodeState) -> None:
        self._state = state
        self._reserve_bytes = state.config.storage.reserve_mb << 20
        self._full = False

    def tick(self, free_bytes: int) -> None:
        """Looks at the free space."""
        reserve = self._reserve_bytes * (_HYSTERESIS if self._full else 1.0)
        full = free_bytes < reserve
        if full != self._full:
            self._full = full
            told = {"free_bytes": free_bytes, "reserve_bytes": self._reserve_bytes}
            if full:
                _log.error("the disk is nearly full: enqueues are refused", extra=told)
            else:
                _log.warning("the disk has room again: enqueues are taken", extra=told)
        writer = self._state.writer
        if writer is not None:
            if writer.refuse_enqueues != full:
                writer.notice(SERVER_DISK_FULL if full else SERVER_DISK_OK, f"{free_bytes >> 20} MiB free")
            writer.refuse_enqueues = full


class SyncWatch:
    """Says, once a minute at most, that the disk is slow: every durable answer waits for it."""

    def __init__(self, state: NodeState) -> None:
        self._state = state
        self._told = 0
        self._quiet_s = 0

    def tick(self) -> None:
        """Looks at what was slow since it was last told."""
        self._quiet_s = max(0, self._quiet_s - 1)
        metrics = self._state.writer_metrics
        slow = metrics.slow_syncs - self._told
        if slow and not self._quiet_s:
            self._told = metrics.slow_syncs
            self._quiet_s = _WARN_EVERY_S
            _log.warning(
                "the disk is slow", extra={"syncs": slow, "slowest_ms": metrics.slowest_sync_us // 1_000}
            )
            metrics.slowest_sync_us = 0


class OverloadWatch:
    """Tells those who follow the events when the server has more to do than it can, and when no longer."""

    def __init__(self, state: NodeState) -> None:
        self._state = state
        self._told = False

    def tick(self) -> None:
        """Looks at it, once a second."""
        active, writer = self._state.overload.active, self._state.writer
        if active != self._told and writer is not None:
            self._told = active
            writer.notice(SERVER_OVERLOADED if active else SERVER_CALM)
