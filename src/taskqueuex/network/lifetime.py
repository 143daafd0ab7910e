"""The life of a connection: let in, watched over, closed.

Purpose: what holds whatever is spoken on the connection. `network.session` speaks HTTP on top.

Rules:
- what a client may take its time for has a deadline, looked after by the wheel, a second exact;
- a connection counts among the server's, and has its deadlines, until the transport is gone: what it was
  sent may still be unread;
- closing waits for a client that reads, and aborts one that does not.
"""

import asyncio
import math
from typing import cast

from taskqueuex.commands.call import Call
from taskqueuex.commands.principal import Peer
from taskqueuex.errors import Overloaded
from taskqueuex.network.hub import Hub
from taskqueuex.network.reply import error_response
from taskqueuex.network.request import RequestReader
from taskqueuex.network.unread import is_dead, is_unread, taken_bytes

__all__ = ["LINGER_S", "SILENT_S", "Lifetime"]

LINGER_S = 2  # how long a client whose stream broke may take to notice
SILENT_S = 5  # how often it is asked whether one that is not read is still there


def _peer(transport: asyncio.Transport) -> Peer:
    def look_up() -> str:
        name = transport.get_extra_info("peername")
        return str(name[0]) if isinstance(name, tuple) else "unknown"

    return Peer(look_up)


