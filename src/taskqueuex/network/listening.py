"""Sockets to listen on, and the way in for connections that say more than HTTP at their beginning."""

import asyncio
import ipaddress
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from taskqueuex.commands.principal import Peer
from taskqueuex.network.hub import Hub
from taskqueuex.network.proxy import ProxyError, read_proxy_header
from taskqueuex.network.session import Session

__all__ = ["Acceptor", "tcp_socket", "unix_socket"]

_log = logging.getLogger(__name__)

_ACCEPTED_AT_ONCE: Final = 64
_GREETING_MAX: Final = 1_000  # connections in their handshake; more wait in the kernel's backlog
_GREETING_PER_ADDRESS_MAX: Final = 200  # of them; nobody alone holds up the others
_GREETING_SLOW_S: Final = 2.0  # after which the oldest makes room for another
_SHUTDOWN_S: Final = 86_400.0  # for TLS to flush and say goodbye: the wheel sees to it that it gets on
_CLOSED_AT_ONCE: Final = (ConnectionError, ssl.SSLError, TimeoutError, ProxyError, OSError)


class Acceptor:
    """Accepts on a listening socket of TLS, of the PROXY protocol, or of both.

    A handshake takes its time, and a task of its own; how many there are at once is bounded. What fails
    in it is counted, and is no error of ours.
    """

    def __init__(
        self,
        listening: socket.socket,
        hub: Hub,
        proxy: bool,
        context: Callable[[], ssl.SSLContext | None],
    ) -> None:
        self.listening = listening
        self._hub = hub
        self._proxy = proxy
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._greeting: dict[asyncio.Task[None], tuple[str, float]] = {}  # address, since when; oldest first
        self._by_address: Counter[str] = Counter()
        self._open = True
        self._reading = False

    def start(self, backlog: int) -> None:
        """Begins to accept."""
        self.listening.listen(backlog)
        self._read()

    def close(self) -> None:
        """Accepts no more; handshakes under way are dropped."""
        if self._open:
            self._open = False
            self._rest()
            self.listening.close()
            for task in self._greeting:
                task.cancel()

    def _has_room(self) -> bool:
        """Whether one more may begin its handshake, if need be instead of one that takes long."""
        if len(self._greeting) < _GREETING_MAX:
            return True
        oldest = next(iter(self._greeting))
        if self._loop.time() - self._greeting[oldest][1] < _GREETING_SLOW_S:
            return False
        self._forget(oldest)
        oldest.cancel()
        self._hub.metrics.handshakes_failed_total += 1
        return True

    def _is_greedy(self, address: str) -> bool:
        """Whether an address has enough handshakes under way; behind a balancer all have the same one."""
        return not self._proxy and self._by_address[address] >= _GREETING_PER_ADDRESS_MAX

    def _forget(self, task: "asyncio.Task[None]") -> None:
        found = self._greeting.pop(task, None)
        if found is not None:
            self._by_address[found[0]] -= 1
            if not self._by_address[found[0]]:
                del self._by_address[found[0]]

    def _read(self) -> None:
        if self._open and not self._reading:
            self._reading = True
            self._loop.add_reader(self.listening.fileno(), self._on_readable)

    def _rest(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self.listening.fileno())

    def _on_readable(self) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            if not self._has_room():
                self._rest()
                self._loop.call_later(0.1, self._read)
                return
            try:
                connection, address = self.listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # out of file descriptors: the loop would be asked again at once
                _log.error("a connection cannot be accepted", extra={"error": str(error)})
                self._rest()
                self._loop.call_later(1.0, self._read)
                return
            if self._is_greedy(address[0]):
                self._hub.metrics.connections_refused_total += 1
                connection.close()
                continue
            connection.setblocking(False)
            task = self._loop.create_task(self._greet(connection, address[0]))
            self._greeting[task] = (address[0], self._loop.time())
            self._by_address[address[0]] += 1
            task.add_done_callback(self._on_greeted)

    def _on_greeted(self, task: "asyncio.Task[None]") -> None:
        self._forget(task)
        if len(self._greeting) < _GREETING_MAX // 2:
            self._read()

    async def _greet(self, connection: socket.socket, address: str) -> None:
        try:
            await self._take(connection, address)
        except _CLOSED_AT_ONCE as error:
            self._hub.metrics.handshakes_failed_total += 1
            _log.debug("a handshake failed", extra={"address": address, "error": str(error)})
            connection.close()
        except BaseException:
            connection.close()
            raise

    async def _take(self, connection: socket.socket, address: str) -> None:
        hub, config = self._hub, self._hub.config
        if not hub.may_enter(address):
            hub.metrics.connections_refused_total += 1
            connection.close()
            return
        client: str | None = address
        if self._proxy:
            if config.proxy_from and not _is_in(address, config.proxy_from):
                raise ProxyError(f"{address} is none of network.proxy_from")
            async with asyncio.timeout(config.handshake_timeout_s):
                client = await read_proxy_header(connection) or address
        context = self._context()
        peer = Peer(client or address, tls=context is not None)
        secured: dict[str, Any] = {}
        if context is not None:
            secured = {
                "ssl": context,
                "ssl_handshake_timeout": config.handshake_timeout_s,
                "ssl_shutdown_timeout": _SHUTDOWN_S,
            }
        await self._loop.connect_accepted_socket(lambda: Session(hub, peer), connection, **secured)


def _is_in(address: str, networks: tuple[str, ...]) -> bool:
    found = ipaddress.ip_address(address)
    return any(found in ipaddress.ip_network(each) for each in networks)


def tcp_socket(family: int, address: Any) -> socket.socket:
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


def unix_socket(path: Path) -> socket.socket:
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
