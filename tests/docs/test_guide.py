"""docs/guide.md and docs/migrate.md: every piece of code runs, with a real server and real workers."""

import re

import pytest
from tests.docs.snippets import all_blocks, run, sections
from tests.docs.tour import ROOT
from typer.main import get_command

from taskqueuex.app.options import TaskOptions
from taskqueuex.cli import register
from taskqueuex.cli.app import app as tqx

GUIDES = ["docs/guide.md", "docs/migrate.md"]
SECTIONS = [
    pytest.param(section, id=f"{guide}: {section.title}")
    for guide in GUIDES
    for section in sections((ROOT / guide).read_text())
]


@pytest.mark.parametrize("section", SECTIONS)
def test_the_code_of_a_section_runs(section, tmp_path):
    run(section, tmp_path)


@pytest.mark.parametrize("guide", GUIDES)
def test_no_block_is_left_out(guide):
    text = (ROOT / guide).read_text()
    ours = [content for language, content in all_blocks(text) if language != "python before"]
    ran = [
        piece
        for section in sections(text)
        for piece in (*section.files.values(), *section.scripts, "\n".join(section.commands))
        if piece
    ]
    assert len(ran) >= 8
    assert sum(map(len, ran)) >= sum(len(block.rstrip()) for block in ours)
    assert text.count("\n```") == 2 * len(all_blocks(text))  # every fence is the begin or end of a block


def test_a_piece_that_fails_is_a_failure(tmp_path):
    text = "## Wrong\n\n```python\nassert 1 == 2\n```\n"
    with pytest.raises(AssertionError, match="assert 1 == 2"):
        run(sections(text)[0], tmp_path)


def test_a_block_that_nothing_runs_is_refused():
    with pytest.raises(ValueError, match="cannot be run"):
        sections("## Other\n\n```ruby\nputs 1\n```\n")


def test_every_flag_and_option_of_the_tables_exists():
    text = (ROOT / "docs/guide.md").read_text()
    register.nouns()
    known = {name for each in get_command(tqx).commands["worker"].params for name in each.opts}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) <= known | {"--server"}
    table = text[text.index("| option | meaning |") : text.index("In the decorator alone")]
    rows = table.strip().splitlines()[2:]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named == set(TaskOptions.__annotations__) - {"with_parents"}  # which workflows set by themselves
