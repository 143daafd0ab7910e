"""One request on its way through the rooms, and where its answer goes."""

from collections.abc import Callable
from typing import Any, Protocol

from taskqueuex.commands.principal import ANYONE, Peer, Principal
from taskqueuex.commands.table import Command

__all__ = ["Call", "Channel", "Headed", "Page", "Sink", "Stream"]


class Headed:
    """A reply's body, with headers of its own beside the usual ones."""

    __slots__ = ("body", "headers")

    def __init__(self, body: Any, headers: tuple[tuple[str, str], ...]) -> None:
        self.body = body
        self.headers = headers


class Page:
    """A reply's body that is not of the interface: a file, with all that a browser is told about it."""

    __slots__ = ("content", "content_type", "headers")

    def __init__(self, content_type: str, content: bytes, headers: tuple[tuple[str, str], ...]) -> None:
        self.content_type = content_type
        self.content = content
        self.headers = headers


class Channel(Protocol):
    """An answer that goes on."""

    def send(self, data: bytes) -> None:
        """Writes more of it."""
        ...

    def unsent(self) -> int:
        """Bytes of it that its reader has not taken yet."""
        ...

    def end(self) -> None:
        """Ends it, behind what was written, and the connection with it."""
        ...


class Stream:
    """A reply's body that has no end yet. `opened` is called once its head is out."""

    __slots__ = ("content_type", "opened")

    def __init__(self, content_type: str, opened: Callable[[Channel], None]) -> None:
        self.content_type = content_type
        self.opened = opened


class Sink(Protocol):
    """Whoever made a call: a session of the network, or a test."""

    closed: bool  # nobody reads the answers any more
    blocked_by: "Call | None"  # the writer's: the call that later ones of this sink wait for

    def on_reply(self, call: "Call", status: int, body: Any, durability: str | None) -> bool:
        """Takes the answer to a call; answers of one sink may come in any order.

        `body` is a struct to encode as JSON, bytes that are JSON already, a TaskQueueError, a Page, a
        Stream, or None for no body. `durability` names the level that the answer was released at; None for
        calls that change nothing. Returns False when the connection is gone, so that a lease in
        the answer can be taken back.
        """
        ...


class Call:
    """A request, decoded and validated against its row of the command table."""

    __slots__ = (
        "answer",
        "audit_key",
        "body",
        "command",
        "deadline_us",
        "key",
        "peer",
        "principal",
        "query",
        "raw",
        "received_us",
        "settled",
        "sink",
        "target",
        "units",
    )

    def __init__(
        self,
        command: Command,
        target: str,
        body: Any,
        query: Any,
        sink: Sink,
        received_us: int,
        key: str = "",
        raw: bytes = b"",
        deadline_us: int = 0,
    ) -> None:
        self.command = command
        self.target = target  # the queue's name, the task's id, ... of the path; or empty
        self.body = body  # an instance of command.body, or None
        self.query = query  # an instance of command.query, or None; of a page: whether it may be gzip,
        # of the metrics: whether it is to be OpenMetrics
        self.sink = sink
        self.received_us = received_us  # clock.monotonic_us() when the head was complete
        self.key = key  # Idempotency-Key; empty: none
        self.raw = raw  # the body's bytes, kept only where `key` is set (they are hashed)
        self.deadline_us = deadline_us  # monotonic; its caller has gone after it. 0: none
        self.principal: Principal = ANYONE  # in whose name it is made
        self.units = 1  # what it counts in a turn, more where its body is large
        self.peer: Peer | None = None  # from where it came, for the audit
        self.audit_key = b""  # the audit's: of the row that says it was begun
        self.settled: Any = None  # the engine's: what the items of a settle answered, while its dequeue waits
        self.answer: bytes | None = None  # the sink's: the answer, while earlier ones are awaited
