"""What the sessions of one server share, and nothing more: they know no server and no writer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from taskqueuex.clock import Clock
from taskqueuex.commands.call import Call, Sink
from taskqueuex.commands.principal import ANYONE, Peer, Principal
from taskqueuex.commands.table import Command
from taskqueuex.network.config import NetworkConfig
from taskqueuex.network.metrics import NetworkMetrics
from taskqueuex.network.reply import Replies
from taskqueuex.network.routes import Router

__all__ = ["Connection", "Guard", "Hub", "OpenDoor"]


class Connection(Sink, Protocol):
    """What the hub and the server ask of a session."""

    def on_tick(self, tick: int) -> None:
        """A second has passed."""
        ...

    def on_drain(self) -> None:
        """Finish: close at once when nothing is under way, else after the last answer."""
        ...

    def abort(self) -> None:
        """Close now, whatever is under way."""
        ...


class Guard(Protocol):
    """Who says whose calls these are, and what is allowed."""

    def greet(self, peer: Peer) -> None:
        """A connection was made."""
        ...

    def identify(
        self, peer: Peer, command: Command, authorization: bytes, cookie: bytes, csrf: bytes
    ) -> Principal:
        """In whose name a request is made; asked when its head is complete, before its body is read.

        Empty bytes stand for absent headers. Raises Unauthenticated, Forbidden, RateLimited.
        """
        ...

    def check(self, call: Call) -> None:
        """Whether a restricted principal may make this call; raises Forbidden. What only the engine
        knows, such as the queue of a task, is asked there."""
        ...


class OpenDoor:
    """The guard of a server that asks for no credentials."""

    def greet(self, peer: Peer) -> None:
        """Anyone is welcome."""

    def identify(
        self, peer: Peer, command: Command, authorization: bytes, cookie: bytes, csrf: bytes
    ) -> Principal:
        """Everyone may do everything."""
        return ANYONE

    def check(self, call: Call) -> None:
        """Nobody is restricted."""


class Hub:
    """Collaborators, counters and the set of open sessions."""

    __slots__ = (
        "_on_disconnect",
        "clock",
        "config",
        "draining",
        "guard",
        "metrics",
        "on_empty",
        "replies",
        "router",
        "sessions",
        "tick",
    )

    def __init__(
        self,
        config: NetworkConfig,
        router: Router,
        on_disconnect: Callable[[Sink], None],
        clock: Clock,
        metrics: NetworkMetrics,
        guard: Guard | None = None,
    ) -> None:
        self.guard: Guard = guard or OpenDoor()
        self.config = config
        self.router = router
        self.clock = clock
        self.metrics = metrics
        self.replies = Replies()
        self.sessions: set[Connection] = set()
        self.draining = False  # sessions close as soon as they have answered what is under way
        self.tick = 0  # seconds since the start, advanced by the server
        self.on_empty: Callable[[], None] | None = None  # called when the last session has closed
        self._on_disconnect = on_disconnect

    def enter(self, session: Connection) -> bool:
        """Registers a session; False where there are too many, or the server is shutting down."""
        metrics = self.metrics
        if self.draining or metrics.connections >= self.config.max_connections:
            metrics.connections_refused_total += 1
            return False
        metrics.connections += 1
        metrics.connections_total += 1
        self.sessions.add(session)
        return True

    def leave(self, session: Connection, has_calls: bool) -> None:
        """Takes leave of a session; whoever holds calls of it is told."""
        self.sessions.discard(session)
        self.metrics.connections -= 1
        if has_calls:
            self._on_disconnect(session)
        if not self.sessions and self.on_empty is not None:
            self.on_empty()
