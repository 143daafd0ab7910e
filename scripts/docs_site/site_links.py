"""Links and fences that are written for the repository, as the site needs them.

A page is a file of the repository: one under docs/, or one that `INCLUDED` names. Its links are relative to
that file. Those that lead to another page lead to it on the site, too; those that lead to anything else of
the repository lose their link and keep their words, since the site holds no source. What leads nowhere is
left as it is, so that the build says so.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from site_text import code

__all__ = ["INCLUDED", "bars", "fences", "links"]

ROOT = Path(__file__).resolve().parents[2]

# What stands outside of docs/, and the page that it is.
INCLUDED = {
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks.md",
    "deploy/README.md": "deployment.md",
}
_PAGES = {**INCLUDED, "README.md": "index.md"}

_BLOCK = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\[\]]*\])+)\]\((?!https?:|mailto:)([^()\s]+)\)")
_CELL_CODE = re.compile(r"`([^`\n]*\\\|[^`\n]*)`")
_FENCE = re.compile(r"^```(\w+) [a-z]+$", re.MULTILINE)


def links(text: str, source: str, page: str) -> str:
    """Rewrites the links of `source`, a path in the repository, for `page`, a path in docs/."""
    parts = _BLOCK.split(text)
    parts[::2] = [_LINK.sub(lambda found: _link(found, source, page), part) for part in parts[::2]]
    return "".join(parts)


def _link(found: re.Match[str], source: str, page: str) -> str:
    words, target = found.groups()
    path, hash_, anchor = target.partition("#")
    if not path:
        return found[0]
    named = os.path.normpath(os.path.join(os.path.dirname(source), path))
    to = named.removeprefix("docs/") if named.startswith("docs/") else _PAGES.get(named)
    if to is None:
        return words if (ROOT / named).exists() else found[0]
    return f"[{words}]({os.path.relpath(to, os.path.dirname(page) or '.')}{hash_}{anchor})"


def fences(text: str) -> str:
    """Takes from fences the word for the tests behind the language: `python before`."""
    return _FENCE.sub(r"```\1", text)


def bars(text: str) -> str:
    """Undoes the escapes of bars in code in tables: the site would show the backslash."""
    lines = [_CELL_CODE.sub(_plain_bars, line) if line.startswith("|") else line for line in text.split("\n")]
    return "\n".join(lines)


def _plain_bars(found: re.Match[str]) -> str:
    return code(found[1].replace("\\|", "|"))
