"""A small HTTP/1.1 client over asyncio streams: one keep-alive connection, one request at a time."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec

ANSWER_WITHIN_S = 20.0
"""A server that is up must answer within this, long polls included."""


class ConnectionBroke(Exception):
    """The connection failed before a whole answer came: what happened is unknown."""


class Stalled(ConnectionBroke):
    """No answer came in time, with the connection open."""


class Answer(msgspec.Struct):
    """Status and decoded body."""

    status: int
    body: Any

    @property
    def ok(self) -> bool:
        """Whether it is a 2xx."""
        return 200 <= self.status < 300


class Connection:
    """One connection, opened on the first request and again after it broke."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def call(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """Send one request and return its answer.

        Raises:
            ConnectionBroke: it could not be sent, or no whole answer came.
        """
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                return await self._exchange(method, path, body, headers or {})
        except TimeoutError as error:
            self.close()
            raise Stalled(f"{method} {path}: no answer within {ANSWER_WITHIN_S} s") from error
        except (OSError, EOFError, asyncio.IncompleteReadError) as error:
            self.close()
            raise ConnectionBroke(f"{method} {path}: {error!r}") from error
        except BaseException:
            self.close()
            raise

    async def _exchange(self, method: str, path: str, body: object, headers: dict[str, str]) -> Answer:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 26)
        reader, writer = self._streams
        content = b"" if body is None else msgspec.json.encode(body)
        lines = [f"{method} {path} HTTP/1.1", "Host: torture", f"Content-Length: {len(content)}"]
        lines += ["Content-Type: application/json", *(f"{name}: {value}" for name, value in headers.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode() + content)
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = 0
        for line in head.split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        content = await reader.readexactly(length)
        if b"connection: close" in head:
            self.close()
        return Answer(int(head.split(b" ", 2)[1]), msgspec.json.decode(content) if content else None)

    def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        streams, self._streams = self._streams, None
        if streams is not None:
            with contextlib.suppress(OSError, RuntimeError):
                streams[1].close()
