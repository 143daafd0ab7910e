"""ARCHITECTURE.md agrees with the code where it can be compared."""

import re
import tomllib

from tests.docs import diagram
from tests.docs.tour import ROOT

from taskqueuex.engine.core import Core
from taskqueuex.writer.writer import Writer


def test_the_state_diagram_is_the_table_of_transitions():
    (shown,) = diagram.FENCE.findall(diagram.PAGE.read_text())
    assert shown == diagram.diagram(), "python -m tests.docs.diagram brings it up to date"


def test_the_rooms_and_their_doors_are_those_of_the_import_contract():
    text = diagram.PAGE.read_text()
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    layers = [layer.replace("taskqueuex.", "") for layer in contract["layers"]]
    assert " -> ".join(layers) in text
    rooms = {path.parent.name for path in (ROOT / "src/taskqueuex").glob("*/__init__.py")}
    assert rooms - set(re.findall(r"\b(\w+)(?:/  )", text)) <= {"telemetry"}


def test_every_file_it_sends_the_reader_to_is_there():
    text = diagram.PAGE.read_text()
    named = re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.py)`", text)
    assert named
    for name in named:
        assert (ROOT / name).exists() or (ROOT / "src/taskqueuex" / name).exists(), name


def test_the_functions_it_names_are_where_it_says():
    text = diagram.PAGE.read_text()
    for name, owner in (("move", Core), ("reseat", Core), ("_turn", Writer)):
        assert f"`{name}`" in text
        assert hasattr(owner, name)
