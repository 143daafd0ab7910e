"""Blocking connections, and a bounded number of them for each server."""

import socket
import ssl
import struct
import threading
import time
from collections import deque
from typing import ClassVar, Final

from taskqueuex.client.lost import Lost, broken, closed, garbled, not_connected
from taskqueuex.client.servers import Server
from taskqueuex.client.wire import Response, ResponseReader
from taskqueuex.errors import CallTimeout, ProtocolError

__all__ = ["Connection", "Pool", "SecureConnection", "open_connection"]

_RECEIVE_BYTES: Final = 16 << 10
_RECEIVE_MORE_BYTES: Final = 256 << 10
_IDLE_TRUSTED_S: Final = 1.0  # a connection that was idle for longer is looked at before it is used
_LIMIT_SLACK_S: Final = 0.05


class Connection:
    """One connection, for one request at a time.

    The kernel keeps the time (SO_RCVTIMEO): a time-out of Python's sockets costs a poll() per call.
    """

    __slots__ = ("_limit_s", "_reader", "_served", "_socket", "idle_since_s", "server")

    _TIME_IS_OVER: ClassVar[tuple[type[OSError], ...]] = (BlockingIOError,)

    def __init__(self, server: Server, made: socket.socket) -> None:
        self.server = server
        self.idle_since_s = 0.0
        self._reader = ResponseReader(by_end=server.tls is None)
        self._served = False
        self._limit_s = -1.0
        self._socket = made

    def exchange(self, message: bytes, now_s: float, until_s: float) -> Response:
        """Sends a request and returns its response. Raises Lost; then the connection is of no use."""
        error = self._send(message, now_s, until_s)
        try:
            return self._receive(until_s)
        except Lost as lost:
            if error is not None and not lost.error.outcome == "not_applied":
                raise self._broken(error, False) from error
            raise

    def _send(self, message: bytes, now_s: float, until_s: float) -> OSError | None:
        """The error that kept a part from being sent: an answer may have come all the same."""
        self._limit(until_s - now_s)
        try:
            sent = self._socket.send(message)
            while sent < len(message):
                self._limit(self._left_s(until_s))
                sent += self._socket.send(memoryview(message)[sent:])
        except self._TIME_IS_OVER:
            raise self._timed_out() from None
        except OSError as error:
            return error
        return None

    def _receive(self, until_s: float) -> Response:
        size = _RECEIVE_BYTES
        seen = False
        while True:
            try:
                data = self._socket.recv(size)
                responses = self._reader.receive(data) if data else self._end()
            except self._TIME_IS_OVER:
                raise self._timed_out() from None
            except OSError as error:
                raise self._broken(error, seen) from error
            except ProtocolError as error:
                raise garbled(self.server.url, error) from error
            if responses:
                return self._one_of(responses)
            if not data:
                raise self._broken("it closed the connection", seen)
            seen = True
            size = _RECEIVE_MORE_BYTES
            self._limit(self._left_s(until_s))

    def _end(self) -> list[Response]:
        try:
            response = self._reader.end()
        except ProtocolError as error:
            raise broken(self.server.url, error.detail, False) from error
        return [] if response is None else [response]

    def _one_of(self, responses: list[Response]) -> Response:
        response = responses[0]
        if len(responses) > 1 or not self._reader.idle:
            raise garbled(self.server.url, ProtocolError("more answers than requests"))
        self._served = response.keep_alive
        return response

    def _limit(self, limit_s: float) -> None:
        if abs(limit_s - self._limit_s) > _LIMIT_SLACK_S:
            value = struct.pack("ll", int(limit_s), int(limit_s % 1 * 1_000_000) or 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)
            self._limit_s = limit_s

    def _left_s(self, until_s: float) -> float:
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            raise self._timed_out()
        return left_s

    def _broken(self, error: Exception | str, seen: bool) -> Lost:
        """`seen`: something came of the answer."""
        reused, unheard = self._served and not seen, not self._served and not seen
        return broken(self.server.url, error, reused, unheard_tls=unheard and self.server.tls is not None)

    def _timed_out(self) -> Lost:
        return Lost(CallTimeout(f"no answer from {self.server.url} in time", outcome="unknown"))

    def is_open(self) -> bool:
        """Whether the server has neither closed it nor sent what nobody asked for."""
        try:
            self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """Closes the connection."""
        self._socket.close()