class Lifetime(asyncio.Protocol):
    """A connection of a hub, before anything is said on it."""

    __slots__ = (
        "_active_tick",
        "_calls",
        "_deaf",
        "_entered",
        "_finishing",
        "_hub",
        "_looked_tick",
        "_paused",
        "_reader",
        "_taken",
        "_transport",
        "_write",
        "_write_paused",
        "closed",
        "due",
        "peer",
    )

    def __init__(self, hub: Hub, peer: Peer | None = None) -> None:
        self.closed = True  # until it is let in
        self.due = 0
        self._hub = hub
        self._calls: list[Call] = []  # those that have no answer on the wire yet, the oldest first
        self._reader: RequestReader | None = None  # while a request is under way
        self._deaf = False  # what arrives is dropped
        self._entered = False  # it counts among the server's connections
        self._finishing = False  # the last answer is out
        self._paused = False  # reading is
        self._write_paused = False  # the client does not read its answers
        self._taken = 0  # of its answers, when that was looked at last
        self._looked_tick = 0
        self._active_tick = hub.wheel.tick  # the second in which bytes came or went last
        if peer is not None:
            self.peer = peer

    # -- the beginning and the end -----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport is no subclass of asyncio.Transport, and has all that is used here.
        self._transport = cast(asyncio.Transport, transport)
        self._write = self._transport.write
        hub = self._hub
        if not hasattr(self, "peer"):
            self.peer = _peer(self._transport)
        elif self.peer.tls:
            self.peer.certificate = self._transport.get_extra_info("peercert") or None
        if not hub.enter(self.peer):
            hub.wheel.place(self, hub.wheel.tick + LINGER_S)
            self._write(error_response(Overloaded("Too many connections", retry_after_s=1.0)))
            self._close()
            return
        self.closed, self._entered = False, True
        hub.wheel.place(self, hub.wheel.tick + hub.idle_ticks)
        hub.guard.greet(self.peer)

    def connection_lost(self, error: Exception | None) -> None:
        self._abandon()
        self._leave()
        self._hub.wheel.remove(self)  # one that was not let in is there too
        if self._reader is not None:
            self._hub.give_back(self._reader)
            self._reader = None
        # Calls name this as their sink. Thousands of connections a second that still hold some would be left
        # to the garbage collector, which stops the loop for as long as it takes.
        self._calls = []

    def _leave(self) -> None:
        if self._entered:
            self._entered = False
            self._hub.leave(self.peer)

    def _abandon(self) -> None:
        """Nobody reads answers any more."""
        self.closed = True

    def _close(self) -> None:
        """Closes behind what was written. A client that does not read it is looked after by the wheel."""
        self._finishing = True
        self._note_the_last()
        self._transport.close()
        self._hub.wheel.hasten(self, self._hub.wheel.tick + LINGER_S)

    def abort(self) -> None:
        """Close now, whatever is under way."""
        self._abandon()
        self._transport.abort()

    # -- time --------------------------------------------------------------------------------------

    def on_due(self, tick: int) -> int:
        """See `Watched`: closes a connection that takes too long, and says when to look again."""
        reader = self._reader
        if self._write_paused or (self._finishing and is_unread(self._transport)):
            return self._look_at_unread(tick)
        if self._finishing:
            return self._abort_at(self._active_tick + LINGER_S, tick)
        if reader is not None and reader.in_request and not self._paused and not self._deaf:
            return self._look_at_request(reader, tick)
        if self._calls:
            return self._look_at_silent(tick) if self._paused else tick + self._hub.idle_ticks
        due = self._active_tick + self._hub.idle_ticks
        if due > tick:
            return due
        if is_unread(self._transport):
            return self._look_at_unread(tick)
        self._close()
        return tick + LINGER_S

    def _abort_at(self, due: int, tick: int) -> int:
        if due > tick:
            return due
        self.abort()
        return 0

    def _look_at_silent(self, tick: int) -> int:
        """One that is not read does not tell of its end. Dead ones with polls cost their client nothing."""
        if is_dead(self._transport):
            self.abort()
            return 0
        return tick + SILENT_S

    def _look_at_unread(self, tick: int) -> int:
        """A client must read its answers, if slowly."""
        config, read_s = self._hub.config, self._hub.read_ticks
        if tick < self._looked_tick + read_s:
            # Behind the last answer it is asked more often whether all is read: nothing else is waited for.
            return tick + LINGER_S if self._finishing else self._looked_tick + read_s
        before = self._taken
        self._note_taken()
        if self._taken - before < config.body_bytes_per_s_min * read_s:
            self._hub.metrics.deadlines_total += 1
            self.abort()
            return 0
        self._active_tick = tick
        return tick + read_s

    def _note_taken(self) -> None:
        self._taken, self._looked_tick = taken_bytes(self._transport), self._hub.wheel.tick

    def _note_the_last(self) -> None:
        """The last answer is out. How much is taken counts from the first look on: nearly all are gone before
        it, and asking costs more than all else that a short connection does."""
        self._taken, self._looked_tick = 0, self._hub.wheel.tick

    def _look_at_request(self, reader: RequestReader, tick: int) -> int:
        """A request must come, its head within a time, its body at a rate."""
        config = self._hub.config
        head_s = math.ceil(config.head_timeout_s)
        since_s = tick - reader.began
        late = since_s >= config.request_timeout_s
        if reader.in_head:
            late = late or since_s >= head_s
        elif since_s >= head_s:
            late = late or reader.body_size() < (since_s - head_s) * config.body_bytes_per_s_min
        if not late:
            return min(
                reader.began + math.ceil(config.request_timeout_s), max(reader.began + head_s, tick + 1)
            )
        self._hub.metrics.deadlines_total += 1
        self._on_late()
        return tick + LINGER_S

    def idle_since(self) -> int | None:
        """See `Connection`."""
        if self.closed or self._calls or self._finishing or self._write_paused or self._in_request():
            return None
        return self._active_tick

    def close_idle(self) -> None:
        """See `Connection`."""
        self.abort()  # unread answers and all: there must be room now
        self._leave()

    # -- the server's --------------------------------------------------------------------------------

    def on_drain(self) -> None:
        """The server shuts down: close now if nothing is under way, else behind the last answer."""
        if self._finishing:
            self.abort()  # it has its answer, and lingers
        elif not self._calls and not self._in_request():
            self._close()

    def _in_request(self) -> bool:
        return self._reader is not None and self._reader.in_request

    def _on_late(self) -> None:
        """A request has not come in time."""
        self.abort()
