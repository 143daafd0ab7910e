"""Real servers and workers for the tests here: processes whose words can be waited for."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.shared import programs

__all__ = ["TIMEOUT_S", "Program", "Server", "Worker", "until"]

TIMEOUT_S = 40.0
HERE = Path(__file__).parent


def until(condition, what="it", timeout_s=TIMEOUT_S):
    """Returns what a condition returns once that is true; asks the server, so each look waits by itself."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what} did not come within {timeout_s} s"
        time.sleep(0.02)


class Program(programs.Program):
    """A process whose standard error is read line by line."""

    def __init__(self, *arguments, env=None, cwd=HERE):
        super().__init__(
            [sys.executable, "-m", *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env={**os.environ, **(env or {})},
        )

    @property
    def pid(self):
        return self.process.pid

    def wait_for(self, pattern, timeout_s=TIMEOUT_S):
        """The match of the first line that matches."""

        def found():
            return next((match for line in self.lines if (match := re.search(pattern, line))), None)

        with self._said:
            self._said.wait_for(lambda: found() or self._ended, timeout_s)
            match = found()
        assert match, f"no {pattern!r} in:\n{self.log}"
        return match

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout_s=TIMEOUT_S):
        """The exit code."""
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running:\n{self.log}") from None
        self._reader.join(TIMEOUT_S)
        return code

    def kill(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait()
        self._reader.join(TIMEOUT_S)
        assert not self._reader.is_alive(), "somebody outlived the process and holds its standard error"
        self._output.close()


class Server(Program):
    """`tqx serve` on a free port, or on a given one."""

    def __init__(self, data, port=0):
        super().__init__("taskqueuex.cli", "serve", "--data", str(data), "--listen", f"127.0.0.1:{port}")
        self.data = data
        self.url = self.wait_for(r"serving url=(\S+)")[1]
        self.port = int(self.url.rpartition(":")[2])

    def killed_and_restarted(self):
        """kill -9, and another one at the same place."""
        self.kill()
        return Server(self.data, self.port)


class Worker(Program):
    """`tqx worker` of an app of the tests."""

    def __init__(self, server, app, *arguments, name="w1", env=None):
        super().__init__(
            "taskqueuex.cli",
            "worker",
            app,
            "--name",
            name,
            *arguments,
            env={**(env or {}), "TQX_SERVER": server.url},
        )
        self.name = name
        self.wait_for("worker ready")

    def children(self, module="child"):
        """The pids of its processes that run tasks, or of its heart."""
        found = []
        for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split():
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            if f"taskqueuex.worker.{module}".encode() in command:
                found.append(int(pid))
        return found
