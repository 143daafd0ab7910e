"""Calls that stood in a line while their caller's credentials ended: none of them is made."""

import os
import socket

import pytest

from taskqueuex.access import Access, Visitor, make_token
from taskqueuex.clock import SystemClock
from taskqueuex.commands import COMMANDS
from taskqueuex.commands.access import CreateToken
from taskqueuex.commands.principal import Peer

POLL = ("POST", "/v1/queues/q/dequeue", b'{"wait_ms":60000}')


@pytest.fixture
def pipeline(server):
    """Sends requests in one piece; what is returned reads their answers' status lines."""
    made = []

    def send(token, *requests):
        host, _, port = server.url.removeprefix("http://").partition(":")
        made.append(socket.create_connection((host, int(port)), timeout=10))
        head = "{} {} HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n"
        made[-1].sendall(
            b"".join(
                head.format(method, path, token, len(body)).encode() + body for method, path, body in requests
            )
        )
        made.append(made[-1].makefile("rb"))
        return lambda: [int(line.split()[1]) for line in _status_lines(made[-1], len(requests))]

    yield send
    for each in reversed(made):
        each.close()


def _status_lines(file, count):
    found = []
    while len(found) < count:
        line = file.readline()
        assert line, found
        size = 0
        found.append(line)
        while (row := file.readline()) != b"\r\n":
            if row.lower().startswith(b"content-length:"):
                size = int(row.partition(b":")[2])
        file.read(size)
    return found


@pytest.mark.parametrize(
    "request_",
    [
        ("PUT", "/v1/queues/made", b"{}"),
        ("POST", "/v1/queues/made/tasks", b"{}"),
        ("GET", "/v1/tasks", b""),
        ("GET", "/v1/queues", b""),
    ],
)
@pytest.mark.parametrize("scopes", [["admin"], ["consume", "operate", "produce", "read"]])
def test_what_stood_behind_a_poll_is_not_made_once_the_token_is_revoked(
    admin, new_token, pipeline, request_, scopes
):
    made = new_token(*scopes)
    statuses = pipeline(made["token"], POLL, request_)
    while not admin.good("GET", "/v1/stats")["waiters"]:
        pass
    admin.good("DELETE", f"/v1/tokens/{made['id']}")
    admin.good("POST", "/v1/queues/q/tasks", {})
    assert statuses() == [401, 401]
    assert [each["name"] for each in admin.good("GET", "/v1/queues")["queues"]] == ["q"]


def test_what_the_node_answers_is_not_made_either(admin, new_token, pipeline):
    """More than are submitted at once: the last one waits within the connection."""
    made = new_token("admin")
    late = ("POST", "/v1/tokens", b'{"name":"late","scopes":["admin"]}')
    statuses = pipeline(made["token"], *[POLL] * 64, late)
    while not admin.good("GET", "/v1/stats")["waiters"]:
        pass
    admin.good("DELETE", f"/v1/tokens/{made['id']}")
    admin.good("POST", "/v1/queues/q/tasks", {})
    assert statuses() == [401] * 65
    assert "late" not in [each["name"] for each in admin.good("GET", "/v1/tokens")["tokens"]]


def _web_session(access, clock, **asked):
    record, token = make_token(CreateToken(name="t", **asked), clock.now_ms(), os.urandom)
    access.add(record)
    _, cookie = access.sign_in(Visitor(Peer("127.0.0.1")), token)
    cookie = cookie.partition(";")[0].encode()
    return record, access.identify(Peer("127.0.0.1"), COMMANDS["list_queues"], b"", cookie, b"")


def test_a_web_session_may_nothing_that_its_token_was_allowed_before_it_was_revoked():
    clock = SystemClock()
    access = Access(clock, os.urandom)
    record, principal = _web_session(access, clock, scopes=["read:a"])
    assert principal.allows("read", "a")
    access.revoke(record.id)
    assert not principal.allows("read", "a")


class _Later(SystemClock):
    """A clock that an hour can be added to."""

    more_ms = 0

    def now_ms(self):
        return super().now_ms() + self.more_ms


def test_polls_of_a_web_session_end_with_its_token():
    clock = _Later()
    access = Access(clock, os.urandom)
    _, principal = _web_session(access, clock, scopes=["consume"], expires_in_ms=60_000)
    assert not principal.ended
    clock.more_ms = 61_000
    access.tick()
    assert principal.ended and not principal.has("consume")


def test_polls_of_a_web_session_end_when_it_is_signed_out():
    clock = SystemClock()
    access = Access(clock, os.urandom)
    _, principal = _web_session(access, clock, scopes=["admin"])
    assert access.sign_out(principal)
    assert principal.ended and not principal.has("consume")
