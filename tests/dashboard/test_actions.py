"""Every other action of every page, done by a press, and seen at the server."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from browsing import TIMEOUT_MS, Visit
from opened import Shop
from playwright.sync_api import Page, expect

expect.set_options(timeout=TIMEOUT_MS)


@pytest.fixture
def seen(own_shop: Shop, visit: Callable[..., Visit]) -> Visit:
    """A visit by who may do everything."""
    found = visit(own_shop.server)
    found.enter(own_shop.server.token)
    return found


def press(page: Page, name: str, sure: str = "") -> None:
    """Presses a button, and the one of the question that comes, where one does."""
    page.get_by_role("button", name=name, exact=True).click()
    if sure:
        page.get_by_role("dialog").get_by_role("button", name=sure, exact=True).click()


def said(page: Page, text: str) -> None:
    expect(page.get_by_role("status").get_by_text(text).first).to_be_visible()


def counts(shop: Shop, queue: str) -> dict[str, int]:
    found: dict[str, int] = shop.server.call("GET", f"/v1/queues/{queue}")["counts"]
    return found


def task_of(shop: Shop, queue: str, **more: str) -> str:
    query = "&".join(f"{name}={value}" for name, value in {"queue": queue, **more}.items())
    return str(shop.server.call("GET", f"/v1/tasks?{query}")["tasks"][0]["id"])


def test_a_queue_is_paused_resumed_and_deleted(own_shop: Shop, seen: Visit) -> None:
    page = seen.open("queues")
    press(page, "Pause letters")
    said(page, "letters is paused")
    assert own_shop.server.call("GET", "/v1/queues/letters")["paused"]
    press(page, "Resume letters")
    said(page, "letters hands out again")
    assert not own_shop.server.call("GET", "/v1/queues/letters")["paused"]
    page = seen.open("queues/letters")
    page.get_by_role("button", name="Delete queue…").click()
    sure = page.get_by_role("button", name="Delete it")
    expect(sure).to_be_disabled()
    page.get_by_label("Type letters to go on").fill("letters")
    sure.click()
    said(page, "letters is deleted")
    expect(page.get_by_role("heading", name="Queues", level=1)).to_be_visible()
    names = [each["name"] for each in own_shop.server.call("GET", "/v1/queues")["queues"]]
    assert "letters" not in names
    assert seen.errors_without("/v1/queues/letters") == []


def test_a_task_is_cancelled_killed_unblocked_and_deleted(own_shop: Shop, seen: Visit) -> None:
    server = own_shop.server
    task = task_of(own_shop, "billing")
    page = seen.open(f"tasks/{task}")
    press(page, "Cancel…", "Cancel this task")
    said(page, "Cancellation is asked for")
    expect(page.locator(".title .state")).to_have_text(re.compile("cancelled"))
    assert server.call("GET", f"/v1/tasks/{task}")["state"] == "cancelled"
    press(page, "Delete…", "Delete")
    said(page, "Deleted")
    deleted, task = task, task_of(own_shop, "billing", state="ready")
    page = seen.open(f"tasks/{task}")
    press(page, "Kill…", "Kill this task")
    expect(page.locator(".title .state")).to_have_text(re.compile("dead"))
    assert server.call("GET", f"/v1/tasks/{task}")["state"] == "dead"
    page = seen.open(f"tasks/{own_shop.blocked}")
    expect(page.get_by_role("region", name="Why it is not running")).to_contain_text("waits for")
    press(page, "Unblock")
    expect(page.locator(".title .state")).to_have_text(re.compile("ready"))
    assert server.call("GET", f"/v1/tasks/{own_shop.blocked}")["state"] == "ready"
    assert seen.errors_without(f"/v1/tasks/{deleted}") == []


def test_all_that_a_search_finds_is_retried_and_deleted(own_shop: Shop, seen: Visit) -> None:
    page = seen.open("tasks?q=queue%3Aletters%20group%3Abirch")
    press(page, "Delete all found…", "Delete 2")
    said(page, "2 of 2 deleted")
    assert counts(own_shop, "letters")["ready"] == 4
    own_shop.prices.write_text("9.75")
    page = seen.open("tasks?q=queue%3Aorders%20error%3AFileNotFoundError")
    press(page, "Retry all found…", "Retry 5")
    said(page, "5 of 5 to be tried again")
    page = seen.open("tasks?q=queue%3Aorders%20state%3Acompleted")
    expect(page.get_by_role("region", name="Tasks").get_by_role("link", name="orders")).to_have_count(5)
    assert seen.errors == []


def test_one_group_of_dead_letters_is_replayed_or_deleted(own_shop: Shop, seen: Visit) -> None:
    page = seen.open("dead")
    page.get_by_role("checkbox", name=re.compile("^Select orders")).check()
    press(page, "Delete…", "Delete 5")
    said(page, "5 of 5 deleted")
    expect(page.get_by_text("There are no dead letters.")).to_be_visible()
    task = task_of(own_shop, "billing")
    own_shop.server.call("POST", f"/v1/tasks/{task}/kill")
    page = seen.open("dead")
    page.get_by_role("button", name=re.compile("^Replay billing")).click()
    page.get_by_role("dialog").get_by_role("button", name="Retry 1").click()
    said(page, "1 of 1 to be tried again")
    assert counts(own_shop, "billing")["ready"] == 4
    assert seen.errors == []


def test_of_many_problems_that_are_alike_a_few_are_told(own_shop: Shop, seen: Visit) -> None:
    for number in range(8):
        own_shop.server.call("POST", f"/v1/queues/tenant-{number}/tasks", {})
        own_shop.server.call("POST", f"/v1/queues/tenant-{number}/pause")
    page = seen.open("overview")
    wrong = page.get_by_label("What is wrong")
    expect(wrong.get_by_role("button", name="Resume")).to_have_count(3)
    wrong.get_by_role("link", name="6 more queues are paused").click()
    expect(page.get_by_role("heading", name="Queues")).to_be_visible()
    assert seen.violations() == []
    assert seen.errors == []


def test_queues_are_found_among_many(own_shop: Shop, seen: Visit) -> None:
    for number in range(120):
        own_shop.server.call("PUT", f"/v1/queues/tenant-{number:03}", {})
    own_shop.server.call("POST", "/v1/queues/tenant-115/tasks", {})
    page = seen.open("queues")
    rows = page.get_by_label("Queues", exact=True).locator("tbody tr")
    expect(rows).to_have_count(100)
    page.get_by_role("button", name="Show all").click()
    expect(rows).to_have_count(124)
    page.get_by_role("button", name="ready", exact=True).click()
    expect(rows.nth(0)).not_to_contain_text("tenant")
    page.get_by_label("name has").fill("tenant")
    expect(rows).to_have_count(120)
    expect(rows.nth(0)).to_contain_text("tenant-115")
    page.get_by_label("those at rest too").uncheck()
    expect(rows).to_have_count(1)
    page.get_by_label("name has").fill("nobody")
    expect(page.get_by_text("No queue has such a name.")).to_be_visible()
    assert seen.violations() == []
    assert seen.errors == []


def test_a_schedule_is_triggered_paused_resumed_and_deleted(own_shop: Shop, seen: Visit) -> None:
    server = own_shop.server
    page = seen.open("schedules")
    press(page, "Trigger nightly")
    said(page, "nightly is triggered")
    assert counts(own_shop, "reports")["ready"] == 1
    press(page, "Pause nightly")
    said(page, "nightly is paused")
    assert server.call("GET", "/v1/schedules/nightly")["paused"]
    press(page, "Resume nightly")
    said(page, "nightly goes on")
    assert not server.call("GET", "/v1/schedules/nightly")["paused"]
    press(page, "Delete nightly", "Delete it")
    said(page, "nightly is deleted")
    assert server.call("GET", "/v1/schedules")["schedules"] == []
    assert seen.errors == []


def test_a_worker_is_made_quiet_resumed_and_stopped(own_shop: Shop, seen: Visit) -> None:
    page = seen.open("workers")
    row = page.get_by_role("row").filter(has_text="till")
    press(page, "Make till quiet")
    expect(row).to_contain_text("quiet")
    own_shop.server.call("POST", "/v1/queues/orders/tasks", {"name": "shop.settle", "payload": {"order": 6}})
    assert counts(own_shop, "orders")["ready"] == 1
    press(page, "Resume till")
    expect(row).to_contain_text("takes tasks")
    press(page, "Stop till", "Stop it")
    said(page, "till is asked to stop")
    own_shop.worker.wait_ended()
    expect(row).to_have_count(0)
    assert seen.errors == []


def test_a_workflow_is_cancelled(own_shop: Shop, seen: Visit) -> None:
    page = seen.open(f"workflows/{own_shop.workflow}")
    expect(page.get_by_role("region", name="Graph").get_by_role("link")).to_have_count(3)
    press(page, "Cancel…", "Cancel it")
    said(page, "Cancelled")
    expect(page.get_by_role("region", name="Graph").get_by_role("link", name="cancelled")).to_have_count(3)
    assert counts(own_shop, "etl")["cancelled"] == 3
    assert seen.errors == []


def test_a_token_is_made_shown_once_and_revoked(
    own_shop: Shop, seen: Visit, visit: Callable[..., Visit]
) -> None:
    page = seen.open("access")
    press(page, "New token…")
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("night shift")
    dialog.get_by_label("Scopes").fill("read everything")
    dialog.get_by_role("button", name="Make it").click()
    expect(dialog.get_by_role("alert")).to_contain_text("scopes")
    dialog.get_by_label("Scopes").fill("read operate:orders*")
    dialog.get_by_role("button", name="Make it").click()
    token = dialog.get_by_role("region", name="Token").inner_text()
    dialog.get_by_role("button", name="I have kept it").click()
    expect(page.get_by_role("region", name="Tokens").last).not_to_contain_text(token)
    other = visit(own_shop.server)
    other.enter(token)
    elsewhere = other.open("overview")
    press(page, "Revoke night shift", "Revoke it")
    said(page, "night shift is revoked")
    # Who is signed in with it is sent away at once.
    expect(elsewhere.get_by_label("Token")).to_be_visible()
    audit = page.get_by_role("region", name="Audit").last
    page.get_by_label("command").fill("delete_token")
    page.get_by_label("command").press("Enter")
    expect(audit.get_by_role("row")).to_have_count(2)
    assert [each for each in seen.errors if "422" not in each] == []


def test_events_are_filtered_and_held(own_shop: Shop, seen: Visit) -> None:
    page = seen.open("events")
    page.get_by_role("textbox", name="queue").fill("late")
    page.get_by_role("textbox", name="queue").press("Tab")
    expect(page.get_by_text("Nothing has happened that you asked for.")).to_be_visible()
    enqueue: Any = ("POST", "/v1/queues/late/tasks", {"name": "late.one"})
    own_shop.server.call(*enqueue)
    rows = page.get_by_role("region", name="Events").get_by_role("row").filter(has_text="late.one")
    expect(rows).to_have_count(1)
    press(page, "Hold")
    own_shop.server.call(*enqueue)
    own_shop.server.call("POST", "/v1/queues/late/tasks", {"name": "late.two"})
    press(page, "Go on")
    expect(page.get_by_role("region", name="Events")).to_contain_text("late.two")
    assert seen.errors == []


def test_metrics_are_shown_of_all_ranges_and_of_a_queue(own_shop: Shop, seen: Visit) -> None:
    page = seen.open("metrics")
    chart = page.get_by_role("img", name=re.compile("^Tasks a second"))
    expect(chart).to_be_visible()  # when two points of ten seconds are there
    page.get_by_role("combobox", name="of", exact=False).first.select_option("orders")
    expect(page.get_by_role("img", name=re.compile("^orders: tasks a second"))).to_be_visible()
    for name in ("24 hours", "30 days", "1 hour"):
        button = page.get_by_role("button", name=name)
        button.click()
        expect(button).to_have_attribute("aria-pressed", "true")
        expect(page.locator(".failure")).to_have_count(0)
    assert seen.errors == []
