"""What a token does not allow is not shown, and is refused to whoever tries it all the same."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from browsing import TIMEOUT_MS, Visit
from opened import PATHS, Shop
from playwright.sync_api import expect

expect.set_options(timeout=TIMEOUT_MS)

CHANGES = re.compile(
    r"\b(pause|resume|purge|replay|retry|cancel|kill|delete|unblock|edit|save|undo|trigger|quiet|stop|revoke"
    r"|new token)\b",
    re.IGNORECASE,
)
FETCH = """async ([method, path, body, csrf]) => {
  const headers = { "Content-Type": "application/json", "X-CSRF-Token": csrf };
  const answer = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  return answer.status;
}"""


@pytest.mark.parametrize("name", [name for name in PATHS if name != "access"])
def test_a_viewer_sees_nothing_that_changes_anything(
    name: str, shop: Shop, visit: Callable[..., Visit]
) -> None:
    seen = visit(shop.server)
    seen.enter(shop.tokens["viewer"])
    page = seen.open(PATHS[name].format(shop=shop))
    expect(page.locator(".failure")).to_have_count(0)
    assert [each for each in seen.names() if CHANGES.search(each)] == []
    assert page.locator("input[type=checkbox]:not(.filters input)").count() == 0
    assert page.locator("main input:enabled:not(.filters input)").count() == 0
    assert seen.errors == []


def test_the_pattern_finds_the_buttons_of_an_operator(shop: Shop, visit: Callable[..., Visit]) -> None:
    seen = visit(shop.server)
    seen.enter(shop.server.token)
    found: set[str] = set()
    for path in PATHS.values():
        seen.open(path.format(shop=shop))
        found |= {each.split()[0].rstrip("…") for each in seen.names() if CHANGES.search(each)}
    assert found >= {"Pause", "Resume", "Purge", "Replay", "Retry", "Cancel", "Kill", "Delete"}
    assert found >= {"Unblock", "Edit", "Trigger", "Stop", "Revoke", "New"}


def test_every_change_a_viewer_tries_is_refused(shop: Shop, visit: Callable[..., Visit]) -> None:
    seen = visit(shop.server)
    seen.enter(shop.tokens["viewer"])
    page = seen.open("overview")
    csrf = page.evaluate("async () => (await (await fetch('/v1/session')).json()).csrf_token")
    task = shop.dead
    tries: list[tuple[str, str, Any]] = [
        ("POST", "/v1/queues/orders/pause", None),
        ("POST", "/v1/queues/orders/resume", None),
        ("POST", "/v1/queues/orders/purge", None),
        ("PUT", "/v1/queues/orders", {"max_running": 1}),
        ("DELETE", "/v1/queues/orders", None),
        ("POST", f"/v1/tasks/{task}/retry", None),
        ("POST", f"/v1/tasks/{task}/cancel", None),
        ("POST", f"/v1/tasks/{task}/kill", None),
        ("POST", f"/v1/tasks/{shop.blocked}/unblock", None),
        ("PATCH", f"/v1/tasks/{shop.blocked}", {"priority": 1}),
        ("DELETE", f"/v1/tasks/{task}", None),
        ("POST", "/v1/bulk", {"action": "retry", "filter": {"queue": "orders"}}),
        ("POST", f"/v1/workflows/{shop.workflow}/cancel", None),
        ("POST", "/v1/schedules/nightly/pause", None),
        ("POST", "/v1/schedules/nightly/resume", None),
        ("POST", "/v1/schedules/nightly/trigger", None),
        ("DELETE", "/v1/schedules/nightly", None),
        ("POST", "/v1/workers/till/quiet", None),
        ("POST", "/v1/workers/till/resume", None),
        ("POST", "/v1/workers/till/stop", None),
        ("POST", "/v1/tokens", {"name": "mine", "scopes": ["admin"]}),
        ("DELETE", "/v1/tokens/anything", None),
        ("POST", "/v1/admin/drain", None),
        ("POST", "/v1/queues/orders/tasks", {"payload": 1}),
    ]
    before = shop.server.call("GET", "/v1/queues/orders")["counts"]
    statuses = {
        (method, path): page.evaluate(FETCH, [method, path, body, csrf]) for method, path, body in tries
    }
    assert {each for each, status in statuses.items() if status != 403} == set()
    assert shop.server.call("GET", "/v1/queues/orders")["counts"] == before


def test_a_token_for_some_queues_steers_those_and_sees_no_others(
    shop: Shop, visit: Callable[..., Visit]
) -> None:
    seen = visit(shop.server)
    seen.enter(shop.tokens["narrow"])
    page = seen.open("queues")
    assert [each for each in seen.names() if CHANGES.search(each)] == ["Pause orders", "Purge orders"]
    expect(page.get_by_role("link", name="billing")).to_have_count(0)
    pages = page.get_by_role("navigation", name="Pages").get_by_role("link").all_inner_texts()
    assert not {"Workers", "Metrics", "Access"} & {each.split("\n")[0] for each in pages}
    page = seen.open("overview")
    expect(page.get_by_text("5 dead letters in orders")).to_be_visible()
    assert seen.errors == []


def test_a_token_that_may_not_look_is_told_so(shop: Shop, visit: Callable[..., Visit]) -> None:
    seen = visit(shop.server)
    seen.enter(shop.server.make_token("producer", "produce"))
    seen.page.goto("/")
    expect(seen.page.get_by_text("may not look at anything")).to_be_visible()
    assert seen.errors == []


def test_without_the_scope_payload_a_task_shows_all_else(shop: Shop, visit: Callable[..., Visit]) -> None:
    seen = visit(shop.server)
    seen.enter(shop.tokens["viewer"])
    page = seen.open(f"tasks/{shop.dead}")
    payload = page.get_by_role("region", name="Payload", exact=True)
    expect(payload).to_contain_text("this token has not the scope payload")
    expect(page.get_by_role("region", name="Traceback of attempt 2")).to_contain_text("till.py")
    assert "order" not in payload.inner_text()
    page = seen.open("tasks?q=queue%3Abilling")
    expect(page.get_by_role("region", name="Tasks").get_by_role("link", name="billing")).to_have_count(4)
    assert '{"n"' not in page.get_by_role("region", name="Tasks").inner_text()
    assert seen.errors == []
