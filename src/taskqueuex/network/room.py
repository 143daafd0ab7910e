"""The waiting room: requests that are whole, and that the server has no time for yet.

The newest of the kind that matters most is taken first. What is not taken in time is sent away. A request
here is its bytes, not yet decoded, and its place among the answers of its connection.
"""

import asyncio
from typing import Any, Final, Protocol

from taskqueuex.access.overload import NEVER, Overload
from taskqueuex.commands.call import Call
from taskqueuex.commands.principal import Principal
from taskqueuex.network.routes import Route

__all__ = ["Waiting", "WaitingRoom"]

_SWEPT_ABOVE: Final = 1_000  # entries of those that have left, beside as many that wait


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
        "timer",
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
        self.timer: asyncio.TimerHandle | None = None


class WaitingRoom:
    """All that wait, by rank."""

    __slots__ = ("_overload", "_stacks")

    def __init__(self, overload: Overload) -> None:
        self._overload = overload
        self._stacks: list[list[Waiting]] = [[] for _ in range(NEVER)]
        overload.on_room = self.take

    def enter(self, waiting: Waiting, patience_s: float) -> None:
        """Lets a request wait, for so long at most."""
        stack = self._stacks[waiting.route.rank]
        stack.append(waiting)
        self._overload.waiting += 1
        waiting.timer = asyncio.get_running_loop().call_later(patience_s, self._on_late, waiting)
        if len(stack) > _SWEPT_ABOVE + 2 * self._overload.waiting:
            stack[:] = [each for each in stack if each.host is not None]

    def leave(self, waiting: Waiting) -> Host | None:
        """Takes one out; None if it had left."""
        host, waiting.host = waiting.host, None
        if host is not None:
            self._overload.waiting -= 1
            if waiting.timer is not None:
                waiting.timer.cancel()
                waiting.timer = None
        return host

    def take(self, most: int) -> int:
        """Takes up to so many, the newest of the highest rank first; returns how many there were."""
        taken = 0
        for stack in reversed(self._stacks):
            while stack and taken < most:
                waiting = stack.pop()
                host = self.leave(waiting)
                if host is not None:
                    taken += 1
                    host.take_waiting(waiting)
        return taken

    def _on_late(self, waiting: Waiting) -> None:
        host = self.leave(waiting)
        if host is not None:
            host.send_away(waiting)
