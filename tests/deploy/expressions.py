"""What PromQL expressions ask for: names of metrics, and labels with the values they must have."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import promql_parser
from promql_parser import AggModifierType, AggregateExpr, BinaryExpr, MatchOp, MatrixSelector, VectorSelector

OF_PROMETHEUS = {"up", "ALERTS"}
OF_THE_SCRAPE = {"job", "instance"}


@dataclass
class Asked:
    """What one selector asks for; `labels` have the values that are asked for as they are."""

    name: str
    labels: dict[str, set[str]] = field(default_factory=dict)


def asked(text: str) -> list[Asked]:
    """All that an expression asks for, its groups and matchings included. Raises ValueError."""
    found: list[Asked] = []
    _look(promql_parser.parse(text), set(), found)
    assert found, text
    return found


def without_bound(text: str) -> str:
    """An expression whose comparisons and set operations are taken away: what it is about is always there."""
    expression = promql_parser.parse(text)
    operations = {"==", "!=", ">", ">=", "<", "<=", "and", "or", "unless"}
    while isinstance(expression, BinaryExpr) and str(expression.op) in operations:
        expression = expression.lhs
    return str(expression.prettify())


def _look(node: Any, wanted: set[str], found: list[Asked]) -> None:
    if isinstance(node, VectorSelector | MatrixSelector):
        selector = node if isinstance(node, VectorSelector) else node.vector_selector
        found.append(Asked(str(selector.name), {name: set() for name in wanted}))
        for matcher in selector.matchers.matchers:
            values = found[-1].labels.setdefault(matcher.name, set())
            if matcher.op == MatchOp.Equal:
                values.add(matcher.value)
            elif matcher.op == MatchOp.Re and not set(matcher.value) & set(".*+?[]()^$\\"):
                values.update(matcher.value.split("|"))
        return
    if isinstance(node, AggregateExpr) and node.modifier is not None:
        assert node.modifier.type == AggModifierType.By
        wanted = set(node.modifier.labels)
    if isinstance(node, BinaryExpr) and node.modifier is not None and node.modifier.matching is not None:
        wanted = set(node.modifier.matching.labels)
    for child in _children(node):
        _look(child, wanted, found)


def _children(node: Any) -> Iterator[Any]:
    for name in ("expr", "lhs", "rhs"):
        if hasattr(node, name):
            yield getattr(node, name)
    yield from getattr(node, "args", ())
