"""docs/operations.md and docs/storage.md name metrics, presets and files that there are."""

import re

from tests.docs.tour import ROOT, Terminals

from taskqueuex.cli.top_model import KEYS
from taskqueuex.storage import PRESETS


def test_every_metric_to_watch_is_exposed(tmp_path):
    with Terminals(tmp_path) as terminals:
        terminals.run("make serve")
        exposed = set(re.findall(r"^# TYPE (\w+) ", terminals.get("/metrics"), re.MULTILINE))
    named = set(re.findall(r"`(taskqueuex_\w+)", (ROOT / "docs/operations.md").read_text()))
    assert len(named) > 15
    assert named - exposed == set()


def test_the_presets_are_described_as_they_are():
    page = (ROOT / "docs/storage.md").read_text()
    for name, preset in PRESETS.items():
        buffers = f"{preset.write_buffers} of {preset.write_buffer} MiB"
        assert f"| `{name}` | {buffers} | {preset.cache} MiB | {preset.wal} MiB |" in page


def test_links_between_documents_lead_somewhere():
    pages = [
        ROOT / "README.md",
        ROOT / "ARCHITECTURE.md",
        ROOT / "CHANGELOG.md",
        *(ROOT / "docs").glob("*.md"),
    ]
    for page in pages:
        for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
            path, _, anchor = target.partition("#")
            to = (page.parent / path).resolve() if path else page
            assert to.exists(), f"{page.name}: {target}"
            if anchor:
                headings = re.findall(r"^#+ (.*)$", to.read_text(), re.MULTILINE)
                assert anchor in {_anchor_of(heading) for heading in headings}, target


def _anchor_of(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")


def test_the_keys_of_top_are_described_as_they_are():
    page = (ROOT / "docs/operations.md").read_text()
    table = page.partition("## Watching it live")[2].partition("\n- ")[0]
    described = set(re.findall(r"`(.)`", table))
    assert described == {key for keys, _ in KEYS for key in keys.split() if len(key) == 1}