class SecureConnection(Connection):
    """The same over TLS. OpenSSL would try again for ever where the kernel's time is over: Python's sockets
    keep the time."""

    __slots__ = ()

    _TIME_IS_OVER = (TimeoutError,)

    def _limit(self, limit_s: float) -> None:
        if abs(limit_s - self._limit_s) > _LIMIT_SLACK_S:
            self._socket.settimeout(max(limit_s, 0.001))
            self._limit_s = limit_s

    def is_open(self) -> bool:
        """Whether the server has neither closed it nor sent what nobody asked for: tickets, it may."""
        self._socket.settimeout(0)
        self._limit_s = -1.0
        try:
            self._socket.recv(1)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return True
        except OSError:
            return False
        return False


def open_connection(server: Server, timeout_s: float) -> Connection:
    """Makes a connection, within so many seconds. Raises Lost."""
    begun_s = time.monotonic()
    try:
        made = _connect(server, timeout_s)
        if server.tls is None:
            made.settimeout(None)
            return Connection(server, made)
        made.settimeout(max(0.001, timeout_s - (time.monotonic() - begun_s)))
        # It closes the socket where it fails. Its own errors alone tell of a connection that is cut.
        secured = server.tls.wrap_socket(made, server_hostname=server.host, suppress_ragged_eofs=False)
    except TimeoutError as error:
        raise not_connected(server.url, "it took too long") from error
    except OSError as error:
        raise not_connected(server.url, error) from error
    return SecureConnection(server, secured)


def _connect(server: Server, timeout_s: float) -> socket.socket:
    if isinstance(server.address, str):
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made.settimeout(timeout_s)
            made.connect(server.address)
        except BaseException:
            made.close()
            raise
    else:
        made = socket.create_connection(server.address, timeout_s)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


class Pool:
    """The connections to one server: at most `size` at once, the one that was used last first.

    A slot is a connection, or None where one may be made. Taking and giving back are atomic operations on
    a deque; the lock is for those who wait alone.
    """

    __slots__ = ("_changed", "_closed", "_connect_timeout_s", "_server", "_size", "_slots", "_waiting")

    def __init__(self, server: Server, size: int, connect_timeout_s: float) -> None:
        self._server = server
        self._size = size
        self._connect_timeout_s = connect_timeout_s
        self._closed = False
        self._slots: deque[Connection | None] = deque()
        self.reset()

    def reset(self) -> None:
        """For the child of a fork: its parent's connections are not its own, nor who held a lock."""
        for slot in self._slots:
            if slot is not None:
                slot.close()  # this process's descriptor alone
        self._slots = deque([None] * self._size)
        self._changed = threading.Condition(threading.Lock())
        self._waiting = 0

    def take(self, now_s: float, until_s: float, careful: bool) -> Connection:
        """A connection, for the caller alone until it is given back. Raises Lost, ClientError.

        `careful`: it is surely open, as far as can be known.
        """
        slot = self._take_slot(until_s)
        if slot is not None and (careful or now_s - slot.idle_since_s > _IDLE_TRUSTED_S):
            if slot.is_open():
                return slot
            slot.close()
            slot = None
        if slot is not None:
            return slot
        try:
            left_s = max(0.001, until_s - now_s)
            return open_connection(self._server, min(self._connect_timeout_s, left_s))
        except BaseException:
            self.give(None)
            raise

    def _take_slot(self, until_s: float) -> Connection | None:
        if self._closed:
            raise closed()
        try:
            return self._slots.pop()
        except IndexError:
            return self._wait_slot(until_s)

    def _wait_slot(self, until_s: float) -> Connection | None:
        with self._changed:
            self._waiting += 1
            try:
                while True:
                    if self._closed:
                        raise closed()
                    try:
                        return self._slots.pop()
                    except IndexError:
                        left_s = until_s - time.monotonic()
                    if left_s <= 0 or not self._changed.wait(left_s):
                        text = f"all {self._size} connections to {self._server.url} were in use"
                        raise Lost(CallTimeout(text, outcome="not_applied"))
            finally:
                self._waiting -= 1

    def give(self, connection: Connection | None) -> None:
        """Gives a connection back; None: it is of no use any more."""
        if connection is None:
            self._slots.appendleft(None)
        else:
            self._slots.append(connection)
        if self._waiting:
            with self._changed:
                self._changed.notify()
        if self._closed:
            self._close_idle()

    def drop_idle(self) -> None:
        """Closes what is idle: the server that it led to is gone."""
        for _ in range(len(self._slots)):
            try:
                slot = self._slots.pop()
            except IndexError:
                return
            if slot is not None:
                slot.close()
            self.give(None)

    def close(self) -> None:
        """Closes what is idle now, and the rest when it is given back."""
        self._closed = True
        self._close_idle()
        with self._changed:
            self._changed.notify_all()

    def _close_idle(self) -> None:
        while self._slots:
            try:
                slot = self._slots.pop()
            except IndexError:
                return
            if slot is not None:
                slot.close()
