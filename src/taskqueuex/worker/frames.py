"""Messages between a worker and its processes: JSON behind a length of four bytes, over a socket pair."""

import contextlib
import socket
from collections.abc import Iterator
from typing import Any, Generic, Literal, TypeVar

import msgspec

from taskqueuex.commands.consume import AckItem, FailItem, LeasedTask, ReleaseItem

__all__ = [
    "Beat",
    "Cancelled",
    "Configure",
    "Control",
    "Done",
    "Extend",
    "FrameReader",
    "FromChild",
    "FromHeart",
    "Held",
    "Lost",
    "Progress",
    "Ready",
    "Run",
    "Settled",
    "ToChild",
    "ToHeart",
    "frame",
]

T = TypeVar("T")


class Configure(msgspec.Struct, tag=True):
    """To a child, first: what to load, and how to log."""

    app: str
    path: list[str]
    log_level: str
    log_format: Literal["text", "json"]
    parent: int
    servers: list[str]  # those of its worker, and what they are shown
    token: str | None
    tls: dict[str, Any] | None  # the fields of TLS


class Run(msgspec.Struct, tag=True):
    """To a child: the next task."""

    task: LeasedTask


class Ready(msgspec.Struct, tag=True):
    """From a child: it can take a task; from the heart: it beats."""


class Done(msgspec.Struct, tag=True):
    """From a child: what to tell the server of the task; one of the three is set."""

    ack: AckItem | None = None
    fail: FailItem | None = None
    release: ReleaseItem | None = None


class Progress(msgspec.Struct, tag=True):
    """How far a task is: from a child to the worker, and from the worker to the heart."""

    lease: str
    progress: msgspec.Raw


class Extend(msgspec.Struct, tag=True):
    """A task asks for its lease to be extended now; `extend_ms` None: by its own length."""

    lease: str
    extend_ms: int | None = None


class Held(msgspec.Struct, array_like=True):
    """A lease that is to be kept alive for as long as the process `pid` lives and is not stopped."""

    id: str
    lease: str
    attempt: int
    lease_s: float  # how long it holds from now on, as far as clocks agree
    pid: int


class Beat(msgspec.Struct, tag=True):
    """To the heart: leases that are new, or run in another process now."""

    held: list[Held]


class Settled(msgspec.Struct, tag=True):
    """To the heart: leases that need no more heartbeats."""

    leases: list[str]


class Control(msgspec.Struct, tag=True):
    """From the heart: what the server wants of this worker."""

    quiet: bool
    stop: bool


class Cancelled(msgspec.Struct, tag=True):
    """From the heart: somebody cancelled these tasks."""

    leases: list[str]


class Lost(msgspec.Struct, tag=True):
    """From the heart: these leases hold no longer."""

    leases: list[str]


ToChild = Configure | Run
FromChild = Ready | Done | Progress | Extend
ToHeart = Beat | Settled | Progress | Extend
FromHeart = Ready | Control | Cancelled | Lost

_encode = msgspec.json.Encoder().encode


def frame(message: Any) -> bytes:
    """The bytes of a message."""
    content = _encode(message)
    return len(content).to_bytes(4, "big") + content


class FrameReader(Generic[T]):
    """Cuts what arrives into messages."""

    def __init__(self, messages: Any) -> None:
        self._decode = msgspec.json.Decoder(messages).decode
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[T]:
        """The messages that are complete now."""
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= 4:
            end = start + 4 + int.from_bytes(buffer[start : start + 4], "big")
            if len(buffer) < end:
                break
            yield self._decode(bytes(buffer[start + 4 : end]))
            start = end
        del buffer[:start]

    def read(self, connection: socket.socket) -> Iterator[T]:
        """All messages until the other end is closed. Blocks."""
        with contextlib.suppress(ConnectionError):
            while data := connection.recv(1 << 16):
                yield from self.feed(data)
