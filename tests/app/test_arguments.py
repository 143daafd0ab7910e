"""Arguments: checked where they are passed, typed again where the task runs."""

import dataclasses
import datetime
import decimal
import enum
import uuid
from typing import Any

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueuex.app import ArgumentError, Context, TaskDefinitionError, injected
from taskqueuex.app.arguments import Arguments, JsonTypes


class Side(enum.Enum):
    BUY = "buy"
    SELL = "sell"


@dataclasses.dataclass
class Leg:
    symbol: str
    qty: decimal.Decimal


class Quote(msgspec.Struct):
    bid: float
    ask: float


class Model(pydantic.BaseModel):
    name: str
    at: datetime.datetime


class Thing:
    pass


def arguments(function: Any, types: JsonTypes | None = None) -> Arguments:
    return Arguments("shop.task", function, types or JsonTypes(), lambda annotation: annotation is Context)


def through(function: Any, *args: Any, **kwargs: Any) -> Any:
    """What a function returns when it is called with arguments that went through JSON."""
    found = arguments(function)
    positional, named = found.decode(found.encode(found.bind(args, kwargs)))
    return function(*positional, **named)


def everything(
    at: datetime.datetime,
    day: datetime.date,
    took: datetime.timedelta,
    price: decimal.Decimal,
    side: Side,
    key: uuid.UUID,
    raw: bytes,
    legs: list[Leg],
    quote: Quote | None,
    names: set[str],
    pair: tuple[int, str],
) -> tuple[Any, ...]:
    return at, day, took, price, side, key, raw, legs, quote, names, pair


def test_types_come_back_as_they_were_passed():
    values = (
        datetime.datetime(2026, 11, 24, 9, 30, tzinfo=datetime.UTC),
        datetime.date(2026, 11, 24),
        datetime.timedelta(seconds=1.5),
        decimal.Decimal("1.10"),
        Side.SELL,
        uuid.UUID(int=7),
        b"\x00\xff",
        [Leg("AAPL", decimal.Decimal("3"))],
        Quote(1.0, 2.0),
        {"a", "b"},
        (1, "x"),
    )
    assert through(everything, *values) == values


def test_models_of_pydantic_come_back_as_models():
    def task(model: Model) -> Model:
        return model

    model = Model(name="x", at=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC))
    assert through(task, model) == model


def test_defaults_stay_with_the_function():
    def task(a: int, b: int = 5, *, c: str = "c") -> Any:
        return a, b, c

    found = arguments(task)
    assert found.encode(found.bind((1,), {})) == b'{"a":1}'
    assert through(task, 1) == (1, 5, "c")
    assert through(task, 1, c="x") == (1, 5, "x")


def test_all_kinds_of_parameters():
    def task(a: int, /, b: int, *rest: int, c: int = 3, **named: int) -> Any:
        return a, b, rest, c, named

    assert through(task, 1, 2) == (1, 2, (), 3, {})
    assert through(task, 1, 2, 8, 9, c=4, d=5) == (1, 2, (8, 9), 4, {"d": 5})


def test_the_context_is_no_argument():
    def task(context: Context, a: int) -> int:
        return a

    found = arguments(task)
    assert found.by_worker == {"context": Context}
    assert found.encode(found.bind((1,), {})) == b'{"a":1}'
    with pytest.raises(ArgumentError, match="context: is passed by the worker"):
        found.bind((), {"a": 1, "context": None})


def test_what_is_injected_may_have_a_default_that_says_so():
    def task(a: int, context: Context = injected) -> None: ...

    assert arguments(task).by_worker == {"context": Context}

    def wrong(a: int, thing: Thing = injected) -> None: ...

    with pytest.raises(TaskDefinitionError, match="thing: no resource provides"):
        arguments(wrong)


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        (("1",), {"qty": 1.0}, "order_id: Expected `int`, got `str`"),
        ((1,), {"qty": "x"}, "qty: Expected `float`, got `str`"),
        ((1,), {}, "qty: is missing"),
        ((), {"qty": 1.0}, "order_id: is missing"),
        ((1, 2.0, 3), {}, "at most, not 3"),
        ((1,), {"quantity": 1.0}, "quantity: there is no such parameter"),
        ((1,), {"order_id": 1, "qty": 1.0}, "order_id: given twice"),
        ((1,), {"qty": float("nan")}, "qty: Expected `float`, got `null`"),
        ((1,), {"qty": Thing()}, "qty: values of type Thing cannot be sent as JSON"),
    ],
)
def test_a_wrong_argument_is_refused_by_name(args, kwargs, message):
    def settle(order_id: int, qty: float) -> None: ...

    found = arguments(settle)
    with pytest.raises(ArgumentError) as raised:
        found.encode(found.bind(args, kwargs))
    assert message in str(raised.value)
    assert str(raised.value).startswith("shop.task: ")


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b'{"order_id":"x"}', "$.order_id"),
        (b'{"order_id":1,"more":2}', "more"),
        (b"[1]", "Expected `object`"),
        (b"null", "Expected `object`"),
        (b"{}", "order_id"),
        (b"{", "truncated"),
    ],
)
def test_a_payload_that_does_not_fit_is_said(payload, message):
    def task(order_id: int) -> None: ...

    with pytest.raises(ArgumentError) as raised:
        arguments(task).decode(payload)
    assert message in str(raised.value)


def test_an_annotation_that_is_not_there_is_said():
    def task(order: "Unknown") -> None: ...  # noqa: F821  # that is the point

    with pytest.raises(TaskDefinitionError, match="Unknown"):
        arguments(task)


def test_a_union_that_json_cannot_tell_apart_is_said():
    def task(order: Leg | Quote) -> None: ...

    with pytest.raises(TaskDefinitionError, match=r"^shop"):
        arguments(task)


def test_a_context_among_positional_arguments_is_refused():
    def task(context: Context, *rest: int) -> None: ...

    with pytest.raises(TaskDefinitionError, match="context: must be keyword-only"):
        arguments(task)


def test_own_types_go_through_the_hooks():
    def to_json(value: Any) -> Any:
        return ["thing"]

    def from_json(annotation: Any, value: Any) -> Any:
        assert value == ["thing"]
        return annotation()

    def task(thing: Thing) -> Thing:
        return thing

    found = arguments(task, JsonTypes(to_json, from_json))
    _, named = found.decode(found.encode(found.bind((Thing(),), {})))
    assert isinstance(named["thing"], Thing)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(
    JSON,
    st.lists(st.integers(-(2**63), 2**63 - 1)),
    st.dictionaries(st.from_regex(r"[a-z]{3,9}", fullmatch=True), st.text()),
)
def test_any_value_arrives(value, rest, named):
    def task(a: Any, *rest: int, **named: str) -> Any:
        return a, rest, named

    assert through(task, value, *rest, **named) == (value, tuple(rest), named)
