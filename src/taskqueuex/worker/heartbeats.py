"""The worker's end of its heartbeat process: which leases are held, and what the server says of them."""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from taskqueuex.commands.consume import LeasedTask
from taskqueuex.worker.frames import (
    Beat,
    Cancelled,
    Control,
    Extend,
    FrameReader,
    FromHeart,
    Held,
    Lost,
    Progress,
    Ready,
    Settled,
    frame,
)
from taskqueuex.worker.heart import Settings
from taskqueuex.worker.spawn import spawn

__all__ = ["Heartbeats"]

_log = logging.getLogger("taskqueuex.worker")

_RESTART_S = 0.5


class Heartbeats:
    """Starts the process, and starts it anew with all that is held if it should end."""

    def __init__(self, settings: Settings, on_message: Callable[[Control | Cancelled | Lost], None]) -> None:
        self._settings = settings
        self._on_message = on_message
        self._held: dict[str, Held] = {}
        self._socket: socket.socket | None = None
        self._unsent = bytearray()  # when the socket is full
        self._loop = asyncio.get_running_loop()
        self._keeper: asyncio.Task[None] | None = None
        self._started = asyncio.Event()
        self._closing = False

    async def start(self) -> None:
        """Returns when the process beats: no task may start before."""
        self._keeper = self._loop.create_task(self._keep())
        await self._started.wait()

    def hold(self, tasks: Iterable[LeasedTask], pid: int) -> None:
        """These leases are kept alive from now on.

        It is sent before this returns, if at all possible: the task may block the loop at once.
        """
        now_ms = time.time() * 1000
        held = [
            Held(each.id, each.lease, each.attempt, (each.lease_expires_at - now_ms) / 1000, pid)
            for each in tasks
        ]
        for each in held:
            self._held[each.lease] = each
        self._send(Beat(held))

    def move(self, lease: str, pid: int) -> None:
        """A task runs in another process now."""
        held = self._held.get(lease)
        if held is not None:
            held = self._held[lease] = Held(held.id, held.lease, held.attempt, held.lease_s, pid)
            self._send(Beat([held]))

    def drop(self, leases: list[str]) -> None:
        """These have ended."""
        for lease in leases:
            self._held.pop(lease, None)
        self._send(Settled(leases))

    def say(self, message: Progress | Extend) -> None:
        """What a task says goes with its next heartbeat, which is sent now."""
        self._send(message)

    def _send(self, message: Any) -> None:
        if self._socket is None:
            return  # it is told of all that is held when it is there again
        data = frame(message)
        if self._unsent:
            self._unsent += data
            return
        sent = 0
        with contextlib.suppress(BlockingIOError, ConnectionError):
            sent = self._socket.send(data)
        if sent < len(data):
            self._unsent += data[sent:]
            self._loop.add_writer(self._socket, self._flush)

    def _flush(self) -> None:
        assert self._socket is not None
        with contextlib.suppress(BlockingIOError, ConnectionError):
            del self._unsent[: self._socket.send(self._unsent)]
        if not self._unsent:
            self._loop.remove_writer(self._socket)

    async def _keep(self) -> None:
        while not self._closing:
            process = await self._spawn()
            await self._listen()
            self._drop_socket()
            code = await process.wait()
            if not self._closing:
                _log.error("the heartbeat process ended; it is started again", extra={"code": code})
                await asyncio.sleep(_RESTART_S)

    async def _spawn(self) -> asyncio.subprocess.Process:
        process, ours = await spawn("heart", asyncio.subprocess.PIPE)
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(self._settings) + b"\n")
        process.stdin.close()
        ours.setblocking(False)
        self._socket = ours
        self._unsent.clear()
        if self._held:
            self._send(Beat(list(self._held.values())))
        return process

    async def _listen(self) -> None:
        assert self._socket is not None
        reader: FrameReader[FromHeart] = FrameReader(FromHeart)
        with contextlib.suppress(ConnectionError):
            while data := await self._loop.sock_recv(self._socket, 1 << 16):
                for message in reader.feed(data):
                    if isinstance(message, Ready):
                        self._started.set()
                    else:
                        self._on_message(message)

    def _drop_socket(self) -> None:
        if self._socket is not None:
            self._loop.remove_writer(self._socket)
            self._socket.close()
            self._socket = None

    async def close(self) -> None:
        """Ends the process."""
        self._closing = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)
        if self._keeper is not None:
            await self._keeper
