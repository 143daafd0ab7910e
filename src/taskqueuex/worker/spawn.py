"""Starts the processes of a worker: a module of this room, and a socket pair between the two."""

import asyncio
import signal
import socket
import sys

__all__ = ["leave_signals_to_worker", "spawn"]


async def spawn(module: str, stdin: int) -> tuple[asyncio.subprocess.Process, socket.socket]:
    """Runs `python -m taskqueuex.worker.MODULE FD`. Returns the process, and the worker's end of the pair.

    `stdin`: asyncio.subprocess.PIPE or DEVNULL.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            f"taskqueuex.worker.{module}",
            str(theirs.fileno()),
            pass_fds=[theirs.fileno()],
            stdin=stdin,
        )
    return process, ours


def leave_signals_to_worker() -> None:
    """What a terminal or a supervisor sends to the whole group is meant for the worker, which then drains."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
