"""Bodies as the types of the command table want them, mostly; as JSON texts."""

import json
import re
from typing import Any

from documents import texts
from hypothesis import strategies as st
from msgspec import inspect

__all__ = ["wanted"]

ID = "01890a5d-ac96-774b-bcce-b302099a8057"
# Some of these match the pattern that a text has.
_SAMPLES = ["orders.eu", "a", "1-00000000000000ab", ID, "produce:orders.*", "admin", "UTC", "", "\u20ac" * 90]
_EDGE_NUMBERS = st.sampled_from([-(1 << 63), (1 << 64) - 1, 1 << 64, -1, 0])
_EDGES = [0, 1, -1, 2, 63, 64, 65, 1_000, 1 << 31, 1 << 53, 1 << 63, 1_764_000_000_000]


def wanted(kind: Any) -> st.SearchStrategy[str]:
    """JSON of a type."""
    return _of(inspect.type_info(kind), 4)


def _of(kind: Any, depth: int) -> st.SearchStrategy[str]:
    made = _MAKERS.get(type(kind))
    if made is not None:
        return made(kind, depth)
    return texts  # any JSON, as payloads are


def _struct(kind: inspect.StructType, depth: int) -> st.SearchStrategy[str]:
    fields = [(each.encode_name, _of(each.type, depth - 1), each.required) for each in kind.fields]

    @st.composite
    def made(draw: st.DrawFn) -> str:
        chosen = draw(st.sets(st.integers(0, len(fields)), max_size=3))
        pairs = [
            f'"{name}":{draw(value)}'
            for place, (name, value, required) in enumerate(fields)
            if required or place in chosen
        ]
        if not draw(st.integers(0, 15)):
            pairs.append(draw(st.sampled_from(['"other":1', *pairs])))  # unknown, or twice
        return "{" + ",".join(pairs) + "}"

    return made()


def _integer(kind: inspect.IntType, depth: int) -> st.SearchStrategy[str]:
    low = kind.ge if kind.ge is not None else -(1 << 63)
    high = kind.le if kind.le is not None else (1 << 63) - 1
    inside = [each for each in (low, high, *_EDGES) if low <= each <= high]
    return st.one_of(st.sampled_from(inside), st.sampled_from(inside), _EDGE_NUMBERS).map(str)


def _number(kind: inspect.FloatType, depth: int) -> st.SearchStrategy[str]:
    return st.sampled_from(["0.1", "0.5", "1", "1", "1.5", "2", "1e3", "-1", "1e400"])


def _text(kind: inspect.StrType, depth: int) -> st.SearchStrategy[str]:
    fitting = [each for each in _SAMPLES if re.search(kind.pattern or "", each) is not None]
    return st.one_of(*[st.sampled_from(fitting)] * 7, st.text(max_size=5)).map(json.dumps)


def _list(kind: Any, depth: int) -> st.SearchStrategy[str]:
    items = st.lists(_of(kind.item_type, depth - 1), max_size=3 if depth > 0 else 0)
    return items.map(lambda each: "[" + ",".join(each) + "]")


def _dict(kind: inspect.DictType, depth: int) -> st.SearchStrategy[str]:
    pairs = st.tuples(_of(kind.key_type, depth - 1), _of(kind.value_type, depth - 1)).map(":".join)
    return st.lists(pairs, max_size=3).map(lambda each: "{" + ",".join(each) + "}")


def _union(kind: inspect.UnionType, depth: int) -> st.SearchStrategy[str]:
    return st.one_of([_of(each, depth) for each in kind.types])


_MAKERS: dict[type, Any] = {
    inspect.StructType: _struct,
    inspect.IntType: _integer,
    inspect.FloatType: _number,
    inspect.StrType: _text,
    inspect.BoolType: lambda kind, depth: st.sampled_from(["true", "false"]),
    inspect.NoneType: lambda kind, depth: st.just("null"),
    inspect.LiteralType: lambda kind, depth: st.sampled_from([json.dumps(each) for each in kind.values]),
    inspect.ListType: _list,
    inspect.VarTupleType: _list,
    inspect.DictType: _dict,
    inspect.UnionType: _union,
    inspect.Metadata: lambda kind, depth: _of(kind.type, depth),
}
