"""From a method and a raw path to the row of the command table, and who answers it.

Every path is a prefix, at most one parameter, and the rest; so a route is found by dictionary
look-ups. Paths that name a queue repeat, and a bounded cache of them spares even those. Paths that
name a task do not repeat: they are never cached, and have a short cut of their own.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from taskqueuex.access.overload import rank_of
from taskqueuex.commands import Command
from taskqueuex.commands.call import Call
from taskqueuex.commands.limits import LABEL_BYTES_MAX
from taskqueuex.commands.table import Target
from taskqueuex.errors import Invalid, MethodNotAllowed, NotFound
from taskqueuex.network.decode import BodyReader, read_no_body

__all__ = ["HANDS_OUT", "METHODS", "Route", "Router"]

HANDS_OUT: Final = frozenset({"dequeue", "dequeue_queue", "settle"})  # commands that give leases
METHODS: Final = ("DELETE", "GET", "PATCH", "POST", "PUT")

_HOT_MAX = 4_096
_TASKS = b"/v1/tasks/"
_TASK_PATH = len(_TASKS) + 36  # with an id as usual, nothing of it percent-encoded
_QUEUE = re.compile(r"[A-Za-z0-9._-]{1,128}").fullmatch
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}").fullmatch

Submit = Callable[[Call], None]


class Route:
    """A row of the command table, ready to be used."""

    __slots__ = (
        "command",
        "hands_out",
        "is_metrics",
        "is_page",
        "keyed",
        "query",
        "rank",
        "read_body",
        "refuses_key",
        "streams",
        "submit",
        "takes_body",
    )

    def __init__(self, command: Command, submit: Submit) -> None:
        self.command = command
        self.submit = submit
        self.query = command.query
        self.takes_body = command.body is not None
        self.read_body: Callable[[bytes], Any] = read_no_body
        if self.takes_body:
            self.read_body = BodyReader(command.body, command.body_required)
        self.keyed = command.idempotent_key
        # A key that would not be honoured is refused, so that nobody relies on it. On a read it is
        # without meaning, and harmless.
        self.refuses_key = not command.idempotent_key and command.method != "GET"
        self.rank = rank_of(command)
        self.hands_out = command.name in HANDS_OUT
        self.streams = command.streams
        self.is_page = command.kind == "page"
        self.is_metrics = command.name == "metrics"


_Methods = dict[bytes, Route]


class Router:
    """Resolves requests. `submit` names who takes the calls of each kind of the table."""

    __slots__ = ("_fixed", "_hot", "_prefixes", "_tasks")

    def __init__(self, commands: Iterable[Command], submit: Mapping[str, Submit]) -> None:
        self._fixed: dict[bytes, _Methods] = {}
        self._prefixes: dict[bytes, tuple[Target, dict[bytes, _Methods]]] = {}
        self._hot: dict[bytes, dict[bytes, tuple[Route, str]]] = {name.encode(): {} for name in METHODS}
        for command in commands:
            self._add(Route(command, submit[command.kind]))
        self._tasks = self._prefixes.get(_TASKS, ("task", {}))[1]

    def _add(self, route: Route) -> None:
        command = route.command
        method = command.method.encode()
        if command.target == "none":
            self._fixed.setdefault(command.path.encode(), {})[method] = route
            return
        prefix, _, tail = command.path.partition("{")
        suffix = tail.partition("}")[2]
        suffixes = self._prefixes.setdefault(prefix.encode(), (command.target, {}))[1]
        suffixes.setdefault(suffix.encode(), {})[method] = route

    def resolve(self, method: bytes, path: bytes) -> tuple[Route, str]:
        """The route of a request and the target its path names, or an empty one.

        `path` is as sent, without the query. Raises NotFound, MethodNotAllowed, or Invalid where
        the target is malformed.
        """
        if path.startswith(_TASKS):
            methods = self._tasks.get(path[_TASK_PATH:])
            route = methods.get(method) if methods else None
            text = path[len(_TASKS) : _TASK_PATH].decode("latin-1")
            if route is not None and _ID(text):
                return route, text
        hot = self._hot.get(method)
        if hot is not None:
            found = hot.get(path)
            if found is not None:
                return found
        route, kind, value = self._search(method, path)
        if kind in ("task", "workflow"):
            return route, value if _ID(value) else _task_id(value)
        target = _READERS[kind](value)
        if hot is not None:
            if len(hot) >= _HOT_MAX:
                hot.clear()
            hot[path] = (route, target)
        return route, target

    def _search(self, method: bytes, path: bytes) -> tuple[Route, Target, str]:
        """The route, what the path's parameter names, and its decoded value."""
        if not path.startswith(b"/"):
            path = _origin_form(path)
        methods = self._fixed.get(path)
        if methods is not None:
            return _pick(methods, method), "none", ""
        cut = path.find(b"/", 4) + 1  # behind /v1/<noun>/
        entry = self._prefixes.get(path[:cut])
        if entry is not None:
            value, slash, tail = path[cut:].partition(b"/")
            methods = entry[1].get(slash + tail)
            if methods is not None and value:
                return _pick(methods, method), entry[0], _percent_decoded(value)
        raise NotFound("There is nothing at this path")


def _pick(methods: _Methods, method: bytes) -> Route:
    route = methods.get(method)
    if route is None:
        allow = tuple(sorted(name.decode() for name in methods))
        raise MethodNotAllowed(f"Allowed here: {', '.join(allow)}", allow=allow)
    return route


def _origin_form(path: bytes) -> bytes:
    """The path of a request target in absolute form, as sent to proxies (RFC 9112, 3.2.2)."""
    scheme, separator, rest = path.partition(b"://")
    if not separator or scheme.lower() not in (b"http", b"https"):
        return path
    return b"/" + rest.partition(b"/")[2]


def _percent_decoded(value: bytes) -> str:
    if b"%" in value:
        value = unquote_to_bytes(value)
    return value.decode("utf-8", "replace")


def _queue_name(value: str, field: str = "queue") -> str:
    if not _QUEUE(value):
        raise Invalid.field(field, "must be 1 to 128 of A-Z a-z 0-9 . _ -")
    return value


def _worker_name(value: str) -> str:
    if len(value.encode()) > LABEL_BYTES_MAX:
        raise Invalid.field("name", f"must be at most {LABEL_BYTES_MAX} bytes")
    return value


_READERS: Mapping[Target, Callable[[str], str]] = {
    "none": lambda value: "",
    "queue": _queue_name,
    "schedule": lambda value: _queue_name(value, "name"),
    "worker": _worker_name,
    "token": lambda value: value,
}


def _task_id(value: str) -> str:
    """An id that is not in lower case, or none; ids are compared as they are stored."""
    lowered = value.lower()
    if not _ID(lowered):
        raise Invalid.field("id", "must be a UUIDv7")
    return lowered
