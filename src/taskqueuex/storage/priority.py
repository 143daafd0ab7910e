"""Background work of the store steps back behind the event loop.

RocksDB flushes and compacts on threads of this process. On a core that is busy the scheduler would
give them half of it, in slices of several milliseconds that every client feels. They are given a
lower priority instead: enough to keep up, and all of the core whenever writes have to wait for them.
"""

import contextlib
import os
from pathlib import Path

__all__ = ["lower_background_threads"]

_NICE = 10
_TASKS = Path("/proc/self/task")


def lower_background_threads(known: set[int]) -> None:
    """Lowers the priority of store threads not in `known`, and adds them to it. Linux; else does nothing."""
    with contextlib.suppress(OSError):
        for entry in os.listdir(_TASKS):
            thread = int(entry)
            if thread in known:
                continue
            known.add(thread)
            with contextlib.suppress(OSError):  # it may have ended, or may not be ours to lower
                if (_TASKS / entry / "comm").read_text().startswith("rocksdb:"):
                    os.setpriority(os.PRIO_PROCESS, thread, _NICE)
