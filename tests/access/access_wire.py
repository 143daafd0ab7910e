"""A client that is a socket, and servers as processes: nothing of the package is between."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return self.json["code"]


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(30)
        self.sock.connect(self._path)


class Wire:
    """One connection. `token` goes with every call that brings no credentials of its own."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.token = token
        if url.startswith("unix:"):
            self._connection: http.client.HTTPConnection = _Unix(url.removeprefix("unix:"))
        else:
            self._connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> None:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token is not None and "Cookie" not in sent:
            sent.setdefault("Authorization", f"Bearer {self.token}")
        content = None
        if body is not None:
            content = json.dumps(body)
            sent["Content-Type"] = "application/json"
        self._connection.request(method, path, content, sent)

    def receive(self) -> Reply:
        answer = self._connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, found, answer.read())

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        self.send(method, path, body, **headers)
        return self.receive()

    def good(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        reply = self.call(method, path, body, **headers)
        assert reply.status < 300, (method, path, reply)
        return reply.json

    def close(self) -> None:
        self._connection.close()


class ServerProcess:
    """A real server on a data directory. `log` has what it wrote, when it has ended."""

    def __init__(self, data: Path, *more: str, env: dict[str, str] | None = None) -> None:
        command = [sys.executable, "-m", "taskqueuex.cli", "serve", "--data", str(data)]
        command += ["--listen", "127.0.0.1:0", *more]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("TQX_")}
        self.data = data
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env={**environ, **(env or {})}
        )
        self._lines: list[str] = []
        assert self.process.stderr is not None
        for line in iter(self.process.stderr.readline, ""):
            self._lines.append(line)
            if found := re.search(r"http://[0-9.]+:[0-9]+", line):
                self.url = found.group()
                break
        else:
            raise AssertionError("".join(self._lines))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self._lines += self.process.stderr.readlines()

    @property
    def log(self) -> str:
        return "".join(self._lines)

    def end(self, number: int = signal.SIGTERM) -> None:
        """Ends it by a signal, and waits for that."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(30)
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()


def token_of(wire: Wire, *scopes: str, **more: Any) -> Any:
    """A new token: the answer that shows it."""
    return wire.good("POST", "/v1/tokens", {"name": more.pop("name", "t"), "scopes": [*scopes], **more})
