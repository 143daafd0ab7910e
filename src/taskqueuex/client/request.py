"""What is to be sent for one call, whoever sends it; and how its answer is read."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, Literal, TypeVar, cast
from urllib.parse import quote, urlencode

import msgspec

from taskqueuex.client.wire import Response
from taskqueuex.commands import Command, command
from taskqueuex.errors import Invalid, ProtocolError, UnexpectedStatus

__all__ = ["Operation", "Repeat", "Request", "encode_value", "settle_wait_ms"]

T = TypeVar("T")

# always: a repeat changes nothing more. keyed: with an Idempotency-Key. never: where it was not applied.
Repeat = Literal["always", "keyed", "never"]

# They name a lease, which makes a repeat answer as the first did; a settle's items do so as well, and what
# its dequeue took and was not heard of comes back when its leases end.
_BY_LEASE: Final = frozenset(("ack", "fail", "release", "heartbeat", "settle"))

_PATHS_MAX: Final = 4_096
_PLAIN = re.compile(r"[A-Za-z0-9._~-]+").fullmatch
_encode = msgspec.json.Encoder().encode


def encode_value(value: Any, field: str) -> msgspec.Raw | msgspec.UnsetType:
    """Any JSON value as it is sent; a Raw is JSON already. Raises Invalid, naming the field."""
    if type(value) is msgspec.Raw or type(value) is msgspec.UnsetType:
        return value
    try:
        return msgspec.Raw(_encode(value))
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise Invalid.field(field, f"is no JSON value: {error}") from error


def settle_wait_ms(dequeue: Any, wait: str | None, has_items: bool) -> int:
    """How long the server holds the answer to a settle: items do not wait, unless asked to."""
    if dequeue is None or (has_items and wait != "always"):
        return 0
    wait_ms = dequeue.get("wait_ms", 0) if isinstance(dequeue, Mapping) else dequeue.wait_ms
    return wait_ms if isinstance(wait_ms, int) else 0


class Operation:
    """A row of the command table, ready to make requests."""

    __slots__ = ("_decoders", "_paths", "_prefix", "_suffix", "command", "exclusive", "method", "repeat")

    def __init__(self, name: str) -> None:
        row = command(name)
        self.command = row
        self.method = row.method
        self._prefix, _, tail = row.path.partition("{")
        self._suffix = tail.partition("}")[2]
        self._paths: dict[str, str] = {}
        self._decoders = {status: _decoder(kind) for status, kind in row.replies.items()}
        self.repeat = _repeat(row)
        # What may take long has a connection of its own, so that nothing is answered behind it.
        self.exclusive = row.kind == "query" or name in ("backup", "bulk", "purge_queue", "delete_queue")

    def path(self, target: str) -> str:
        """The path of a target. Raises Invalid where there is none."""
        path = self._paths.get(target)
        if path is None:
            if not target:
                raise Invalid.field(self.command.target, "must not be empty")
            plain = target if _PLAIN(target) else quote(target, safe="")
            path = f"{self._prefix}{plain}{self._suffix}"
            if self.command.target == "queue":  # the paths of tasks do not repeat
                if len(self._paths) >= _PATHS_MAX:
                    self._paths.clear()
                self._paths[target] = path
        return path

    def read(self, response: Response) -> Any:
        """The struct of an answer of success. Raises UnexpectedStatus, ProtocolError."""
        decode = self._decoders.get(response.status)
        if decode is None:
            raise UnexpectedStatus(
                f"status {response.status} to {self.command.name}", answered=response.status
            )
        try:
            return decode(response.body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ProtocolError(f"the answer to {self.command.name}: {error}", outcome="unknown") from error


def _repeat(row: Command) -> Repeat:
    if row.method in ("GET", "PUT") or row.name in _BY_LEASE:
        return "always"
    return "keyed" if row.idempotent_key else "never"


def _decoder(kind: Any) -> Callable[[bytes], Any]:
    if kind is None:
        return lambda body: body.decode()
    return msgspec.json.Decoder(kind).decode


class Request(Generic[T]):
    """One call that is to be made. `T` is what its answer is."""

    __slots__ = ("body", "exclusive", "key", "operation", "path", "wait_s")

    def __init__(
        self,
        operation: Operation,
        path: str,
        body: Any = None,
        query: Any = None,
        wait_ms: int = 0,
        key: str | None = None,
    ) -> None:
        self.operation = operation
        self.path = path
        self.body = b"" if body is None else _encode_body(body)
        if query is not None:
            self.path += _query_string(query)
        self.wait_s = wait_ms / 1_000  # how long the server itself waits before it answers
        self.key = key  # the caller's own Idempotency-Key; None: the client makes one
        self.exclusive = wait_ms > 0 or operation.exclusive

    def read(self, response: Response) -> T:
        """The answer of success. Raises UnexpectedStatus, ProtocolError."""
        return cast(T, self.operation.read(response))


def _encode_body(body: Any) -> bytes:
    try:
        return _encode(body)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise Invalid.field("body", f"is no JSON value: {error}") from error


def _query_string(query: Any) -> str:
    given: Mapping[str, Any] = msgspec.to_builtins(query)
    pairs = [(name, _text(value)) for name, value in given.items() if value is not None]
    return f"?{urlencode(pairs)}" if pairs else ""


def _text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
