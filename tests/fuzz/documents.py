"""JSON as texts: by its grammar, at its edges, and broken."""

import json
from typing import Any

from hypothesis import strategies as st

__all__ = ["PLACES", "Pairs", "broken_texts", "spoiled", "strict", "texts"]

_SPACES = st.sampled_from(["", "", "", " ", "\n", "\t\r "])
_PLAIN_NUMBERS = "0 -0 1 -1 1.5 1e5 1E-5 -1.5e+300 1e400 -1e400 0.0 9007199254740993"
_LARGE_NUMBERS = "9223372036854775807 9223372036854775808 18446744073709551616"
_NUMBERS = st.one_of(
    st.sampled_from([*_PLAIN_NUMBERS.split(), *_LARGE_NUMBERS.split()]),
    st.sampled_from(["9" * 400, "1" * 5_000, "0." + "1" * 400]),
)
_ESCAPES = [r"\u0000", r"\ud800", r"\udc00\ud800", r"\ud83d\ude00", r"\/\b\f\n\r\t\"\\", r"\u00E9", r"\\"]
_CHARACTERS = ["", "a", "\u00e9\u20ac\U0001f600", "\x7f", "\u2028", "}],{[:"]
_STRINGS = st.one_of(
    st.sampled_from([f'"{each}"' for each in (*_ESCAPES, *_CHARACTERS)]),
    st.text(max_size=4).map(lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'),
)
_WORDS = st.sampled_from(["null", "true", "false"])
_LEAVES = st.one_of(_NUMBERS, _STRINGS, _WORDS)


def _spaced(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(_SPACES, inner, _SPACES).map("".join)


def _containers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    items = st.lists(_spaced(inner), max_size=4)
    pairs = st.lists(st.tuples(_spaced(_STRINGS), _spaced(inner)).map(":".join), max_size=4)
    return st.one_of(
        items.map(lambda each: "[" + ",".join(each) + "]"), pairs.map(lambda each: "{" + ",".join(each) + "}")
    )


def _nested(depth: int, kind: str, inner: str) -> str:
    opening, closing = {"[": ("[", "]"), "{": ('{"a":', "}")}[kind]
    return opening * depth + inner + closing * depth


_DEEP = st.builds(
    _nested,
    st.sampled_from([50, 62, 63, 64, 65, 100, 2_000]),
    st.sampled_from("[{"),
    st.sampled_from(["1", '"]"']),
)
texts = _spaced(st.one_of(st.recursive(_LEAVES, _containers, max_leaves=12), _DEEP))

_NOT_UTF8 = [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xe2\x82"]
_MARKS = [b"", b",", b":", b"]", b"}", b'"', b"\\", b"\0", b"\x1f", b"\x0b", b"\xef\xbb\xbf", b"\xc2\xa0"]
_EXTENSIONS = (
    b"NaN Infinity -Infinity nul True 'a' 01 1. .5 +1 0x1 1e --1 /**/ \\u12 \\x41 \\u{1} [,] [1,]".split()
)
_JUNK = st.sampled_from([*_MARKS, *_NOT_UTF8, *_EXTENSIONS, b"//x\n", b'{"a"}'])


def spoiled(raw: bytes, places: list[tuple[int, int, bytes]]) -> bytes:
    """A document with junk here and there, in place of what was there."""
    for place, dropped, junk in places:
        at = place % (len(raw) + 1)
        raw = raw[:at] + junk + raw[at + dropped :]
    return raw


PLACES = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 2), _JUNK), max_size=2)
broken_texts = st.builds(spoiled, texts.map(lambda text: text.encode("utf-8", "surrogatepass")), PLACES)


class Pairs(tuple[Any, ...]):
    """An object: all its names and values, so that a name may occur twice."""


def strict(raw: bytes) -> Any:
    """What a strict reader makes of a document (RFC 8259): the standard library's, without its extensions.

    Numbers stay texts, since their size is not a matter of syntax. Raises ValueError, RecursionError.
    """
    text = raw.decode("utf-8")
    return json.loads(
        text,
        parse_constant=_refuse,
        parse_int=str,
        parse_float=str,
        object_pairs_hook=lambda pairs: Pairs(pairs),
    )


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
