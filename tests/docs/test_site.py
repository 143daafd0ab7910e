"""The site of the documentation: it builds without a warning, and has what there is to be had."""

import importlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from tests.docs.snippets import all_blocks, run, sections
from tests.docs.tour import ROOT, Normaliser, Terminals, blocks, languages, parts, steps
from typer.main import get_command

from taskqueuex.cli import register
from taskqueuex.cli.app import app as tqx
from taskqueuex.commands import COMMANDS
from taskqueuex.engine.states import TRANSITIONS
from taskqueuex.model.states import STATE_NAMES

PAGES = ["docs/index.md", "docs/concepts.md", "docs/cli.md", "docs/http-reference.md"]
SECTIONS = [
    pytest.param(section, id=f"{page}: {section.title}")
    for page in PAGES
    for section in sections((ROOT / page).read_text())
]
QUICKSTART = ROOT / "docs/quickstart.md"
SVG = "{http://www.w3.org/2000/svg}"


def build(config: Path, to: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(to)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """The site, built strictly; once."""
    to = tmp_path_factory.mktemp("site")
    built = build(ROOT / "mkdocs.yml", to)
    assert built.returncode == 0, built.stdout + built.stderr
    return to


@pytest.fixture
def generator(monkeypatch):
    """Imports a module of scripts/docs_site."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts/docs_site"))
    return importlib.import_module


def pages(site: Path) -> dict[str, str]:
    return {str(path.relative_to(site)): path.read_text() for path in site.rglob("*.html")}


def text_of(html: str) -> str:
    """What a reader sees, in one line."""
    return " ".join(unescape(re.sub(r"<[^>]*>", "", html)).split())


def part(html: str, level: str, anchor: str) -> str:
    """What stands below a heading, up to the next one."""
    found = re.search(rf'<h{level} id="{re.escape(anchor)}".*?(?=<h[2-3] id=|</article>)', html, re.DOTALL)
    assert found, f"there is no heading {anchor}"
    return found[0]


# The pages that were written


@pytest.mark.parametrize("section", SECTIONS)
def test_the_code_of_a_page_runs(section, tmp_path):
    run(section, tmp_path)


@pytest.mark.parametrize("page", [*PAGES, "docs/comparison.md"])
def test_no_block_of_a_page_is_left_out(page):
    text = (ROOT / page).read_text()
    found = [
        piece
        for section in sections(text)
        for piece in (*section.files.values(), *section.scripts, "\n".join(section.commands), *section.unrun)
    ]
    assert sum(map(len, found)) >= sum(len(content.rstrip()) for _, content in all_blocks(text))
    assert text.count("\n```") == 2 * len(all_blocks(text))


def test_the_quickstart_prints_what_it_shows(tmp_path):
    shown, printed = Normaliser(), Normaliser()
    ran = 0
    with Terminals(tmp_path) as terminals:
        for language, block in parts(QUICKSTART.read_text()):
            if language == "python":
                terminals.write(block)
            for step in steps(block) if language == "console" else ():
                assert printed(terminals.run(step.command)) == shown(step.shown), step.command
                ran += 1
    assert ran > 10


def test_the_quickstart_has_no_block_that_is_not_run():
    text = QUICKSTART.read_text()
    assert languages(text) <= {"console", "python", "sh"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert blocks(text, "sh") == [f"pip install {project['name']}\n"]
    extras = re.findall(r"pip install '\w+\[(\w+)\]'", text)
    assert extras and set(extras) <= set(project["optional-dependencies"])


# The site as a whole


def test_every_page_has_a_title_of_its_own_and_one_heading(site):
    titles = []
    for name, html in pages(site).items():
        title = re.search(r"<title>(.*?)</title>", html)
        assert title and title[1].strip(), name
        if name != "404.html":
            titles.append(title[1])
            assert html.count("<h1") == 1, name
    assert len(titles) == len(set(titles)) > 20


def test_the_navigation_has_every_document(site):
    listed = set(re.findall(r'<a href="([^"#]*)"[^>]*class="md-nav__link', (site / "index.html").read_text()))
    written = {path.stem for path in (ROOT / "docs").glob("*.md")} - {"index"}
    outside = {"architecture", "changelog", "benchmarks", "deployment"}
    assert {f"{name}/" for name in written | outside} - listed == set()
    assert {"http-reference/produce/", "http-reference/types/"} <= listed


def test_pages_that_stand_elsewhere_are_there_whole(site, generator):
    for source, page in generator("site_links").INCLUDED.items():
        page = page.removesuffix(".md")
        html = text_of((site / page / "index.html").read_text())
        headings = re.findall(r"^#+ (.*)$", (ROOT / source).read_text(), re.MULTILINE)
        assert headings
        for heading in headings:
            assert heading.strip("[]").replace("`", "").partition("]")[0] in html, heading


def test_nothing_that_is_to_be_made_is_left(site):
    for name, html in pages(site).items():
        assert "made: " not in html, name
        assert "```" not in html, name


@pytest.fixture
def copied(tmp_path) -> Path:
    """A directory with the pages of docs/ and a configuration, to be changed."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    (tmp_path / "mkdocs.yml").write_text(
        f"INHERIT: {ROOT}/mkdocs.yml\ndocs_dir: {tmp_path}/docs\n"
        f"theme: {{custom_dir: {ROOT}/scripts/docs_site/theme}}\nhooks: [{ROOT}/scripts/docs_site/hooks.py]\n"
    )
    return tmp_path


