"""Scopes and patterns, client certificates."""

import os
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueuex.access import Access
from taskqueuex.access.principals import Certificates
from taskqueuex.clock import SystemClock
from taskqueuex.commands import COMMANDS
from taskqueuex.commands.principal import SCOPES, Peer, Principal, parse_scope
from taskqueuex.errors import Unauthenticated

NAMES = st.text("abAB.-_", min_size=1, max_size=8)
PATTERNS = st.text("abAB.-_*", min_size=1, max_size=8)
WANTED = st.lists(st.tuples(st.sampled_from(SCOPES[:-1]), PATTERNS), max_size=5)


@given(scopes=WANTED, scope=st.sampled_from(SCOPES[:-1]), queue=NAMES)
def test_a_principal_is_allowed_what_one_of_its_patterns_matches(scopes, scope, queue):
    principal = Principal("i", "n", "token", [f"{name}:{pattern}" for name, pattern in scopes])
    wanted = any(name == scope and fnmatchcase(queue, pattern) for name, pattern in scopes)
    assert principal.allows(scope, queue) is wanted
    assert principal.allows(scope, queue) is wanted, "and once more, from its cache"
    assert principal.has(scope) is any(name == scope for name, _ in scopes)
    everywhere = any(name == scope and pattern == "*" for name, pattern in scopes)
    assert principal.has_all(scope) is everywhere
    patterns = principal.patterns_of(scope)
    assert (patterns is None) is everywhere
    if patterns is not None:
        assert any(fnmatchcase(queue, pattern) for pattern in patterns) is wanted


@given(scopes=WANTED, queue=NAMES)
def test_payloads_are_seen_where_the_scope_is_had(scopes, queue):
    principal = Principal("i", "n", "token", [f"{name}:{pattern}" for name, pattern in scopes])
    assert principal.sees_payloads(queue) is principal.allows("payload", queue)


def test_one_may_end_while_a_thread_asks_whether_it_sees_payloads():
    principal = Principal("i", "n", "token", ["read", "payload"])

    class Ending(dict):
        def __contains__(self, scope):
            principal.end()
            return super().__contains__(scope)

    principal._patterns = Ending(principal._patterns)
    principal.sees_payloads("orders.a")  # whichever it says: its call is not answered any more
    assert not principal.sees_payloads("orders.a")


@given(queue=NAMES, scope=st.sampled_from(SCOPES))
def test_admin_is_allowed_everything_and_nobody_nothing(queue, scope):
    assert Principal("i", "n", "token", ["admin", "read:x"]).allows(scope, queue)
    assert not Principal("i", "n", "token", []).allows(scope, queue)


def test_stars_that_follow_each_other_cost_no_more_than_one():
    principal = Principal("i", "n", "token", ["read:" + "a*" * 60 + "b"])
    assert not principal.allows("read", "a" * 128)  # an expression that backtracks would not come back


@pytest.mark.parametrize(
    "text", ["", "admin:q", "read:", "read:[ab]", "read:a?", "Read", "read:a:b", "read "]
)
def test_what_is_no_scope_is_refused(text):
    with pytest.raises(ValueError, match="is not a scope"):
        parse_scope(text)


def subject(name, *units):
    return {"subject": ((("commonName", name),), *((("organizationalUnitName", unit),) for unit in units))}


def test_a_certificate_carries_scopes_in_its_units():
    known = Certificates()
    principal = known.principal_of(subject("shop", "Sales", "tqx:produce:orders.*", "tqx:read"))
    assert principal is not None
    assert (principal.kind, principal.id, principal.name) == ("certificate", "cn:shop", "shop")
    assert principal.allows("produce", "orders.eu") and not principal.allows("produce", "mail")
    assert principal.has_all("read") and not principal.has("operate")
    again = known.principal_of(subject("shop", "Sales", "tqx:produce:orders.*", "tqx:read"))
    assert again is principal, "its decisions are remembered over connections"


@pytest.mark.parametrize("certificate", [None, {}, subject("shop"), subject("shop", "Sales", "admin")])
def test_a_certificate_without_scopes_says_nothing(certificate):
    assert Certificates().principal_of(certificate) is None


def test_a_malformed_scope_voids_a_certificate_and_is_logged_once(caplog):
    known = Certificates()
    for _ in range(3):
        assert known.principal_of(subject("shop", "tqx:read", "tqx:write")) is None
    assert len(caplog.records) == 1
    assert caplog.records[0].subject == "shop" and "'write'" in caplog.records[0].reason


def test_a_certificate_counts_where_credentials_are_needed_and_a_header_counts_before_it():
    access = Access(SystemClock(), lambda count: bytes(count), required=True)
    peer = Peer("192.0.2.1", tls=True, certificate=subject("shop", "tqx:read"))
    access.greet(peer)
    row = COMMANDS["list_queues"]
    assert access.identify(peer, row, b"", b"", b"").id == "cn:shop"
    with pytest.raises(Unauthenticated):
        access.identify(peer, row, b"Bearer x", b"", b"")
    stranger = Peer("192.0.2.1", tls=True, certificate=subject("shop"))
    access.greet(stranger)
    with pytest.raises(Unauthenticated):
        access.identify(stranger, row, b"", b"", b"")


HEADERS = st.one_of(
    st.just(b""), st.binary(max_size=60), st.binary(max_size=60).map(lambda tail: b"Bearer " + tail)
)
COOKIES = st.one_of(st.just(b""), st.binary(max_size=60).map(lambda tail: b"a=b; tqx_session=" + tail))


@given(authorization=HEADERS, cookie=COOKIES, csrf=st.binary(max_size=60))
def test_whatever_a_head_holds_is_refused_in_order(authorization, cookie, csrf):
    access = Access(SystemClock(), os.urandom, required=True)
    row = COMMANDS["pause_queue"]
    with pytest.raises(Unauthenticated):
        access.identify(Peer("192.0.2.1"), row, authorization, cookie, csrf)
