"""Bodies, payloads, query strings and PROXY headers: a struct or a refusal, and never anything else.

What is taken for JSON is compared with the standard library's strict reader. They differ in this alone:

- more than 64 levels of nesting are refused here, though it is JSON;
- a lone surrogate, as in `"\\ud800"`, is refused here, in payloads too: it is no character, and UTF-8 has no
  bytes for it;
- a number that does not fit the field that it is for (a double, 64 bits) is refused. A payload keeps it as it
  is;
- a name that occurs twice in an object: both take it, and the last one counts; what the others had is not
  looked at, however deep. In a payload both stay.
"""

import ipaddress
import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec
import pytest
from budget import cases_of, fuzz
from documents import PLACES, Pairs, broken_texts, spoiled, strict, texts
from hypothesis import strategies as st
from shapes import wanted

from taskqueuex.commands import COMMANDS
from taskqueuex.errors import Invalid, InvalidJson, TaskQueueError
from taskqueuex.network.decode import BodyReader, read_no_body, read_query
from taskqueuex.network.proxy import ProxyError, parse_v1, parse_v2

_DEPTH_MAX = 64
_SURROGATES = re.compile("[\ud800-\udfff]").search
_READERS = {
    row.name: BodyReader(row.body, row.body_required) for row in COMMANDS.values() if row.body is not None
}
_QUERIES = {row.name: row.query for row in COMMANDS.values()}


class Document(NamedTuple):
    """What a strict reader sees in a body."""

    is_json: bool
    is_wanted: bool  # it has no lone surrogate and nowhere too many levels
    may_pass: bool  # the same of what counts: of a name that occurs twice, the last


def _levels(value: Any, last_only: bool = False) -> Iterator[list[Any]]:
    """The values of each level of a document, without recursion."""
    level = [value]
    while level:
        yield level
        level = [inner for each in level for inner in _inner(each, last_only)]


def _inner(value: Any, last_only: bool) -> Iterable[Any]:
    if isinstance(value, Pairs):
        return itertools.chain.from_iterable(dict(value).items() if last_only else value)
    return value if isinstance(value, list) else ()


def _depth(levels: Iterable[list[Any]]) -> int:
    return sum(any(isinstance(each, Pairs | list) for each in level) for level in levels)


def _parsed(raw: bytes) -> Document:
    try:
        value = strict(raw)
    except RecursionError:
        return Document(True, False, False)
    except ValueError:
        return Document(False, False, False)
    levels = list(_levels(value))
    is_text = not _SURROGATES("".join(each for level in levels for each in level if isinstance(each, str)))
    kept = _levels(value, last_only=True)
    return Document(True, is_text and _depth(levels) <= _DEPTH_MAX, is_text and _depth(kept) <= _DEPTH_MAX)


def _taken(read: Any, raw: bytes) -> tuple[Any, TaskQueueError | None]:
    try:
        return read(raw), None
    except TaskQueueError as error:
        return None, error


def _is_told(error: TaskQueueError | None) -> None:
    assert error is None or (
        error.status in (400, 413, 422) and error.outcome == "not_applied" and error.detail
    )


def check_payload(raw: bytes) -> None:
    """A payload is taken where it is JSON and not too deep, and kept byte for byte."""
    document = b'{"payload":' + raw + b"}"
    body, error = _taken(_READERS["enqueue"], document)
    _is_told(error)
    seen = _parsed(document)
    if error is None:
        assert seen.may_pass
        if _parsed(raw).is_json:  # else it holds other fields, as `1,"name":"x"` does
            assert bytes(body.payload).strip(b" \n\r\t") == raw.strip(b" \n\r\t")
    elif isinstance(error, InvalidJson):
        assert not seen.is_wanted
    else:
        assert seen.is_json


def check_body(example: tuple[str, bytes]) -> None:
    """Whatever comes, a body is a struct of its command, or refused as what it is."""
    name, raw = example
    body, error = _taken(_READERS[name], raw)
    _is_told(error)
    seen = _parsed(raw)
    if error is None:
        assert isinstance(body, COMMANDS[name].body)
        assert seen.may_pass or (not raw and not COMMANDS[name].body_required)
        assert _READERS[name](msgspec.json.encode(body)) == body
    elif isinstance(error, InvalidJson):
        assert not seen.is_wanted
    else:
        assert isinstance(error, Invalid) and error.errors and seen.is_json
    _, error = _taken(read_no_body, raw)
    _is_told(error)
    is_nothing = not raw or raw.isspace() or (seen.is_wanted and strict(raw) == Pairs())
    assert (error is None) == is_nothing


def check_query(example: tuple[str, bytes]) -> None:
    """A query string is the struct of its command, nothing, or refused."""
    name, raw = example
    kind = _QUERIES[name]
    query, error = _taken(lambda given: read_query(given, kind), raw)
    _is_told(error)
    if error is None:
        assert query is None if kind is None else isinstance(query, kind)
    else:
        assert isinstance(error, Invalid) and error.errors


def check_proxy(raw: bytes) -> None:
    """A header names an address, or nobody, or is refused; what is taken is well formed."""
    for parse, pattern in ((parse_v1, _V1), (parse_v2, _V2)):
        try:
            address = parse(raw)
        except ProxyError:
            continue
        assert pattern.fullmatch(raw)
        assert address is None or str(ipaddress.ip_address(address)) == address