@pytest.mark.parametrize(
    "bad",
    [
        "[a page](nowhere.md)",
        "[an anchor](cli.md#nowhere)",
        "[a file](../nowhere.py)",
        "[absolute](/cli/)",
    ],
)
def test_a_link_that_leads_nowhere_fails_the_build(bad, copied):
    with (copied / "docs/comparison.md").open("a") as page:
        page.write(f"\n{bad}\n")
    built = build(copied / "mkdocs.yml", copied / "site")
    assert built.returncode != 0
    assert "comparison.md" in built.stderr


def test_a_document_without_a_place_in_the_navigation_gets_one(copied):
    (copied / "docs/news.md").write_text("# News\n\nToday.\n")
    built = build(copied / "mkdocs.yml", copied / "site")
    assert built.returncode == 0, built.stderr
    assert 'href="news/"' in (copied / "site/index.html").read_text()


def test_a_bar_in_the_code_of_a_cell_has_no_backslash(site):
    shown = text_of((site / "migrate/index.html").read_text())
    assert "a.message() | b.message()" in shown


def test_links_of_the_repository_become_those_of_the_site(generator):
    links = generator("site_links").links
    assert links("[x](docs/api.md#errors)", "ARCHITECTURE.md", "architecture.md") == "[x](api.md#errors)"
    assert links("[x](../ARCHITECTURE.md)", "docs/api.md", "api.md") == "[x](architecture.md)"
    assert links("[x](../benchmarks/README.md)", "docs/api.md", "api.md") == "[x](benchmarks.md)"
    assert links("[x](README.md)", "ARCHITECTURE.md", "architecture.md") == "[x](index.md)"
    assert links("see [`it`](../benchmarks/design_map).", "docs/a.md", "a.md") == "see `it`."
    for kept in (
        "[x](https://example.org/)",
        "[x](#here)",
        "[x](nowhere.md)",
        "```text\n[x](../LICENSE)\n```",
    ):
        assert links(kept, "docs/a.md", "a.md") == kept


# No other origin


class Loads(HTMLParser):
    """What a page makes a browser fetch, and the policy that it is under."""

    ATTRIBUTES = ("src", "srcset", "data", "poster", "background", "formaction", "action")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.policy = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.found += [given[name] for name in self.ATTRIBUTES if given.get(name)]
        if tag in ("link", "use", "image", "base") and given.get("href"):
            self.found.append(given["href"])
        self.found += re.findall(r"url\(['\"]?([^)'\"]+)", given.get("style") or "")
        if tag == "meta" and given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"]


def is_foreign(address: str) -> bool:
    return bool(re.match(r"(?i)\s*([a-z][a-z0-9+.-]*:)?//", address))


def test_no_page_loads_anything_of_another_origin(site):
    for name, html in pages(site).items():
        loads = Loads(html)
        assert any("extra.css" in each for each in loads.found), name  # it does find what is loaded
        assert [each for each in loads.found if is_foreign(each)] == [], name
        assert "default-src 'self'" in loads.policy, name
        assert "http" not in loads.policy and "*" not in loads.policy, name
        assert 'class="mermaid"' not in html, name  # which the theme would fetch a script for


def test_no_style_loads_anything_of_another_origin(site):
    styles = list(site.rglob("*.css"))
    assert len(styles) >= 3
    for style in styles:
        css = style.read_text()
        loaded = re.findall(r"url\(\s*['\"]?([^)'\"]+)", css) + re.findall(r"@import\s+['\"]([^'\"]+)", css)
        assert [each for each in loaded if is_foreign(each)] == [], style.name


def test_what_is_foreign_is_found():
    html = (
        '<script src="//cdn.example/x.js"></script><link href="https://fonts.example/f.css">'
        '<img src="a.png"><a href="https://example.org/">text</a><p style="background: url(http://x.example/y)">'
    )
    foreign = [each for each in Loads(html).found if is_foreign(each)]
    assert foreign == ["//cdn.example/x.js", "https://fonts.example/f.css", "http://x.example/y"]


