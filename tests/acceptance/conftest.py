"""A real server process, and a client that is a socket: nothing of the package is between.

The tests here are written from the interface's description alone. Each takes a queue of its own, so
that one server serves them all. They wait by long polls, which end when what they wait for happens.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

TIMEOUT_S = 30.0
UNKNOWN_ID = "01890a5d-ac96-774b-bcce-b302099a8057"


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Connection:
    """One keep-alive connection that sends what it is told."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self.socket.makefile("rb")

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> None:
        """Sends a request. `body`: bytes as they are, or what to encode as JSON."""
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", "Host: tqx"]
        if content and "Content_Type" not in headers:
            lines.append("Content-Type: application/json")
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if content or method in ("POST", "PUT", "PATCH"):
            lines.append(f"Content-Length: {len(content)}")
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode() + content)

    def receive(self) -> Reply:
        line = self._file.readline()
        assert line.startswith(b"HTTP/1.1 "), f"no answer: {line!r}"
        headers = {}
        while (row := self._file.readline().decode().strip()) != "":
            name, _, value = row.partition(":")
            headers[name.lower()] = value.strip()
        return Reply(int(line.split()[1]), headers, self._file.read(int(headers["content-length"])))

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        self.send(method, path, body, **headers)
        return self.receive()

    def close(self) -> None:
        self._file.close()
        self.socket.close()


class Api:
    """The operations, as tests use them: the good case is asserted, the answer returned."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self._connection = Connection(address)
        self._others: list[Connection] = []

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        return self._connection.call(method, path, body, **headers)

    def connect(self) -> Connection:
        """Another connection, closed with the test."""
        other = Connection(self.address)
        self._others.append(other)
        return other

    def good(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        reply = self.call(method, path, body)
        assert reply.status == status, (method, path, body, reply)
        assert reply.headers["content-type"] == "application/json"
        return reply.json

    def enqueue(self, queue: str, **fields: Any) -> str:
        answer = self.good("POST", f"/v1/queues/{queue}/tasks", fields, 201)
        assert "duplicate" not in answer or answer["duplicate"] is False
        return str(answer["id"])

    def batch(self, queue: str, tasks: list[Any], **fields: Any) -> list[str]:
        answer = self.good("POST", f"/v1/queues/{queue}/tasks/batch", {"tasks": tasks, **fields}, 201)
        return list(answer["ids"])

    def dequeue(self, queue: str, **fields: Any) -> list[Any]:
        answer = self.good("POST", f"/v1/queues/{queue}/dequeue", fields)
        assert set(answer) == {"tasks"}
        return list(answer["tasks"])

    def take(self, queue: str, **fields: Any) -> Any:
        """The one task that is, or becomes, ready."""
        tasks = self.dequeue(queue, **{"wait_ms": 10_000, **fields})
        assert len(tasks) == 1, tasks
        return tasks[0]

    def settle_one(self, verb: str, task: Any, **fields: Any) -> Any:
        return self.good("POST", f"/v1/tasks/{task['id']}/{verb}", {"lease": task["lease"], **fields})

    def ack(self, task: Any, **fields: Any) -> Any:
        return self.settle_one("ack", task, **fields)

    def fail(self, task: Any, **fields: Any) -> Any:
        return self.settle_one("fail", task, **fields)

    def release(self, task: Any, **fields: Any) -> Any:
        return self.settle_one("release", task, **fields)

    def heartbeat(self, task: Any, **fields: Any) -> Any:
        return self.settle_one("heartbeat", task, **fields)

    def task(self, id: str, wait_ms: int = 0) -> Any:
        return self.good("GET", f"/v1/tasks/{id}" + (f"?wait_ms={wait_ms}" if wait_ms else ""))

    def state(self, id: str) -> str:
        return str(self.task(id)["state"])

    def steer(self, id: str, verb: str) -> Any:
        return self.good("POST", f"/v1/tasks/{id}/{verb}")

    def put_queue(self, queue: str, **fields: Any) -> Any:
        reply = self.call("PUT", f"/v1/queues/{queue}", fields)
        assert reply.status in (200, 201), reply
        return reply.json

    def queue(self, queue: str) -> Any:
        return self.good("GET", f"/v1/queues/{queue}")

    def kill_new(self, queue: str, **fields: Any) -> str:
        """A dead task."""
        id = self.enqueue(queue, **fields)
        self.steer(id, "kill")
        return id

    def close(self) -> None:
        for connection in (self._connection, *self._others):
            connection.close()


@dataclass
class Process:
    address: tuple[str, int]
    data: Path
    process: "subprocess.Popen[str]"
    log: threading.Thread  # forwards what it logs, which pytest shows where a test fails

    def close(self) -> None:
        """Behind the process's end."""
        self.log.join()
        assert self.process.stderr is not None
        self.process.stderr.close()


