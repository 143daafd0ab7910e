"""The server under torture: a real process in its own group, killed and started again on the same data."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.shared.programs import free_port
from tests.torture.wire import Connection, ConnectionBroke

READY_WITHIN_S = 30.0

# The server refuses settings it does not know, and TQX_KILLS and TQX_SEED are ours; nor should a setting of
# whoever runs the tests change what is tested.
_ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("TQX_")}


class ServerFailed(Exception):
    """The server did not come up, or ended by itself; the message holds the end of its log."""


class TorturedServer:
    """Starts, kills and restarts `tqx serve` on one directory and one port."""

    def __init__(self, data: Path, log: Path) -> None:
        self.data = data
        self.log = log
        self.port = free_port()
        self.up = asyncio.Event()
        """Set while the server is known to serve."""
        self.restart_s: list[float] = []
        """Seconds from each start to ready."""
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it and return when /readyz answers 200.

        Raises:
            ServerFailed: it ended, or was not ready within 30 s.
        """
        command = [sys.executable, "-m", "taskqueuex.cli", "serve", "--data", str(self.data)]
        command += ["--listen", f"127.0.0.1:{self.port}"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env=_ENVIRONMENT,
            )
        started = time.monotonic()
        while not await self._is_ready():
            if self._process.poll() is not None:
                raise ServerFailed(f"the server ended with {self._process.returncode}\n{self._log_end()}")
            if time.monotonic() - started > READY_WITHIN_S:
                raise ServerFailed(f"the server was not ready within {READY_WITHIN_S} s\n{self._log_end()}")
            await asyncio.sleep(0.01)  # there is no signal to wait for from another process
        self.restart_s.append(time.monotonic() - started)
        self.up.set()

    def kill(self) -> None:
        """Kill the whole process group with SIGKILL and reap it.

        Raises:
            ServerFailed: it had ended by itself, which is a failure of its own.
        """
        self.up.clear()
        process, self._process = self._process, None
        if process is None:
            return
        ended_by_itself = process.poll()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if ended_by_itself is not None:
            raise ServerFailed(f"the server ended by itself with {ended_by_itself}\n{self._log_end()}")

    def check_storage(self) -> str:
        """Let `tqx storage check` recompute every counter and index from the rows; the server must be down.

        Returns:
            What it found; empty when all is well.
        """
        command = [sys.executable, "-m", "taskqueuex.cli", "storage", "check", "--data", str(self.data)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=_ENVIRONMENT)
        return "" if done.returncode == 0 else f"{done.stdout[-4000:]}\n{done.stderr[-2000:]}"

    async def _is_ready(self) -> bool:
        connection = Connection(self.port)
        try:
            return (await connection.call("GET", "/readyz")).status == 200
        except ConnectionBroke:
            return False
        finally:
            connection.close()

    def _log_end(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]
