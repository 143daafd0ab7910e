"""A session between a transport and an application that do what an example says.

What the session is and holds is not looked at: bytes go in, bytes come out, calls are answered.
"""

import asyncio
import itertools
import logging
import socket
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from taskqueuex.access.overload import Overload, OverloadConfig
from taskqueuex.clock import SystemClock
from taskqueuex.commands import COMMANDS
from taskqueuex.commands.call import Call
from taskqueuex.network import NetworkConfig, NetworkMetrics, Router
from taskqueuex.network.hub import Hub
from taskqueuex.network.session import Session

__all__ = ["Answer", "Driven", "answers_of", "split"]

PIPELINE_MAX = 4
_HEAD_END = b"\r\n\r\n"


class Answer(NamedTuple):
    """A response without what differs from run to run. Of those before it, `continues` were 100."""

    status: int
    headers: tuple[str, ...]
    body: bytes
    continues: int

    @property
    def closes(self) -> bool:
        return "Connection: close" in self.headers


def answers_of(output: bytes) -> tuple[list[Answer], int]:
    """The final responses of an output, and how many 100 stand behind the last of them."""
    found: list[Answer] = []
    continues = 0
    while output:
        assert output.startswith(b"HTTP/1.1 "), output[:80]
        head, end, output = output.partition(_HEAD_END)
        assert end, head
        line, *headers = head.decode("latin-1").split("\r\n")
        status = int(line.split()[1])
        if status == 100:
            continues += 1
            continue
        lengths = [each for each in headers if each.startswith("Content-Length: ")]
        assert len(lengths) == 1, head
        size = int(lengths[0].partition(" ")[2])
        if output.startswith(b"HTTP/1.1 ") or not output:
            size = 0  # to a HEAD request: none of our bodies begins like this
        assert len(output) >= size, "a response is cut"
        body, output = output[:size], output[size:]
        kept = tuple(each for each in headers if not each.startswith("Date: "))
        found.append(Answer(status, kept, body, continues))
        continues = 0
    return found, continues


def split(stream: bytes, places: Sequence[int]) -> list[bytes]:
    """The stream in pieces, cut at places that are taken modulo its length."""
    cuts = sorted({each % (len(stream) + 1) for each in places} | {0, len(stream)})
    return [stream[start:end] for start, end in itertools.pairwise(cuts)]


class _Transport:
    """What a session asks of a transport."""

    def __init__(self, ours: socket.socket) -> None:
        self._socket = ours
        self.output = bytearray()
        self.reading = True
        self.ended = False  # our side is closed
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.ended, f"something is written behind the end: {data[:80]!r}"
        if not self.closed:  # as a real one: it is dropped
            self.output += data

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 4_000), "socket": self._socket}.get(name, default)


