"""The table of docs/http.md, out of the cases that tests/network/test_hostile.py sends.

python -m tests.docs.hostile     puts it into the page
"""

import importlib.util
import re
import sys
from typing import Any

from tests.docs.tour import ROOT

PAGE = ROOT / "docs/http.md"
MARKED = re.compile(r"(?<=<!-- cases -->\n).*?(?=<!-- end of cases -->)", re.DOTALL)
SOURCE = ROOT / "tests/network/hostile.py"


def cases() -> dict[str, Any]:
    """The cases, by name."""
    spec = importlib.util.spec_from_file_location("hostile_cases", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)

    sys.modules[spec.name] = module  # which dataclasses look for
    spec.loader.exec_module(module)
    return dict(module.CASES)


def table() -> str:
    """One table for each subject."""
    lines: list[str] = []
    about = ""
    for case in cases().values():
        if case.about != about:
            about = case.about
            lines += [
                "",
                f"### {about[0].upper()}{about[1:]}",
                "",
                "| sent | answer | connection |",
                "|---|---|---|",
            ]
        answer = f"{case.status} {case.code}".strip()
        lines.append(f"| {case.title} | {answer} | {'goes on' if case.goes_on else 'closed'} |")
    return "\n".join(lines) + "\n\n"


if __name__ == "__main__":
    PAGE.write_text(MARKED.sub(lambda _: table(), PAGE.read_text()))
