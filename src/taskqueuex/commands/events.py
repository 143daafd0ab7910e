"""The stream of events."""

from typing import Annotated, Literal

import msgspec

from taskqueuex.commands.limits import Instant, Label, QueueName
from taskqueuex.commands.tasks import StateName

__all__ = ["EVENT_ID", "EventView", "EventsQuery"]

EVENT_ID = r"[0-9a-f]{1,16}-[0-9a-f]{1,8}-[0-9a-f]{1,8}"
Ids = Annotated[str, msgspec.Meta(max_length=65_536, description="ids, separated by commas")]
EventId = Annotated[str, msgspec.Meta(pattern=f"^{EVENT_ID}$")]


class EventsQuery(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Which events, from when on, and how many of them.

    `kind`: task, queue, worker, server, several by commas; `state`, `name` and `id` are about tasks.
    `after`: an event's id, to go on behind it; `since`: all that are kept from that time on. Without either
    only what happens from now on. `rate`: events a second at most; how many were left out is told.
    `stats`: the figures of `GET /v1/stats` every second as well. `follow=false`: what is kept, and no more.
    """

    queue: QueueName | None = None
    state: StateName | None = None
    name: Label | None = None
    id: Ids | None = None
    kind: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    after: EventId | None = None
    since: Instant | None = None
    rate: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] | None = None
    stats: bool = False
    follow: bool = True


class EventView(msgspec.Struct, omit_defaults=True, gc=False):
    """The data of an event.

    Of a task: `state` is the one that it has come to, `attempt` and `worker` say by whom, and `detail` why.
    Of anything else: `change` says what happened.
    """

    at: int
    kind: Literal["task", "queue", "worker", "server"]
    state: str | None = None
    change: str | None = None
    queue: str | None = None
    id: str | None = None
    name: str | None = None
    attempt: int | None = None
    worker: str | None = None
    detail: str | None = None
