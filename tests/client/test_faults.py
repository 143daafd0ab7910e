"""Servers that misbehave, in the ways that servers do; for both shells, and over TLS as well."""

import socket
import time

import pytest
from tests.client.servers import CLOSE, ENQUEUED, HANG, RESET, answer, problem

from taskqueuex.client import RetryPolicy
from taskqueuex.errors import (
    CallTimeout,
    ClientError,
    ConnectionFailed,
    Draining,
    Forbidden,
    Invalid,
    NotFound,
    Overloaded,
    ProtocolError,
    QueueFull,
    RateLimited,
    Unauthenticated,
    UnexpectedStatus,
)

FAST = RetryPolicy(base_s=0.001, cap_s=0.002)
ONCE = RetryPolicy(attempts_max=1)
REFUSALS = [
    (problem(401, "unauthenticated", "WWW-Authenticate: Bearer"), Unauthenticated),
    (problem(403, "forbidden"), Forbidden),
]


@pytest.fixture(params=["http", "https"])
def scheme(request):
    return request.param


@pytest.fixture
def refused() -> str:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("step", [CLOSE, RESET, problem(503, "overloaded"), problem(408, "request_timeout")])
def test_a_call_is_repeated_with_the_key_of_its_first_sending(connect, scripted, step):
    server = scripted(step, step)
    assert connect(server.url, retry=FAST).enqueue("q").state == "ready"
    first, *others = server.keys()
    assert first is not None and others == [first, first]


def test_each_call_has_a_key_of_its_own(connect, scripted):
    server = scripted()
    client = connect(server.url)
    for _ in range(3):
        client.enqueue("q")
    client.enqueue("q", idempotency_key="mine")
    assert len(set(server.keys())) == 4 and server.keys()[-1] == "mine"


@pytest.mark.parametrize("cut", range(0, len(answer()), 7))
def test_an_answer_that_is_torn_anywhere_is_asked_for_again(connect, scripted, cut):
    server = scripted((answer()[:cut], CLOSE), (answer()[:cut], RESET))
    assert connect(server.url, retry=FAST).enqueue("q").state == "ready"
    assert len(set(server.keys())) == 1 and len(server.requests) == 3


def test_an_answer_may_come_byte_by_byte(connect, scripted):
    server = scripted(*[[bytes([each]) for each in answer()]] * 2)
    client = connect(server.url, retry=ONCE)
    assert [client.enqueue("q").state for _ in range(2)] == ["ready", "ready"]
    assert server.connections == 1


def test_a_connection_that_was_closed_while_idle_costs_nothing(connect, scripted):
    server = scripted((answer(), CLOSE), (answer(), CLOSE))
    client = connect(server.url, retry=ONCE)
    for _ in range(3):
        client.enqueue("q")
    assert len(set(server.keys())) == 3


def test_connections_are_kept(connect, scripted):
    server = scripted()
    client = connect(server.url)
    for _ in range(20):
        client.enqueue("q")
    assert server.connections == 1


def test_a_connection_that_the_server_wants_closed_is_not_used_again(connect, scripted):
    server = scripted(answer(201, ENQUEUED, "Connection: close"))
    client = connect(server.url, retry=ONCE)
    client.enqueue("q")
    client.enqueue("q")
    assert server.connections == 2


def test_a_dequeue_that_may_have_been_carried_out_is_not_repeated(connect, scripted):
    server = scripted(CLOSE)
    with pytest.raises(ConnectionFailed) as error:
        connect(server.url, retry=FAST).dequeue(queues=["q"])
    assert error.value.outcome == "unknown" and len(server.requests) == 1


def test_a_dequeue_that_was_refused_is_repeated(connect, scripted):
    server = scripted(problem(503, "overloaded"), answer(200, b'{"tasks":[]}'))
    assert connect(server.url, retry=FAST).dequeue(queues=["q"]).tasks == []
    assert server.keys() == [None, None]


def test_without_keys_nothing_is_repeated_that_may_have_been_carried_out(connect, scripted):
    server = scripted(CLOSE)
    with pytest.raises(ConnectionFailed) as error:
        connect(server.url, retry=RetryPolicy(idempotency="never")).enqueue("q")
    assert error.value.outcome == "unknown" and server.keys() == [None]


