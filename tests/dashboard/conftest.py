"""The page as it is built, a browser, and a server that has a bit of everything in it."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

sys.path.append(str(Path(__file__).resolve().parent))

from browsing import FLAGS, ROOT, Server, Visit
from opened import Shop, open_shop


@pytest.fixture(scope="session")
def built() -> Path:
    """The directory of the built page, newer than its sources."""
    subprocess.run(["make", "--no-print-directory", "dashboard"], cwd=ROOT, check=True, timeout=500)
    return ROOT / "src" / "taskqueuex" / "dashboard" / "static"


@pytest.fixture(scope="module")  # while it is there, this thread has an event loop that runs
def browser() -> Iterator[Browser]:
    subprocess.run(["sh", "scripts/install_browser.sh"], cwd=ROOT, check=True, timeout=500)
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def shots() -> Path:
    """Where screenshots of all pages go: they are looked at, and kept as an artefact of the run."""
    directory = ROOT / "build" / "screenshots"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@pytest.fixture(scope="module")
def shop(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Nothing of it is changed by a test."""
    yield from open_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def own_shop(built: Path, tmp_path: Path) -> Iterator[Shop]:
    """One for a test that changes it."""
    yield from open_shop(tmp_path)


@pytest.fixture
def visit(browser: Browser, built: Path) -> Iterator[Callable[..., Visit]]:
    """Opens pages, which are closed with the test. Whatever is asked of elsewhere is a failure."""
    opened: list[Visit] = []

    def open_one(server: Server, **settings: Any) -> Visit:
        axe = ROOT / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"
        opened.append(Visit(browser, server, axe, **settings))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()
        assert each.elsewhere == []
