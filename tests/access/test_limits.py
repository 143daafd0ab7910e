"""Limits: of bad credentials by address, of requests and of tasks by token."""

import logging
import os

import pytest
from access_wire import token_of
from hypothesis import given
from hypothesis import strategies as st

from taskqueuex.access.attempts import ATTEMPTS_MAX, Attempts
from taskqueuex.access.limits import DAY_MS, Bucket, Quota
from taskqueuex.access.tokens import make_token
from taskqueuex.commands.access import CreateToken
from taskqueuex.errors import RateLimited, Unauthenticated
from taskqueuex.model.access import RateRecord

MINUTE_MS = 60_000


# Attempts


def test_bad_credentials_are_limited_and_good_ones_pass(server, admin, connect):
    wire = connect("tqx_abcdefghij_wrong")
    for _ in range(ATTEMPTS_MAX):
        assert wire.call("GET", "/v1/queues").status == 401
    reply = wire.call("GET", "/v1/queues")
    assert (reply.status, reply.code) == (429, "rate_limited")
    assert 1 <= int(reply.headers["retry-after"]) <= 60
    assert wire.call("POST", "/v1/session", {"token": "x"}).status == 429, "signing in is an attempt too"
    assert admin.call("GET", "/v1/queues").status == 200
    assert wire.call("POST", "/v1/session", {"token": admin.token}).status == 200
    server.clock.advance(60)
    assert wire.call("GET", "/v1/queues").status == 401


def test_no_credentials_are_no_attempt(admin, connect):
    wire = connect()
    assert {wire.call("GET", "/v1/queues").status for _ in range(2 * ATTEMPTS_MAX)} == {401}


def test_attempts_are_counted_by_reason(server, admin, new_token, connect):
    revoked, expired = new_token("read"), new_token("read", expires_in_ms=1)
    admin.good("DELETE", f"/v1/tokens/{revoked['id']}")
    server.clock.advance(1)
    wire = connect()
    wire.call("GET", "/v1/queues")
    for value in ("Basic x", "Bearer x", f"Bearer {revoked['token']}", f"Bearer {expired['token']}"):
        wire.call("GET", "/v1/queues", Authorization=value)
    metrics = admin.call("GET", "/metrics").body.decode()
    for reason in ("missing", "scheme", "unknown", "revoked", "expired"):
        assert f'taskqueuex_auth_refused_total{{reason="{reason}"}} 1' in metrics
    assert "taskqueuex_tokens 2" in metrics


def test_the_log_has_each_attempt_up_to_the_limit_and_the_rest_in_sum(caplog):
    attempts = Attempts()
    with caplog.at_level(logging.WARNING, "taskqueuex.access"):
        for _ in range(ATTEMPTS_MAX + 30):
            attempts.refuse("192.0.2.1", "unknown", "abcdefghij", 0)
        assert len(caplog.records) == ATTEMPTS_MAX
        attempts.tidy(MINUTE_MS)
        assert len(caplog.records) == ATTEMPTS_MAX + 1
    first, last = caplog.records[0], caplog.records[-1]
    assert (first.address, first.reason, first.token) == ("192.0.2.1", "unknown", "abcdefghij")
    assert (last.address, last.attempts) == ("192.0.2.1", 30)


@pytest.mark.parametrize(
    ("addresses", "kind"),
    [
        (("192.0.2.1", "192.0.2.2"), Unauthenticated),
        (("2001:db8::1", "2001:db8::ffff:1"), RateLimited),
        (("2001:db8:0:1::1", "2001:db8:0:2::1"), Unauthenticated),
        (("fe80::1%eth0", "fe80::2%eth0"), RateLimited),
        (("::ffff:192.0.2.1", "::ffff:192.0.2.2"), Unauthenticated),
        (("::ffff:192.0.2.1", "192.0.2.1"), RateLimited),
    ],
)
def test_an_address_is_one_of_ipv4_or_a_site_of_ipv6(addresses, kind):
    attempts = Attempts()
    for _ in range(ATTEMPTS_MAX):
        attempts.refuse(addresses[0], "unknown", "", 0)
    assert type(attempts.refuse(addresses[1], "unknown", "", 0)) is kind


