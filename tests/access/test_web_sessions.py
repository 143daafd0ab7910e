"""Web sessions: a cookie for a token, and changes only with the CSRF token."""

import os
import re

import pytest

from taskqueuex.access import Access, Visitor, make_token
from taskqueuex.access.sessions import SESSIONS_OF_TOKEN_MAX
from taskqueuex.clock import SystemClock
from taskqueuex.commands import COMMANDS
from taskqueuex.commands.access import CreateToken
from taskqueuex.commands.principal import Peer
from taskqueuex.errors import Unauthenticated

HOUR_S = 3_600


@pytest.fixture
def sign_in(connect):
    """Signs in: a connection without credentials, the headers of the session, and what was told."""

    def enter(token):
        wire = connect()
        reply = wire.call("POST", "/v1/session", {"token": token})
        assert reply.status == 200, reply
        cookie = reply.headers["set-cookie"].partition(";")[0]
        return wire, {"Cookie": f"theme=dark; {cookie}"}, reply.json

    return enter


def test_signing_in_sets_a_cookie_that_scripts_and_other_sites_cannot_use(admin, connect):
    reply = connect().call("POST", "/v1/session", {"token": admin.token})
    assert re.fullmatch(
        r"tqx_session=[A-Za-z0-9_-]{43}; Path=/; HttpOnly; SameSite=Strict", reply.headers["set-cookie"]
    )
    assert reply.headers["cache-control"] == "no-store"
    told = reply.json
    assert told["principal"]["name"] == "root" and told["principal"]["kind"] == "token"
    assert told["scopes"] == ["admin"]
    assert len(told["csrf_token"]) == 43 and told["csrf_token"] not in reply.headers["set-cookie"]


def test_who_is_told_with_any_credentials(admin, as_holder, sign_in):
    who = as_holder("produce:a.*", name="shop").good("GET", "/v1/session")
    assert (who["principal"]["name"], who["scopes"]) == ("shop", ["produce:a.*"])
    assert who["csrf_token"] is None and who["expires_at"] is None
    wire, cookie, told = sign_in(admin.token)
    again = wire.good("GET", "/v1/session", **cookie)
    assert again["csrf_token"] == told["csrf_token"], "a page that was loaded anew can go on"


def test_a_session_has_the_scopes_of_its_token(new_token, sign_in):
    wire, cookie, told = sign_in(new_token("read:a.*")["token"])
    headers = {**cookie, "X_CSRF_Token": told["csrf_token"]}
    assert wire.call("GET", "/v1/queues", **headers).status == 200
    assert wire.call("GET", "/v1/queues/b", **headers).status == 403
    assert wire.call("POST", "/v1/queues/a.b/tasks", {}, **headers).status == 403


def test_a_change_needs_the_csrf_token(admin, sign_in):
    wire, cookie, told = sign_in(admin.token)
    for wrong in ({}, {"X_CSRF_Token": ""}, {"X_CSRF_Token": told["csrf_token"] + "x"}):
        reply = wire.call("POST", "/v1/queues/q/tasks", {}, **cookie, **wrong)
        assert (reply.status, reply.code) == (403, "forbidden")
        assert wire.call("DELETE", "/v1/session", **cookie, **wrong).status == 403
    assert wire.call("GET", "/v1/queues", **cookie).json == {"queues": []}
    assert (
        wire.call("POST", "/v1/queues/q/tasks", {}, **cookie, X_CSRF_Token=told["csrf_token"]).status == 201
    )


def test_the_csrf_token_of_another_session_is_none(admin, sign_in):
    wire, cookie, _ = sign_in(admin.token)
    _, _, other = sign_in(admin.token)
    assert wire.call("POST", "/v1/queues/q/pause", **cookie, X_CSRF_Token=other["csrf_token"]).status == 403


