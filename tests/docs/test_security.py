"""docs/security.md and docs/operations.md: what they show runs, and what they name exists."""

import re

import pytest
from tests.docs.snippets import run, sections
from tests.docs.tour import ROOT
from typer.main import get_command

from taskqueuex.cli import register
from taskqueuex.cli.app import app as tqx
from taskqueuex.client import TLS
from taskqueuex.node.config import defaults

PAGES = ["docs/security.md", "docs/operations.md"]
SECTIONS = [
    pytest.param(section, id=f"{page}: {section.title}")
    for page in PAGES
    for section in sections((ROOT / page).read_text())
]


@pytest.mark.parametrize("section", SECTIONS)
def test_the_code_of_a_section_runs(section, tmp_path):
    run(section, tmp_path)


def test_both_pages_have_something_to_run():
    assert len([each for each in SECTIONS if each.id.startswith(PAGES[0])]) >= 3
    assert len([each for each in SECTIONS if each.id.startswith(PAGES[1])]) >= 3


def options_of(command):
    found = {name for each in command.params for name in each.opts}
    for each in getattr(command, "commands", {}).values():
        found |= options_of(each)
    return found


@pytest.mark.parametrize("page", PAGES)
def test_every_option_and_setting_that_is_named_exists(page):
    text = (ROOT / page).read_text()
    register.nouns()
    ours = re.sub(r"^(make|apt-get|systemctl|openssl|sysctl|cpupower).*$", "", text, flags=re.MULTILINE)
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", ours))
    assert named <= options_of(get_command(tqx)), named - options_of(get_command(tqx))
    settings = {name for name in re.findall(r"`(\w+\.\w+)[` ]", text) if name.split(".")[0] in SECTION_NAMES}
    assert settings <= set(defaults())


SECTION_NAMES = {name.split(".")[0] for name in defaults()}


def test_the_table_of_connections_names_what_there_is():
    page = (ROOT / "docs/security.md").read_text()
    table = page.partition("| option of tqx |")[2].partition("\n\n")[0]
    fields = set(re.findall(r"(\w+)=", table)) - {"token", "tls"}
    assert fields == {"ca", "certificate", "key"} < set(TLS.__dataclass_fields__)
    from taskqueuex.node.config import load

    assert load(None, dict.fromkeys(re.findall(r"TQX_\w+", table), "x"), {})
