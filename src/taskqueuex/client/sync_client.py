"""The blocking client."""

import copy
import os
import ssl
import time
import weakref
from collections.abc import Sequence
from typing import Final, TypeVar

from taskqueuex.client.buffered import BufferedProducer
from taskqueuex.client.exchange import Core, Exchange
from taskqueuex.client.lost import Lost
from taskqueuex.client.request import Request
from taskqueuex.client.retry import RetryPolicy
from taskqueuex.client.servers import check_pool
from taskqueuex.client.sync_methods import SyncMethods
from taskqueuex.client.sync_pool import Pool
from taskqueuex.client.tls import TLS
from taskqueuex.client.wire import Response

__all__ = ["DEFAULT_SERVER", "USER_AGENT", "Client"]

T = TypeVar("T")

DEFAULT_SERVER: Final = "http://127.0.0.1:7470"
USER_AGENT: Final = "taskqueuex"


class Client(SyncMethods):
    """A client of one server, or of several that stand in for each other.

    It may be used by any number of threads at once; each call takes a connection of a pool. The child of a
    fork makes connections of its own.

    Args:
        servers: addresses, such as `http://127.0.0.1:7470`, `https://tasks.example.com:7470` or
            `unix:/run/tqx.sock`; the first is asked until it fails.
        token: goes with each call as a bearer token.
        tls: what is trusted and shown where a server is `https://`; None: what the system trusts.
        timeout_s: of a call with all its repeats, beside what the call itself waits (`wait_ms`).
        connect_timeout_s: of making a connection.
        retry: how a call is repeated.
        pool_size: connections to one server at once; more threads wait for one.
        user_agent: what the server is told of who calls.

    Raises Invalid, naming the argument.
    """

    def __init__(
        self,
        servers: str | Sequence[str] = DEFAULT_SERVER,
        *,
        token: str | None = None,
        tls: TLS | ssl.SSLContext | None = None,
        timeout_s: float = 10.0,
        connect_timeout_s: float = 2.0,
        retry: RetryPolicy | None = None,
        pool_size: int = 16,
        user_agent: str = USER_AGENT,
    ) -> None:
        check_pool(pool_size, connect_timeout_s)
        self._core = Core.of(servers, token, user_agent, retry, timeout_s, time.monotonic(), tls)
        self._pools = {each: Pool(each, pool_size, connect_timeout_s) for each in self._core.servers.all}
        _clients.add(self)

    def send(self, request: Request[T]) -> T:
        """Makes a call: what all methods do. Raises the errors of `taskqueuex.errors`."""
        now_s = time.monotonic()
        exchange = Exchange(self._core, request, now_s)
        while True:
            try:
                response = self._attempt(exchange, now_s)
            except Lost as lost:
                if lost.was_reused:
                    self._pools[exchange.server].drop_idle()
                pause_s = exchange.on_failure(lost.error, time.monotonic(), lost.was_reused, lost.is_lasting)
            else:
                if response.status < 300:
                    exchange.server.on_answer()
                    return request.read(response)
                pause_s = exchange.on_response(response, time.monotonic())
            if pause_s > 0:
                time.sleep(pause_s)
            now_s = time.monotonic()

    def _attempt(self, exchange: Exchange, now_s: float) -> Response:
        pool = self._pools[exchange.server]
        message = exchange.message(now_s)
        connection = pool.take(now_s, exchange.until_s, careful=not exchange.repeatable)
        try:
            response = connection.exchange(message, now_s, exchange.until_s)
        except BaseException:  # whatever it was, what comes on this connection is not understood any more
            connection.close()
            pool.give(None)
            raise
        if response.keep_alive:
            connection.idle_since_s = now_s
            pool.give(connection)
        else:
            connection.close()
            pool.give(None)
        return response

    def with_options(self, *, timeout_s: float | None = None, retry: RetryPolicy | None = None) -> "Client":
        """The same client with other options for the calls that are made through it.

        It shares the connections: closing the one closes the other.
        """
        other = copy.copy(self)
        other._core = self._core.changed(timeout_s, retry)
        _clients.add(other)
        return other

    def buffered(
        self,
        *,
        linger_ms: float = 5.0,
        max_batch: int = 1_000,
        max_pending: int = 100_000,
        in_flight: int = 4,
        enqueue_timeout_s: float | None = None,
    ) -> BufferedProducer:
        """A producer that batches on its own; see `BufferedProducer`. Close it before the client."""
        return BufferedProducer(
            self.send,
            linger_ms=linger_ms,
            max_batch=max_batch,
            max_pending=max_pending,
            in_flight=in_flight,
            enqueue_timeout_s=enqueue_timeout_s,
        )

    def close(self) -> None:
        """Closes the connections; calls that are under way end first. Further calls are refused."""
        for pool in self._pools.values():
            pool.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _on_fork(self) -> None:
        self._core.keys.renew()
        for pool in self._pools.values():
            pool.reset()


_clients: "weakref.WeakSet[Client]" = weakref.WeakSet()


def _on_fork() -> None:
    for client in list(_clients):
        client._on_fork()


os.register_at_fork(after_in_child=_on_fork)
