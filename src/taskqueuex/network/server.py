"""The TCP server: listening sockets, the second's tick, and an end in good order."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Any

from taskqueuex.access.overload import Overload
from taskqueuex.clock import Clock
from taskqueuex.commands.call import Sink
from taskqueuex.commands.principal import Peer
from taskqueuex.network.config import UNIX, Listener, NetworkConfig
from taskqueuex.network.hub import Guard, Hub
from taskqueuex.network.listening import Acceptor, tcp_socket, unix_socket
from taskqueuex.network.metrics import NetworkMetrics
from taskqueuex.network.routes import Router
from taskqueuex.network.session import Session
from taskqueuex.network.tls import server_context

__all__ = ["Server"]

_log = logging.getLogger(__name__)


class Server:
    """Listens, and gives every connection a session.

    `on_disconnect` is called with a session that closed while calls of it were under way, so that
    whoever holds them (a poll that waits) can drop them. `metrics` is counted into. Without a `guard`
    everyone may do everything. `overload` says what is taken while there is too much.
    """

    def __init__(
        self,
        config: NetworkConfig,
        router: Router,
        on_disconnect: Callable[[Sink], None],
        clock: Clock,
        metrics: NetworkMetrics,
        guard: Guard | None = None,
        overload: Overload | None = None,
    ) -> None:
        self._config = config
        self._hub = Hub(config, router, on_disconnect, clock, metrics, guard, overload)
        self._servers: list[asyncio.Server] = []
        self._acceptors: list[Acceptor] = []
        self._listening: list[tuple[Listener, socket.socket]] = []
        self._context: ssl.SSLContext | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """(host, port) of every listening TCP socket; the port that was taken where 0 was asked for."""
        return [(name[0], name[1]) for _, name in self._names() if isinstance(name, tuple)]

    @property
    def urls(self) -> list[str]:
        """Where clients find it: `http://HOST:PORT`, `https://HOST:PORT`, or `unix:PATH`."""
        return [_url(listener, name) for listener, name in self._names()]

    def _names(self) -> list[tuple[Listener, Any]]:
        return [(listener, listening.getsockname()) for listener, listening in self._listening]

    async def start(self) -> None:
        """Begins to accept; raises OSError where an address cannot be had, TlsError where a certificate
        cannot be used, and then holds nothing."""
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._on_loop_error)
        listeners = self._config.listeners()
        if any(listener.tls for listener in listeners):
            self._context = server_context(self._config)
        try:
            for listener, named in zip(listeners, self._config.listen, strict=True):
                try:
                    await self._listen(listener)
                except OSError as error:
                    reason = error.strerror or error
                    raise OSError(f"network.listen: {named} cannot be had: {reason}") from error
        except BaseException:
            self.stop_accepting()
            raise
        self._on_tick()

    async def _listen(self, listener: Listener) -> None:
        assert self._loop is not None
        if listener.path is not None:
            await self._accept(listener, unix_socket(listener.path))
            return
        found = await self._loop.getaddrinfo(
            listener.host, listener.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, address in dict.fromkeys((entry[0], entry[4]) for entry in found):
            await self._accept(listener, tcp_socket(family, address))

    async def _accept(self, listener: Listener, listening: socket.socket) -> None:
        assert self._loop is not None
        self._listening.append((listener, listening))
        if listener.tls or listener.proxy:
            acceptor = Acceptor(
                listening, self._hub, listener.proxy, lambda: self._context if listener.tls else None
            )
            self._acceptors.append(acceptor)
            acceptor.start(self._config.backlog)
            return
        hub, is_unix = self._hub, listener.path is not None
        server = await self._loop.create_server(
            lambda: Session(hub, Peer("", unix=True) if is_unix else None),
            sock=listening,
            backlog=self._config.backlog,
        )
        self._servers.append(server)

    def reload_tls(self) -> None:
        """Reads certificate, key and clients' CA anew, for connections that are made from now on.

        Raises TlsError, and then goes on with those it has.
        """
        if self._context is not None:
            self._context = server_context(self._config)

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What a client does wrong within TLS is its own affair: it is counted, and fills no log."""
        if isinstance(context.get("exception"), ssl.SSLError | ConnectionError):
            self._hub.metrics.handshakes_failed_total += 1
        else:
            loop.default_exception_handler(context)

    def _on_tick(self) -> None:
        assert self._loop is not None
        self._timer = self._loop.call_later(1.0, self._on_tick)
        self._hub.on_tick()

    def stop_accepting(self) -> None:
        """Closes the listening sockets; connections go on."""
        for server in self._servers:
            server.close()
        for acceptor in self._acceptors:
            acceptor.close()
        for _, listening in self._listening:
            listening.close()  # one that was bound and nothing more
        self._listening.clear()

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
        for session in hub.sessions:
            session.on_drain()
        complete = True
        if hub.metrics.connections:
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
        _log.warning("connections cut off at shutdown", extra={"connections": self._hub.metrics.connections})
        for session in self._hub.sessions:
            session.abort()
        if self._hub.metrics.connections:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(emptied, 5.0)


def _url(listener: Listener, name: Any) -> str:
    if listener.path is not None:
        return f"{UNIX}{name}"
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"{'https' if listener.tls else 'http'}://{host}:{name[1]}"
