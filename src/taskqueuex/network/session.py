"""One connection: requests in, answers out, in order.

Purpose: the shell between a stream of bytes and `Call`s. A complete request is routed, decoded,
checked and submitted; its answer comes back through `on_reply`, in any order, and leaves in the
order of the requests.

Rules:
- no task, no closure and no dictionary per request; what is rare has a branch of its own;
- `_calls` holds every request that has no answer on the wire yet, oldest first: an answer that
  comes early waits in its call. What cannot become a call (404, 422, ...) takes its place there too;
- at most `pipeline_max` of them are submitted; what was parsed beyond that waits in `_backlog`,
  and nothing more is read meanwhile. Nor is it while the client does not read its answers;
- a connection between two requests holds next to nothing: its reader comes from the hub's, and goes back;
- behind a request that broke the framing, or was too large, the stream cannot be trusted: the error
  is answered, our side is closed, and what still arrives is dropped (closing both sides at once
  would make the kernel reset the connection, and the client lose the answer).
"""

import contextlib
import logging
import select
from collections import deque
from types import MappingProxyType
from typing import Any, Final

from taskqueuex.access.overload import NEVER, units_of
from taskqueuex.commands.call import Call, Headed, Page, Stream
from taskqueuex.commands.consume import DequeueReply, SettleReply
from taskqueuex.commands.principal import ANYONE, Peer
from taskqueuex.commands.table import Command
from taskqueuex.errors import BadRequest, RequestTimeout, TaskQueueError
from taskqueuex.network import headers
from taskqueuex.network.calls import make_call
from taskqueuex.network.hub import DROPPED_A_SECOND, Hub
from taskqueuex.network.lifetime import LINGER_S, SILENT_S, Lifetime
from taskqueuex.network.reply import CONTINUE
from taskqueuex.network.request import RequestReader, StreamBroken
from taskqueuex.network.room import Waiting
from taskqueuex.network.routes import HANDS_OUT, Route
from taskqueuex.network.sites import check_name, check_site

__all__ = ["Session"]

_log = logging.getLogger(__name__)
_LEASES = (DequeueReply, SettleReply)
_RARE = (bytes, Headed, Page)  # bodies
_TLS_HANDSHAKE: Final = b"\x16"
_LARGE: Final = 16 << 10  # bytes in one read, behind which those of others come first
# Bytes that are parsed at once, whatever else there is to do: a pipeline of tiny requests waits in bytes, not
# as calls.
_SLICE: Final = 4 << 10
_FOREVER_US: Final = 1 << 62  # a caller waits who does not say how long
_NO_CALLS: Final[deque[tuple[Route, Call]]] = deque(maxlen=0)

# The place of a request that did not become a call of any command.
_UNROUTED = Command(
    name="unrouted",
    method="",
    path="",
    kind="server",
    scope="public",
    summary="",
    replies=MappingProxyType({}),
)


def _check_plain(data: bytes) -> None:
    """What comes first says whether a client took this for a port of TLS; raises StreamBroken."""
    if data[:1] == _TLS_HANDSHAKE:
        raise StreamBroken(BadRequest("This is TLS; plain HTTP/1.1 is spoken here"))


def _bug() -> TaskQueueError:
    return TaskQueueError("The server has a bug; its log says more", outcome="unknown")


