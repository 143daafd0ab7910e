"""Each page: it is drawn without errors, for everybody, in light and dark, on screens of all widths."""

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from browsing import ROOT, TIMEOUT_MS, Visit
from opened import PATHS, Shop
from playwright.sync_api import expect

expect.set_options(timeout=TIMEOUT_MS)

BYTES_MAX = 150 * 1024


def test_all_that_is_sent_is_small(built: Path) -> None:
    files = [file for file in built.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} == {".html", ".js", ".css", ".svg"}
    assert sum(len(gzip.compress(file.read_bytes())) for file in files) <= BYTES_MAX


def test_every_page_of_the_source_is_looked_at_here() -> None:
    source = (ROOT / "dashboard" / "src" / "pages" / "all.ts").read_text()
    assert set(re.findall(r'path: "(\w+)"', source)) <= set(PATHS)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PATHS)
def test_a_page_has_no_errors_and_can_be_used_by_all(
    name: str, theme: str, shop: Shop, visit: Callable[..., Visit], shots: Path
) -> None:
    seen = visit(shop.server, theme=theme)
    seen.enter(shop.server.token)
    page = seen.open(PATHS[name].format(shop=shop))
    expect(page.locator(".failure")).to_have_count(0)
    page.screenshot(path=shots / f"{name}-{theme}.png", full_page=True)
    assert seen.violations() == []
    assert seen.errors == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_sign_in_can_be_used_by_all(
    theme: str, shop: Shop, visit: Callable[..., Visit], shots: Path
) -> None:
    seen = visit(shop.server, theme=theme)
    seen.page.goto("/")
    expect(seen.page.get_by_label("Token")).to_be_visible()
    seen.page.screenshot(path=shots / f"signin-{theme}.png")
    assert seen.violations() == []
    assert len(seen.errors) == 1 and "401" in seen.errors[0]


@pytest.mark.parametrize("name", PATHS)
def test_a_page_fits_a_narrow_screen(name: str, shop: Shop, visit: Callable[..., Visit], shots: Path) -> None:
    seen = visit(shop.server, width=400)
    seen.enter(shop.server.token)
    page = seen.open(PATHS[name].format(shop=shop))
    page.screenshot(path=shots / f"{name}-narrow.png")
    # What is wider than the screen scrolls in its own place, and the page does not.
    widths = page.evaluate(
        "[document.documentElement, document.querySelector('main')].map(e => e.scrollWidth)"
    )
    assert max(widths) <= 400
    assert seen.errors == []


def test_keys_lead_everywhere(shop: Shop, visit: Callable[..., Visit]) -> None:
    seen = visit(shop.server)
    seen.enter(shop.server.token)
    page = seen.open("overview")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    assert seen.violations() == []
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    headings = {"q": "Queues", "d": "Dead letters", "t": "Tasks", "w": "Workers", "s": "Schedules"}
    for key, heading in {**headings, "f": "Workflows", "e": "Events", "m": "Metrics", "a": "Access"}.items():
        page.keyboard.press("g")
        page.keyboard.press(key)
        expect(page.get_by_role("heading", name=heading, level=1)).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("state:de")
    page.keyboard.press("Tab")
    page.keyboard.type("queue:or")
    expect(page.get_by_role("option", name="queue:orders")).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"#/tasks\?q=state%3Adead%20queue%3Aorders$"))
    expect(page.get_by_role("region", name="Tasks").get_by_role("link", name="orders")).to_have_count(5)
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("o")
    expect(page.get_by_role("heading", name="Overview", level=1)).to_be_visible()
    assert seen.errors == []


def test_the_theme_that_was_chosen_is_remembered(shop: Shop, visit: Callable[..., Visit]) -> None:
    seen = visit(shop.server)
    seen.enter(shop.server.token)
    page = seen.open("overview")
    page.get_by_role("button", name="Switch to dark").click()
    page.reload()
    expect(page.get_by_role("button", name="Switch to light")).to_be_visible()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_a_search_that_makes_no_sense_is_told_of(shop: Shop, visit: Callable[..., Visit]) -> None:
    seen = visit(shop.server)
    seen.enter(shop.server.token)
    page = seen.open("tasks?q=colour%3Ared")
    expect(page.locator(".failure")).to_contain_text("is no field")
    page = seen.open("nowhere")
    expect(page.get_by_text("There is no such page")).to_be_visible()


def test_a_queue_tells_why_it_is_not_faster_and_who_shares_it(
    shop: Shop, visit: Callable[..., Visit]
) -> None:
    seen = visit(shop.server)
    seen.enter(shop.server.token)
    page = seen.open("queues/billing")
    expect(page.get_by_role("region", name="Why it is not faster")).to_contain_text("paused")
    page = seen.open("queues/letters")
    why = page.get_by_role("region", name="Why it is not faster")
    expect(why).to_contain_text("no consumer")
    groups = page.get_by_role("region", name="Groups", exact=True).get_by_role("row")
    expect(groups).to_have_text(
        [re.compile("^group"), re.compile("^acme.*75 %$"), re.compile("^birch.*25 %$")]
    )
    groups.get_by_role("link", name="birch").click()
    expect(page).to_have_url(re.compile(r"q=queue%3Aletters%20group%3Abirch$"))
    expect(page.get_by_role("region", name="Tasks").get_by_role("link", name="letters")).to_have_count(2)
    assert seen.errors == []


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("name:settle", "name:shop.settle"),
        ("group:ac", "group:acme"),
        ("tag:e", "tag:eu"),
        ("error:found", "error:FileNotFoundError"),
        ("state:comp", "state:completed"),
    ],
)
def test_a_search_is_completed_by_what_there_is(
    typed: str, offered: str, shop: Shop, visit: Callable[..., Visit]
) -> None:
    seen = visit(shop.server)
    seen.enter(shop.tokens["viewer"])
    page = seen.open("overview")
    page.keyboard.press("/")
    page.keyboard.type(typed)
    page.get_by_role("option", name=offered, exact=True).click()
    expect(page.get_by_label("Search tasks")).to_have_value(f"{offered} ")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("tasks"))
    assert seen.errors == []
