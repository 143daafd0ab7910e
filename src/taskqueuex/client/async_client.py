"""The client for asyncio and uvloop."""

import asyncio
import copy
import ssl
import time
from collections.abc import Sequence
from typing import TypeVar

from taskqueuex.client.async_buffered import AsyncBufferedProducer
from taskqueuex.client.async_methods import AsyncMethods
from taskqueuex.client.async_pool import AsyncPool
from taskqueuex.client.exchange import Core, Exchange
from taskqueuex.client.lost import Lost
from taskqueuex.client.request import Request
from taskqueuex.client.retry import RetryPolicy
from taskqueuex.client.servers import check_pool
from taskqueuex.client.sync_client import DEFAULT_SERVER, USER_AGENT
from taskqueuex.client.tls import TLS
from taskqueuex.client.wire import Response

__all__ = ["AsyncClient"]

T = TypeVar("T")


class AsyncClient(AsyncMethods):
    """As `Client`, for the tasks of one event loop.

    Requests of many tasks are pipelined on few connections; a call that may take long (`wait_ms`, listings)
    has one of its own. A call that is cancelled may have been carried out: its answer is dropped, or, where
    it waited for tasks, its connection is closed, so that the server takes back what it would hand out.
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
        self._pools = {each: AsyncPool(each, pool_size, connect_timeout_s) for each in self._core.servers.all}

    async def send(self, request: Request[T]) -> T:
        """Makes a call: what all methods do. Raises the errors of `taskqueuex.errors`."""
        now_s = time.monotonic()
        exchange = Exchange(self._core, request, now_s)
        while True:
            try:
                response = await self._attempt(exchange, now_s, request.exclusive)
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
                await asyncio.sleep(pause_s)
            now_s = time.monotonic()

    async def _attempt(self, exchange: Exchange, now_s: float, exclusive: bool) -> Response:
        pool = self._pools[exchange.server]
        message = exchange.message(now_s)
        connection = pool.connection_nowait(exclusive)
        if connection is None:
            connection = await pool.connection(exclusive, exchange.until_s)
        answer = connection.send(message, exchange.until_s, exclusive)
        try:
            return await answer
        except asyncio.CancelledError:
            connection.on_cancelled()
            raise

    def with_options(
        self, *, timeout_s: float | None = None, retry: RetryPolicy | None = None
    ) -> "AsyncClient":
        """The same client with other options for the calls that are made through it.

        It shares the connections: closing the one closes the other.
        """
        other = copy.copy(self)
        other._core = self._core.changed(timeout_s, retry)
        return other

    def buffered(
        self,
        *,
        linger_ms: float = 5.0,
        max_batch: int = 1_000,
        max_pending: int = 100_000,
        in_flight: int = 4,
        enqueue_timeout_s: float | None = None,
    ) -> AsyncBufferedProducer:
        """A producer that batches on its own; see `AsyncBufferedProducer`. Close it before the client."""
        return AsyncBufferedProducer(
            self.send,
            linger_ms=linger_ms,
            max_batch=max_batch,
            max_pending=max_pending,
            in_flight=in_flight,
            enqueue_timeout_s=enqueue_timeout_s,
        )

    async def close(self) -> None:
        """Closes the connections; calls that are under way fail. Further calls are refused."""
        for pool in self._pools.values():
            await pool.close()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()
