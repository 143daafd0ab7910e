"""From bytes to responses: HTTP/1.1 as far as an answer of the API needs it (RFC 9112).

No I/O. Whatever the pieces are that the bytes come in, the responses are the same. Heads and bodies
are bounded, and what is ambiguous is refused: folded lines, two lengths, a length beside chunks.

The server's head is the same for a second, but for the length of the body: heads that were seen are
remembered, so that most need no parsing.
"""

import re
from typing import Final

from taskqueuex.errors import ProtocolError

__all__ = ["BODY_BYTES_MAX", "HEAD_BYTES_MAX", "Response", "ResponseReader"]

HEAD_BYTES_MAX: Final = 32 << 10
BODY_BYTES_MAX: Final = 256 << 20  # beyond what any operation answers
TRAILER_BYTES_MAX: Final = 8 << 10
CHUNK_LINE_BYTES_MAX: Final = 256
_HEADS_MAX: Final = 256
_HEAD_KEPT_BYTES_MAX: Final = 1 << 10
_TLS_ALERT: Final = b"\x15\x03"  # how a server that expects TLS begins its complaint

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?").fullmatch
_HEADER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*").fullmatch
_LENGTH = re.compile(rb"[0-9]{1,15}").fullmatch
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?").fullmatch


class Response:
    """One response. Names of `headers` are in lower case."""

    __slots__ = ("body", "headers", "keep_alive", "status")

    def __init__(self, status: int, headers: dict[str, str], body: bytes, keep_alive: bool) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.keep_alive = keep_alive  # whether the connection can be used again


class _Head:
    __slots__ = ("chunked", "headers", "keep_alive", "length", "status")

    def __init__(self, status: int, headers: dict[str, str], minor: bytes) -> None:
        self.status = status
        self.headers = headers
        self.chunked = "transfer-encoding" in headers
        self.length = _body_length(status, headers)  # -1: up to the end of the connection, or chunked
        options = {each.strip().lower() for each in headers.get("connection", "").split(",")}
        lasts = "close" not in options if minor == b"1" else "keep-alive" in options
        self.keep_alive = lasts and (self.length >= 0 or self.chunked)


_heads: dict[bytes, _Head] = {}


def _head(raw: bytes) -> _Head:
    """The head whose lines these are, without the empty one."""
    head = _heads.get(raw)
    if head is None:
        head = _parse_head(raw)
        if len(raw) <= _HEAD_KEPT_BYTES_MAX:
            if len(_heads) >= _HEADS_MAX:
                _heads.clear()
            _heads[raw] = head
    return head


def _parse_head(raw: bytes) -> _Head:
    lines = raw.split(b"\r\n")
    status = _STATUS_LINE(lines[0])
    if status is None:
        raise ProtocolError(f"this is not HTTP/1.1: {lines[0][:64]!r}")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        header = _HEADER(line)
        if header is None:
            raise ProtocolError(f"a malformed header: {line[:64]!r}")
        name = header.group(1).decode().lower()
        value = header.group(2).decode("latin-1")
        if name in headers:
            if name in ("content-length", "transfer-encoding"):
                raise ProtocolError(f"{name} is given more than once")
            value = f"{headers[name]}, {value}"
        headers[name] = value
    return _Head(int(status.group(2)), headers, status.group(1))


def _body_length(status: int, headers: dict[str, str]) -> int:
    length = headers.get("content-length")
    coding = headers.get("transfer-encoding")
    if coding is not None and coding.lower() != "chunked":
        raise ProtocolError(f"the transfer coding {coding[:32]!r} was not asked for")
    if length is not None:
        if coding is not None:
            raise ProtocolError("a length beside chunks")
        if not _LENGTH(length.encode("latin-1")) or int(length) > BODY_BYTES_MAX:
            raise ProtocolError(f"Content-Length is {length[:32]!r}")
    if status < 200 or status in (204, 304):
        return 0
    return -1 if length is None else int(length)


