"""Connection pools: what lies between the engine and a store in its own process, and one behind a socket.

    python benchmarks/design_map/store_calls.py [DIRECTORY]

The other side of the socket is the fastest there can be: a loop that sends 130 bytes back for 20, and looks
nothing up. A pool of connections hides such a round trip from other calls; it does not make it shorter.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile

from cold_reads import fill
from timing import best_ns, show

COUNT = 20_000


def main() -> None:
    """Print every figure."""
    directory = tempfile.mkdtemp(dir=sys.argv[1] if len(sys.argv) > 1 else "/var/tmp")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        if (child := os.fork()) == 0:
            connection, _ = listener.accept()
            while connection.recv(4_096):
                connection.sendall(b"x" * 130)
            os._exit(0)
        client = socket.create_connection(listener.getsockname())
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        store = fill(directory + "/db")
        keys = [number.to_bytes(16, "big") for number in range(0, 200_000, 10)]

        def embedded(count: int) -> None:
            for key in keys[:count]:
                store.get(key)

        def remote(count: int) -> None:
            for key in keys[:count]:
                client.sendall(key)
                client.recv(4_096)

        print("one row read")
        show("from RocksDB in the process", best_ns(embedded, COUNT) / 1000, "us", 2)
        show("a bare round trip over loopback TCP, before any lookup", best_ns(remote, COUNT) / 1000, "us", 2)
        store.close()
    finally:
        client.close()
        os.waitpid(child, 0)
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
