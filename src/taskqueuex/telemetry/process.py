"""What the process and its host use, read from Linux's /proc.

Every reading is best effort: where a file is missing (another system, a container that hides it) the
field is 0, or -1 where 0 would be a believable value. Nothing here raises, so that a metrics page never
fails for want of a number. A pair of readings costs about 0.3 ms: take it once a second, not per request.
"""

from __future__ import annotations

import gc
import os
import resource
import shutil
import sys

import msgspec

_PAGE_BYTES = resource.getpagesize()
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class ProcessReading(msgspec.Struct, frozen=True, gc=False):
    """This process at one moment."""

    started_at_s: float
    """Unix time of its start, to 10 ms; 0 when it cannot be told."""
    cpu_user_s: float
    """Seconds of CPU in user mode since the start, all threads."""
    cpu_system_s: float
    """Seconds of CPU in the kernel since the start, all threads."""
    resident_bytes: int
    resident_peak_bytes: int
    python_blocks: int
    """Blocks that Python's allocator has handed out (`sys.getallocatedblocks`): grows with a leak."""
    gc_collections: tuple[int, int, int]
    """Garbage collections since the start, by generation."""
    gc_pending: tuple[int, int, int]
    """Objects (generation 0) and collections counted towards the next collection of each generation."""
    open_files: int
    """Open file descriptors, -1 when it cannot be told."""
    open_files_limit: int
    """The soft limit on them, -1 when there is none."""
    threads: int
    context_switches_voluntary: int
    context_switches_involuntary: int
    disk_read_bytes: int
    """Bytes this process made the disk read since the start (`/proc/self/io`)."""
    disk_write_bytes: int
    """Bytes this process sent towards the disk since the start."""


class HostReading(msgspec.Struct, frozen=True, gc=False):
    """The machine at one moment. Counters run since boot: subtract two readings."""

    load_1m: float
    load_5m: float
    load_15m: float
    cpu_count: int
    """CPUs that this process may use."""
    cpu_busy_s: float
    """Seconds that all CPUs together were neither idle nor waiting for a disk."""
    cpu_total_s: float
    """Seconds that all CPUs together have counted: busy share = delta busy / delta total."""
    memory_total_bytes: int
    memory_available_bytes: int
    network_received_bytes: int
    """Over all interfaces but the loopback."""
    network_sent_bytes: int
    disk_total_bytes: int
    disk_free_bytes: int
    """Free to unprivileged processes, on the file system that holds the path asked for."""


def read_process() -> ProcessReading:
    """Return the figures of this process; never raises."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    collections = [generation["collections"] for generation in gc.get_stats()]
    disk = _read_pairs("/proc/self/io")
    status = _read_pairs("/proc/self/status")
    peak_unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2) differs in the unit of ru_maxrss
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return ProcessReading(
        started_at_s=_started_at_s(),
        cpu_user_s=usage.ru_utime,
        cpu_system_s=usage.ru_stime,
        resident_bytes=_resident_bytes(),
        resident_peak_bytes=usage.ru_maxrss * peak_unit,
        python_blocks=sys.getallocatedblocks(),
        gc_collections=(collections[0], collections[1], collections[2]),
        gc_pending=gc.get_count(),
        open_files=_count_open_files(),
        open_files_limit=-1 if limit == resource.RLIM_INFINITY else limit,
        threads=status.get("Threads", 0),
        context_switches_voluntary=usage.ru_nvcsw,
        context_switches_involuntary=usage.ru_nivcsw,
        disk_read_bytes=disk.get("read_bytes", 0),
        disk_write_bytes=disk.get("write_bytes", 0),
    )


def read_host(path: str = "/") -> HostReading:
    """Return the figures of the machine and of the file system that holds ``path``; never raises."""
    load_1m, load_5m, load_15m = _load_averages()
    busy_s, total_s = _cpu_seconds()
    memory = _read_pairs("/proc/meminfo")
    received, sent = _network_bytes()
    disk_total, disk_free = _disk_bytes(path)
    return HostReading(
        load_1m=load_1m,
        load_5m=load_5m,
        load_15m=load_15m,
        cpu_count=_cpu_count(),
        cpu_busy_s=busy_s,
        cpu_total_s=total_s,
        memory_total_bytes=memory.get("MemTotal", 0) * 1024,
        memory_available_bytes=memory.get("MemAvailable", 0) * 1024,
        network_received_bytes=received,
        network_sent_bytes=sent,
        disk_total_bytes=disk_total,
        disk_free_bytes=disk_free,
    )


def _read_lines(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []


def _read_pairs(path: str) -> dict[str, int]:
    """Parse `Name: number [unit]` lines; others are skipped."""
    pairs: dict[str, int] = {}
    for line in _read_lines(path):
        name, _, rest = line.partition(":")
        words = rest.split(None, 1)
        if words and words[0].isdigit():
            pairs[name] = int(words[0])
    return pairs


def _resident_bytes() -> int:
    lines = _read_lines("/proc/self/statm")
    return int(lines[0].split()[1]) * _PAGE_BYTES if lines else 0


def _started_at_s() -> float:
    """The start of this process: after so many ticks since boot, says /proc/self/stat (see proc(5))."""
    own, boot = _read_lines("/proc/self/stat"), _read_words("/proc/stat", "btime")
    if not own or not boot:
        return 0.0
    # The program's name comes second, in parentheses, and may hold anything.
    return int(boot[0]) + int(own[0].rpartition(")")[2].split()[19]) / _TICKS_PER_SECOND


def _read_words(path: str, name: str) -> list[str]:
    """What stands behind a name at the begin of a line."""
    lines = (line.split() for line in _read_lines(path))
    return next((words[1:] for words in lines if words and words[0] == name), [])


def _count_open_files() -> int:
    for directory in ("/proc/self/fd", "/dev/fd"):
        try:
            return len(os.listdir(directory)) - 1  # the listing itself holds one open
        except OSError:
            continue
    return -1


def _cpu_count() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _load_averages() -> tuple[float, float, float]:
    try:
        return os.getloadavg()
    except OSError:
        return (0.0, 0.0, 0.0)


def _cpu_seconds() -> tuple[float, float]:
    """Return busy and total seconds from the first line of /proc/stat (see proc(5))."""
    lines = _read_lines("/proc/stat")
    if not lines:
        return 0.0, 0.0
    # user nice system idle iowait irq softirq steal; guest times are already within user and nice.
    ticks = [int(field) for field in lines[0].split()[1:9]]
    idle = sum(ticks[3:5])
    return (sum(ticks) - idle) / _TICKS_PER_SECOND, sum(ticks) / _TICKS_PER_SECOND


def _network_bytes() -> tuple[int, int]:
    received = sent = 0
    for line in _read_lines("/proc/net/dev")[2:]:  # two lines of headings
        interface, _, counters = line.partition(":")
        fields = counters.split()
        if interface.strip() != "lo" and len(fields) > 8:
            received += int(fields[0])
            sent += int(fields[8])
    return received, sent


def _disk_bytes(path: str) -> tuple[int, int]:
    try:
        usage = shutil.disk_usage(path)
    except OSError:
        return 0, 0
    return usage.total, usage.free
