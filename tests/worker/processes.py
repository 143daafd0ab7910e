"""Real servers and workers for the tests here: processes whose words can be waited for."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

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


class Program:
    """A process whose standard error is read line by line."""

    def __init__(self, *arguments, env=None, cwd=HERE):
        self.process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
            env={**os.environ, **(env or {})},
        )
        self.lines = []
        self._said = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self):
        return self.process.pid

    @property
    def log(self):
        return "".join(self.lines)

    def _read(self):
        for line in self.process.stderr:
            with self._said:
                self.lines.append(line)
                self._said.notify_all()
        with self._said:
            self._said.notify_all()

    def wait_for(self, pattern, timeout_s=TIMEOUT_S):
        """The match of the first line that matches."""
        deadline = time.monotonic() + timeout_s
        with self._said:
            while True:
                for line in self.lines:
                    found = re.search(pattern, line)
                    if found:
                        return found
                left = deadline - time.monotonic()
                assert left > 0 and self._reader.is_alive(), f"no {pattern!r} in:\n{''.join(self.lines)}"
                self._said.wait(left)

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
        self.process.stderr.close()


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