def test_signing_out_ends_it(admin, sign_in):
    wire, cookie, told = sign_in(admin.token)
    reply = wire.call("DELETE", "/v1/session", **cookie, X_CSRF_Token=told["csrf_token"])
    assert reply.json == {"deleted": True}
    assert "Max-Age=0" in reply.headers["set-cookie"]
    assert wire.call("GET", "/v1/session", **cookie).status == 401
    assert admin.good("DELETE", "/v1/session") == {"deleted": False}, "a token is no session"


def test_it_ends_when_it_is_left_alone_for_an_hour(server, admin, sign_in):
    wire, cookie, _ = sign_in(admin.token)
    for _ in range(3):
        server.clock.advance(HOUR_S - 1)
        assert wire.call("GET", "/v1/session", **cookie).status == 200
    server.clock.advance(HOUR_S)
    assert wire.call("GET", "/v1/session", **cookie).status == 401


def test_it_ends_after_twelve_hours_however_busy(server, admin, sign_in):
    wire, cookie, _ = sign_in(admin.token)
    for _ in range(23):
        server.clock.advance(HOUR_S / 2)
        assert wire.call("GET", "/v1/session", **cookie).status == 200
    server.clock.advance(HOUR_S / 2)
    assert wire.call("GET", "/v1/session", **cookie).status == 401


def test_it_ends_with_its_token(server, admin, new_token, sign_in):
    revoked, expiring = new_token("read"), new_token("read", expires_in_ms=60_000)
    one, two = sign_in(revoked["token"]), sign_in(expiring["token"])
    assert two[2]["expires_at"] == expiring["expires_at"]
    admin.good("DELETE", f"/v1/tokens/{revoked['id']}")
    assert one[0].call("GET", "/v1/session", **one[1]).status == 401
    assert two[0].call("GET", "/v1/session", **two[1]).status == 200
    server.clock.advance(60)
    assert two[0].call("GET", "/v1/session", **two[1]).status == 401


@pytest.mark.parametrize("cookie", ["tqx_session=nonsense", "tqx_session=", "a=b", "xtqx_session=1"])
def test_a_cookie_that_is_none_of_ours_is_401(admin, connect, cookie):
    assert connect().call("GET", "/v1/session", Cookie=cookie).status == 401


def test_a_header_counts_before_a_cookie(admin, as_holder, sign_in):
    holder = as_holder("read")
    _, cookie, _ = sign_in(admin.token)
    sent = {**cookie, "Authorization": f"Bearer {holder.token}"}
    assert holder.good("GET", "/v1/session", **sent)["scopes"] == ["read"]
    assert holder.call("GET", "/v1/session", **{**sent, "Authorization": "Bearer x"}).status == 401


def test_a_bad_token_does_not_sign_in(admin, connect):
    reply = connect().call("POST", "/v1/session", {"token": "tqx_abcdefghij_x"})
    assert (reply.status, reply.code) == (401, "unauthenticated")
    assert "set-cookie" not in reply.headers


def test_a_token_has_a_bounded_number_of_sessions_and_ends_none_of_others():
    access = Access(SystemClock(), os.urandom)
    record, other = make_token(CreateToken(name="t", scopes=["admin"]), 1, os.urandom)
    mine, token = make_token(CreateToken(name="t", scopes=["admin"]), 1, os.urandom)
    access.add(record)
    access.add(mine)
    visitor, row = Visitor(Peer("192.0.2.1")), COMMANDS["get_session"]
    first = access.sign_in(visitor, other)[1].partition(";")[0].encode()
    cookies = [access.sign_in(visitor, token)[1].partition(";")[0].encode() for _ in range(150)]
    assert len(access.sessions) == SESSIONS_OF_TOKEN_MAX + 1
    assert access.identify(visitor.peer, row, b"", first, b"").id == record.id
    assert access.identify(visitor.peer, row, b"", cookies[-1], b"").id == mine.id
    with pytest.raises(Unauthenticated):
        access.identify(visitor.peer, row, b"", cookies[0], b"")