class _Problems(logging.Handler):
    """What the session logs as an error is one."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class Driven:
    """Drives sessions; keep one for many examples."""

    def __init__(self, **limits: Any) -> None:
        self._runner = asyncio.Runner()
        self._ours, self._theirs = socket.socketpair()
        self._config = NetworkConfig(pipeline_max=PIPELINE_MAX, **limits)
        self._problems = _Problems()
        logging.getLogger("taskqueuex.network").addHandler(self._problems)
        self.submitted_max = 0  # calls of the last example that were not answered, at most

    def close(self) -> None:
        logging.getLogger("taskqueuex.network").removeHandler(self._problems)
        self._ours.close()
        self._theirs.close()
        self._runner.close()

    def run(
        self,
        pieces: Sequence[bytes],
        order: Sequence[int] = (),
        *,
        eof: bool = False,
        moods: Sequence[int] = (),
    ) -> bytes:
        """All that a session writes. Without an order calls are answered at once; else it says after which
        piece which call is answered, and when the client stops to read its answers for a while. With moods
        the server is overloaded: they say which requests wait, and for how long."""
        return self._runner.run(self._run(pieces, list(order), eof, moods))

    async def _run(self, pieces: Sequence[bytes], order: list[int], eof: bool, moods: Sequence[int]) -> bytes:
        overload = Busy(moods) if moods else None
        self.submitted_max = 0
        example = _Example(self._config, _Transport(self._ours), order, overload)
        for piece in pieces:
            await example.feed(piece)
            self.submitted_max = max(self.submitted_max, len(example.pending))
        if eof:
            example.end()
        await example.finish()
        if self._problems.records:
            record = self._problems.records.pop()
            raise AssertionError(record.getMessage()) from (record.exc_info or [None, None])[1]
        return bytes(example.transport.output)


class Busy(Overload):
    """Overloaded for as long as the example lasts."""

    def __init__(self, moods: Sequence[int]) -> None:
        super().__init__(OverloadConfig(), lambda: 0.5)
        self.active = True
        self._moods = itertools.cycle(moods)

    def admits(self, rank: int, units: int = 1) -> bool:
        return next(self._moods) % 2 == 0

    def patience_s(self) -> float:
        """None, or more than an example has."""
        return 0.0 if next(self._moods) % 4 == 1 else 1_000.0


class _Example:
    """One session."""

    def __init__(
        self, config: NetworkConfig, transport: _Transport, order: list[int], overload: Busy | None
    ) -> None:
        self._overload = overload
        self.transport = transport
        self.pending: list[Call] = []
        self._order = order
        self._answers_at_once = not order
        self._writing_paused = False
        self._lost = False
        router = Router(COMMANDS.values(), dict.fromkeys(("engine", "query", "server"), self._submit))
        clock, metrics = SystemClock(), NetworkMetrics()
        hub = Hub(config, router, lambda _: None, clock, metrics, overload=overload)
        self._hub = hub
        self._session = Session(hub)
        self._session.connection_made(transport)  # type: ignore[arg-type]  # it has all that is used

    def _submit(self, call: Call) -> None:
        if self._answers_at_once:
            self._answer(call)
        else:
            self.pending.append(call)

    def _answer(self, call: Call) -> None:
        echo = {"name": call.command.name, "target": call.target, "body": call.body, "query": call.query}
        call.sink.on_reply(call, 200, msgspec.json.encode(echo), None)

    async def feed(self, piece: bytes) -> None:
        """Bytes arrive, as soon as the session reads."""
        for _ in range(10_000):
            if self.transport.reading or self.transport.closed:
                break
            await self._go_on()
        else:
            raise AssertionError("the session does not read, and waits for nothing")
        if self.transport.closed:
            return
        self._session.data_received(piece)
        self._step()

    def _step(self) -> None:
        if not self._order:
            return
        number = self._order.pop(0)
        if number % 8 == 3 and self._overload is not None:
            self._make_room(1)
        elif number % 8 == 7 and not self._lost:
            self._writing_paused = not self._writing_paused
            (self._session.pause_writing if self._writing_paused else self._session.resume_writing)()
        elif number % 2 and self.pending:
            self._answer(self.pending.pop(number // 2 % len(self.pending)))

    def _make_room(self, most: int) -> None:
        """There is time for some of those that wait."""
        if self._overload is not None and self._overload.on_room is not None:
            self._overload.on_room(most)

    async def _go_on(self) -> None:
        """Whatever can happen beside more bytes: the client reads, a call is answered, the loop turns."""
        if self._writing_paused:
            self._writing_paused = False
            self._session.resume_writing()
        elif self.pending:
            place = self._order.pop(0) if self._order else 0
            self._answer(self.pending.pop(place % len(self.pending)))
        else:
            self._make_room(1)
        await asyncio.sleep(0)

    def end(self) -> None:
        """The client sends no more."""
        if not self.transport.closed and not self._session.eof_received():
            self.transport.close()

    async def finish(self) -> None:
        """Until nothing is under way."""
        for _ in range(10_000):
            await self._go_on()
            if not self._is_under_way():
                await asyncio.sleep(0)
                if not self._is_under_way():
                    break
        else:
            raise AssertionError("it does not come to an end")
        self._lost = True
        self._session.connection_lost(None)
        assert not self.pending
        assert not self._waiting(), "somebody waits of whom nothing is left"

    def _is_under_way(self) -> bool:
        put_off = self._hub._put_off and not self.transport.closed
        return bool(self.pending or self._writing_paused or self._waiting() or put_off)

    def _waiting(self) -> int:
        return 0 if self._overload is None else self._overload.waiting
