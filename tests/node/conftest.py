"""Server processes of a test's own, on RocksDB, with faults that a file in a directory lets happen."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the helpers beside the tests

FAULTY = Path(__file__).with_name("faulty_server.py")
TIMEOUT_S = 30


class Client:
    """One connection, opened anew where the server closed it."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)

    def send(self, method: str, path: str, body: Any = None) -> None:
        content = None if body is None and method == "GET" else json.dumps(body or {})
        self._connection.request(method, path, content, {"Content-Type": "application/json"})

    def receive(self) -> tuple[int, Any]:
        reply = self._connection.getresponse()
        content = reply.read()
        kind = reply.headers.get_content_type()
        return reply.status, json.loads(content) if kind.endswith("json") else content.decode()

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        self.send(method, path, body)
        return self.receive()

    def good(self, method: str, path: str, body: Any = None) -> Any:
        status, answer = self.call(method, path, body)
        assert status in (200, 201), (status, answer)
        return answer

    def enqueue(self, queue: str = "q", **fields: Any) -> str:
        return self.good("POST", f"/v1/queues/{queue}/tasks", fields)["id"]

    def take(self, queue: str = "q", **fields: Any) -> list[Any]:
        return self.good("POST", f"/v1/queues/{queue}/dequeue", fields)["tasks"]

    def counts(self, queue: str = "q") -> dict[str, int]:
        return self.good("GET", f"/v1/queues/{queue}")["counts"]

    def close(self) -> None:
        self._connection.close()


class Server:
    """A process that serves `data`."""

    def __init__(self, data: Path, faults: Path, *, commit: str = "inline") -> None:
        self.data = data
        self.faults = faults
        self.clients: list[Client] = []
        self.log = ""
        self._said = threading.Condition()
        environ = {name: value for name, value in os.environ.items() if not name.startswith("TQX_")}
        environ |= {"TQX_TEST_FAULTS": str(faults), "TQX_WRITER_COMMIT": commit}
        arguments = ["serve", "--data", str(data), "--listen", "127.0.0.1:0"]
        self.process = subprocess.Popen(
            [sys.executable, str(FAULTY), *arguments], stderr=subprocess.PIPE, text=True, env=environ
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        found = self.wait_said(r"http://[0-9.]+:([0-9]+)")
        self.port = int(found.group(1)) if found else 0

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in iter(self.process.stderr.readline, ""):
            with self._said:
                self.log += line
                self._said.notify_all()
        with self._said:
            self._said.notify_all()

    def wait_said(self, pattern: str) -> re.Match[str] | None:
        """Waits for a line of the log; None when the process ends without it."""

        def found() -> Any:
            return re.search(pattern, self.log) or (self.process.poll() is not None and "ended")

        with self._said:
            while not (answer := found()):
                if not self._said.wait(TIMEOUT_S) and not found():
                    raise AssertionError(f"{pattern!r} was not said: {self.log}")
        return answer if isinstance(answer, re.Match) else re.search(pattern, self.log)

    def client(self) -> Client:
        self.clients.append(Client(self.port))
        return self.clients[-1]

    def fault(self, name: str, on: bool = True) -> None:
        """Lets something fail: `sync` and `write` once, the others until it is taken back."""
        file = self.faults / name
        if on:
            file.touch()
        else:
            file.unlink(missing_ok=True)

    def wait_watermark(self) -> None:
        """Waits until the watermark is above all that was acknowledged so far."""
        client = self.client()
        while client.good("GET", "/v1/stats")["totals"]["commits"] == 0:
            pass
        file = self.data / "WATERMARK"
        before = file.read_text() if file.exists() else ""
        client.enqueue("watermark")
        while not file.exists() or file.read_text() == before:
            client.good("GET", "/healthz")

    def ended(self) -> int:
        """Waits for the end of the process, whatever brings it about; returns its exit code."""
        code = self.process.wait(TIMEOUT_S)
        self._reader.join()
        if self.process.stderr is not None:
            self.process.stderr.close()
        return code

    def kill(self) -> None:
        self.process.kill()
        self.ended()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.ended()


@pytest.fixture
def serve(tmp_path):
    """Starts servers; what still runs is stopped with the test."""
    started: list[Server] = []
    faults = tmp_path / "faults"
    faults.mkdir()

    def start(data: Path | None = None, **options: Any) -> Server:
        started.append(Server(data or tmp_path / "data", faults, **options))
        return started[-1]

    yield start
    for server in started:
        for client in server.clients:
            client.close()
        if server.process.poll() is None:
            server.kill()
