"""One request at a time, out of the bytes of a connection.

httptools finds the parts; this collects what matters of them, refuses what it lets pass and two programs
could read in two ways, and holds everything to its limits. Its fields are those of the request that was
completed last, and valid until the next one begins. Between two requests a reader may be used for another
connection.
"""

import re
from typing import Any, Final, Protocol

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

__all__ = ["ReaderOwner", "RequestReader", "StreamBroken"]

_REST_OF_LINE: Final = len("OPTIONS  HTTP/1.1")  # of a request line, around the target
_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+;=:%\[\]-]*").fullmatch  # a wide net: reg-name, IP literal, port
_CHUNKS_FREE: Final = 1_000  # so many may be of any size
_CHUNK_BYTES_MIN: Final = 16  # what chunks have on average, where there are more
_FRAMING_FREE: Final = 48 << 10  # bytes of a chunked body, beside as many as its content has
_SKIPPED_MAX: Final = 64 << 10  # a refused request's body is read up to this size, to keep the connection


class StreamBroken(Exception):
    """Nothing that follows in the stream can be trusted; `error` is what to tell the client."""

    def __init__(self, error: TaskQueueError) -> None:
        super().__init__(str(error))
        self.error = error


class ReaderOwner(Protocol):
    """Whose requests are read."""

    def on_head(self, reader: "RequestReader") -> None:
        """The head is complete. Raises TaskQueueError where the request is refused without its body."""
        ...

    def on_expect(self) -> None:
        """The client waits for leave to send the body."""
        ...

    def on_request(self, reader: "RequestReader") -> None:
        """The request is complete."""
        ...


class _NoOwner:
    """Of a reader between two connections."""

    def on_head(self, reader: "RequestReader") -> None: ...

    def on_expect(self) -> None: ...

    def on_request(self, reader: "RequestReader") -> None: ...


_NOBODY: Final = _NoOwner()


