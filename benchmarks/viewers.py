"""Browsers that have the web page open, as the server sees them: streams that are read, for some seconds.

python benchmarks/viewers.py PORT COUNT SECONDS QUERY
"""

from __future__ import annotations

import selectors
import socket
import sys
import time


def main() -> None:
    """Open the streams, and read what comes."""
    port, count, seconds, query = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
    waiting = selectors.DefaultSelector()
    for _ in range(count):
        stream = socket.create_connection(("127.0.0.1", port))
        stream.sendall(f"GET /v1/events?{query} HTTP/1.1\r\nHost: viewer\r\n\r\n".encode())
        waiting.register(stream, selectors.EVENT_READ)
    until = time.monotonic() + seconds
    received = 0
    while (left := until - time.monotonic()) > 0:
        for key, _ in waiting.select(left):
            assert isinstance(key.fileobj, socket.socket)
            piece = key.fileobj.recv(1 << 16)
            if not piece:
                raise SystemExit("a stream has ended")
            received += len(piece)
    print(received)


if __name__ == "__main__":
    main()
