"""A real server on a loopback port, in front of an application that records and answers."""

import asyncio
import json
import queue
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import uvloop

from taskqueuex.clock import SystemClock
from taskqueuex.commands import COMMANDS
from taskqueuex.commands.call import Call, Sink
from taskqueuex.network import NetworkConfig, NetworkMetrics, Router, Server

TIMEOUT_S = 10.0


@dataclass
class Response:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Wire:
    """A client that sends exactly the bytes it is told to."""

    def __init__(self, address: tuple[str, int], source: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection(address, timeout=TIMEOUT_S, source_address=(source, 0))
        self._file = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> Response:
        """Sends a request and awaits the answer. `body`: bytes as they are, or what to encode."""
        self.send(request_bytes(method, path, body, **headers))
        return self.receive()

    def receive(self, with_body: bool = True) -> Response:
        line = self._file.readline()
        assert line.startswith(b"HTTP/1.1 "), line
        headers = {}
        while (row := self._file.readline()) not in (b"\r\n", b""):
            name, _, value = row.decode().partition(":")
            headers[name.strip().lower()] = value.strip()
        size = int(headers.get("content-length", "0")) if with_body else 0
        return Response(int(line.split()[1]), headers, self._file.read(size))

    def is_closed(self) -> bool:
        """Waits for the server to close."""
        try:
            return self._file.read(1) == b""
        except ConnectionError:
            return True

    def close(self) -> None:
        self._file.close()
        self.socket.close()


def request_bytes(method: str, path: str, body: Any = None, **headers: str) -> bytes:
    content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if content:
        lines.append(f"Content-Length: {len(content)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + content


@dataclass
class Application:
    """Records every call; answers at once unless `holds` is set."""

    loop: asyncio.AbstractEventLoop | None = None
    holds: bool = False
    status: int = 200
    body: Any = b'{"ok":true}'
    durability: str | None = None
    raises: Exception | None = None
    calls: "queue.Queue[Call]" = field(default_factory=queue.Queue)
    gone: "queue.Queue[Sink]" = field(default_factory=queue.Queue)

    on_submit: Callable[[Call], None] | None = None

    def submit(self, call: Call) -> None:
        if self.on_submit is not None:
            self.on_submit(call)
            return
        self.calls.put(call)
        if self.raises is not None:
            raise self.raises
        if not self.holds:
            call.sink.on_reply(call, self.status, self.body, self.durability)

    def next_call(self) -> Call:
        return self.calls.get(timeout=TIMEOUT_S)

    def reply(self, call: Call, status: int = 200, body: Any = b"{}", durability: str | None = None) -> bool:
        """Answers a held call, on the server's loop; what on_reply returned."""
        return self.on_loop(lambda: call.sink.on_reply(call, status, body, durability))

    def on_loop(self, action: Callable[[], Any]) -> Any:
        assert self.loop is not None

        async def run() -> Any:
            return action()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(TIMEOUT_S)


class Running:
    """A server in a thread of its own."""

    def __init__(self, config: NetworkConfig) -> None:
        self.app = Application()
        self.metrics = NetworkMetrics()
        self.config = config
        self.loop = uvloop.new_event_loop()
        self.app.loop = self.loop
        submit = self.app.submit
        router = Router(COMMANDS.values(), {"engine": submit, "query": submit, "server": submit})
        self.server = Server(config, router, self.app.gone.put, SystemClock(), self.metrics)
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self._wires: list[Wire] = []
        try:
            self.await_(self.server.start())
        except BaseException:
            self._end_loop()
            raise
        self.address = self.server.addresses[0]

    def await_(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(TIMEOUT_S)

    def start_soon(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def connect(self, source: str = "127.0.0.1") -> Wire:
        """A connection from an address of the loopback network."""
        wire = Wire(self.address, source)
        self._wires.append(wire)
        return wire

    def hold(self, *wires: Wire) -> None:
        """Gives each connection something under way: a poll that is not answered."""
        self.app.holds = True
        for wire in wires:
            wire.send(request_bytes("POST", "/v1/queues/q/dequeue", {"wait_ms": 60_000}))
            self.app.next_call()
        self.app.holds = False

    def sessions(self) -> list[Any]:
        """The open ones."""
        return self.app.on_loop(lambda: self.server._hub.sessions)

    def received(self) -> int:
        """Bytes that came."""
        return self.app.on_loop(lambda: self.metrics.bytes_in)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Returns when it holds."""
        until = time.monotonic() + TIMEOUT_S
        while not condition():
            assert time.monotonic() < until, "it did not come to pass"
            time.sleep(0.005)

    def tick(self, seconds: int = 1) -> None:
        """Lets seconds pass for the connections, at once."""
        for _ in range(seconds):
            self.app.on_loop(self.server._hub.on_tick)

    def stop(self) -> None:
        for wire in self._wires:
            wire.close()
        self.await_(self.server.drained(0.2))
        self._end_loop()

    def _end_loop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()
