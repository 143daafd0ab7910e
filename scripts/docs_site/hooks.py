"""What mkdocs calls while it builds the site (`hooks` of mkdocs.yml).

Three things of the site are made here and are in no file of docs/: the references of the command line and of
the HTTP interface, the picture of the states, and the pages that stand outside of docs/. A page says by a
comment where the made part goes: `<!-- made: cli -->`. Nothing is fetched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import site_cli
import site_links
import site_states
from mkdocs.structure.files import File, Files
from site_api import Reference

__all__ = ["on_config", "on_files", "on_page_markdown"]

_REFERENCE = "http-reference"  # the overview, and the directory of the pages below it
_MADE = re.compile(r"^<!-- made: (\w+) -->$", re.MULTILINE)
_MERMAID = re.compile(r"^```mermaid\n.*?^```$", re.MULTILINE | re.DOTALL)

_SOURCES = {page: source for source, page in site_links.INCLUDED.items()}


def on_config(config: Any) -> Any:
    """Puts into the navigation what mkdocs.yml cannot know: the pages of the HTTP reference, one an area, and
    under "More" what has been added to docs/ and has no place yet."""
    reference = Reference()
    pages = [{reference.title(area): f"{_REFERENCE}/{area}.md"} for area in reference.areas]
    section = [{"Overview": f"{_REFERENCE}.md"}, *pages, {"Types": f"{_REFERENCE}/types.md"}]
    _replace(config.nav, f"{_REFERENCE}.md", section)
    known = set(_listed(config.nav))
    more = sorted({each.name for each in Path(config.docs_dir).glob("*.md")} - known)
    if more:
        config.nav.append({"More": more})
    return config


def _listed(nav: Any) -> Iterator[str]:
    for entry in nav:
        if isinstance(entry, str):
            yield entry
            continue
        for below in entry.values():
            yield from (below,) if isinstance(below, str) else _listed(below)


def _replace(nav: list[Any], page: str, section: list[Any]) -> None:
    for entry in nav:
        for name, below in entry.items() if isinstance(entry, dict) else ():
            if below == page:
                entry[name] = section
                return
            if isinstance(below, list):
                _replace(below, page, section)


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages that are made, and those that stand outside of docs/."""
    reference = Reference()
    made = {f"{_REFERENCE}/{area}.md": reference.page(area) for area in reference.areas}
    made[f"{_REFERENCE}/types.md"] = reference.types_page()
    for source, page in site_links.INCLUDED.items():
        made[page] = (site_links.ROOT / source).read_text()
    for page, text in made.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Makes what is made, and turns what is written for the repository into what the site needs."""
    path = page.file.src_uri
    if "<!-- made: states -->" in markdown or _MERMAID.search(markdown):
        page.meta["hide"] = ["toc"]  # the picture is as wide as both
    text = _MADE.sub(lambda found: _MAKERS[found[1]](), markdown)
    text = _MERMAID.sub(lambda _: _states(), text)
    if not path.startswith(f"{_REFERENCE}/"):
        text = site_links.links(text, _SOURCES.get(path, f"docs/{path}"), path)
    return site_links.bars(site_links.fences(text))


def _states() -> str:
    return f'<figure class="tqx-figure" tabindex="0">{site_states.picture()}</figure>'


_MAKERS = {
    "cli": site_cli.reference,
    "operations": lambda: Reference().overview(_REFERENCE),
    "states": _states,
}
