"""Pauses, the budget, and which server is asked: pure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueuex.client.retry import RetryBudget, RetryPolicy
from taskqueuex.client.servers import Servers
from taskqueuex.errors import Invalid


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_a_pause_is_between_nothing_and_a_bound_that_doubles_up_to_the_cap(failures, chance):
    policy = RetryPolicy(base_s=0.05, cap_s=2.0)
    pause_s = policy.pause_s(failures, chance)
    assert 0 <= pause_s <= 2.0
    assert pause_s <= policy.pause_s(failures + 1, chance)
    if failures <= 6:
        assert pause_s == chance * min(2.0, 0.05 * 2 ** (failures - 1))


@pytest.mark.parametrize(
    ("field", "value"),
    [("attempts_max", 0), ("base_s", 0), ("cap_s", 0.01), ("idempotency", "x"), ("attempt_timeout_s", 0)],
)
def test_a_policy_out_of_range_is_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        RetryPolicy(**{field: value})


@given(st.lists(st.one_of(st.just("call"), st.floats(0, 5)), max_size=300))
def test_repeats_are_bounded_by_a_tenth_of_the_calls_the_time_and_the_reserve(events):
    now_s, calls, repeats = 0.0, 0, 0
    budget = RetryBudget(now_s)
    budget.tokens = 5.0
    for event in events:
        if event == "call":
            calls += 1
            budget.on_call()
        else:
            now_s += event
            repeats += budget.spend(now_s)
        assert repeats <= 5 + 0.1 * calls + 10 * now_s + 1e-6
        assert 0 <= budget.tokens <= RetryBudget.RESERVE + 1e-6


def test_an_empty_budget_refuses():
    budget = RetryBudget(0.0)
    assert sum(budget.spend(0.0) for _ in range(2_000)) == 1_000


def servers_of(*urls):
    return Servers(list(urls), None, "test")


def test_the_current_server_is_used_until_it_fails_then_the_next():
    servers = servers_of("http://a:1", "http://b:1", "http://c:1")
    a, b, c = servers.all
    assert servers.pick(0.0) is a
    a.on_failure(0.0)
    assert servers.pick(0.5) is b
    assert servers.pick(5.0) is b, "it stays there"
    b.on_failure(5.0)
    assert servers.pick(5.0) is c
    c.on_failure(5.0, retry_after_s=20)
    assert servers.pick(5.5) is a


def test_where_all_have_failed_the_one_is_asked_that_is_due_soonest():
    servers = servers_of("http://a:1", "http://b:1")
    a, b = servers.all
    a.on_failure(0.0, retry_after_s=10)
    b.on_failure(0.0)
    assert servers.pick(0.1) is b


def test_a_server_that_fails_on_is_left_alone_for_longer_up_to_a_bound():
    (a,) = servers_of("http://a:1").all
    cool_s = []
    for _ in range(10):
        a.on_failure(0.0)
        cool_s.append(a.cool_until_s)
    assert cool_s[:3] == [1.0, 2.0, 4.0] and cool_s[-1] == 30.0
    a.on_answer()
    assert a.cool_until_s == 0.0


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://a",
        "https://a/path",
        "http://",
        "http://a:x",
        "http://a:0",
        "http://a/path",
        "http://.a",
        "https://a..b",
        "http://u:p@a",
        "unix:",
    ],
)
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(Invalid) as error:
        servers_of(url)
    assert error.value.errors[0].field == "servers"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://a:7470", ("a", 7470)),
        ("http://[::1]:7470/", ("::1", 7470)),
        ("a:7470", ("a", 7470)),
        ("unix:/run/tqx.sock", "/run/tqx.sock"),
    ],
)
def test_an_address_is_read(url, address):
    assert servers_of(url).all[0].address == address


def test_a_token_that_would_break_the_head_is_refused():
    with pytest.raises(Invalid):
        Servers("http://a:1", "x\r\nInjected: y", "test")
