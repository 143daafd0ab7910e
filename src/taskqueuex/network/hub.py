"""What the sessions of one server share, and nothing more: they know no server and no writer."""

import asyncio
import heapq
import random
from collections import Counter, deque
from collections.abc import Callable
from math import ceil
from typing import Final, Protocol, cast

from taskqueuex.access.overload import Overload, OverloadConfig
from taskqueuex.clock import Clock
from taskqueuex.commands.call import Call, Sink
from taskqueuex.commands.principal import ANYONE, Peer, Principal
from taskqueuex.commands.table import Command
from taskqueuex.network.config import NetworkConfig
from taskqueuex.network.metrics import NetworkMetrics
from taskqueuex.network.reply import Replies
from taskqueuex.network.request import ReaderOwner, RequestReader
from taskqueuex.network.room import WaitingRoom
from taskqueuex.network.routes import Router
from taskqueuex.network.wheel import Watched, Wheel

__all__ = ["Connection", "Guard", "Hub", "OpenDoor"]

READERS_KEPT: Final = 256
VICTIMS: Final = 1_000  # found in one search
READ_US_A_TURN: Final = 1_000  # on what comes in large pieces; others' small requests do not wait longer
DROPPED_A_SECOND: Final = 32 << 20
SEARCHES_A_SECOND: Final = 5  # one looks at all connections


