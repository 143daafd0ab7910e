"""Calls to the server, built from the command table: method, path and query come from its rows."""

import http.client
import re
import socket
import ssl
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from taskqueuex.cli.connection import Connection
from taskqueuex.cli.failures import USAGE, ApiError, Failure, Unreachable
from taskqueuex.client import DEFAULT_SERVER
from taskqueuex.client.credentials import check_clear_text
from taskqueuex.client.tls import UNHEARD, context_of, reason_of
from taskqueuex.commands import command
from taskqueuex.errors import Invalid

__all__ = ["Client"]


class _UnixConnection(http.client.HTTPConnection):
    """HTTP through the socket at a path."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path
        self._timeout_s = timeout_s

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._timeout_s)
        self.sock.connect(self._path)


class Client:
    """One server. `timeout_s` is how long an answer may take, beside what the call itself waits."""

    def __init__(self, connection: Connection, timeout_s: float = 30.0) -> None:
        self.connection = connection
        self._fixed = {"Accept": "application/json"}
        if connection.token is not None:
            if not connection.token.isascii() or not connection.token.isprintable():
                raise Failure("--token: must be visible ASCII characters", USAGE)
            self._fixed["Authorization"] = f"Bearer {connection.token}"
        self._open(connection.server, timeout_s)

    def _open(self, server: str, timeout_s: float) -> None:
        if server.startswith("unix:"):
            self.url = server
            self._connection: http.client.HTTPConnection = _UnixConnection(
                server.removeprefix("unix:"), timeout_s
            )
            return
        text = server if "://" in server else f"http://{server}"
        parts = urllib.parse.urlsplit(text)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
            raise Failure(f"{server!r} is not the URL of a server, such as {DEFAULT_SERVER}", USAGE)
        self.url = f"{parts.scheme}://{parts.netloc}"
        if parts.scheme == "https":
            self._connection = http.client.HTTPSConnection(
                parts.hostname, port, timeout=timeout_s, context=self._context()
            )
            return
        if self.connection.tls is not None:
            raise Failure(f"--ca, --cert and --key are for a server of https://, not {self.url}", USAGE)
        if self.connection.token is not None:
            check_clear_text(self.url, parts.hostname)
        self._connection = http.client.HTTPConnection(parts.hostname, port, timeout=timeout_s)

    def _context(self) -> ssl.SSLContext:
        try:
            return context_of(self.connection.tls)
        except Invalid as error:
            raise Failure(str(error), USAGE) from error

    def call(
        self,
        name: str,
        target: str = "",
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """The body of the answer to a call of the table, as sent.

        Entries of `query` that are None are left out. Raises ApiError, Unreachable.
        """
        row = command(name)
        path = _path(row.path, target, query)
        sent = {**self._fixed, **(headers or {})}
        content = None
        if body is not None:
            content = msgspec.json.encode(body)
            sent["Content-Type"] = "application/json"
        status, answer = self._exchange(row.method, path, content, sent)
        if status >= 400:
            raise ApiError(status, _problem(answer))
        return answer

    def stream(
        self, name: str, query: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[bytes]:
        """The lines of an answer that goes on, as they come, until it ends.

        Raises ApiError, Unreachable; the latter as well where the connection breaks within it.
        """
        row = command(name)
        sent = {**self._fixed, "Accept": "*/*", **(headers or {})}
        with self._reported():
            self._connection.request(row.method, _path(row.path, "", query), None, sent)
            response = self._connection.getresponse()
            if response.status >= 400:
                raise ApiError(response.status, _problem(response.read()))
            while line := response.readline():
                yield line

    def ask(self, name: str, target: str = "", **more: Any) -> Any:
        """As `call`, decoded."""
        return msgspec.json.decode(self.call(name, target, **more))

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def _exchange(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        with self._reported():
            self._connection.request(method, path, content, dict(headers))
            response = self._connection.getresponse()
            return response.status, response.read()

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Tells of a connection that fails; raises Unreachable."""
        try:
            yield
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            unheard = self.url.startswith("https") and isinstance(error, ConnectionError | ssl.SSLEOFError)
            hint = UNHEARD if unheard else ""
            raise Unreachable(f"no answer from {self.url}: {_reason(error)}{hint}") from error


def _path(pattern: str, target: str, query: Mapping[str, Any] | None) -> str:
    parameter = urllib.parse.quote(target, safe="")
    path = re.sub(r"\{\w+\}", lambda _: parameter, pattern)
    given = {key: value for key, value in (query or {}).items() if value is not None}
    return f"{path}?{urllib.parse.urlencode(given)}" if given else path


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return reason_of(error)
    if isinstance(error, http.client.BadStatusLine) and "\x15\x03" in str(error):
        return "it speaks TLS: is it https://?"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _problem(answer: bytes) -> dict[str, Any]:
    try:
        problem = msgspec.json.decode(answer)
    except msgspec.DecodeError:
        problem = None
    return problem if isinstance(problem, dict) else {}