def test_nobody_listens_and_nothing_was_applied(connect, refused):
    with pytest.raises(ConnectionFailed) as error:
        connect(refused, retry=RetryPolicy(attempts_max=3, base_s=0.001)).enqueue("q")
    assert error.value.outcome == "not_applied"


def test_the_last_refusal_does_not_hide_that_an_earlier_sending_may_have_been_carried_out(connect, scripted):
    server = scripted(CLOSE, problem(503, "overloaded"))
    with pytest.raises(Overloaded) as error:
        connect(server.url, retry=RetryPolicy(attempts_max=2, base_s=0.001)).enqueue("q")
    assert error.value.outcome == "unknown"


def test_a_server_that_hangs_costs_the_timeout_and_no_more(connect, scripted):
    server = scripted(HANG)
    with pytest.raises(CallTimeout) as error:
        connect(server.url, timeout_s=0.2).enqueue("q")
    assert error.value.outcome == "unknown" and len(server.requests) == 1


def test_a_time_out_of_each_sending_lets_a_hung_one_be_repeated(connect, scripted):
    server = scripted(HANG)
    policy = RetryPolicy(attempt_timeout_s=0.2, base_s=0.001)
    assert connect(server.url, retry=policy).enqueue("q").state == "ready"
    assert len(set(server.keys())) == 1


def test_options_hold_for_the_calls_made_through_them(connect, scripted):
    server = scripted(HANG)
    client = connect(server.url)
    with pytest.raises(CallTimeout):
        client.with_options(timeout_s=0.2).enqueue("q")
    assert client.enqueue("q").state == "ready"


def test_retry_after_is_waited_for(connect, scripted):
    server = scripted(problem(503, "storage_unavailable", "Retry-After: 1"))
    started = time.monotonic()
    connect(server.url, retry=FAST).enqueue("q")
    assert time.monotonic() - started >= 1.0


def test_retry_after_beyond_the_timeout_is_told_at_once(connect, scripted):
    server = scripted(problem(503, "draining", "Retry-After: 60"))
    with pytest.raises(Draining) as error:
        connect(server.url).enqueue("q")
    assert error.value.retry_after_s == 60.0 and len(server.requests) == 1


def test_a_full_queue_is_told_unless_it_was_asked_to_be_repeated(connect, scripted):
    server = scripted(*[problem(429, "queue_full")] * 3)
    with pytest.raises(QueueFull):
        connect(server.url, retry=FAST).enqueue("q")
    patient = RetryPolicy(queue_full=True, base_s=0.001)
    assert connect(server.url, retry=patient).enqueue("q").state == "ready"


def test_a_rate_limit_is_waited_for(connect, scripted):
    server = scripted(problem(429, "rate_limited"))
    connect(server.url, retry=FAST).enqueue("q")
    assert len(server.requests) == 2
    server.steps.extend([problem(429, "rate_limited")] * 2)
    with pytest.raises(RateLimited):
        connect(server.url, retry=ONCE).enqueue("q")


def test_a_quota_is_waited_for_as_long_as_it_says(connect, scripted):
    server = scripted(problem(429, "rate_limited", "Retry-After: 1"))
    started = time.monotonic()
    connect(server.url, retry=FAST).enqueue("q")
    assert time.monotonic() - started >= 1.0 and len(server.requests) == 2
    server.steps.append(problem(429, "rate_limited", "Retry-After: 60"))
    with pytest.raises(RateLimited) as error:
        connect(server.url).enqueue("q")
    assert error.value.retry_after_s == 60.0


@pytest.mark.parametrize(("step", "kind"), REFUSALS)
def test_who_is_not_let_in_is_told_and_does_not_knock_again(connect, scripted, step, kind):
    server = scripted(step)
    with pytest.raises(kind) as error:
        connect(server.url, retry=FAST, token="of-nobody").enqueue("q")
    assert error.value.outcome == "not_applied" and len(server.requests) == 1
    assert server.requests[0][1]["authorization"] == "Bearer of-nobody"
    assert "of-nobody" not in str(error.value)


