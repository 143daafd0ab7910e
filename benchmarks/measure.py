"""The instruments: the load generator's runs, CPU and memory of a server, the disk, a small HTTP client."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import statistics
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from servers import LOAD_CORE, Bench, Server, pin

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Figures(msgspec.Struct):
    """What one program did under one load."""

    program: str
    operations: int
    ops_per_s: float
    cpu_us_per_op: float
    """CPU microseconds of the whole server process for one operation, user and kernel, all threads."""
    p50_us: float
    p90_us: float
    p99_us: float
    max_us: float
    errors: int


def cpu_seconds(pids: Sequence[int]) -> float:
    """Return user and system CPU seconds of the processes, all their threads included."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS_PER_SECOND


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def start_load(bench: Bench, server: Server, *arguments: object) -> subprocess.Popen[str]:
    """Start the generator, pinned away from the server; `finish_load` collects it."""
    command = [str(bench.load), "-p", str(server.port), *(str(argument) for argument in arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=pin(LOAD_CORE))


def finish_load(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for the generator and return what it printed.

    Raises:
        RuntimeError: it failed, which its standard error explains.
    """
    output, _ = process.communicate(timeout=600)
    if process.returncode != 0:
        raise RuntimeError(f"the load generator failed: {process.args!r}")
    result: dict[str, Any] = json.loads(output)
    return result


def run_load(bench: Bench, server: Server, *arguments: object) -> Figures:
    """Run the generator with ``arguments`` (see load.c) against the server, and measure both."""
    before = cpu_seconds(server.pids())
    result = finish_load(start_load(bench, server, *arguments))
    used_s = cpu_seconds(server.pids()) - before
    return Figures(
        program=server.name,
        operations=result["ops"],
        ops_per_s=result["ops_per_s"],
        cpu_us_per_op=used_s * 1e6 / max(1, result["ops"]),
        p50_us=result["p50_us"],
        p90_us=result["p90_us"],
        p99_us=result["p99_us"],
        max_us=result["max_us"],
        errors=result["errors"],
    )


def median_of(rounds: Sequence[Figures]) -> Figures:
    """Return the medians of several rounds; operations and errors are summed."""

    def median(field: str) -> float:
        return float(statistics.median(getattr(one, field) for one in rounds))

    return Figures(
        program=rounds[0].program,
        operations=sum(one.operations for one in rounds),
        ops_per_s=median("ops_per_s"),
        cpu_us_per_op=median("cpu_us_per_op"),
        p50_us=median("p50_us"),
        p90_us=median("p90_us"),
        p99_us=median("p99_us"),
        max_us=max(one.max_us for one in rounds),
        errors=sum(one.errors for one in rounds),
    )


def fdatasync_us(directory: Path, times: int) -> list[float]:
    """Append 200 bytes and fdatasync them, ``times`` times; return the sorted latencies in microseconds.

    200 bytes at 1,000 a second is about what a write-ahead log sees at the load of the latency lines, and
    the pauses matter: a disk that idles between syncs answers otherwise than one kept busy.
    """
    latencies = []
    path = directory / "fdatasync"
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    try:
        for _ in range(times):
            started = time.perf_counter()
            os.write(descriptor, b"x" * 200)
            os.fdatasync(descriptor)
            took = time.perf_counter() - started
            latencies.append(took * 1e6)
            time.sleep(max(0.0, 0.001 - took))
    finally:
        os.close(descriptor)
        path.unlink()
    return sorted(latencies)


class Client:
    """One keep-alive connection with as little of Python in the way as possible."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, method: str, path: str, body: object = None) -> None:
        """Send a request; `receive` collects its reply."""
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        self._socket.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)

    def receive(self) -> Any:
        """Return the decoded body of the reply.

        Raises:
            RuntimeError: the status is not 2xx.
        """
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more()
        head, _, body = data.partition(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        while len(body) < length:
            body += self._more()
        if not head.split(None, 2)[1].startswith(b"2"):
            raise RuntimeError(f"{head.decode()}\n{body.decode()}")
        return json.loads(body) if body else None

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Send a request and return the decoded body of its reply."""
        self.send(method, path, body)
        return self.receive()

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(OSError):
            self._socket.close()

    def _more(self) -> bytes:
        data = self._socket.recv(1 << 20)
        if not data:
            raise RuntimeError("the server closed the connection")
        return data
