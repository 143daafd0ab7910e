"""Programs that tests start, and whose output they read line by line."""

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

TIMEOUT_S = 60.0


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def environment(**more: str) -> dict[str, str]:
    """That of the tests, without settings of a server or of tqx; with the programs of this interpreter first,
    and last with those that Debian keeps where only root looks."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TQX_")}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"
    return kept | {"PATH": path} | more


class Program:
    """A process whose output is read line by line; with `stdout=DEVNULL, stderr=PIPE`, its errors alone."""

    def __init__(self, command: list[str], **settings: Any) -> None:
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            text=True,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "env": environment(), **settings},
        )
        output = self.process.stdout or self.process.stderr
        assert output is not None
        self._output = output
        self.lines: list[str] = []
        self._said = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._output:
            with self._said:
                self.lines.append(line)
                self._said.notify_all()
        with self._said:
            self._ended = True
            self._said.notify_all()

    @property
    def log(self) -> str:
        return "".join(self.lines)

    def wait_for(self, text: str) -> None:
        """Returns when it has said a text."""
        with self._said:
            found = self._said.wait_for(lambda: text in self.log or self._ended, TIMEOUT_S)
            assert found and text in self.log, f"{self.process.args}: no {text!r} in:\n{self.log}"

    def wait_ended(self) -> None:
        """Returns when it has ended by itself, in order."""
        assert self.process.wait(TIMEOUT_S) == 0, self.log

    def stop(self) -> int:
        """Ends it in order. Returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
        code = self.process.wait(20)
        self._reader.join(20)
        self._output.close()
        return code
