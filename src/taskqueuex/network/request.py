"""One request at a time, out of the bytes of a connection.

httptools finds the parts; this collects what matters of them and holds them to their limits.
Its fields are those of the request that was completed last, and valid until the next one begins.
"""

from collections.abc import Callable
from typing import Final

import httptools

from taskqueuex.clock import Clock
from taskqueuex.errors import (
    BadRequest,
    HeadersTooLarge,
    MethodNotAllowed,
    PayloadTooLarge,
    TaskQueueError,
    UriTooLong,
)
from taskqueuex.network import headers
from taskqueuex.network.config import NetworkConfig
from taskqueuex.network.headers import header_code
from taskqueuex.network.routes import METHODS

__all__ = ["RequestReader", "StreamBroken"]

_REST_OF_LINE: Final = len("OPTIONS  HTTP/1.1")  # of a request line, around the target


class StreamBroken(Exception):
    """Nothing that follows in the stream can be trusted; `error` is what to tell the client."""

    def __init__(self, error: TaskQueueError) -> None:
        super().__init__(str(error))
        self.error = error


class RequestReader:
    """The parser of a connection, and the request that it is at.

    `on_request` is called when a request is complete, `on_expect` when its client waits for leave
    to send the body.
    """

    __slots__ = (
        "_chunked",
        "_clock",
        "_completed",
        "_config",
        "_content_length",
        "_expects",
        "_head_bytes",
        "_head_fed",
        "_header_count",
        "_in_head",
        "_on_expect",
        "_on_request",
        "_parser",
        "_parts",
        "authorization",
        "body",
        "content_type",
        "cookie",
        "csrf",
        "in_request",
        "keep_alive_asked",
        "key",
        "received_us",
        "timeout",
        "url",
    )

    def __init__(
        self,
        config: NetworkConfig,
        clock: Clock,
        on_request: Callable[[], None],
        on_expect: Callable[[], None],
    ) -> None:
        self._config = config
        self._clock = clock
        self._on_request = on_request
        self._on_expect = on_expect
        self._parser = httptools.HttpRequestParser(self)
        self._in_head = False
        self._completed = False  # one was, in the bytes now fed
        self.in_request = False  # one has begun and is not complete
        self.received_us = 0  # monotonic, when the head was complete

    # -- what the session asks --------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Takes bytes of the stream; raises StreamBroken."""
        self._completed = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # Answered as if it had not asked: a server need not upgrade (RFC 9110, 7.8).
            self._parser = httptools.HttpRequestParser(self)
            if upgrade.args[0] < len(data):
                self.feed(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            raise StreamBroken(_reason(error)) from error.__context__
        if self._in_head and not self._completed:
            self._count_open_head(len(data))

    def close(self) -> None:
        """Lets go of the parser and the session, which hold this in turn: the connection is gone, and
        thousands of them a second should not wait for the garbage collector."""
        del self._parser, self._on_request, self._on_expect

    def method(self) -> bytes:
        """The method of the request."""
        return self._parser.get_method()

    def keeps_alive(self) -> bool:
        """Whether the connection may go on behind the request."""
        return self._parser.should_keep_alive()

    def is_http_1_0(self) -> bool:
        """Whether the client must be told that its wish to keep the connection is granted."""
        return self._parser.get_http_version() == "1.0"

    # -- the parser's callbacks -------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self.in_request = self._in_head = True
        self._head_bytes = self._head_fed = self._header_count = 0
        self.url = self.body = self.content_type = self.key = self.timeout = self._content_length = b""
        self.authorization = self.cookie = self.csrf = b""
        self._parts: bytearray | None = None
        self._expects = self._chunked = self.keep_alive_asked = False

    def on_url(self, url: bytes) -> None:
        self.url = self.url + url if self.url else url
        if len(self.url) > self._config.request_line_bytes_max - _REST_OF_LINE:
            raise UriTooLong(f"A request line is at most {self._config.request_line_bytes_max} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_count += 1
        self._head_bytes += len(name) + len(value) + 4  # the colon, the space, the line's end
        code = header_code(name)
        if code and self._in_head:  # not a trailer
            self._on_known_header(code, value)

    def _on_known_header(self, code: int, value: bytes) -> None:
        if code == headers.CONTENT_LENGTH:
            self._content_length = value
        elif code == headers.CONTENT_TYPE:
            self.content_type = value
        elif code == headers.CONNECTION:
            self.keep_alive_asked = value.lower() == b"keep-alive"
        elif code == headers.IDEMPOTENCY_KEY:
            self.key = value or b" "  # an empty value is a mistake to be told, not the absence of a key
        elif code == headers.REQUEST_TIMEOUT:
            self.timeout = value or b" "
        elif code == headers.AUTHORIZATION:
            self.authorization = value or b" "
        elif code == headers.COOKIE:
            self.cookie = self.cookie + b"; " + value if self.cookie else value
        elif code == headers.CSRF_TOKEN:
            self.csrf = value
        elif code == headers.EXPECT:
            self._expects = value.lower() == b"100-continue"
        elif code == headers.TRANSFER_ENCODING:
            self._chunked = True

    def on_headers_complete(self) -> None:
        self._in_head = False
        self.received_us = self._clock.monotonic_us()
        config = self._config
        if (
            self._head_bytes + len(self.url) > config.head_bytes_max
            or self._header_count > config.headers_max
        ):
            raise self._head_too_large()
        length = self._content_length
        if len(length) > 4 and int(length) > config.body_bytes_max:
            raise self._body_too_large()
        if self._parser.should_upgrade() and (self._chunked or length.strip(b"0")):
            # The parser would take the body for the first bytes of the other protocol.
            raise BadRequest("This server does not upgrade a connection, least of all with a body")
        if self._expects:
            self._on_expect()

    def on_body(self, body: bytes) -> None:
        if not self.body:
            self.body = body
        elif self._parts is None:
            self._parts = bytearray(self.body) + body
        else:
            self._parts += body
        if self._chunked and len(self._parts or self.body) > self._config.body_bytes_max:
            raise self._body_too_large()

    def on_message_complete(self) -> None:
        self.in_request = False
        self._completed = True
        if self._parts is not None:
            self.body = bytes(self._parts)
            self._parts = None
        self._on_request()

    # -- limits -----------------------------------------------------------------------------------

    def _count_open_head(self, size: int) -> None:
        """Bounds a line that never ends: the parser hands over only whole headers."""
        self._head_fed += size
        if self._head_fed > self._config.head_bytes_max:
            raise StreamBroken(self._head_too_large())

    def _head_too_large(self) -> HeadersTooLarge:
        config = self._config
        return HeadersTooLarge(
            f"A head is at most {config.headers_max} headers and {config.head_bytes_max} bytes"
        )

    def _body_too_large(self) -> PayloadTooLarge:
        return PayloadTooLarge(f"A body is at most {self._config.body_bytes_max} bytes")


def _reason(error: Exception) -> TaskQueueError:
    """What to tell a client whose stream the parser gave up."""
    cause = error.__context__
    if isinstance(error, httptools.HttpParserCallbackError) and cause is not None:
        if isinstance(cause, TaskQueueError):
            return cause
        raise cause  # a bug of ours
    if isinstance(error, httptools.HttpParserInvalidMethodError):
        return MethodNotAllowed("There is no such method", allow=METHODS)
    return BadRequest(f"This is not HTTP/1.1: {error}")
