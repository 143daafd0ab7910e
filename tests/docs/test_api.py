"""docs/api.md names the operations, fields, settings and errors that there are."""

import re

from tests.docs.tour import ROOT

from taskqueuex import errors
from taskqueuex.commands import COMMANDS
from taskqueuex.commands.produce import EnqueueTask
from taskqueuex.commands.queues import PutQueue

PAGE = (ROOT / "docs/api.md").read_text()


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def first_cells(title: str) -> set[str]:
    rows = [line.split("|")[1] for line in section(title).splitlines() if line.startswith("| `")]
    return {name for cell in rows for name in re.findall(r"`(\w+)`", cell)}


def test_every_operation_is_listed():
    listed = set(re.findall(r"^\| `([A-Z]+ /[^`]*)` \|", PAGE, re.MULTILINE))
    assert listed == {f"{command.method} {command.path}" for command in COMMANDS.values()}


def test_every_field_of_a_task_and_setting_of_a_queue_is_listed():
    assert first_cells("Put in") == set(EnqueueTask.__struct_fields__)
    assert first_cells("Queues") == set(PutQueue.__struct_fields__)


def test_every_error_is_listed_with_its_status():
    def tree(kind):
        return {kind, *(found for below in kind.__subclasses__() for found in tree(below))}

    answered = tree(errors.TaskQueueError) - tree(errors.ClientError)
    known = {(kind.status, kind.code) for kind in answered} - {(500, "internal")}
    listed = set()
    for status, codes in re.findall(r"^\| (\d+) \| ([^|]*) \|", section("Errors"), re.MULTILINE):
        listed |= {(int(status), code) for code in re.findall(r"`(\w+)`", codes)}
    assert listed == known