class Session(Lifetime):
    """A connection: the `Sink` of its calls, and the `ReaderOwner` of its requests."""

    __slots__ = (
        "_backlog",
        "_continue_owed",
        "_ended",
        "_fresh",
        "_headless",
        "_keep_alive",
        "_last",
        "_poll",
        "_queued",
        "_streams",
        "_submitting",
        "_unfed",
        "_waiting",
        "blocked_by",
    )

    def __init__(self, hub: Hub, peer: Peer | None = None) -> None:
        super().__init__(hub, peer)
        self.blocked_by: Call | None = None
        self._backlog = _NO_CALLS
        self._last: Call | None = None  # the connection closes behind its answer
        self._headless: Call | None = None  # a HEAD request: its answer has no body
        self._keep_alive = ""  # the header Connection of answers that do not close
        self._ended = False  # the client sends no more
        self._fresh = True  # nothing has come yet
        self._queued = False  # to read what has come
        self._poll: select.poll | None = None  # made when the first task is handed out
        self._waiting: Waiting | None = None  # a request in the waiting room; the others are behind it
        self._streams = False  # the last answer is out, and goes on
        self._submitting = False  # the loop in _advance runs
        self._continue_owed = False  # 100 Continue, once the earlier answers are out
        self._unfed = b""  # bytes that came, and wait until earlier calls are answered

    # -- the transport ----------------------------------------------------------------------------

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._last = self._headless = None

    def _abandon(self) -> None:
        """Nobody reads answers any more: what is under way is for nobody."""
        if not self.closed:
            self.closed = True
            if self._waiting is not None:
                self._hub.room.leave(self._waiting)
                self._waiting = None
            self._backlog.clear()
            self._unfed = b""
            if self._calls:
                self._hub.disconnected(self)

    def eof_received(self) -> bool:
        """The client sends no more. It may still read, so what is under way is answered; but no
        task is handed out to a client that has probably gone."""
        # TLS cannot be closed on one side alone.
        if self.peer.tls or not self._calls or self._waits_for_tasks():
            # Now, not when the transport gets to it: a lease could be given to it in between.
            self._abandon()
            self._close()
            return False
        self._ended = True
        if not self._unfed:
            self._last = self._calls[-1]
        return True

    def _waits_for_tasks(self) -> bool:
        if self._streams:  # there is no end to wait for
            return True
        if self._waiting is not None and self._waiting.route.hands_out:
            return True
        return any(call.command.name in HANDS_OUT for call in self._calls)

    def pause_writing(self) -> None:
        self._write_paused = True
        self._note_taken()
        self._pause()
        hub = self._hub
        hub.wheel.hasten(self, hub.wheel.tick + hub.read_ticks)

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._backlog and not self._submitting:
            self._submit_backlog()
        self._resume()

    def _pause(self) -> None:
        if not self._paused and not self.closed:
            self._paused = True
            self._transport.pause_reading()
            self._hub.wheel.hasten(self, self._hub.wheel.tick + SILENT_S)

    def _resume(self) -> None:
        if not self._paused or self._write_paused or self._backlog or self.closed:
            return
        if self._unfed:
            self._queue_up()
        else:
            self._paused = False
            self._transport.resume_reading()

    def _give_way(self) -> None:
        """Is read again after all others that gave way, and one in a turn of the loop."""
        if not self._paused and not self._transport.is_closing():
            self._pause()
            self._queue_up()

    def _queue_up(self) -> None:
        """Reads what has come in a later turn of the loop: an answer may bring us here, and the next slice
        may be answered at once, and so on."""
        if not self._queued:
            self._queued = True
            self._hub.put_off(self)

    def read_on(self) -> None:
        """See `Connection`."""
        self._queued = False
        if self._write_paused or self._backlog or self.closed:
            return
        self._paused = False
        data, self._unfed = self._unfed, b""
        self._feed(data)
        if self._unfed:
            return
        if self._ended:
            if self._calls:
                self._last = self._calls[-1]
            else:
                self._close()
        elif not self._paused:
            self._transport.resume_reading()

    # -- requests ------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        hub = self._hub
        hub.metrics.bytes_in += len(data)
        self._active_tick = hub.wheel.tick
        if len(data) <= _SLICE and not self._unfed and not self._deaf and not self.closed:
            self._read(data)
            return
        if self._deaf or self.closed:
            self._drop(len(data))
        elif self._unfed:
            self._unfed += data  # reading is paused: this had come already
        else:
            self._feed(data)
        if len(data) > _LARGE:
            self._give_way()  # copying takes long too

    def _drop(self, size: int) -> None:
        """Reads on behind a broken stream, for the client to see its answer and no reset; but what all
        such clients send is not worth much."""
        self._hub.dropped_bytes += size
        if self._hub.dropped_bytes > DROPPED_A_SECOND:
            self.abort()

    def _feed(self, data: bytes) -> None:
        """Reads slice by slice, until calls have to be answered first, or others want their turn."""
        hub = self._hub
        start = 0
        while start < len(data):
            if self._paused or not hub.has_time():
                self._put_off(data[start:])
                return
            begun_us = hub.clock.monotonic_us()
            end = start + self._slice()
            self._read(data[start:end])
            hub.spent(hub.clock.monotonic_us() - begun_us)
            if self._deaf or self.closed:
                return
            start = end

    def _slice(self) -> int:
        """How many bytes to read at once: many of a body, which is one call however long it is."""
        reader = self._reader
        return _SLICE if reader is None else max(_SLICE, reader.bytes_to_come())

    def _put_off(self, rest: bytes) -> None:
        self._unfed = rest
        if not self._paused:
            self._pause()
            self._queue_up()

    def _read(self, data: bytes) -> None:
        hub = self._hub
        reader = self._reader
        if reader is None:
            reader = self._reader = hub.take_reader(self)
        try:
            if self._fresh:
                self._fresh = False
                _check_plain(data)
            reader.feed(data)
        except StreamBroken as broken:
            self._deaf = True
            if self._last is None:  # else it was told that the connection closes
                self._refuse(broken.error, close=True)
            return
        except Exception:
            self._on_bug("a request could not be read")
            return
        if reader.in_request and not reader.began:
            reader.began = hub.wheel.tick
            hub.wheel.hasten(self, reader.began + hub.head_ticks)

    def rest(self) -> None:
        """See `Connection`: a parser is kept over the requests of a busy connection, and by no other."""
        reader = self._reader
        if reader is not None and not reader.in_request and self._active_tick + 1 < self._hub.wheel.tick:
            self._reader = None
            self._hub.give_back(reader)

    def _on_bug(self, what: str) -> None:
        _log.exception(what)
        self._deaf = True
        if self._calls:
            self.abort()  # the answers could not be told apart any more
        else:
            self._refuse(_bug(), close=True)

    # -- the reader's ----------------------------------------------------------------------------------

    def on_head(self, reader: RequestReader) -> None:
        """See `ReaderOwner`: finds out what is asked, and whether it may be."""
        if self._last is not None:
            return
        hub = self._hub
        path, _, _ = reader.url.partition(b"?")
        route, reader.target = hub.router.resolve(reader.method(), path)
        reader.route = route
        if (reader.origin or reader.fetch_site) and not reader.authorization:
            check_site(reader.method(), reader.fetch_site, reader.origin, reader.host)
        reader.principal = hub.guard.identify(
            self.peer, route.command, reader.authorization, reader.cookie, reader.csrf
        )
        if (reader.origin or reader.fetch_site) and reader.principal is ANYONE:
            check_name(reader.host)
        if hub.overload.active and route.rank < NEVER:
            self._consider(reader, route)

    def _consider(self, reader: RequestReader, route: Route) -> None:
        """The server has too much to do: refuses what is not to wait, or finds no place in the room, before
        its body is read."""
        hub = self._hub
        if hub.overload.refuses(route.rank) or not hub.room.holds(reader.announced()):
            raise hub.overload.sent_away(route.rank)

    def on_expect(self) -> None:
        """See `ReaderOwner`."""
        if self._calls:
            self._continue_owed = True
        else:
            self._write(CONTINUE)

    def on_request(self, reader: RequestReader) -> None:
        """See `ReaderOwner`: makes it a call and submits it, or refuses it."""
        self._continue_owed = False  # its body came without it, or after it
        if self._last is not None:
            return  # behind a request that closes the connection nothing is answered
        keeps_alive = reader.keeps_alive()
        reader.usable = keeps_alive  # a parser takes nothing behind the last request of a connection
        if reader.keep_alive_asked and keeps_alive and reader.is_http_1_0():
            self._keep_alive = "keep-alive"
        try:
            if reader.refusal is not None:
                raise reader.refusal
            route = reader.route
            if self._hub.overload.active and self._waits(reader, route, keeps_alive):
                return
            call = make_call(reader, route, self, self.peer, self._hub.guard)
        except TaskQueueError as error:
            self._refuse(error, close=not keeps_alive, headless=reader.method() == b"HEAD")
            return
        if not keeps_alive:
            self._last = call
        calls = self._calls
        calls.append(call)
        if self._waiting is not None:
            self._come_behind(route)
        if (
            not self._backlog
            and not self._write_paused
            and self._waiting is None
            and len(calls) <= self._hub.pipeline_max
        ):
            if len(calls) > 1:
                self._hub.overload.extra += call.units
            self._submit(route, call)
        else:
            if self._backlog is _NO_CALLS:
                self._backlog = deque()
            self._backlog.append((route, call))
            self._pause()

    def _waits(self, reader: RequestReader, route: Route, keeps_alive: bool) -> bool:
        """Whether the request goes to the waiting room, for there is no time for it yet."""
        hub = self._hub
        if route.rank == NEVER or self._waiting is not None or self._backlog:
            return False  # behind another it waits for that one
        if len(self._calls) >= hub.pipeline_max:
            return False  # it waits for others of its connection
        if hub.overload.admits(route.rank, units_of(len(reader.body))):
            return False
        place = Call(route.command, reader.target, None, None, self, reader.received_us)
        if not keeps_alive:
            self._last = place
        self._calls.append(place)
        patience_us = _FOREVER_US
        if reader.timeout:
            with contextlib.suppress(TaskQueueError):  # which is told when it is read
                patience_us = headers.read_timeout_ms(reader.timeout) * 500
        self._waiting = Waiting(
            self,
            route,
            place,
            reader.target,
            reader.principal,
            reader.url,
            reader.body,
            reader.content_type,
            reader.key,
            reader.timeout,
            reader.last_event_id,
            reader.accept,
            reader.accepts_gzip,
            reader.received_us,
            patience_us,
        )
        hub.room.enter(self._waiting)
        return True

    def _come_behind(self, route: Route) -> None:
        """Something comes behind a request that waits: what must not wait ends that one's waiting."""
        if route.rank == NEVER and self._waiting is not None:
            self._hub.room.leave(self._waiting)
            self.send_away(self._waiting)

    def take_waiting(self, waiting: Waiting) -> None:
        """See `room.Host`."""
        self._waiting = None
        if self.closed:
            return
        place = waiting.place
        try:
            make_call(waiting, waiting.route, self, self.peer, self._hub.guard, place)
        except TaskQueueError as error:
            self.on_reply(place, error.status, error, None)
        else:
            self._submit(waiting.route, place)
        if self._backlog and not self._submitting:
            self._submit_backlog()

    def send_away(self, waiting: Waiting) -> None:
        """See `room.Host`."""
        self._waiting = None
        if not self.closed:
            error = self._hub.overload.sent_away(waiting.route.rank)
            self.on_reply(waiting.place, error.status, error, None)
            if self._backlog and not self._submitting:
                self._submit_backlog()

    def _submit(self, route: Route, call: Call) -> None:
        try:
            route.submit(call)
        except TaskQueueError as error:
            self.on_reply(call, error.status, error, None)
        except Exception:
            _log.exception("a call could not be submitted: %s", route.command.name)
            self.on_reply(call, TaskQueueError.status, _bug(), None)

    def _refuse(self, error: TaskQueueError, close: bool, headless: bool = False) -> None:
        """Answers the current request with an error, in its place among the others."""
        reader = self._reader
        begun_us = reader.received_us if reader is not None else 0
        place = Call(_UNROUTED, "", None, None, self, begun_us or self._hub.clock.monotonic_us())
        if close:
            self._last = place
            self._deaf = self._deaf or self._in_request()
        if headless:
            self._headless = place
        self._calls.append(place)
        self.on_reply(place, error.status, error, None)
        if not close:
            self._give_way()  # those that ask in vain are served one after the other

    def _on_late(self) -> None:
        self._refuse(RequestTimeout(), close=True)

    # -- answers -------------------------------------------------------------------------------------

    def on_reply(self, call: Call, status: int, body: Any, durability: str | None) -> bool:
        """See `Sink`."""
        if self.closed:
            return False
        if call.answer is not None:  # a writer that fails may answer what it has answered already
            return False
        if body.__class__ in _LEASES and body.tasks and self._peer_has_gone():
            self._abandon()
            self._close()
            return False
        if type(body) is Stream:
            return self._open(call, body)
        hub = self._hub
        calls = self._calls
        if hub.draining and self._last is None and calls[-1] is call and not self._in_request():
            self._last = call
        connection = "close" if call is self._last else self._keep_alive
        if status >= 400 or type(body) in _RARE:
            answer = self._rare_answer(call, status, body, durability, connection)
        else:
            answer = hub.replies.response(status, body, durability, connection)
        metrics, name = hub.metrics, call.command.name
        metrics.requests[name][status // 100] += 1
        metrics.times[name].record(hub.clock.monotonic_us() - call.received_us)
        call.answer = answer
        if calls[0] is not call:
            return True
        del calls[0]
        self._send(answer)
        if calls or connection or self._continue_owed:
            self._advance(call)
        return True

    # -- an answer that goes on ------------------------------------------------------------------------

    def _open(self, call: Call, stream: Stream) -> bool:
        """Sends the head of a stream. It ends with the connection, and nothing comes behind it."""
        hub = self._hub
        if self._calls != [call]:
            error = BadRequest("A stream has a connection to itself: it cannot come behind another request")
            return self.on_reply(call, error.status, error, None)
        self._last = call
        self._streams = True
        metrics, name = hub.metrics, call.command.name
        metrics.requests[name][2] += 1
        metrics.times[name].record(hub.clock.monotonic_us() - call.received_us)
        call.answer = hub.replies.stream(stream.content_type)
        self.send(call.answer)
        stream.opened(self)
        return True

    def send(self, data: bytes) -> None:
        """See `Channel`. Who sends looks at what is unsent."""
        if not self.closed and not self._finishing:
            hub = self._hub
            self._active_tick = hub.wheel.tick
            hub.metrics.bytes_out += len(data)
            self._write(data)

    def unsent(self) -> int:
        """See `Channel`."""
        return 0 if self.closed else self._transport.get_write_buffer_size()

    def end(self) -> None:
        """See `Channel`."""
        if not self.closed and not self._finishing:
            self._close()

    def _peer_has_gone(self) -> bool:
        """Whether the client has closed, although that was not read yet: its last request and its end
        may have come together, and a task handed to it now would be lost until its lease expires."""
        if self._poll is None:
            socket = self._transport.get_extra_info("socket")
            if socket is None or socket.fileno() < 0:
                return True  # TLS has lost it, and tells in the next turn of the loop
            self._poll = select.poll()
            self._poll.register(socket.fileno(), select.POLLRDHUP)
        return bool(self._poll.poll(0))

    def _rare_answer(
        self, call: Call, status: int, body: Any, durability: str | None, connection: str
    ) -> bytes:
        replies = self._hub.replies
        if isinstance(body, TaskQueueError):
            answer = replies.error(body, durability, connection)
            return answer[: answer.index(b"\r\n\r\n") + 4] if call is self._headless else answer
        if isinstance(body, Page):
            return replies.page(body, connection)
        if isinstance(body, Headed):
            return replies.headed(status, body.body, body.headers, connection)
        if call.command.replies.get(status, body) is None:
            return replies.metrics(body, connection)
        return replies.response(status, body, durability, connection)

    def _send(self, answer: bytes) -> None:
        hub = self._hub
        self._active_tick = hub.wheel.tick
        hub.metrics.bytes_out += len(answer)
        self._write(answer)  # uvloop gathers the writes of a turn into one system call
        if self._write_paused and self._transport.get_write_buffer_size() > hub.config.unread_bytes_max:
            hub.metrics.deadlines_total += 1
            self.abort()

    def _advance(self, call: Call) -> None:
        """Behind an answer that left: sends those that waited for it, submits what was held back,
        and closes the connection if it was the last."""
        calls = self._calls
        while calls and calls[0].answer is not None and call is not self._last:
            call = calls.pop(0)
            assert call.answer is not None
            self._send(call.answer)
        if call is self._last:
            self._finish()
            return
        if self._backlog and not self._submitting:
            self._submit_backlog()
        if not calls:
            if self._continue_owed:
                self._continue_owed = False
                self._write(CONTINUE)
            elif self._hub.draining:
                self.on_drain()
        self._resume()

    def _submit_backlog(self) -> None:
        # An answer may come while submitting, and brings us here again: the flag makes that a loop.
        if self._write_paused or self._waiting is not None:
            return
        self._submitting = True
        calls, backlog, limit = self._calls, self._backlog, self._hub.pipeline_max
        # Refused requests count too; the oldest call must go on even if all others are such.
        while (
            backlog
            and not self._write_paused
            and (len(calls) - len(backlog) < limit or calls[0] is backlog[0][1])
        ):
            route, call = backlog.popleft()
            if call is not calls[0]:
                self._hub.overload.extra += call.units
            self._submit(route, call)
        self._submitting = False

    def _finish(self) -> None:
        """The last answer is out."""
        if self._finishing:
            return
        self._finishing = True
        if self._deaf and self._transport.can_write_eof():
            self._note_the_last()
            self._transport.write_eof()  # on_due closes the other side, if the client does not
            self._write_paused = False
            self._backlog.clear()
            self._unfed = b""
            self._resume()
            self._hub.wheel.hasten(self, self._hub.wheel.tick + LINGER_S)
        else:
            self._close()
