"""What an operator does at night: sees what is wrong, finds out why, mends it."""

import re
from collections.abc import Callable

from browsing import TIMEOUT_MS, Server, Visit
from opened import Shop
from playwright.sync_api import expect

expect.set_options(timeout=TIMEOUT_MS)


def test_a_dead_letter_is_found_read_and_replayed_and_completes(
    own_shop: Shop, visit: Callable[..., Visit]
) -> None:
    seen = visit(own_shop.server)
    page = seen.page
    page.goto("/")
    page.get_by_label("Token").fill("not a token")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("Token").fill(own_shop.tokens["operator"])
    page.get_by_role("button", name="Sign in").click()

    wrong = page.get_by_role("region", name="What is wrong")
    wrong.get_by_role("link", name=re.compile("5 dead letters in orders")).click()
    expect(page.get_by_role("heading", name="Dead letters")).to_be_visible()
    page.get_by_role("link", name=re.compile("No such file")).click()

    expect(page.get_by_text("Traceback (most recent call last)").first).to_be_visible()
    expect(page.get_by_role("region", name="Traceback of attempt 2")).to_contain_text("till.py")
    expect(page.get_by_role("region", name="Payload", exact=True)).to_contain_text('"order":')
    own_shop.prices.write_text("12.50")
    page.get_by_role("button", name="Retry").click()
    expect(page.locator(".title .state")).to_have_text(re.compile("completed"))
    expect(page.get_by_role("region", name="Result", exact=True)).to_contain_text("at 12.50")

    # The others are mended at once, after a count.
    page.keyboard.press("g")
    page.keyboard.press("d")
    page.get_by_role("button", name="Replay all…").click()
    expect(page.get_by_role("dialog")).to_contain_text("Retry 4 tasks?")
    page.get_by_role("button", name="Retry 4").click()
    expect(page.get_by_role("status").get_by_text("4 of 4 to be tried again")).to_be_visible()
    expect(page.get_by_text("There are no dead letters.")).to_be_visible()
    page.keyboard.press("g")
    page.keyboard.press("o")
    expect(wrong.get_by_text("dead letter")).to_have_count(0)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_text("You have signed out.")).to_be_visible()
    assert [each for each in seen.errors if "401" not in each] == []


def test_a_paused_queue_is_resumed_where_it_is_told_of(own_shop: Shop, visit: Callable[..., Visit]) -> None:
    seen = visit(own_shop.server)
    seen.enter(own_shop.tokens["operator"])
    page = seen.open("overview")
    wrong = page.get_by_role("region", name="What is wrong")
    expect(wrong.get_by_text("billing is paused")).to_be_visible()
    wrong.get_by_role("button", name="Resume").click()
    expect(wrong.get_by_text("billing is paused")).to_have_count(0)
    assert own_shop.server.call("GET", "/v1/queues/billing")["paused"] is False
    assert seen.errors == []


def test_a_purge_needs_the_count_to_be_typed(own_shop: Shop, visit: Callable[..., Visit]) -> None:
    seen = visit(own_shop.server)
    seen.enter(own_shop.tokens["operator"])
    page = seen.open("queues")
    page.get_by_role("button", name="Purge billing").click()
    sure = page.get_by_role("button", name="Cancel 4")
    expect(sure).to_be_disabled()
    page.get_by_label("Type 4 to go on").fill("5")
    expect(sure).to_be_disabled()
    assert own_shop.server.call("GET", "/v1/queues/billing")["counts"]["ready"] == 4
    page.get_by_label("Type 4 to go on").fill("4")
    sure.click()
    expect(page.get_by_text("billing is purged")).to_be_visible()
    assert own_shop.server.call("GET", "/v1/queues/billing")["counts"]["ready"] == 0
    assert seen.errors == []


def test_settings_of_a_queue_are_changed_and_what_is_wrong_with_them_is_told(
    own_shop: Shop, visit: Callable[..., Visit]
) -> None:
    seen = visit(own_shop.server)
    seen.enter(own_shop.tokens["operator"])
    page = seen.open("queues/billing")
    page.get_by_label("max_running", exact=False).first.fill("3")
    page.get_by_label("Order of hand-out").select_option("fifo")
    page.get_by_role("button", name="Save discipline, max_running").click()
    expect(page.get_by_text("billing has new settings")).to_be_visible()
    queue = own_shop.server.call("GET", "/v1/queues/billing")
    assert (queue["max_running"], queue["discipline"]) == (3, "fifo")
    page.get_by_label("max_attempts", exact=False).fill("0")
    page.get_by_role("button", name="Save max_attempts").click()
    expect(page.get_by_role("alert")).to_contain_text("max_attempts")
    assert own_shop.server.call("GET", "/v1/queues/billing")["max_attempts"] == queue["max_attempts"]


def test_a_payload_keeps_numbers_that_javascript_would_round(
    own_shop: Shop, visit: Callable[..., Visit]
) -> None:
    seen = visit(own_shop.server)
    seen.enter(own_shop.tokens["operator"])
    found = own_shop.server.call("GET", "/v1/tasks?queue=etl&name=etl.load")["tasks"][0]
    page = seen.open(f"tasks/{found['id']}")
    expect(page.get_by_role("region", name="Payload", exact=True)).to_contain_text("12345678901234567890")
    page.get_by_role("button", name="Edit…").click()
    page.get_by_role("textbox", name="Payload").fill('{"id": 98765432109876543210}')
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("region", name="Payload", exact=True)).to_contain_text("98765432109876543210")
    assert own_shop.server.call("GET", f"/v1/tasks/{found['id']}")["payload"] == {"id": 98765432109876543210}


def test_selected_tasks_are_cancelled_after_a_count(own_shop: Shop, visit: Callable[..., Visit]) -> None:
    seen = visit(own_shop.server)
    seen.enter(own_shop.tokens["operator"])
    page = seen.open("tasks?q=queue%3Abilling")
    boxes = page.get_by_role("checkbox", name=re.compile("^Select [0-9a-f]{8}-"))
    expect(boxes).to_have_count(4)
    boxes.nth(0).check()
    boxes.nth(2).check()
    page.get_by_role("button", name="Cancel 2 selected…").click()
    expect(page.get_by_role("dialog")).to_contain_text("Cancel 2 tasks?")
    page.get_by_role("button", name="Cancel 2", exact=True).click()
    expect(page.get_by_text("2 of 2 cancelled")).to_be_visible()
    counts = own_shop.server.call("GET", "/v1/queues/billing")["counts"]
    assert (counts["ready"], counts["cancelled"]) == (2, 2)
    assert seen.errors == []


def test_a_server_that_goes_away_is_told_of_and_found_again(
    tmp_path: object, visit: Callable[..., Visit], built: object
) -> None:
    from pathlib import Path

    data = Path(str(tmp_path)) / "data"
    server = Server(data)
    seen = visit(server)
    try:
        page = seen.open("overview")
        expect(page.get_by_text("Nothing is wrong")).to_be_visible()
        assert seen.errors == []
    finally:
        server.stop()
    expect(page.get_by_role("alert").filter(has_text="Connection lost")).to_be_visible()
    again = Server(data, port=server.port)
    try:
        expect(page.get_by_text("Connection lost")).to_have_count(0)
        again.call("POST", "/v1/queues/late/tasks", {"payload": 1})
        page.keyboard.press("g")
        page.keyboard.press("q")
        expect(page.get_by_role("link", name="late")).to_be_visible()
    finally:
        again.stop()
