"""Connections of an event loop that requests are pipelined on."""

import asyncio
import time
from collections import deque
from typing import Final, cast

from taskqueuex.client.lost import Lost, broken, closed, garbled, not_connected
from taskqueuex.client.servers import Server
from taskqueuex.client.wire import Response, ResponseReader
from taskqueuex.errors import CallTimeout, ClientError, ProtocolError

__all__ = ["AsyncConnection", "AsyncPool"]

PIPELINE_MAX: Final = 32  # the server takes up to 64 of one connection at once

Answer = asyncio.Future[Response]


class _Sent:
    """A request that was sent. `was_reused`: answers had come on its connection before."""

    __slots__ = ("answer", "until_s", "was_reused")

    def __init__(self, answer: Answer, until_s: float, was_reused: bool) -> None:
        self.answer = answer
        self.until_s = until_s
        self.was_reused = was_reused


class AsyncConnection(asyncio.Protocol):
    """One connection. Answers come in the order of the requests; there is no task and no timer for each."""

    __slots__ = (
        "_loop", "_pool", "_reader", "_sent", "_served", "_timer", "_timer_at_s", "_transport", "_unwritten",
        "ended", "exclusive", "paused", "retired",
    )  # fmt: skip

    def __init__(self, pool: "AsyncPool", loop: asyncio.AbstractEventLoop) -> None:
        self._pool = pool
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._reader = ResponseReader(by_end=pool.server.tls is None)
        self._sent: deque[_Sent] = deque()
        self._served = False
        self._unwritten: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_s = 0.0
        self.ended: asyncio.Future[None] = loop.create_future()
        self.exclusive = False  # it serves a call that may take long: nothing is sent behind it
        self.paused = False  # the transport holds more than it likes to
        self.retired = False  # nothing is sent on it any more

    @property
    def depth(self) -> int:
        """Requests that are not answered."""
        return len(self._sent)

    def send(self, message: bytes, until_s: float, exclusive: bool) -> Answer:
        """Sends a request. The answer's future fails with Lost. Raises ClientError in another loop."""
        if asyncio.get_running_loop() is not self._loop:
            raise ClientError("an AsyncClient is of the event loop of its first call: make one for each loop")
        answer: Answer = self._loop.create_future()
        assert self._transport is not None
        if self._sent:
            if not self._unwritten:
                self._loop.call_soon(self._write)
            self._unwritten.append(message)
        else:
            self._transport.write(message)
        self._sent.append(_Sent(answer, until_s, self._served))
        self.exclusive = exclusive
        if self._timer is None or until_s < self._timer_at_s:
            self._set_timer(until_s)
        return answer

    def _write(self) -> None:
        """What this turn of the loop sends is one write."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(self._unwritten))
        self._unwritten.clear()

    def on_cancelled(self) -> None:
        """A call was given up by its caller. Its answer is dropped when it comes; a call that waits is ended,
        so that nothing is handed out to nobody."""
        if self.exclusive:
            self.abort()

    # Called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are of no class of asyncio's

    def data_received(self, data: bytes) -> None:
        try:
            responses = self._reader.receive(data)
        except ProtocolError as error:
            self._fail(garbled(self._pool.server.url, error))
            return
        for response in responses:
            if not self._on_response(response):
                return
        self._pool.on_room()

    def _on_response(self, response: Response) -> bool:
        """Hands it to who waits for it; False where the connection is over."""
        if not self._sent:
            self._fail(garbled(self._pool.server.url, ProtocolError("more answers than requests")))
            return False
        sent = self._sent.popleft()
        self._served = True
        self.exclusive = False
        if not sent.answer.done():
            sent.answer.set_result(response)
        if not response.keep_alive:
            self.abort()
            return False
        if self.retired:
            self._close_if_unused()
        return True

    def eof_received(self) -> bool:
        return False  # the transport closes itself

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self._pool.on_room()

    def connection_lost(self, error: Exception | None) -> None:
        self._on_end(error)
        self._transport = None
        self._retire()
        if self._timer is not None:
            self._timer.cancel()
        self._pool.on_ended(self)
        if not self.ended.done():
            self.ended.set_result(None)

    def _on_end(self, error: Exception | None) -> None:
        begun = not self._reader.idle
        if error is None and self._sent:
            try:
                response = self._reader.end()
            except ProtocolError:
                response = None
            if response is not None:
                begun = False
                answer = self._sent.popleft().answer
                if not answer.done():
                    answer.set_result(response)
        reason = "it closed the connection" if error is None else error
        while self._sent:
            sent = self._sent.popleft()
            if not sent.answer.done():
                sent.answer.set_exception(self._broken(reason, sent.was_reused and not begun, begun))
            begun = False

    def _broken(self, reason: Exception | str, was_reused: bool, begun: bool) -> Lost:
        server = self._pool.server
        unheard_tls = server.tls is not None and not self._served and not begun
        return broken(server.url, reason, was_reused, unheard_tls=unheard_tls)

    def _fail(self, lost: Lost) -> None:
        """What came is not understood: nobody can know whose it was."""
        while self._sent:
            answer = self._sent.popleft().answer
            if not answer.done():
                answer.set_exception(lost)
        self.abort()

    # Time

    def _set_timer(self, at_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at_s = at_s
        self._timer = self._loop.call_later(max(0.0, at_s - time.monotonic()), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        now_s = time.monotonic() + 0.001  # a loop may come a little early
        waiting = [each for each in self._sent if not each.answer.done()]
        for sent in waiting:
            if sent.until_s <= now_s:
                text = f"no answer from {self._pool.server.url} in time"
                sent.answer.set_exception(Lost(CallTimeout(text, outcome="unknown")))
                self._retire()
        left = [each.until_s for each in waiting if each.until_s > now_s]
        if left:
            self._set_timer(min(left))
        elif self.retired:
            self.abort()

    # The end

    def _retire(self) -> None:
        if not self.retired:
            self.retired = True
            self._pool.on_retired(self)

    def _close_if_unused(self) -> None:
        if all(each.answer.done() for each in self._sent):
            self.abort()

    def abort(self) -> None:
        """Closes the connection; who waits on it is told."""
        self._retire()
        if self._transport is not None:
            self._transport.abort()


class AsyncPool:
    """The connections to one server: at most `size` at once, and requests that wait for one."""

    __slots__ = (
        "_connect_timeout_s",
        "_connecting",
        "_connections",
        "_ending",
        "_long_waiters",
        "_size",
        "_waiters",
        "closed",
        "server",
    )

    def __init__(self, server: Server, size: int, connect_timeout_s: float) -> None:
        self.server = server
        self.closed = False
        self._size = size
        self._connect_timeout_s = connect_timeout_s
        self._connections: list[AsyncConnection] = []
        self._ending: set[AsyncConnection] = set()
        self._connecting = 0
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._long_waiters: deque[asyncio.Future[None]] = deque()  # of calls that may take long

    def connection_nowait(self, exclusive: bool) -> AsyncConnection | None:
        """A connection with room for a request, if there is one now."""
        if exclusive and not self._may_be_exclusive():
            return None
        for each in self._connections:
            if each.exclusive or each.paused:
                continue
            if each.depth == 0 or (not exclusive and each.depth < PIPELINE_MAX):
                return each
        return None

    def _may_be_exclusive(self) -> bool:
        """Calls that may take long leave one connection to the others."""
        return sum(each.exclusive for each in self._connections) < max(1, self._size - 1)

    async def connection(self, exclusive: bool, until_s: float) -> AsyncConnection:
        """A connection with room for a request, made or waited for. Raises Lost, ClientError."""
        while True:
            if self.closed:
                raise closed()
            found = self.connection_nowait(exclusive)
            if found is not None:
                return found
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                text = f"all {self._size} connections to {self.server.url} were in use"
                raise Lost(CallTimeout(text, outcome="not_applied"))
            may_connect = len(self._connections) + self._connecting < self._size
            if may_connect and (not exclusive or self._may_be_exclusive()):
                await self._connect(min(left_s, self._connect_timeout_s))
            else:
                await self._wait_room(self._long_waiters if exclusive else self._waiters, left_s)

    async def _connect(self, timeout_s: float) -> None:
        loop = asyncio.get_running_loop()
        self._connecting += 1
        try:
            async with asyncio.timeout(timeout_s):
                made = await self._open(loop)
        except (OSError, TimeoutError) as error:
            raise not_connected(self.server.url, error if str(error) else "it took too long") from error
        finally:
            self._connecting -= 1
            self.on_room()  # if it failed, others may try it now
        if made.retired:
            raise not_connected(self.server.url, "it closed the connection")
        self._connections.append(made)
        if self.closed:
            made.abort()
        self.on_room()

    async def _open(self, loop: asyncio.AbstractEventLoop) -> AsyncConnection:
        address = self.server.address
        if isinstance(address, str):
            _, made = await loop.create_unix_connection(lambda: AsyncConnection(self, loop), address)
        else:
            _, made = await loop.create_connection(
                lambda: AsyncConnection(self, loop),
                *address,
                ssl=self.server.tls,
                server_hostname=self.server.host,
            )
        if not made.ended.done():
            self._ending.add(made)
        return made

    async def _wait_room(self, waiters: deque[asyncio.Future[None]], left_s: float) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiters.append(waiter)
        try:
            async with asyncio.timeout(left_s):
                await waiter
        except TimeoutError:
            pass  # seen by who called
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.on_room()  # it was this one's turn: the next one's now
            raise

    def on_room(self) -> None:
        """There may be room for those that wait: as many are woken, and find some, or wait on."""
        if not self._waiters and not self._long_waiters:
            return
        room = self._size - len(self._connections) - self._connecting
        if self._long_waiters and self._may_be_exclusive():
            _wake(self._long_waiters, max(0, room) + sum(each.depth == 0 for each in self._connections))
        for each in self._connections:
            if not each.exclusive and not each.paused:
                room += PIPELINE_MAX - each.depth
        _wake(self._waiters, room)

    def on_retired(self, connection: AsyncConnection) -> None:
        """A connection takes nothing any more."""
        if connection in self._connections:
            self._connections.remove(connection)
        self.on_room()

    def on_ended(self, connection: AsyncConnection) -> None:
        """A connection is closed."""
        self._ending.discard(connection)

    def drop_idle(self) -> None:
        """Closes what is idle: the server that it led to is gone."""
        for each in [each for each in self._connections if each.depth == 0]:
            each.abort()

    async def close(self) -> None:
        """Closes all connections; calls that are under way fail."""
        self.closed = True
        for each in list(self._ending):
            each.abort()
        _wake(self._waiters, len(self._waiters))
        _wake(self._long_waiters, len(self._long_waiters))
        while self._ending:
            await next(iter(self._ending)).ended


def _wake(waiters: deque[asyncio.Future[None]], count: int) -> None:
    while waiters and count > 0:
        waiter = waiters.popleft()
        if not waiter.done():
            waiter.set_result(None)
            count -= 1
