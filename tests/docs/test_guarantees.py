"""docs/guarantees.md names tests that exist."""

import ast
import re

from tests.docs.tour import ROOT

PAGE = (ROOT / "docs/guarantees.md").read_text()


TABLE = re.compile(r"^\| promise \| test \|\n\|---\|---\|\n((?:\|.*\n)+)", re.MULTILINE)
ROW = re.compile(r"\| .* \| `(tests/[a-z_/]+\.py)::(\w+)` \||\| \| `(tests/[a-z_/]+\.py)::(\w+)` \|")


def names_of(path: str) -> set[str]:
    names = set()
    for node in ast.parse((ROOT / path).read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


def test_every_promise_names_a_test_that_exists():
    rows = [row for table in TABLE.findall(PAGE) for row in table.splitlines()]
    assert len(rows) > 30
    for row in rows:
        match = ROW.fullmatch(row)
        assert match is not None, row
        path, name = match.group(1, 2) if match.group(1) else match.group(3, 4)
        assert name in names_of(path), row