def test_the_table_of_addresses_is_bounded():
    attempts = Attempts()
    for number in range(25_000):
        attempts.refuse(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", "unknown", "", 0)
    assert len(attempts._windows) <= 10_000


# Rates of tokens


def test_a_bucket_gives_its_burst_and_then_its_rate():
    bucket = Bucket(RateRecord(10.0, 5), 0)
    assert [bucket.take(1, 0) for _ in range(5)] == [0.0] * 5
    wait_s = bucket.take(1, 0)
    assert wait_s == pytest.approx(0.1)
    assert bucket.take(1, int(wait_s * 1_000_000) - 2) > 0, "the time told is the time it takes"
    assert bucket.take(1, round(wait_s * 1_000_000)) == 0.0
    assert [bucket.take(1, 60_000_000) for _ in range(6)].count(0.0) == 5, "no more than the burst is saved"


def test_a_batch_over_the_burst_passes_when_the_bucket_is_full_and_is_paid_back():
    bucket = Bucket(RateRecord(10.0, 5), 0)
    assert bucket.take(20, 0) == 0.0
    assert bucket.take(1, 0) == pytest.approx(1.6)
    assert bucket.take(1, 1_600_000) == 0.0


@given(
    per_second=st.floats(0.01, 1_000),
    burst=st.integers(1, 50),
    asked=st.lists(st.tuples(st.integers(0, 2_000_000), st.integers(1, 80)), min_size=1, max_size=40),
)
def test_a_bucket_never_gives_more_than_its_rate_and_one_call_over_its_burst(per_second, burst, asked):
    bucket, now_us, given_out = Bucket(RateRecord(per_second, burst), 0), 0, 0
    for later_us, count in asked:
        now_us += later_us
        wait_s = bucket.take(count, now_us)
        if not wait_s:
            given_out += count
        else:
            assert bucket.take(count, now_us + int(wait_s * 999_000)) > 0, "not before the time told"
            now_us += int(wait_s * 1_000_000) + 1
            assert bucket.take(count, now_us) == 0.0, "but then"
            given_out += count
        assert given_out <= burst + per_second * now_us / 1_000_000 + max(0, count - burst) + 1e-3


def test_requests_over_the_rate_are_429_and_those_that_end_work_never_are(admin, as_holder):
    holder = as_holder("produce", "consume", rate_limit={"per_second": 0.001, "burst": 3})
    holder.good("POST", "/v1/queues/q/tasks", {})
    holder.good("POST", "/v1/queues/q/tasks", {})
    first, second = holder.good("POST", "/v1/queues/q/dequeue", {"max": 2})["tasks"]
    reply = holder.call("POST", "/v1/queues/q/tasks", {})
    assert (reply.status, reply.code) == (429, "rate_limited")
    assert 900 <= int(reply.headers["retry-after"]) <= 1_000
    path = f"/v1/tasks/{first['id']}"
    holder.good("POST", f"{path}/heartbeat", {"lease": first["lease"]})
    holder.good("POST", f"{path}/ack", {"lease": first["lease"]})
    ack = {"id": second["id"], "lease": second["lease"]}
    assert holder.good("POST", "/v1/settle", {"ack": [ack]})["ack"] == [{"state": "completed"}]
    assert holder.call("POST", "/v1/settle", {"ack": [ack], "dequeue": {"queues": ["q"]}}).status == 429
    assert 'taskqueuex_auth_limited_total{limit="requests"} 2' in admin.call("GET", "/metrics").body.decode()


def test_tasks_over_the_rate_are_429_a_batch_as_a_whole(server, admin, as_holder):
    holder = as_holder("produce", tasks_rate_limit={"per_second": 1, "burst": 10})
    batch = ("POST", "/v1/queues/q/tasks/batch", {"tasks": [{}] * 6})
    holder.good(*batch)
    reply = holder.call(*batch)
    assert (reply.status, reply.code) == (429, "rate_limited")
    assert int(reply.headers["retry-after"]) in (1, 2)
    assert admin.good("GET", "/v1/queues/q")["counts"]["ready"] == 6
    server.clock.advance(int(reply.headers["retry-after"]))
    holder.good(*batch)
    workflow = {"tasks": [{"ref": "a", "queue": "q"}, {"ref": "b", "queue": "q"}]}
    assert holder.call("POST", "/v1/workflows", workflow).status == 429


def test_a_quota_is_of_a_day_of_utc(server, admin, as_holder):
    holder = as_holder("produce", tasks_per_day=3)
    holder.good("POST", "/v1/queues/q/tasks/batch", {"tasks": [{}, {}]})
    assert holder.call("POST", "/v1/queues/q/tasks/batch", {"tasks": [{}, {}]}).status == 429
    holder.good("POST", "/v1/queues/q/tasks", {})
    reply = holder.call("POST", "/v1/queues/q/tasks", {})
    assert (reply.status, reply.code) == (429, "rate_limited")
    left_s = int(reply.headers["retry-after"])
    assert 0 < left_s <= 86_400 and (server.clock.now_ms() // 1_000 + left_s) % 86_400 in (0, 1)
    server.clock.advance(left_s)
    holder.good("POST", "/v1/queues/q/tasks", {})
    too_many = holder.call("POST", "/v1/queues/q/tasks/batch", {"tasks": [{}] * 4})
    assert too_many.status == 422, "no day would have room for it"


def test_a_quota_goes_on_from_the_row_of_its_token():
    day = 20_000
    record, _ = make_token(CreateToken(name="t", scopes=["produce"], tasks_per_day=5), 1, os.urandom)
    record.day, record.tasks_today = day, 3
    quota = Quota(record)
    with pytest.raises(RateLimited) as refused:
        quota.take(3, day * DAY_MS + 1_000)
    assert refused.value.retry_after_s == 86_399
    quota.take(2, day * DAY_MS)
    quota.take(5, (day + 1) * DAY_MS)
    assert (record.day, record.tasks_today) == (day + 1, 5)


def test_limits_hold_for_admin_and_in_a_web_session(connect):
    wire = connect()
    limit = {"per_second": 0.001, "burst": 2}
    token = token_of(wire, "admin", tasks_rate_limit=limit)["token"]
    holder = connect(token)
    holder.good("GET", "/v1/tokens")
    holder.good("GET", "/v1/stats")
    signed = wire.call("POST", "/v1/session", {"token": token})
    headers = {
        "Cookie": signed.headers["set-cookie"].partition(";")[0],
        "X_CSRF_Token": signed.json["csrf_token"],
    }
    wire.good("POST", "/v1/queues/q/tasks", {}, **headers)
    holder.good("POST", "/v1/queues/q/tasks", {})
    assert wire.call("POST", "/v1/queues/q/tasks", {}, **headers).status == 429
    assert holder.call("POST", "/v1/queues/q/tasks", {}).status == 429
    holder.good("POST", "/v1/queues/q/pause")