class ResponseReader:
    """The responses of one connection, in order.

    `by_end`: whether the end of the connection may end a body that has no length. Over TLS it may not: what
    cuts the connection could cut the answer, and nobody would see.
    """

    __slots__ = ("_body", "_by_end", "_chunk_left", "_chunks", "_head", "_held", "_size", "_trailer")

    def __init__(self, by_end: bool = True) -> None:
        self._by_end = by_end
        self._held = b""  # bytes that do not make a whole of anything yet
        self._head: _Head | None = None  # of the response whose body is awaited
        self._body: list[bytes] = []
        self._size = 0  # bytes in `_body`
        self._chunk_left = -1  # bytes of the chunk that are missing, with its end of line; -1: its size is
        self._trailer = -1  # bytes of trailer seen; -1: the last chunk was not seen
        self._chunks = False

    @property
    def idle(self) -> bool:
        """Whether no response has begun."""
        return self._head is None and not self._held

    def receive(self, data: bytes) -> list[Response]:
        """The responses that are complete with these bytes. Raises ProtocolError; then it is over."""
        if self._held:
            data = self._held + data
            self._held = b""
        responses: list[Response] = []
        start = 0
        while start < len(data):
            if self._head is None:
                after = self._read_head(data, start)
            elif self._chunks:
                after = self._read_chunk(data, start)
            else:
                after = self._read_body(data, start)
            if after < 0:
                self._held = data[start:]
                break
            start = after
            self._finish_into(responses)
        return responses

    def end(self) -> Response | None:
        """The connection has ended: the response that its end completes. Raises ProtocolError."""
        head = self._head
        if head is not None and head.length < 0 and not head.chunked:
            return self._take(head)
        if not self.idle:
            raise ProtocolError("the connection ended within a response")
        return None

    def _read_head(self, data: bytes, start: int) -> int:
        end = data.find(b"\r\n\r\n", start)
        if (end if end >= 0 else len(data) - 3) - start > HEAD_BYTES_MAX:
            raise ProtocolError("the head of the answer is too long")
        if end < 0:
            if data.startswith(_TLS_ALERT, start):
                raise ProtocolError("it speaks TLS: is it https://?")
            return -1
        head = _head(data[start:end])
        if head.status < 200:  # interim: the response is still to come
            if head.status == 101:
                raise ProtocolError("the protocol was switched")
            return end + 4
        if head.length < 0 and not head.chunked and not self._by_end:
            raise ProtocolError("the answer has no length")
        self._head = head
        self._chunks = head.chunked and head.length < 0
        return end + 4

    def _read_body(self, data: bytes, start: int) -> int:
        assert self._head is not None
        length = self._head.length
        piece = data[start:] if length < 0 else data[start : start + length - self._size]
        self._add(piece)
        return start + len(piece)

    def _read_chunk(self, data: bytes, start: int) -> int:
        """One step: the size of a chunk, a piece of its bytes, the end of its line, a trailer."""
        if self._trailer >= 0:
            return self._read_trailer(data, start)
        if self._chunk_left < 0:
            return self._read_chunk_size(data, start)
        if self._chunk_left > 2:
            piece = data[start : start + self._chunk_left - 2]
            self._add(piece)
            self._chunk_left -= len(piece)
            return start + len(piece)
        if len(data) - start < 2:
            return -1
        if data[start : start + 2] != b"\r\n":
            raise ProtocolError("a chunk is longer than its size")
        self._chunk_left = -1
        return start + 2

    def _read_chunk_size(self, data: bytes, start: int) -> int:
        end = data.find(b"\r\n", start, start + CHUNK_LINE_BYTES_MAX)
        if end < 0:
            if len(data) - start >= CHUNK_LINE_BYTES_MAX:
                raise ProtocolError("the size of a chunk is too long")
            return -1
        found = _CHUNK_SIZE(data, start, end)
        if found is None:
            raise ProtocolError(f"the size of a chunk is {data[start : min(end, start + 32)]!r}")
        size = int(found.group(1), 16)
        if size == 0:
            self._trailer = 0
        else:
            self._chunk_left = size + 2
        return end + 2

    def _read_trailer(self, data: bytes, start: int) -> int:
        end = data.find(b"\r\n", start)
        seen = self._trailer + (end if end >= 0 else len(data) - 1) - start
        if seen > TRAILER_BYTES_MAX:
            raise ProtocolError("the trailer of the answer is too long")
        if end < 0:
            return -1
        if end == start:
            self._chunks = False
        else:
            if _HEADER(data, start, end) is None:
                raise ProtocolError(f"a malformed trailer: {data[start : min(end, start + 64)]!r}")
            self._trailer = seen
        return end + 2

    def _add(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > BODY_BYTES_MAX:
            raise ProtocolError("the answer is too long")
        self._body.append(piece)

    def _finish_into(self, responses: list[Response]) -> None:
        head = self._head
        if head is None:
            return
        if self._size == head.length or (head.chunked and not self._chunks):
            responses.append(self._take(head))

    def _take(self, head: _Head) -> Response:
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._head, self._body, self._size, self._trailer = None, [], 0, -1
        return Response(head.status, head.headers, body, head.keep_alive)