class RequestReader:
    """A parser, and the request that it is at."""

    __slots__ = (
        "_chunked",
        "_chunks",
        "_clock",
        "_completed",
        "_config",
        "_content_length",
        "_expects",
        "_head_bytes",
        "_head_fed",
        "_header_count",
        "_hosts",
        "_in_head",
        "_parser",
        "_parts",
        "_skipped",
        "_wire_bytes",
        "accept",
        "accepts_gzip",
        "authorization",
        "began",
        "body",
        "content_type",
        "cookie",
        "csrf",
        "fetch_site",
        "host",
        "in_request",
        "keep_alive_asked",
        "key",
        "last_event_id",
        "origin",
        "owner",
        "principal",
        "received_us",
        "refusal",
        "route",
        "target",
        "timeout",
        "url",
        "usable",
    )

    def __init__(self, config: NetworkConfig, clock: Clock, owner: ReaderOwner) -> None:
        self._config = config
        self._clock = clock
        self.owner = owner
        self._parser = httptools.HttpRequestParser(self)
        self._in_head = False
        self._completed = False  # one was, in the bytes now fed
        self._chunked = False
        self.in_request = False  # one has begun and is not complete
        self.received_us = 0  # monotonic, when the head was complete
        self.began = 0  # the owner's: the second in which the request under way was first seen
        self.route: Any = None  # the owner's, found when the head was complete
        self.target = ""
        self.principal: Any = None
        self.refusal: TaskQueueError | None = None  # why it is not made, though its body is still read
        self.url = self.body = self.host = b""
        self.usable = True  # for another request

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
            return
        except httptools.HttpParserError as error:
            self.usable = False
            raise StreamBroken(_reason(error)) from error.__context__
        if self.in_request and not self._completed:
            if self._in_head:
                self._count_open_head(len(data))
            elif self._chunked:
                self._count_framing(len(data))

    def rest(self) -> None:
        """Lets go of the request and of its owner."""
        self.owner = _NOBODY
        self.url = self.body = self.content_type = b""
        self.route = self.principal = None

    def close(self) -> None:
        """Lets go of the parser, which holds this in turn: thousands of connections a second should not
        wait for the garbage collector."""
        self.usable = False
        self.owner = _NOBODY
        del self._parser

    def method(self) -> bytes:
        """The method of the request."""
        return self._parser.get_method()

    def keeps_alive(self) -> bool:
        """Whether the connection may go on behind the request."""
        return self._parser.should_keep_alive()

    def is_http_1_0(self) -> bool:
        """Whether the client must be told that its wish to keep the connection is granted."""
        return self._parser.get_http_version() == "1.0"

    @property
    def in_head(self) -> bool:
        """Whether the head of the request under way is not complete."""
        return self._in_head

    def waits_for_body(self) -> bool:
        """Whether a body is to come that is not simply read and dropped if the request is refused."""
        return self._expects or self.announced() > _SKIPPED_MAX

    def announced(self) -> int:
        """The bytes of the body, as far as the head tells."""
        return int(self._content_length or b"0")

    def bytes_to_come(self) -> int:
        """Bytes of the body under way that are still to come, as far as its head told."""
        return self.announced() - self.body_size() if self.in_request and not self._in_head else 0

    def body_size(self) -> int:
        """Bytes of the body so far."""
        return len(self.body if self._parts is None else self._parts)

    # -- the parser's callbacks -------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self.in_request = self._in_head = True
        self._head_bytes = self._head_fed = self._header_count = self._hosts = self.began = 0
        self.url = self.body = self.content_type = self.key = self.timeout = self._content_length = b""
        self.last_event_id = self.accept = b""
        self.authorization = self.cookie = self.csrf = self.origin = self.fetch_site = self.host = b""
        self._parts: bytearray | None = None
        self._expects = self._chunked = self.keep_alive_asked = self.accepts_gzip = False
        self.refusal = None

    def on_url(self, url: bytes) -> None:
        self.url = self.url + url if self.url else url
        if len(self.url) > self._config.request_line_bytes_max - _REST_OF_LINE:
            raise UriTooLong(f"A request line is at most {self._config.request_line_bytes_max} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_count += 1
        self._head_bytes += len(name) + len(value) + 4  # the colon, the space, the line's end
        if self._header_count > self._config.headers_max:
            raise self._head_too_large()  # at once: thousands of tiny ones fit into the bytes of a head
        if not self._in_head:
            self._check_head_size()  # a trailer, which means nothing here
            return
        code = header_code(name)
        if code:
            self._on_known_header(code, value)

    def _on_known_header(self, code: int, value: bytes) -> None:
        if code == headers.HOST:
            self._hosts += 1
            if not _HOST(value):
                raise BadRequest("Host: is not a name or an address")
            self.host = value
        elif code == headers.CONTENT_LENGTH:
            self._content_length = value
        elif code == headers.CONTENT_TYPE:
            self.content_type = value
        elif code == headers.CONNECTION:
            self.keep_alive_asked = value.lower() == b"keep-alive"
        elif code == headers.IDEMPOTENCY_KEY:
            if self.key:
                raise BadRequest("Idempotency-Key: given more than once")
            self.key = value or b" "  # an empty value is a mistake to be told, not the absence of a key
        elif code == headers.REQUEST_TIMEOUT:
            self.timeout = value or b" "
        elif code == headers.AUTHORIZATION:
            if self.authorization:
                raise BadRequest("Authorization: given more than once")
            self.authorization = value or b" "
        elif code == headers.COOKIE:
            self.cookie = self.cookie + b"; " + value if self.cookie else value
        elif code == headers.CSRF_TOKEN:
            self.csrf = value
        elif code == headers.ORIGIN:
            self.origin = value or b"null"
        elif code == headers.FETCH_SITE:
            self.fetch_site = value.lower() or b"unknown"
        elif code == headers.LAST_EVENT_ID:
            self.last_event_id = value
        elif code == headers.ACCEPT_ENCODING:
            self.accepts_gzip = b"gzip" in value
        elif code == headers.ACCEPT:
            self.accept = value
        elif code == headers.EXPECT:
            self._expects = value.lower() == b"100-continue"
        elif code == headers.TRANSFER_ENCODING:
            if value.lower() != b"chunked":
                raise BadRequest("Transfer-Encoding: only chunked is understood")
            self._chunked = True
            self._chunks = self._wire_bytes = 0

    def on_headers_complete(self) -> None:
        self._in_head = False
        self.received_us = self._clock.monotonic_us()
        self._check_head_size()
        if self._hosts != 1 or self._parser.get_http_version() != "1.1":
            self._check_version()
        length = self._content_length
        if len(length) > 4 and int(length) > self._config.body_bytes_max:
            raise self._body_too_large()
        if self._parser.should_upgrade() and (self._chunked or length.strip(b"0")):
            # The parser would take the body for the first bytes of the other protocol.
            raise BadRequest("This server does not upgrade a connection, least of all with a body")
        try:
            self.owner.on_head(self)
        except TaskQueueError as refusal:
            if self.waits_for_body():
                raise  # told now: the body is not wanted
            self.refusal = refusal
            self._skipped = 0
        else:
            if self._expects:
                self.owner.on_expect()

    def _check_version(self) -> None:
        version = self._parser.get_http_version()
        if version not in ("1.0", "1.1"):
            raise BadRequest(f"HTTP/{version} is not spoken here, but HTTP/1.1")
        if self._hosts > 1:
            raise BadRequest("Host: given more than once")
        if version == "1.1" and not self._hosts:
            raise BadRequest("Host: is missing")
        if version == "1.0":
            if self._chunked:
                raise BadRequest("Transfer-Encoding: is not part of HTTP/1.0")
            self._expects = False  # it knows no interim answers (RFC 9110, 10.1.1)

    def on_chunk_header(self) -> None:
        self._chunks += 1
        if self._chunks > _CHUNKS_FREE and self.body_size() < self._chunks * _CHUNK_BYTES_MIN:
            raise BadRequest(f"The chunks of the body have less than {_CHUNK_BYTES_MIN} bytes on average")

    def on_body(self, body: bytes) -> None:
        if self.refusal is not None:
            self._skipped += len(body)
            if self._skipped > _SKIPPED_MAX:
                raise self.refusal
            return
        if not self.body:
            self.body = body
        elif self._parts is None:
            self._parts = bytearray(self.body) + body
        else:
            self._parts += body
        if self._chunked and self.body_size() > self._config.body_bytes_max:
            raise self._body_too_large()

    def on_message_complete(self) -> None:
        self.in_request = False
        self._completed = True
        if self._parts is not None:
            self.body = bytes(self._parts)
            self._parts = None
        self.owner.on_request(self)

    # -- limits -----------------------------------------------------------------------------------

    def _count_open_head(self, size: int) -> None:
        """Bounds a line that never ends: the parser hands over only whole headers."""
        self._head_fed += size
        if self._head_fed > self._config.head_bytes_max:
            self.usable = False
            raise StreamBroken(self._head_too_large())

    def _count_framing(self, size: int) -> None:
        """Bounds what a chunked body has beside its content: extensions of chunks, and trailers."""
        self._wire_bytes += size
        if self._wire_bytes > _FRAMING_FREE + 2 * self.body_size():
            self.usable = False
            raise StreamBroken(BadRequest("The body has more framing than content"))

    def _check_head_size(self) -> None:
        config = self._config
        if self._head_bytes + len(self.url) > config.head_bytes_max:
            raise self._head_too_large()

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
        # Whatever the bytes are: how much of them has come must make no difference.
        return MethodNotAllowed("There is no such method", allow=METHODS)
    return BadRequest(f"This is not HTTP/1.1: {error}")
