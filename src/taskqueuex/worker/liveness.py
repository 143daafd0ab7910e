"""Whether a process lives: Linux, from /proc."""

import contextlib
import ctypes
import os
import signal

__all__ = ["die_with_parent", "resident_bytes", "start_time"]

_PR_SET_PDEATHSIG = 1
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def start_time(pid: int) -> int | None:
    """When a process was started, in ticks since boot; None when it does not run, or is stopped."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"T", b"t", b"Z", b"X") else int(fields[19])


def resident_bytes(pid: int) -> int:
    """The memory that a process holds; 0 when it has ended."""
    with contextlib.suppress(OSError, IndexError), open(f"/proc/{pid}/statm", "rb") as file:
        return int(file.read().split()[1]) * _PAGE_BYTES
    return 0


def die_with_parent(parent: int) -> None:
    """Has the kernel kill this process when its parent (the thread that made it) ends: prctl(2)."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended already
        os._exit(1)