# What is made from the program


def every_command(path, command):
    for name, each in getattr(command, "commands", {}).items():
        yield f"{path} {name}", each
        yield from every_command(f"{path} {name}", each)


def test_every_command_is_there_with_all_it_takes(site):
    html = (site / "cli/index.html").read_text()
    register.nouns()
    found = list(every_command("tqx", get_command(tqx)))
    shared = {each.help for each in get_command(tqx).params}
    assert len(found) > 50
    for path, command in found:
        words = path.split()
        below = text_of(part(html, str(len(words)), "-".join(words)))
        for param in command.params:
            if param.param_type_name == "argument":
                assert (param.metavar or param.name).upper().replace("_", "-") in below, (path, param.name)
                continue
            for name in (*param.opts, *param.secondary_opts) if param.help not in shared else param.opts[:1]:
                assert re.search(rf"(?<![\w-]){name}(?![\w-])", below), (path, name)
            if param.help and param.help not in shared:
                assert " ".join(param.help.replace("`", "").split()) in below, (path, param.opts)


def test_every_default_of_a_command_is_there(site):
    html = (site / "cli/index.html").read_text()
    row = re.search(r"<tr>(?:(?!</tr>).)*--connections.*?</tr>", part(html, "2", "tqx-bench"), re.DOTALL)
    bench = get_command(tqx).commands["bench"]
    (option,) = [each for each in bench.params if each.name == "connections"]
    assert row and str(option.default) in text_of(row[0])


def test_every_operation_is_there_with_all_it_takes_and_answers(site):
    overview = (site / "http-reference/index.html").read_text()
    for command in COMMANDS.values():
        assert f'href="{command.scope}/#{command.name}"' in overview, command.name
        assert f"{command.method} {command.path}" in text_of(overview)
        html = (site / f"http-reference/{command.scope}/index.html").read_text()
        below = part(html, "2", command.name)
        assert command.summary in text_of(below)
        assert f"{command.method} {command.path}" in text_of(below)
        for struct in (command.body, command.query):
            if isinstance(struct, type) and issubclass(struct, msgspec.Struct):
                for field in struct.__struct_encode_fields__:
                    assert f"<code>{field}</code>" in unescape(below), (command.name, field)
        for status in (*command.replies, *command.errors, 422):
            assert f"<code>{status}</code>" in below, (command.name, status)


def test_every_type_is_there_with_its_fields(site, generator):
    html = (site / "http-reference/types/index.html").read_text()
    types = generator("site_api").Reference().types
    assert len(types) > 50
    for name, schema in types.items():
        below = unescape(part(html, "2", name.lower()))
        for field in schema.get("properties", ()):
            assert f"<code>{field}</code>" in below, (name, field)


@pytest.mark.parametrize("page", ["concepts", "architecture"])
def test_the_picture_of_the_states_is_the_table(site, page):
    html = (site / page / "index.html").read_text()
    svg = ElementTree.fromstring(re.search(r"<svg class=\"tqx-states\".*?</svg>", html, re.DOTALL)[0])
    edges = svg.iterfind(f"{SVG}g[@class='edge']")
    drawn = Counter(tuple(edge.get(f"data-{name}") for name in ("from", "event", "to")) for edge in edges)
    table = ((STATE_NAMES[before], event, STATE_NAMES[after]) for before, event, after in TRANSITIONS)
    assert drawn == Counter(table)
    assert {each.get("data-state") for each in svg.iterfind(f"{SVG}g[@data-state]")} == set(STATE_NAMES)
    words = " ".join(each.text for each in svg.iter(f"{SVG}text"))
    for _, event, _ in TRANSITIONS:
        assert event in words, event


def test_the_picture_fits_and_its_boxes_do_not_overlap(generator):
    svg = ElementTree.fromstring(generator("site_states").picture())
    _, _, width, height = map(float, svg.get("viewBox").split())
    sides = ("x", "y", "width", "height")
    boxes = [tuple(float(rect.get(name)) for name in sides) for rect in svg.iter(f"{SVG}rect")]
    assert len(boxes) == len(STATE_NAMES)
    for x, y, wide, high in boxes:
        assert x >= 0 and y >= 0 and x + wide <= width and y + high <= height
    for place, (x, y, wide, high) in enumerate(boxes):
        for a, b, broad, tall in boxes[place + 1 :]:
            assert x + wide < a or a + broad < x or y + high < b or b + tall < y
    for text in svg.iter(f"{SVG}text"):
        wide = len(text.text) * 7  # about as much, at the size that it has
        begin = float(text.get("x")) - (wide / 2 if text.get("text-anchor") == "middle" else 0)
        assert begin > 0 and begin + wide < width and 0 < float(text.get("y")) < height, text.text
