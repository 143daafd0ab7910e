"""From a request that is whole to the call that it makes."""

from typing import Any, Final, Protocol

from taskqueuex.access.overload import UNIT_BYTES, units_of
from taskqueuex.commands.call import Call, Sink
from taskqueuex.commands.principal import Peer, Principal
from taskqueuex.errors import Invalid
from taskqueuex.network import headers
from taskqueuex.network.decode import read_query
from taskqueuex.network.hub import Guard
from taskqueuex.network.routes import Route

__all__ = ["Request", "make_call"]

_JSON: Final = b"application/json"


class Request(Protocol):
    """What is read of a request: the reader's, or of one that waited."""

    target: str
    principal: Principal
    url: bytes
    body: bytes
    content_type: bytes
    key: bytes  # Idempotency-Key
    timeout: bytes  # Request-Timeout-Ms
    last_event_id: bytes
    accept: bytes
    accepts_gzip: bool
    received_us: int


def make_call(
    request: Request, route: Route, sink: Sink, peer: Peer, guard: Guard, place: Call | None = None
) -> Call:
    """The call of a request, checked; raises TaskQueueError where it makes none.

    One that has waited was given its `place` among the answers already, without what is read only now.
    """
    raw = request.body
    content_type = request.content_type
    if raw and content_type and content_type != _JSON:
        headers.check_content_type(content_type)
    body = route.read_body(raw)
    query: Any = None
    _, _, query_string = request.url.partition(b"?")
    if route.is_page:
        query = request.accepts_gzip
    elif query_string or route.query is not None:
        query = read_query(query_string, route.query)
        if request.last_event_id and route.streams:
            query.after = headers.read_event_id(request.last_event_id)
    elif route.is_metrics:
        query = b"application/openmetrics-text" in request.accept
    if place is None:
        call = Call(route.command, request.target, body, query, sink, request.received_us)
    else:
        call = place
        call.body = body
        call.query = query
    if len(raw) >= UNIT_BYTES:
        call.units = units_of(len(raw))
    call.peer = peer
    if route.command.audited:
        _ = peer.address  # while it can be told
    call.principal = request.principal
    if request.principal.restricted:
        guard.check(call)
    if request.key:
        _take_key(request, route, call)
    if request.timeout:
        call.deadline_us = request.received_us + headers.read_timeout_ms(request.timeout) * 1_000
    return call


def _take_key(request: Request, route: Route, call: Call) -> None:
    key = headers.read_idempotency_key(request.key)
    if route.refuses_key or getattr(call.body, "dequeue", None) is not None:
        raise Invalid.field("Idempotency-Key", "is refused here: a repeat must not have the first answer")
    if route.keyed:
        call.key = key
        call.raw = request.body