def test_an_empty_budget_ends_the_repeats(connect, scripted):
    server = scripted(*[problem(503, "overloaded")] * 50)
    client = connect(server.url, retry=FAST)
    core = getattr(client, "_client", client)._core
    core.budget.tokens, core.budget._at_s = 0.0, time.monotonic() + 1_000  # the time brings none either
    with pytest.raises(Overloaded):
        client.enqueue("q")
    assert len(server.requests) == 1


@pytest.mark.parametrize("garbage", [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 201 OK\r\nContent-Length: x\r\n\r\n"])
def test_garbage_is_told_as_such(connect, scripted, garbage):
    server = scripted(garbage)
    client = connect(server.url)
    with pytest.raises(ProtocolError) as error:
        client.enqueue("q")
    assert error.value.outcome == "unknown"
    assert client.enqueue("q").state == "ready", "the next call has a connection of its own"


def test_a_success_that_is_not_the_servers_is_told_as_such(connect, scripted):
    server = scripted(answer(201, b"<html>"), answer(206, b"{}"))
    client = connect(server.url)
    with pytest.raises(ProtocolError):
        client.enqueue("q")
    with pytest.raises(UnexpectedStatus):
        client.enqueue("q")


def test_a_refusal_of_a_proxy_has_its_status(connect, scripted):
    server = scripted(answer(403, b"forbidden here"))
    with pytest.raises(UnexpectedStatus) as error:
        connect(server.url).enqueue("q")
    assert error.value.answered == 403 and "forbidden here" in str(error.value)


def test_a_gateway_without_its_server_is_asked_again(connect, scripted):
    server = scripted(answer(502, b"bad gateway"))
    assert connect(server.url, retry=FAST).enqueue("q").state == "ready"
    assert len(set(server.keys())) == 1


def test_the_errors_of_the_api_are_not_repeated(connect, scripted):
    server = scripted(problem(404, "not_found"), problem(422, "invalid"))
    client = connect(server.url, retry=FAST)
    with pytest.raises(NotFound):
        client.get_queue("q")
    with pytest.raises(Invalid):
        client.enqueue("q")
    assert len(server.requests) == 2


@pytest.mark.parametrize("step", [CLOSE, problem(503, "draining", "Retry-After: 9")])
def test_the_next_server_stands_in_at_once(connect, scripted, step):
    first, second = scripted(step), scripted()
    client = connect([first.url, second.url])
    client.enqueue("q")
    client.enqueue("q")
    assert len(first.requests) == 1 and len(second.requests) == 2
    assert first.keys()[0] == second.keys()[0]


def test_a_server_that_is_not_there_is_stood_in_for(connect, scripted, refused):
    second = scripted()
    assert connect([refused, second.url]).enqueue("q").state == "ready"


def test_who_is_not_the_owner_names_who_is(connect, scripted):
    second = scripted()
    body = b'{"type":"t","title":"t","status":421,"detail":"d","code":"misdirected","outcome":"not_applied"'
    first = scripted(answer(421, body + b',"owner":"%b"}' % second.url.encode()))
    assert connect([first.url, second.url]).enqueue("q").state == "ready"
    assert len(second.requests) == 1


def test_a_closed_client_says_so(connect, scripted):
    client = connect(scripted().url)
    client.enqueue("q")
    client.close()
    with pytest.raises(ClientError, match="closed"):
        client.enqueue("q")


def test_a_value_that_is_no_json_is_named_before_anything_is_sent(connect, scripted):
    server = scripted()
    with pytest.raises(Invalid) as error:
        connect(server.url).enqueue("q", payload=object())
    assert error.value.errors[0].field == "payload" and not server.requests


def test_the_time_of_a_call_is_told_to_the_server(connect, scripted):
    server = scripted(answer(201), answer(200, b'{"tasks":[]}'))
    client = connect(server.url, timeout_s=5.0, token="secret")
    client.enqueue("q")
    client.dequeue(queues=["q"], wait_ms=20_000)
    times = [int(headers["request-timeout-ms"]) for _, headers, _ in server.requests]
    assert 4_000 <= times[0] <= 5_000 and 24_000 <= times[1] <= 25_000
    assert server.requests[0][1]["authorization"] == "Bearer secret"
