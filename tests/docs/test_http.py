"""docs/http.md shows what the hostile cases show, and names tests that there are."""

import re

from tests.docs import hostile
from tests.docs.tour import ROOT

from taskqueuex.network import NetworkConfig


def test_the_table_is_that_of_the_cases():
    (shown,) = hostile.MARKED.findall(hostile.PAGE.read_text())
    assert shown == hostile.table(), "python -m tests.docs.hostile brings it up to date"
    assert len(hostile.cases()) >= 100


def test_every_test_it_names_is_there():
    sources = "".join(path.read_text() for path in (ROOT / "tests/network").glob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", hostile.PAGE.read_text())
    assert len(named) > 10
    for name in named:
        assert f"def {name}(" in sources, name


def test_the_deadlines_it_tells_are_the_defaults():
    text = hostile.PAGE.read_text()
    for name, seconds in re.findall(r"\(`(\w+_s)`\) \| (\d+) s \|", text):
        assert getattr(NetworkConfig(), name) == float(seconds), name
    assert NetworkConfig().connections_per_address == 18_000
