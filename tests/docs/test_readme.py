"""The README's tour and the sessions of the guides show what a reader gets."""

import subprocess

import pytest
from tests.docs.tour import ROOT, Normaliser, Terminals, blocks, languages, parts, steps

TOURS = ["README.md", "docs/api.md", "docs/storage.md"]


@pytest.mark.parametrize("document", TOURS)
def test_every_command_prints_what_the_document_shows(document, tmp_path):
    shown, printed = Normaliser(), Normaliser()
    with Terminals(tmp_path) as terminals:
        for language, block in parts((ROOT / document).read_text()):
            if language == "python":
                terminals.write(block)
            for step in steps(block) if language == "console" else ():
                assert printed(terminals.run(step.command)) == shown(step.shown), step.command


@pytest.mark.parametrize("document", TOURS)
def test_every_command_of_a_document_is_in_a_block_that_is_run(document):
    text = (ROOT / document).read_text()
    assert "console" in languages(text)
    assert languages(text) <= {"console", "sh", "text", "python"}
    for block in blocks(text, "sh"):  # what cannot be run from within a test run
        for line in block.splitlines():
            command = line.partition("#")[0].split()
            if command[:2] == ["pip", "install"]:
                assert command[2] == "taskqueuex", line
                continue
            assert command[0] == "make", line
            subprocess.run(["make", "--dry-run", *command[1:]], cwd=ROOT, check=True, capture_output=True)


def test_what_differs_from_run_to_run_is_forgotten():
    normalise = Normaliser()
    first = "01a20bef-fd62-79c6-8000-00f58f5ca880"
    second = "01a20bef-fe61-79c6-8000-00ece35a3724"
    assert normalise(f"{second} {first}  {second}") == "<id 1> <id 2> <id 1>"
    assert (
        normalise('{"lease":"12-888969c9c0afee12","at":1795496637084}') == '{"lease":"<lease 1>","at":<time>}'
    )
    assert normalise("up 2.5s since 2026-11-24 05:03:27.074Z") == "up <number> since <time>"
    assert normalise('{"attempt":1,"priority":5}') == '{"attempt":1,"priority":5}'
