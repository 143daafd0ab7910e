"""Browsers that have the web page open, as the server sees them: each has a stream that it reads, and asks
for what its page shows, over and over, on a connection of its own.

python benchmarks/viewers.py PORT COUNT SECONDS QUERY [EVERY_MS:PATH ...]
"""

from __future__ import annotations

import selectors
import socket
import sys
import time


def main() -> None:
    """Open the streams, and read what comes."""
    port, count, seconds, query = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
    polls = [
        (float(every) / 1_000, path) for every, _, path in (each.partition(":") for each in sys.argv[5:])
    ]
    waiting = selectors.DefaultSelector()
    for _ in range(count):
        stream = socket.create_connection(("127.0.0.1", port))
        stream.sendall(f"GET /v1/events?{query} HTTP/1.1\r\nHost: viewer\r\n\r\n".encode())
        waiting.register(stream, selectors.EVENT_READ)
    begun = time.monotonic()
    asking = []
    for viewer in range(count if polls else 0):
        connection = socket.create_connection(("127.0.0.1", port))
        waiting.register(connection, selectors.EVENT_READ)
        # They were not opened at the same moment.
        asking += [[begun + every * (viewer + 0.5) / count, every, path, connection] for every, path in polls]
    until = begun + seconds
    received = 0
    while (now := time.monotonic()) < until:
        for ask in asking:
            due, every, path, connection = ask
            if now >= due:
                connection.sendall(f"GET {path} HTTP/1.1\r\nHost: viewer\r\n\r\n".encode())
                ask[0] = due + every
        next_due = min((ask[0] for ask in asking), default=until)
        for key, _ in waiting.select(max(0.0, min(next_due, until) - now)):
            assert isinstance(key.fileobj, socket.socket)
            piece = key.fileobj.recv(1 << 16)
            if not piece:
                raise SystemExit("a stream has ended")
            received += len(piece)
    print(received)


if __name__ == "__main__":
    main()