def start_server(data: Path) -> Process:
    """Starts a server; its address is read from the line that says it serves."""
    command = [
        sys.executable,
        "-m",
        "taskqueuex.cli",
        "serve",
        "--data",
        str(data),
        "--listen",
        "127.0.0.1:0",
    ]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TQX_")}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environ)
    assert process.stderr is not None
    told = []
    for line in iter(process.stderr.readline, ""):
        told.append(line)
        found = re.search(r"http://([0-9.]+):([0-9]+)", line)
        if found:
            log = threading.Thread(target=_forward, args=(process.stderr,), daemon=True)
            log.start()
            return Process((found.group(1), int(found.group(2))), data, process, log)
    raise AssertionError(f"the server did not start: {''.join(told)}")


def _forward(stream: Any) -> None:
    for line in iter(stream.readline, ""):
        sys.stderr.write(line)


def stop_server(server: Process) -> int:
    server.process.send_signal(signal.SIGTERM)
    code = server.process.wait(30)
    server.close()
    return code


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    running = start_server(tmp_path_factory.mktemp("acceptance") / "data")
    yield running
    assert stop_server(running) == 0, "the server did not end well"


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Any]:
    """Starts servers of a test's own, on a data directory; what still runs is stopped with it."""
    started: list[Process] = []

    def start(data: Path | None = None) -> Process:
        started.append(start_server(data or tmp_path / "data"))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            stop_server(each)
        else:
            each.close()


@pytest.fixture
def connect() -> Iterator[Any]:
    """A client of a server of one's own."""
    made: list[Api] = []

    def client(server: Process) -> Api:
        made.append(Api(server.address))
        return made[-1]

    yield client
    for each in made:
        each.close()


@pytest.fixture
def api(server: Process) -> Iterator[Api]:
    client = Api(server.address)
    yield client
    client.close()


@pytest.fixture
def queue(request: pytest.FixtureRequest) -> str:
    """A queue that no other test uses."""
    return re.sub(r"[^A-Za-z0-9]+", "-", request.node.name)[:100] + f"-{os.getpid()}"


@pytest.fixture
def now_ms() -> Any:
    """The time. `slack_ms` is added where it bounds what the server says: the machine's clock may be set back
    by some milliseconds while a test runs, and the server's time does not go back."""
    return lambda slack_ms=0: time.time_ns() // 1_000_000 + slack_ms


class Check:
    """What every error has to be like."""

    @staticmethod
    def problem(reply: Reply, status: int, code: str) -> Any:
        assert reply.status == status, reply
        assert reply.headers["content-type"] == "application/problem+json"
        problem = reply.json
        assert {"type", "title", "status", "detail", "code", "outcome"} <= set(problem)
        assert (problem["status"], problem["code"]) == (status, code), problem
        assert problem["outcome"] in ("not_applied", "unknown")
        return problem

    @classmethod
    def field(cls, reply: Reply, field: str) -> None:
        problem = cls.problem(reply, 422, "invalid")
        assert problem["outcome"] == "not_applied"
        assert field in [error["field"] for error in problem["errors"]], problem


@pytest.fixture(scope="session")
def check() -> type[Check]:
    return Check


@pytest.fixture(scope="session")
def unknown_id() -> str:
    return UNKNOWN_ID