class Connection(Sink, Watched, Protocol):
    """What the hub and the server ask of a session."""

    peer: Peer

    def idle_since(self) -> int | None:
        """The tick since which nothing is under way; None while something is."""
        ...

    def read_on(self) -> None:
        """Read more of what has come."""
        ...

    def rest(self) -> None:
        """A second has passed: gives its reader back if it was quiet."""
        ...

    def on_drain(self) -> None:
        """Finish: close at once when nothing is under way, else after the last answer."""
        ...

    def close_idle(self) -> None:
        """Make room for another: nothing is under way."""
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
    """Collaborators, counters, and all open sessions."""

    __slots__ = (
        "_by_address",
        "_goes_on",
        "_on_disconnect",
        "_put_off",
        "_read_us",
        "_readers",
        "_reading_at",
        "_searches",
        "_victims",
        "clock",
        "config",
        "draining",
        "dropped_bytes",
        "guard",
        "head_ticks",
        "idle_ticks",
        "lent",
        "metrics",
        "on_empty",
        "overload",
        "read_ticks",
        "replies",
        "room",
        "router",
        "wheel",
    )

    def __init__(
        self,
        config: NetworkConfig,
        router: Router,
        on_disconnect: Callable[[Sink], None],
        clock: Clock,
        metrics: NetworkMetrics,
        guard: Guard | None = None,
        overload: Overload | None = None,
    ) -> None:
        self.guard: Guard = guard or OpenDoor()
        self.overload = overload or Overload(OverloadConfig(), random.random)
        self.config = config
        self.overload.share = self.overload.share_max = config.pipeline_max
        self.room = WaitingRoom(self.overload, clock)
        self.router = router
        self.clock = clock
        self.metrics = metrics
        self.replies = Replies()
        self.wheel = Wheel()
        self.draining = False  # sessions close as soon as they have answered what is under way
        self.dropped_bytes = 0  # in this second: read of clients whose stream broke, for them to see why
        self.on_empty: Callable[[], None] | None = None  # called when the last session has closed
        self._on_disconnect = on_disconnect
        self._by_address: Counter[str] | None = None  # open ones, counted while there are many
        self._readers: list[RequestReader] = []  # between two requests, of any connection
        self._put_off: deque[Connection] = deque()
        self._goes_on = False  # soon
        self._reading_at = 0.0  # the turn of the loop, by its time
        self._read_us = 0  # spent in it on reading much
        self.lent: dict[Connection, None] = {}  # those that have one
        # In ticks, as sessions compare them.
        self.idle_ticks = ceil(config.idle_timeout_s)
        self.head_ticks = ceil(min(config.head_timeout_s, config.request_timeout_s))
        self.read_ticks = ceil(config.read_timeout_s)
        self._victims: dict[str, list[Connection]] = {}  # idle ones, the longest last; "" for all addresses
        self._searches = 0  # for victims, in this second

    @property
    def sessions(self) -> list[Connection]:
        """All that are open."""
        return cast(list[Connection], list(self.wheel))

    def on_tick(self) -> None:
        """A second has passed."""
        self._victims.clear()
        self._searches = self.dropped_bytes = 0
        self.replies.refresh()
        self.wheel.advance()
        for session in list(self.lent):
            session.rest()

    @property
    def pipeline_max(self) -> int:
        """Calls of one connection under way at once: few, while many send many."""
        return self.overload.share

    # -- work that takes long ----------------------------------------------------------------------

    def has_time(self) -> bool:
        """Whether this turn of the loop has time for reading much."""
        at = asyncio.get_running_loop().time()
        if at != self._reading_at:
            self._reading_at, self._read_us = at, 0
        return self._read_us < READ_US_A_TURN

    def spent(self, took_us: int) -> None:
        """Reading much has taken so long."""
        self._read_us += took_us

    def put_off(self, session: Connection) -> None:
        """A session goes on reading in a later turn of the loop, after those that were put off before."""
        self._put_off.append(session)
        self._go_on_soon()

    def _go_on_soon(self) -> None:
        if not self._goes_on:
            self._goes_on = True
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        # One in a turn of the loop: what the kernel hands over at once may be a quarter of a megabyte, and
        # copying it is not counted as time that reading takes.
        self._goes_on = False
        if self.has_time():
            self._put_off.popleft().read_on()
        if self._put_off:
            self._go_on_soon()

    # -- room for connections ------------------------------------------------------------------------

    def enter(self, peer: Peer) -> bool:
        """Registers a connection; False where there are too many, or the server is shutting down."""
        metrics = self.metrics
        if self.draining or not self._has_room(peer):
            metrics.connections_refused_total += 1
            return False
        metrics.connections += 1
        metrics.connections_total += 1
        if self._by_address is not None and not peer.unix:
            self._by_address[peer.address] += 1
        return True

    def may_enter(self, address: str) -> bool:
        """Whether a handshake is worth its while: nothing is made room for yet."""
        counts = self._by_address
        return not self.draining and (counts is None or counts[address] < self.config.connections_per_address)

    def _has_room(self, peer: Peer) -> bool:
        """Whether there is room for one more, or some was made."""
        config, open_now = self.config, self.metrics.connections
        if not self.overload.takes_connections:
            return False
        if self._by_address is None and open_now >= config.connections_per_address:
            # Only now can an address have too many. To look all addresses up is dear, and rare.
            self._by_address = Counter(each.peer.address for each in self.sessions if not each.peer.unix)
        if self._by_address is not None and not peer.unix:
            address = peer.address
            if self._by_address[address] >= config.connections_per_address:
                return self._evict(address)
        return open_now < config.max_connections or self._evict("")

    def _evict(self, address: str) -> bool:
        """Closes the connection that is idle for longest, of an address or (empty) of all; False where
        there is none."""
        victims = self._victims.get(address)
        if victims is None:
            if self._searches >= SEARCHES_A_SECOND:
                return False
            self._searches += 1
            victims = self._victims[address] = self._search(address)
        while victims:
            victim = victims.pop()
            if not victim.closed and victim.idle_since() is not None:
                self.metrics.connections_evicted_total += 1
                victim.close_idle()
                return True
        return False

    def _search(self, address: str) -> list[Connection]:
        """Those that are idle for longest: looked for once, to serve for many."""
        found = []
        for session in self.sessions:
            if not address or session.peer.address == address:
                since = session.idle_since()
                if since is not None:
                    found.append((since, id(session), session))
        return [session for _, _, session in heapq.nsmallest(VICTIMS, found)][::-1]

    def disconnected(self, session: Connection) -> None:
        """Whoever holds calls of a session is told that nobody reads their answers."""
        self._on_disconnect(session)

    def leave(self, peer: Peer) -> None:
        """A connection that had entered is gone."""
        self.metrics.connections -= 1
        counts = self._by_address
        if counts is not None:
            counts[peer.address] -= 1
            if counts[peer.address] <= 0:
                del counts[peer.address]
            if 2 * self.metrics.connections < self.config.connections_per_address:
                self._by_address = None
        if not self.metrics.connections and self.on_empty is not None:
            self.on_empty()

    # -- parsers -----------------------------------------------------------------------------------

    def take_reader(self, owner: ReaderOwner) -> RequestReader:
        """A reader that is between two requests."""
        self.lent[cast(Connection, owner)] = None
        if self._readers:
            reader = self._readers.pop()
            reader.owner = owner
            return reader
        return RequestReader(self.config, self.clock, owner)

    def give_back(self, reader: RequestReader) -> None:
        """Takes a reader again, if it is fit for another request."""
        self.lent.pop(cast(Connection, reader.owner), None)
        if reader.usable and not reader.in_request and len(self._readers) < READERS_KEPT:
            reader.rest()
            self._readers.append(reader)
        else:
            reader.close()
