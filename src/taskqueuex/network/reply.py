"""From an answer to the bytes of a response.

The head of a response depends on its status, its durability, its type and the time: it is made
once a second for each combination in use, and what remains per answer is the length and the body.
"""

from email.utils import formatdate
from http import HTTPStatus
from math import ceil
from typing import Any

import msgspec

from taskqueuex.commands.call import Page
from taskqueuex.commands.problem import problem_of
from taskqueuex.errors import MethodNotAllowed, TaskQueueError, Unauthenticated
from taskqueuex.telemetry.prometheus import CONTENT_TYPE as METRICS_TYPE

__all__ = ["CONTINUE", "Replies", "error_response"]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_JSON = "application/json"
_PROBLEM = "application/problem+json"
_encode = msgspec.json.Encoder().encode


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Status"


class Replies:
    """The heads of the current second. `refresh` is called once a second by the server."""

    __slots__ = ("_date", "_heads")

    def __init__(self) -> None:
        self._heads: dict[tuple[int, str | None, str], bytes] = {}
        self.refresh()

    def refresh(self) -> None:
        """Takes the time anew."""
        self._date = formatdate(usegmt=True)
        self._heads.clear()

    def response(
        self,
        status: int,
        body: Any,
        durability: str | None,
        connection: str = "",
        content_type: str = _JSON,
    ) -> bytes:
        """The whole response. `body`: bytes as they are, None for none, or what to encode.

        `connection` is the value of the header Connection; empty: the header is not needed.
        """
        key = (status, durability, connection)
        head = self._heads.get(key) if content_type is _JSON else None
        if head is None:
            head = self._head(status, durability, connection, content_type)
            if content_type is _JSON:
                self._heads[key] = head
        if body is None:
            return b"%bContent-Length: 0\r\n\r\n" % head
        content = body if type(body) is bytes else _encode(body)
        return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(content), content)

    def metrics(self, body: bytes, connection: str = "") -> bytes:
        """The response of /metrics, which alone is not JSON."""
        return self.response(200, body, None, connection, METRICS_TYPE)

    def headed(
        self, status: int, body: Any, headers: tuple[tuple[str, str], ...], connection: str = ""
    ) -> bytes:
        """A response with headers of its own."""
        return _with_headers(self.response(status, body, None, connection), headers)

    def page(self, page: Page, connection: str = "") -> bytes:
        """The response that is a file."""
        response = self.response(200, page.content, None, connection, page.content_type)
        return _with_headers(response, page.headers)

    def stream(self, content_type: str) -> bytes:
        """The head of a response that ends with its connection. Nobody on the way is to keep it, or to wait
        for more of it."""
        head = self._head(200, None, "close", content_type)
        return head + b"Cache-Control: no-store\r\nX-Accel-Buffering: no\r\n\r\n"

    def error(self, error: TaskQueueError, durability: str | None = None, connection: str = "") -> bytes:
        """The response that tells of an error."""
        key = (-error.status, durability, connection)  # no other response has such a one
        head = self._heads.get(key)
        if head is None:
            head = self._heads[key] = self._head(error.status, durability, connection, _PROBLEM)
        extra = b""
        if error.retry_after_s is not None:
            extra += b"Retry-After: %d\r\n" % max(1, ceil(error.retry_after_s))
        if isinstance(error, MethodNotAllowed) and error.allow:
            extra += b"Allow: %b\r\n" % ", ".join(error.allow).encode()
        if isinstance(error, Unauthenticated):
            extra += b"WWW-Authenticate: Bearer\r\n"
        content = _encode(problem_of(error))
        return b"%b%bContent-Length: %d\r\n\r\n%b" % (head, extra, len(content), content)

    def _head(self, status: int, durability: str | None, connection: str, content_type: str) -> bytes:
        lines = [
            f"HTTP/1.1 {status} {_phrase(status)}",
            f"Content-Type: {content_type}",
            f"Date: {self._date}",
        ]
        if durability is not None:
            lines.append(f"Durability: {durability}")
        if connection:
            lines.append(f"Connection: {connection}")
        return ("\r\n".join(lines) + "\r\n").encode("latin-1")


def _with_headers(response: bytes, headers: tuple[tuple[str, str], ...]) -> bytes:
    cut = response.index(b"\r\n") + 2
    extra = "".join(f"{name}: {value}\r\n" for name, value in headers).encode("latin-1")
    return response[:cut] + extra + response[cut:]


def error_response(error: TaskQueueError) -> bytes:
    """The response to a connection that is refused before it said anything."""
    return Replies().error(error, connection="close")
