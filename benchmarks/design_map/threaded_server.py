"""The classic design whole (a request queue, 32 threads, mutexes) beside one loop without any.

    python benchmarks/design_map/threaded_server.py

Both servers do the same work with the same libraries: httptools parses, msgspec decodes, a task goes into a
deque, a counter counts, 201 is answered. Neither stores anything, so that only the design differs. The load
is that of `benchmarks/load.c`: 64 connections, never pipelined; the server has one core, the load the other.
"""

from __future__ import annotations

import asyncio
import itertools
import queue
import selectors
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import httptools
import msgspec
import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from measure import run_load  # of benchmarks/
from servers import Bench, Server, accepts, free_port

POOL = 32
SECONDS = 4


class Task(msgspec.Struct, gc=False):
    """What is enqueued."""

    payload: msgspec.Raw


decode = msgspec.json.Decoder(Task).decode
REPLY = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"


def reply(number: int) -> bytes:
    """The answer to an enqueue."""
    body = b'{"id":"%032d","state":"ready"}' % number
    return REPLY % (len(body), body)


class Request:
    """What httptools calls while it reads a connection."""

    def __init__(self, on_body: Callable[[bytes], None]) -> None:
        self._on_body = on_body
        self._body = b""
        self.parser = httptools.HttpRequestParser(self)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        body, self._body = self._body, b""
        self._on_body(body)


class Session(asyncio.Protocol):
    """One loop: a request is applied where it was read."""

    tasks: ClassVar[deque[Task]] = deque()
    numbers: ClassVar[itertools.count[int]] = itertools.count()

    def connection_made(self, transport: Any) -> None:
        self._write = transport.write
        self._feed = Request(self._apply).parser.feed_data

    def data_received(self, data: bytes) -> None:
        self._feed(data)

    def _apply(self, body: bytes) -> None:
        self.tasks.append(decode(body))
        self._write(reply(next(self.numbers)))


async def serve_on_a_loop(port: int) -> None:
    """Serves for ever."""
    server = await asyncio.get_running_loop().create_server(Session, "127.0.0.1", port)
    await server.serve_forever()


class Pool:
    """A reader that knows which sockets have something, and 32 threads that do the work."""

    def __init__(self) -> None:
        self.requests: queue.Queue[tuple[socket.socket, bytes]] = queue.Queue()
        self.queue_mutex = threading.Lock()
        self.counter_mutex = threading.Lock()
        self.tasks: deque[Task] = deque()
        self.enqueued = 0
        for _ in range(POOL):
            threading.Thread(target=self.work, daemon=True).start()

    def work(self) -> None:
        """What each thread does for ever."""
        while True:
            connection, body = self.requests.get()
            task = decode(body)
            with self.queue_mutex:
                self.tasks.append(task)
            with self.counter_mutex:
                self.enqueued += 1
                number = self.enqueued
            connection.sendall(reply(number))


def serve_on_a_pool(port: int) -> None:
    """Serves for ever."""
    pool = Pool()
    selector = selectors.DefaultSelector()
    listener = socket.create_server(("127.0.0.1", port), backlog=1_024)
    selector.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                request = Request(lambda body, connection=connection: pool.requests.put((connection, body)))
                selector.register(connection, selectors.EVENT_READ, request)
                continue
            data = key.fileobj.recv(65_536)  # type: ignore[union-attr]
            if data:
                key.data.parser.feed_data(data)
            else:
                selector.unregister(key.fileobj)
                key.fileobj.close()  # type: ignore[union-attr]


def main() -> None:
    """Serve, when told to; else start both servers, one after the other, and print what they did."""
    if len(sys.argv) == 3:
        sys.setswitchinterval(0.0005)
        port = int(sys.argv[2])
        serve_on_a_pool(port) if sys.argv[1] == "pool" else uvloop.run(serve_on_a_loop(port))
        return
    bench = Bench(Path("/var/tmp"))
    try:
        bench.compile_load()
        print("  design                        requests/s   CPU us each    p50 us    p99 us")
        for kind, name in (("loop", "one loop, no lock"), ("pool", "queue, 32 threads, mutexes")):
            port = free_port()
            server = Server(kind, [sys.executable, __file__, kind, str(port)], port, bench.directory / kind)
            server.start(accepts)
            figures = run_load(bench, server, "-s", SECONDS, "enqueue")
            server.kill()
            print(
                f"  {name:<28}{figures.ops_per_s:>12,.0f}{figures.cpu_us_per_op:>14.1f}"
                f"{figures.p50_us:>10,.0f}{figures.p99_us:>10,.0f}"
            )
    finally:
        bench.remove()


if __name__ == "__main__":
    main()
