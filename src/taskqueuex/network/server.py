"""The TCP server: listening sockets, the second's tick, and an end in good order."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from taskqueuex.clock import Clock
from taskqueuex.commands.call import Sink
from taskqueuex.network.config import UNIX, NetworkConfig
from taskqueuex.network.hub import Guard, Hub
from taskqueuex.network.metrics import NetworkMetrics
from taskqueuex.network.routes import Router
from taskqueuex.network.session import Session

__all__ = ["Server"]

_log = logging.getLogger(__name__)


class Server:
    """Listens, and gives every connection a session.

    `on_disconnect` is called with a session that closed while calls of it were under way, so that
    whoever holds them (a poll that waits) can drop them. `metrics` is counted into. Without a `guard`
    everyone may do everything.
    """

    def __init__(
        self,
        config: NetworkConfig,
        router: Router,
        on_disconnect: Callable[[Sink], None],
        clock: Clock,
        metrics: NetworkMetrics,
        guard: Guard | None = None,
    ) -> None:
        self._config = config
        self._hub = Hub(config, router, on_disconnect, clock, metrics, guard)
        self._servers: list[asyncio.Server] = []
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """(host, port) of every listening TCP socket; the port that was taken where 0 was asked for."""
        return [(name[0], name[1]) for name in self._names() if isinstance(name, tuple)]

    @property
    def urls(self) -> list[str]:
        """Where clients find it: `http://HOST:PORT`, or `unix:PATH`."""
        return [
            f"{UNIX}{name}"
            if isinstance(name, str)
            else f"http://[{name[0]}]:{name[1]}"
            if ":" in name[0]
            else f"http://{name[0]}:{name[1]}"
            for name in self._names()
        ]

    def _names(self) -> list[Any]:
        return [listening.getsockname() for server in self._servers for listening in server.sockets]

    async def start(self) -> None:
        """Begins to accept; raises OSError where an address cannot be had, and then holds none."""
        self._loop = asyncio.get_running_loop()
        try:
            for address in self._config.addresses():
                if isinstance(address, Path):
                    await self._accept(_unix_socket(address))
                else:
                    await self._listen(*address)
        except BaseException:
            self.stop_accepting()
            raise
        self._on_tick()

    async def _listen(self, host: str, port: int) -> None:
        assert self._loop is not None
        found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, address in dict.fromkeys((entry[0], entry[4]) for entry in found):
            await self._accept(_listening_socket(family, address))

    async def _accept(self, listening: socket.socket) -> None:
        assert self._loop is not None
        try:
            server = await self._loop.create_server(
                lambda: Session(self._hub), sock=listening, backlog=self._config.backlog
            )
        except BaseException:
            listening.close()
            raise
        self._servers.append(server)

    def _on_tick(self) -> None:
        assert self._loop is not None
        self._timer = self._loop.call_later(1.0, self._on_tick)
        hub = self._hub
        hub.tick += 1
        hub.replies.refresh()
        for session in tuple(hub.sessions):
            session.on_tick(hub.tick)

    def stop_accepting(self) -> None:
        """Closes the listening sockets; connections go on."""
        for server in self._servers:
            server.close()

    async def drained(self, timeout_s: float) -> bool:
        """Ends all sessions: idle ones at once, the others when what is under way is answered.

        After `timeout_s` seconds the rest is closed as it is. True if nothing was cut off.
        """
        assert self._loop is not None
        self.stop_accepting()
        hub = self._hub
        hub.draining = True
        emptied = self._loop.create_future()

        def on_empty() -> None:
            if not emptied.done():
                emptied.set_result(None)

        hub.on_empty = on_empty
        for session in tuple(hub.sessions):
            session.on_drain()
        complete = True
        if hub.sessions:
            try:
                await asyncio.wait_for(asyncio.shield(emptied), timeout_s)
            except TimeoutError:
                complete = False
                await self._abort_all(emptied)
        if self._timer is not None:
            self._timer.cancel()
        for server in self._servers:
            await server.wait_closed()
        return complete

    async def _abort_all(self, emptied: "asyncio.Future[None]") -> None:
        _log.warning("connections cut off at shutdown", extra={"connections": len(self._hub.sessions)})
        for session in tuple(self._hub.sessions):
            session.abort()
        if self._hub.sessions:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(emptied, 5.0)


def _listening_socket(family: int, address: Any) -> socket.socket:
    """A bound socket. What is set on it, the connections that it accepts inherit (Linux)."""
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.setblocking(False)
        listening.bind(address)
    except BaseException:
        listening.close()
        raise
    return listening


def _unix_socket(path: Path) -> socket.socket:
    """A bound socket for this user alone. One that a process left behind when it was killed is replaced."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        except OSError:
            pass  # bind says what is wrong, if anything is
        else:
            raise OSError(f"another process listens on {path}")
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.setblocking(False)
        listening.bind(str(path))
        path.chmod(0o600)
    except BaseException:
        listening.close()
        raise
    return listening
