"""Answers that several may share: who looks at a list every second or two does not need one of its own.

`max_age_ms` in a query says that an answer made for somebody else will do, up to that old. Ten open web pages
then cost the server one list, and not ten. Whoever sees queues of its own only is always answered for itself.
"""

from typing import Any

import msgspec

from taskqueuex.clock import Clock
from taskqueuex.commands.call import Call
from taskqueuex.commands.principal import ANYONE
from taskqueuex.commands.table import COMMANDS
from taskqueuex.errors import TaskQueueError

__all__ = ["SHAREABLE", "SharedAnswers"]

SHAREABLE = frozenset(
    name
    for name, command in COMMANDS.items()
    if "max_age_ms" in getattr(command.query, "__struct_fields__", ())
)
_KEPT_MAX = 8  # queries that differ: a list of a thousand queues is a megabyte
_GIVE_UP_US = 10_000_000  # an answer that has not come until then is asked for anew

_encode = msgspec.json.Encoder().encode


class _Asked:
    """The sink of a call that is made for several."""

    __slots__ = (
        "_clock",
        "answered_us",
        "begun_us",
        "blocked_by",
        "body",
        "closed",
        "durability",
        "under_way",
        "waiting",
    )

    def __init__(self, clock: Clock, first: Call) -> None:
        self._clock = clock
        self.begun_us = clock.monotonic_us()
        self.under_way = True
        self.answered_us = -1  # -1: not yet, or with an error
        self.waiting = [first]
        self.body = b""
        self.durability: str | None = None
        self.closed = False
        self.blocked_by: Call | None = None

    def is_young(self, now_us: int, max_age_us: int) -> bool:
        """Whether it has an answer that is not older."""
        return self.answered_us >= 0 and now_us - self.answered_us <= max_age_us

    def on_reply(self, call: Call, status: int, body: Any, durability: str | None) -> bool:
        """See `Sink`. An error is the answer of those who wait, and is not kept."""
        self.under_way = False
        if not isinstance(body, TaskQueueError):
            body = body if type(body) is bytes else _encode(body)
            self.body, self.durability = body, durability
            self.answered_us = self._clock.monotonic_us()
        waiting, self.waiting = self.waiting, []
        for each in waiting:
            _answer(each, status, body, durability)
        return True


def _answer(call: Call, status: int, body: Any, durability: str | None) -> None:
    try:
        call.principal.require_current()
    except TaskQueueError as error:
        status, body = error.status, error
    call.sink.on_reply(call, status, body, durability)


class SharedAnswers:
    """Takes calls that may share an answer."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._asked: dict[tuple[str, bytes], _Asked] = {}

    def take(self, call: Call) -> Call | None:
        """What is to be submitted for a call; None where it is answered, or will be."""
        if call.command.name not in SHAREABLE or call.query.max_age_ms is None:
            return call
        if not call.principal.has_all(call.command.scope):
            return call
        max_age_us = call.query.max_age_ms * 1_000
        call.query.max_age_ms = None
        key = (call.command.name, _encode(call.query))
        asked, now_us = self._asked.get(key), self._clock.monotonic_us()
        if asked is not None and asked.is_young(now_us, max_age_us):
            _answer(call, 200, asked.body, asked.durability)
            return None
        # What is under way will do, unless somebody wants what is true from now on.
        if asked is not None and asked.under_way and max_age_us and now_us - asked.begun_us < _GIVE_UP_US:
            asked.waiting.append(call)
            return None
        asked = _Asked(self._clock, call)
        self._asked.pop(key, None)
        while len(self._asked) >= _KEPT_MAX:
            del self._asked[next(iter(self._asked))]
        self._asked[key] = asked
        made = Call(call.command, call.target, None, call.query, asked, call.received_us)
        made.principal, made.peer = ANYONE, call.peer
        return made
