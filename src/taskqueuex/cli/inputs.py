"""Reading what users type: JSON, files, pairs."""

import sys
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from taskqueuex.cli.failures import USAGE, Failure

__all__ = ["given", "json_value", "pairs"]

_is_json = msgspec.json.Decoder(msgspec.Raw).decode


def json_value(text: str, what: str) -> msgspec.Raw:
    """A JSON value as typed, or read from standard input where it is `-`; raises Failure."""
    raw = sys.stdin.buffer.read() if text == "-" else text.encode()
    try:
        _is_json(raw)
        return msgspec.Raw(raw.strip())
    except msgspec.DecodeError as error:
        hint = "" if text == "-" else " (a text needs its quotes: '\"hello\"')"
        raise Failure(f"{what} is not JSON: {error}{hint}", USAGE) from error


def pairs(items: Iterable[str], what: str) -> dict[str, str]:
    """`name=value` items as a dictionary; raises Failure."""
    found = {}
    for item in items:
        name, separator, value = item.partition("=")
        if not separator or not name:
            raise Failure(f"{what} is NAME=VALUE, not {item!r}", USAGE)
        found[name] = value
    return found


def given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those that were said."""
    return {name: value for name, value in values.items() if value is not None and value != []}