_V1 = re.compile(
    rb"PROXY (UNKNOWN( .*)?|TCP[46] [0-9A-Fa-f.:]+ [0-9A-Fa-f.:]+ [0-9]{1,5} [0-9]{1,5})\r\n", re.DOTALL
)
_V2 = re.compile(rb"\r\n\r\n\0\r\nQUIT\n[\x20\x21].*", re.DOTALL)

_VALUES = st.one_of(
    texts, st.sampled_from(['"a"', "1", "[]", "{}", "[1]", '["a","b"]', '{"a":1}', '"2-00000000000000ab"'])
)


_WANTED = {name: wanted(COMMANDS[name].body) for name in _READERS}


@st.composite
def _bodies(draw: st.DrawFn) -> tuple[str, bytes]:
    """What a command wants, or objects with its fields and any values; some are spoiled."""
    name = draw(st.sampled_from(sorted(_READERS)))
    if draw(st.integers(0, 2)):
        text = draw(_WANTED[name])
    else:
        names = [*COMMANDS[name].body.__struct_fields__, "tasks", "id", "lease", "payload", "other"]
        fields = draw(st.lists(st.tuples(st.sampled_from(names), _VALUES), max_size=5))
        text = "{" + ",".join(f'"{field}":{value}' for field, value in fields) + "}"
    raw = text.encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 3)):
        return name, raw
    return name, draw(
        st.one_of(st.builds(spoiled, st.just(raw), PLACES), broken_texts, st.binary(max_size=12))
    )


_PARAMETERS = [
    "queue",
    "state",
    "limit",
    "cursor",
    "wait_ms",
    "after",
    "before",
    "force",
    "id",
    "who",
    "x",
    "",
]
_TEXTS = [
    "",
    "1",
    "-1",
    "a",
    "true",
    "%00",
    "%ff",
    "%2",
    "+",
    "%C3%A9",
    "1e9",
    "9" * 30,
    "ready",
    "a=b",
    "\xe9",
    "a;b",
]
_PAIRS = st.tuples(
    st.sampled_from(_PARAMETERS), st.sampled_from(["=", "", "=="]), st.sampled_from(_TEXTS)
).map("".join)
_QUERY_BYTES = st.one_of(
    st.lists(_PAIRS, max_size=5).map(lambda pairs: "&".join(pairs).encode("latin-1")),
    st.lists(_PAIRS, min_size=60, max_size=70).map(lambda pairs: "&".join(pairs).encode("latin-1")),
    st.binary(max_size=20),
)

_ADDRESSES = [
    "192.0.2.1",
    "2001:db8::1",
    "::ffff:192.0.2.1",
    "1",
    "1.2.3.256",
    "::g",
    "",
    "127.1",
    "\u0661.2.3.4",
]
_WORDS = st.sampled_from(
    ["PROXY", "TCP4", "TCP6", "UNKNOWN", "proxy", *_ADDRESSES, "0", "65535", "65536", "+1", "\u0661"]
)
_LINES = st.one_of(
    st.tuples(
        st.just("PROXY"), st.sampled_from(["TCP4", "TCP6"]), *(st.sampled_from(_ADDRESSES) for _ in range(2)),
        *(st.sampled_from(["0", "80", "65535", "65536", "-1", "08", " 1"]) for _ in range(2)),
    ).map(" ".join),
    st.lists(_WORDS, max_size=8).map(" ".join),
)  # fmt: skip
_PROXIES = st.one_of(
    st.tuples(_LINES, st.sampled_from(["\r\n", "\n", "", "\r\n\r\n"])).map("".join).map(str.encode),
    st.builds(
        lambda command, family, size, rest: b"\r\n\r\n\0\r\nQUIT\n" + bytes([command, family]) + size + rest,
        st.sampled_from([0x20, 0x21, 0x22, 0x11]),
        st.sampled_from([0, 0x11, 0x12, 0x21, 0x22, 0x31, 0xFF]),
        st.sampled_from([b"\0\0", b"\0\x0c", b"\0\x24", b"\xff\xff", b"\0"]),
        st.sampled_from([b"", bytes(12), bytes(36), b"\xc0\0\2\1" * 9, bytes(60)]),
    ),
    st.binary(max_size=40),
)  # fmt: skip

CHECKS: dict[str, tuple[float, Any, Any]] = {
    "payload": (0.12, broken_texts, check_payload),
    "body": (0.16, _bodies(), check_body),
    "query": (0.05, st.tuples(st.sampled_from(sorted(_QUERIES)), _QUERY_BYTES), check_query),
    "proxy": (0.05, _PROXIES, check_proxy),
}


@pytest.mark.parametrize("name", CHECKS)
def test_fuzz(name):
    share, strategy, check = CHECKS[name]
    assert fuzz(name, share, strategy, check) > 0


@pytest.mark.parametrize("name", CHECKS)
def test_what_failed_once(name):
    for example in cases_of(name):
        CHECKS[name][2](example)


@pytest.mark.parametrize("raw", [b"[" * 100_000 + b"]" * 100_000, b"[" * 100_000, b"9" * 1_000_000, b"NaN"])
def test_what_no_example_is_large_enough_for(raw):
    check_payload(raw)
