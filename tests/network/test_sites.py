"""A browser that asks for the page of another site: it may look where it is not shown, and change nothing."""

import pytest

ENQUEUE = "/v1/queues/q/tasks"


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "cross-site", "Origin": "https://evil.example"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": ""},
        {"Sec_Fetch_Site": "same-origin, cross-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://localhost:81"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "test"},
    ],
)
def test_what_another_site_s_page_asks_for_is_not_done(wire, app, headers):
    for method, path in (("POST", ENQUEUE), ("POST", "/v1/admin/drain"), ("DELETE", "/v1/queues/q")):
        reply = wire.request(method, path, None, **headers)
        assert (reply.status, reply.json["code"]) == (403, "forbidden")
        assert next(iter(headers)).replace("_", "-") in reply.json["detail"]
    assert app.calls.empty()
    assert wire.request("POST", ENQUEUE, {}).status == 200, "it holds of that request alone"


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "same-origin", "Origin": "https://behind.a.balancer"},
        {"Sec_Fetch_Site": "none"},
        {"Sec_Fetch_Site": "Same-Origin"},
        {"Origin": "http://localhost"},
        {"Origin": "https://LOCALHOST"},
        {"Sec_Fetch_Site": "cross-site", "Authorization": "Bearer x"},
    ],
)
def test_the_server_s_own_page_and_who_shows_a_token_may_change_things(wire, headers):
    assert wire.request("POST", ENQUEUE, {}, **headers).status == 200


def test_a_look_changes_nothing(wire):
    assert wire.request("GET", "/v1/queues", Sec_Fetch_Site="cross-site").status == 200


@pytest.mark.parametrize(
    ("host", "taken"),
    [
        ("localhost:7470", True),
        ("app.localhost", True),
        ("127.0.0.1:7470", True),
        ("[::1]:7470", True),
        ("evil.example:7470", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_without_tokens_a_browser_gets_nothing_by_a_name_of_the_dns(running, host, taken, method):
    wire = running.connect()
    path = "/v1/stats" if method == "GET" else "/v1/queues/q/pause"
    wire.send(
        f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n"
        "Sec-Fetch-Site: same-origin\r\nContent-Length: 0\r\n\r\n".encode()
    )
    assert wire.receive().status == (200 if taken else 403)


def test_programs_are_not_asked_by_which_name_they_call(running):
    wire = running.connect()
    wire.send(b"POST /v1/queues/q/pause HTTP/1.1\r\nHost: tasks.example\r\nContent-Length: 0\r\n\r\n")
    assert wire.receive().status == 200
