"""Browsers that have the web page open, as the server sees them: each has a stream that it reads, and asks
for what its page shows, over and over, on a connection of its own.

python benchmarks/viewers.py PORT COUNT QUERY [EVERY_MS:PATH ...]

A line `on` on standard input opens the pages, `off` puts them away, as whoever goes to another tab does: no
stream, no question, and their clocks stand still. The end of the input ends it.
"""

from __future__ import annotations

import selectors
import socket
import sys
import time


class Ask:
    """A question that is asked over and over; `due_s` by the time that the page was open."""

    def __init__(self, due_s: float, every_s: float, path: str, connection: socket.socket) -> None:
        self.due_s, self._every_s, self._path, self._connection = due_s, every_s, path, connection

    def send(self) -> None:
        """Asks it."""
        self._connection.sendall(f"GET {self._path} HTTP/1.1\r\nHost: viewer\r\n\r\n".encode())
        self.due_s += self._every_s


class Viewers:
    """All the browsers, in one thread."""

    def __init__(self, port: int, count: int, query: str, polls: list[tuple[float, str]]) -> None:
        self._port, self._count, self._query = port, count, query
        self._waiting = selectors.DefaultSelector()
        self._waiting.register(sys.stdin, selectors.EVENT_READ)
        self._streams: list[socket.socket] = []
        self._looked_s = 0.0  # how long the pages were open, up to `_since`
        self._since = 0.0
        # They were not opened at one moment.
        self._asks = [
            Ask(every_s * (viewer + 0.5) / count, every_s, path, connection)
            for viewer in range(count if polls else 0)
            for connection in [self._connect()]
            for every_s, path in polls
        ]

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self._port))
        self._waiting.register(connection, selectors.EVENT_READ)
        return connection

    def _turn(self, command: str) -> None:
        if command == "on":
            self._since = time.monotonic()
            for _ in range(self._count):
                stream = self._connect()
                stream.sendall(f"GET /v1/events?{self._query} HTTP/1.1\r\nHost: viewer\r\n\r\n".encode())
                self._streams.append(stream)
        elif self._streams:
            self._looked_s += time.monotonic() - self._since
            for stream in self._streams:
                self._waiting.unregister(stream)
                stream.close()
            self._streams = []

    def run(self) -> None:
        """Until the input ends."""
        while True:
            wait_s = self._ask() if self._streams else None
            for key, _ in self._waiting.select(wait_s):
                if key.fileobj is sys.stdin:
                    command = sys.stdin.readline().strip()
                    if not command:
                        return
                    self._turn(command)
                    break  # what else was ready may be closed now
                assert isinstance(key.fileobj, socket.socket)
                if not key.fileobj.recv(1 << 16):
                    raise SystemExit("the server has ended a stream")

    def _ask(self) -> float | None:
        looked_s = self._looked_s + time.monotonic() - self._since
        for ask in self._asks:
            if looked_s >= ask.due_s:
                ask.send()
        return min((max(0.0, ask.due_s - looked_s) for ask in self._asks), default=None)


def main() -> None:
    """What the head of this file says."""
    port, count, query, *asked = sys.argv[1:]
    polls = [(float(every) / 1_000, path) for every, _, path in (each.partition(":") for each in asked)]
    Viewers(int(port), int(count), query, polls).run()


if __name__ == "__main__":
    main()
