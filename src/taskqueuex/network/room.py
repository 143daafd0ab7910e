"""The waiting room: requests that are whole, and that the server has no time for yet.

Those of the kind that matters most are taken first: the oldest while the line moves fast enough, the newest
when it does not. What is not taken in time is sent away. A request here is its bytes, not yet decoded, and
its place among the answers of its connection.
"""

import asyncio
from collections import deque
from typing import Any, Final, Protocol

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


class Waiting:
    """A request, with what is read of it when its turn comes."""

    __slots__ = (
        "body",
        "content_type",
        "host",
        "key",
        "place",
        "principal",
        "received_us",
        "route",
        "target",
        "timeout",
        "until_us",
        "url",
    )

    def __init__(self, host: Host, route: Route, place: Call, reader: Any) -> None:
        self.host: Host | None = host  # None: it has left
        self.route = route
        self.place = place  # among the answers
        self.target: str = reader.target
        self.principal: Principal = reader.principal
        self.url: bytes = reader.url
        self.body: bytes = reader.body
        self.content_type: bytes = reader.content_type
        self.key: bytes = reader.key
        self.timeout: bytes = reader.timeout
        self.received_us: int = reader.received_us
        self.until_us = 0  # when it is sent away


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

    def enter(self, waiting: Waiting, patience_s: float) -> None:
        """Lets a request wait, for so long at most."""
        line = self._lines[waiting.route.rank]
        line.append(waiting)
        self._overload.waiting += 1
        self._bytes += len(waiting.body)
        waiting.until_us = self._clock.monotonic_us() + int(patience_s * 1_000_000)
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
        for rank, line in enumerate(self._lines):
            late = [each for each in line if each.host is not None and each.until_us <= now_us]
            self._lines[rank] = deque(
                each for each in line if each.host is not None and each.until_us > now_us
            )
            for waiting in late:
                host = self.leave(waiting)
                if host is not None:
                    host.send_away(waiting)
        self._swept = False
        if self._overload.waiting:
            self._sweep_soon()
            self._overload.on_sweep()
