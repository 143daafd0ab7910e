"""A server and workers, each a process of its own, that end with the demo."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

__all__ = ["running"]

START_S = 30.0
STOP_S = 15.0
WORKERS = {"pricing": "quotes", "desk-1": "settlement,risk,orders", "desk-2": "settlement,risk,orders"}


class Program:
    """`tqx` with its log in a file."""

    def __init__(self, directory: Path, name: str, arguments: list[str], server: str = "") -> None:
        self._log = directory / f"{name}.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "taskqueuex.cli", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=Path(__file__).parents[1],
                env={**os.environ, "TQX_SERVER": server, "TRADING_DIRECTORY": str(directory)},
                start_new_session=True,  # Ctrl-C is for the demo, which ends the others in their turn
            )

    def wait_for(self, pattern: str) -> str:
        """The group of the pattern in the log. Raises RuntimeError, with the log, where it does not come."""
        until = time.monotonic() + START_S
        while True:
            text = self._log.read_text()
            found = re.search(pattern, text)
            if found is not None:
                return found[1]
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{self._log.name}: does not start:\n{text}")
            time.sleep(0.02)  # another process's file has no other way to tell

    def stop(self) -> None:
        """Asks it to end, and sees to it that it does."""
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def running(directory: Path) -> Iterator[str]:
    """A server over an empty directory, and three workers. Gives the server's URL."""
    with ExitStack() as stack:
        serve = ["serve", "--data", str(directory / "data"), "--listen", "127.0.0.1:0"]
        server = Program(directory, "server", serve)
        stack.callback(server.stop)
        url = server.wait_for(r"serving url=(\S+)")
        workers = []
        for name, queues in WORKERS.items():
            work = ["worker", "trading.tasks", "--name", name, "--queues", queues]
            workers.append(Program(directory, name, work, url))
            stack.callback(workers[-1].stop)
        for worker in workers:
            worker.wait_for(r"(worker ready)")
        yield url
