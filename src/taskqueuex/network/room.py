"""The waiting room: requests that are whole, and that the server has no time for yet.

Those of the kind that matters most are taken first: the oldest while the line moves fast enough, the newest
when it does not. What is not taken in time is sent away. A request here is its bytes, not yet decoded, and
its place among the answers of its connection.
"""

import asyncio
from collections import deque
from typing import Final, Protocol

import msgspec

from taskqueuex.access.overload import NEVER, Overload, units_of
from taskqueuex.clock import Clock
from taskqueuex.commands.call import Call
from taskqueuex.commands.principal import Principal
from taskqueuex.network.routes import Route

__all__ = ["Waiting", "WaitingRoom"]

_SWEEP_S: Final = 0.05  # how late one may be sent away
_FAST_US: Final = 250_000  # so long the oldest may have waited, and is still the first
_BYTES_MAX: Final = 64 << 20  # of the bodies that wait; beyond, others are refused before they are read


class Host(Protocol):
    """The connection that a request came on."""

    def take_waiting(self, waiting: "Waiting") -> None:
        """There is room for it."""
        ...

    def send_away(self, waiting: "Waiting") -> None:
        """There was none in time."""
        ...


class Waiting(msgspec.Struct, gc=False):
    """A request, with what is read of it when its turn comes.

    Many are made while there is least time for it: a struct is made at a third of the cost of an object.
    """

    host: Host | None  # None: it has left
    route: Route
    place: Call  # among the answers: the call that it will be
    target: str
    principal: Principal
    url: bytes
    body: bytes
    content_type: bytes
    key: bytes
    timeout: bytes
    last_event_id: bytes
    accept: bytes
    accepts_gzip: bool
    received_us: int
    patience_us: int  # of its caller


class WaitingRoom:
    """All that wait, by rank."""

    __slots__ = ("_bytes", "_clock", "_lines", "_overload", "_swept")

    def __init__(self, overload: Overload, clock: Clock) -> None:
        self._overload = overload
        self._clock = clock
        self._bytes = 0  # of the bodies of those that wait
        self._swept = False  # will be, soon
        self._lines: list[deque[Waiting]] = [deque() for _ in range(NEVER)]
        overload.on_room = self.take

    def holds(self, body_bytes: int) -> bool:
        """Whether a body of so many bytes could wait here."""
        return self._bytes + body_bytes <= _BYTES_MAX

    def enter(self, waiting: Waiting) -> None:
        """Lets a request wait until it is taken, sent away or leaves."""
        line = self._lines[waiting.route.rank]
        line.append(waiting)
        self._overload.waiting += 1
        self._bytes += len(waiting.body)
        if not self._swept:
            self._sweep_soon()

    def leave(self, waiting: Waiting) -> Host | None:
        """Takes one out; None if it had left."""
        host, waiting.host = waiting.host, None
        if host is not None:
            self._overload.waiting -= 1
            self._bytes -= len(waiting.body)
        return host

    def take(self, most: int) -> int:
        """Takes up to so many units, of the highest rank first; returns how many there were."""
        taken = 0
        since_us = self._clock.monotonic_us() - _FAST_US
        for line in reversed(self._lines):
            while line and taken < most:
                oldest = line[0]
                is_fast = oldest.host is None or oldest.received_us > since_us
                waiting = line.popleft() if is_fast else line.pop()
                host = self.leave(waiting)
                if host is not None:
                    taken += units_of(len(waiting.body))
                    host.take_waiting(waiting)
        return taken

    def _sweep_soon(self) -> None:
        self._swept = True
        asyncio.get_running_loop().call_later(_SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        """Sends those away whose time is over: one timer for all costs less than one for each."""
        now_us = self._clock.monotonic_us()
        patience_us = int(self._overload.patience_s() * 1_000_000)
        for rank, line in enumerate(self._lines):
            kept: deque[Waiting] = deque()
            late: list[Waiting] = []
            for waiting in line:
                if waiting.host is not None:
                    is_late = now_us - waiting.received_us >= _patience_us(waiting, patience_us)
                    (late if is_late else kept).append(waiting)
            self._lines[rank] = kept
            for waiting in late:
                host = self.leave(waiting)
                if host is not None:
                    host.send_away(waiting)
        self._swept = False
        if self._overload.waiting:
            self._sweep_soon()
            self._overload.on_sweep()


def _patience_us(waiting: Waiting, usual_us: int) -> int:
    """Half of what is usual to one and a half times: not all are sent away at once. When they came is
    random enough for that."""
    return min(usual_us * (512 + waiting.received_us % 1_024) // 1_024, waiting.patience_us)
