"""From the bytes of a body or a query string to its struct, or to an error that names the field.

The good path is one call into msgspec. Only when it refuses is the reason looked for: JSON that
is broken anywhere is `invalid_json` (400), even where a field was wrong before the break; what
remains is `invalid` (422), and its field is the path in the request, as in `tasks[3].priority`.
"""

import re
from typing import Any, NoReturn
from urllib.parse import parse_qsl

import msgspec

from taskqueuex.commands.events import EventsQuery
from taskqueuex.commands.tasks import ListTasks
from taskqueuex.errors import FieldError, Invalid, InvalidJson
from taskqueuex.model.events import KINDS
from taskqueuex.model.ids import parse_id
from taskqueuex.network.checks import CHECKS, check_filter

__all__ = ["BodyReader", "read_no_body", "read_query"]

_NAMED = re.compile(r"(?:unknown|required) field `(.*?)`(?: - at `\$(.*)`)?$", re.DOTALL)
_AT_KEY = re.compile(r" - at `key` in `\$(.*)`$", re.DOTALL)
_AT = re.compile(r" - at `\$(.*)`$", re.DOTALL)
_QUERY_FIELDS_MAX = 64


class _Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a command that takes none: absent, or an empty object."""


_decode_nothing = msgspec.json.Decoder(_Nothing).decode
_decode_any = msgspec.json.Decoder(msgspec.Raw).decode


def field_of(message: str) -> str:
    """The field that a message of msgspec's is about, as a path in the request."""
    named = _NAMED.search(message)
    if named:
        path, name = named.group(2) or "", named.group(1)
        return _tidy(f"{path}.{name}")
    at = _AT_KEY.search(message) or _AT.search(message)
    return _tidy(at.group(1)) if at else "body"


def _tidy(path: str) -> str:
    # `[...]` is what msgspec says for "some value of this object": the object is named instead.
    return path.replace("[...]", "").lstrip(".") or "body"


def invalid(error: msgspec.ValidationError, root: str = "body") -> Invalid:
    """A refusal of msgspec's as ours."""
    message = str(error)
    field = field_of(message)
    text = re.sub(r" - at .*$", "", message, flags=re.DOTALL).replace("`", "")
    return Invalid(f"{field}: {text}", errors=(FieldError(field if field != "body" else root, text),))


class BodyReader:
    """Reads the bodies of one command."""

    __slots__ = ("_check", "_decode", "_default")

    def __init__(self, body_type: Any, required: bool) -> None:
        self._decode = msgspec.json.Decoder(body_type).decode
        self._check = CHECKS.get(body_type)
        self._default = None if required else body_type

    def __call__(self, raw: bytes) -> Any:
        """The struct of a body; raises InvalidJson or Invalid."""
        try:
            body = self._decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            if not raw and self._default is not None:
                return self._default()
            _refuse(raw, error)
        # Strings that are decoded were checked on the way, but not those within a payload.
        if not raw.isascii():
            _check_utf8(raw)
        if self._check is not None:
            self._check(body, len(raw))
        return body


def read_no_body(raw: bytes) -> None:
    """For a command without a body: nothing, white space, or an empty object."""
    if raw and raw != b"{}" and not raw.isspace():
        try:
            _decode_nothing(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            _refuse(raw, error)


def _check_utf8(raw: bytes) -> None:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidJson(f"The body is not UTF-8 at byte {error.start}") from None


def _refuse(raw: bytes, error: Exception) -> NoReturn:
    """Says what is wrong with a body that msgspec refused."""
    if not raw:
        raise InvalidJson("A JSON body is needed") from None
    if isinstance(error, RecursionError):
        raise InvalidJson("The body nests deeper than 64 levels") from None
    _check_utf8(raw)
    if isinstance(error, msgspec.ValidationError):
        try:
            _decode_any(raw)
        except (msgspec.DecodeError, RecursionError) as broken:
            raise InvalidJson(str(broken)) from None
        raise invalid(error) from None
    raise InvalidJson(str(error)) from None


def read_query(raw: bytes, query_type: Any) -> Any:
    """The struct of a query string (None where a command takes none); raises Invalid."""
    fields: dict[str, str] = {}
    if raw:
        for name, value in _pairs(raw):
            if name in fields:
                raise Invalid.field(name, "given more than once")
            fields[name] = value
    if query_type is None:
        if fields:
            name = next(iter(fields))
            raise Invalid.field(name, "unknown parameter: this call takes none")
        return None
    try:
        query = msgspec.convert(fields, query_type, strict=False)
    except msgspec.ValidationError as error:
        raise invalid(error, root="query") from None
    if isinstance(query, ListTasks):
        _check_list(query)
    elif isinstance(query, EventsQuery):
        _check_events(query)
    return query


def _pairs(raw: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            raw.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_QUERY_FIELDS_MAX,
        )
    except ValueError:
        raise Invalid.field("query", "is not a valid query string") from None


def _check_list(query: ListTasks) -> None:
    check_filter(query)
    _check_ids(query.id)


def _check_ids(ids: str | None) -> None:
    for text in ids.split(",") if ids is not None else ():
        try:
            parse_id(text)
        except ValueError:
            raise Invalid.field("id", f"{text[:64]!r} is not a task id") from None


def _check_events(query: EventsQuery) -> None:
    _check_ids(query.id)
    for kind in query.kind.split(",") if query.kind is not None else ():
        if kind not in KINDS:
            raise Invalid.field("kind", f"{kind[:64]!r} is none of {', '.join(KINDS)}")
    if query.after is not None and query.since is not None:
        raise Invalid.field("since", "cannot be given with `after`")
