"""A load of enqueues over 32 connections, plain or through TLS, one request outstanding on each.

    python benchmarks/tls_load.py PORT SECONDS plain|TLS    prints a JSON line

It exists beside load.c because it speaks TLS; both kinds are measured by it, so that only the server's side
differs.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time

import uvloop

CONNECTIONS = 32
_BODY = b'{"payload":"' + b"x" * 98 + b'"}'
_REQUEST = (
    b"POST /v1/queues/bench/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
)


class _Client(asyncio.Protocol):
    def __init__(self, until: float, latencies: list[float], gone: asyncio.Event) -> None:
        self._until = until
        self._latencies = latencies
        self._gone = gone

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # which it is
        self._ask()

    def _ask(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(_REQUEST)

    def data_received(self, data: bytes) -> None:
        if not data.startswith(b"HTTP/1.1 201"):
            raise SystemExit(f"refused: {data[:200]!r}")
        now = time.perf_counter()
        self._latencies.append(now - self._sent)
        if now < self._until:
            self._ask()
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._gone.set()


async def main(port: int, seconds: float, kind: str) -> None:
    """Runs it."""
    context = None
    if kind == "TLS":
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # the handshake is not what is measured
    latencies: list[float] = []
    started = time.perf_counter()
    gone = [asyncio.Event() for _ in range(CONNECTIONS)]
    loop = asyncio.get_running_loop()
    for each in gone:
        await loop.create_connection(
            lambda each=each: _Client(started + seconds, latencies, each), "127.0.0.1", port, ssl=context
        )
    await asyncio.gather(*(each.wait() for each in gone))
    took = time.perf_counter() - started
    latencies.sort()
    print(
        json.dumps(
            {
                "ops": len(latencies),
                "seconds": took,
                "p50_us": latencies[len(latencies) // 2] * 1e6,
                "p99_us": latencies[len(latencies) * 99 // 100] * 1e6,
                "max_us": latencies[-1] * 1e6,
            }
        )
    )


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]))
