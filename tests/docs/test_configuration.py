"""docs/configuration.md lists the settings that there are, as the code has them."""

import tomllib
import typing
from dataclasses import fields

import pytest
from tests.docs.tour import ROOT, blocks

from taskqueuex.cli import register
from taskqueuex.cli.app import app
from taskqueuex.node import config

PAGE = (ROOT / "docs/configuration.md").read_text()
ROWS = {
    cells[0].strip("`"): cells
    for line in PAGE.splitlines()
    if line.startswith("| `") and len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 6
}
DEFAULTS = config.defaults()
UNSET = {
    "storage.cache_mb": "of the preset",
    "overload.memory_max_mb": "of the control group, or the machine",
}
SECTIONS = {each.name: each.type for each in fields(config.NodeConfig)}


def serve_flags() -> set[str]:
    from typer.main import get_command

    register.nouns()
    return {
        name for parameter in get_command(app).commands["serve"].params for name in parameter.opts
    }  # fmt: skip


def choices_of(name: str) -> tuple[str, ...]:
    section, key = name.split(".")
    kind = typing.get_type_hints(SECTIONS[section])[key]
    return typing.get_args(kind) if typing.get_origin(kind) is typing.Literal else ()


def test_every_setting_is_listed_and_no_other():
    assert list(ROWS) == list(DEFAULTS)


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_setting_is_described_as_the_code_has_it(name):
    _, default, range_, environment, flag, what = ROWS[name]
    value = DEFAULTS[name]
    if value is None:
        assert default == UNSET.get(name, "none")
    else:
        shown = "[" + ", ".join(f'"{each}"' for each in value) + "]" if isinstance(value, tuple) else value
        assert default == f"`{shown}`"
    low_high = config._RANGES.get(name)
    assert range_ == (f"{low_high[0]} to {low_high[1]}" if low_high else ", ".join(choices_of(name)))
    short = [variable for variable, setting in config.SHORT_NAMES.items() if setting == name]
    long = "TQX_" + name.upper().replace(".", "_")
    assert environment == ", ".join(f"`{variable}`" for variable in dict.fromkeys([long, *short]))
    wanted = config._flag(name)
    assert flag == (f"`{wanted}`" if wanted in serve_flags() else "")
    assert what


def test_the_example_file_is_a_configuration(tmp_path):
    (example,) = blocks(PAGE, "toml")
    assert tomllib.loads(example)
    (tmp_path / "example.toml").write_text(example)
    loaded = config.load(tmp_path / "example.toml", {}, {})
    assert loaded.storage.preset == "throughput"
    assert loaded.network.listen == ("127.0.0.1:7470", "[::1]:7470")
