"""A client that means harm: one hostile case after another from 50 connections, as fast as it goes.

    python benchmarks/attack.py PORT SECONDS CASE    runs a case; prints how many times it went through
    python benchmarks/attack.py --list               names them

The cases are those of docs/http.md, and some that take patience: see `_PATIENT`.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any

import uvloop

CONNECTIONS = 50
SOURCES = 20  # loopback addresses, so that ports in TIME_WAIT do not run out
_ENQUEUE = b"POST /v1/queues/q/tasks HTTP/1.1\r\nHost: t\r\nContent-Length: 14\r\n\r\n" + b'{"payload":11}'
_PATIENT = {
    "patience: connects and says nothing": b"",
    "patience: a head that drips": b"GET /healthz HTTP/1.1\r\nHost: t\r\nX: ",
    "patience: a body that drips": _ENQUEUE.replace(b"Length: 14", b"Length: 1000000"),
    "greed: connects and goes": b"",
    "greed: pipelines and never reads": _ENQUEUE * 1_000,
    "greed: pipelines and reads": _ENQUEUE * 100,
}


def cases() -> dict[str, Any]:
    """The cases of the tests, by name."""
    path = Path(__file__).resolve().parents[1] / "tests/network/hostile.py"
    spec = importlib.util.spec_from_file_location("hostile_cases", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return dict(module.CASES)


def names() -> list[str]:
    """All that can be run."""
    return [*cases(), *_PATIENT]


class _Attack:
    def __init__(self, port: int, name: str) -> None:
        self.port = port
        self.name = name
        case = cases().get(name)
        self.sent: bytes = case.sent if case is not None else _PATIENT[name]
        self.keeps = case is not None and case.goes_on
        self.times = 0
        self._sources = itertools.cycle(range(SOURCES))

    async def run(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                await self._once()
                continue
            await asyncio.sleep(0.001)

    async def _once(self) -> None:
        source = (f"127.0.1.{1 + next(self._sources)}", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=source)
        try:
            await self._harm(reader, writer)
        finally:
            writer.transport.abort()

    async def _harm(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.name == "greed: connects and goes":
            self.times += 1
            return
        if self.name == "greed: pipelines and never reads":
            writer.transport.pause_reading()
            while True:
                writer.write(self.sent)
                await writer.drain()
                self.times += 1000
        while True:
            writer.write(self.sent)
            await writer.drain()
            if self.name.startswith("patience"):
                while await self._is_open(reader):
                    writer.write(b"x" if self.sent else b"")
                self.times += 1
                return
            if not await reader.read(65_536):
                return
            self.times += 1
            if not self.keeps and not self.name.startswith("greed"):
                return

    async def _is_open(self, reader: asyncio.StreamReader) -> bool:
        try:
            return bool(await asyncio.wait_for(reader.read(1), 0.2))
        except TimeoutError:
            return True


async def main(port: int, seconds: float, name: str) -> None:
    """Runs a case for so long."""
    attack = _Attack(port, name)
    running = [asyncio.create_task(attack.run()) for _ in range(CONNECTIONS)]  # held, or they are collected
    await asyncio.sleep(seconds)
    assert not any(task.done() for task in running), "an attacker gave up"
    print(json.dumps({"case": name, "times": attack.times}), flush=True)
    os._exit(0)  # a cancelled task may wait on, within asyncio.wait_for


if __name__ == "__main__":
    if sys.argv[1:] == ["--list"]:
        print("\n".join(names()))
    else:
        uvloop.run(main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]))
