"""What is too long, too much or too slow, and what is not HTTP at all."""

import pytest

from taskqueuex.network import NetworkConfig

ENQUEUE = "/v1/queues/orders/tasks"


def refused(wire, status, code):
    reply = wire.receive()
    assert (reply.status, reply.json["code"]) == (status, code)
    assert reply.json["outcome"] == "not_applied"
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.headers["connection"] == "close"
    assert wire.is_closed()
    return reply


def test_a_request_line_over_8_kib_is_414(wire):
    wire.send(b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: t\r\n\r\n")
    refused(wire, 414, "uri_too_long")


def test_a_request_line_of_8_kib_is_read(wire):
    assert wire.request("GET", "/v1/tasks?name=" + "a" * 8_000).status == 422


def test_a_request_line_that_never_ends_is_414(wire):
    wire.send(b"GET /" + b"a" * 60_000)
    refused(wire, 414, "uri_too_long")


def test_a_head_over_16_kib_is_431(wire):
    wire.send(b"GET /healthz HTTP/1.1\r\nHost: t\r\nX: " + b"a" * 17_000 + b"\r\n\r\n")
    refused(wire, 431, "headers_too_large")


def test_a_head_of_16_kib_is_read(wire):
    assert wire.request("GET", "/healthz", X="a" * 16_000).status == 200


def test_a_header_that_never_ends_is_431(wire):
    wire.send(b"GET /healthz HTTP/1.1\r\nX: ")
    for _ in range(5):
        wire.send(b"a" * 8_192)
    refused(wire, 431, "headers_too_large")


def test_over_100_headers_is_431(wire):
    headers = b"".join(b"X-%d: v\r\n" % number for number in range(101))
    wire.send(b"GET /healthz HTTP/1.1\r\n" + headers + b"\r\n")
    refused(wire, 431, "headers_too_large")


def test_a_content_length_over_the_limit_is_413(serve):
    wire = serve(body_bytes_max=100_000).connect()
    wire.send(b"POST /v1/queues/q/tasks HTTP/1.1\r\nHost: t\r\nContent-Length: 100001\r\n\r\n")
    refused(wire, 413, "payload_too_large")


def test_a_chunked_body_over_the_limit_is_413(serve):
    wire = serve(body_bytes_max=100_000).connect()
    wire.send(b"POST /v1/queues/q/tasks HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
    wire.send(b"ffff\r\n" + b"a" * 0xFFFF + b"\r\n" + b"ffff\r\n" + b"a" * 0xFFFF + b"\r\n")
    refused(wire, 413, "payload_too_large")


def test_the_client_can_read_a_413_although_it_goes_on_sending(serve):
    wire = serve(body_bytes_max=100_000).connect()
    wire.send(b"POST /v1/queues/q/tasks HTTP/1.1\r\nHost: t\r\nContent-Length: 5000000\r\n\r\n")
    wire.send(b"a" * 5_000_000)
    refused(wire, 413, "payload_too_large")


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /healthz HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /healthz HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /healthz HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /healthz HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nNo colon here\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nX: a\r\n folded\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\n\r\n",
        b"GET /a b HTTP/1.1\r\n\r\n",
    ],
    ids=lambda data: repr(data[:40]),
)
def test_what_is_not_http_is_400_and_closed(wire, data):
    wire.send(data)
    reply = wire.receive()
    assert reply.status in (400, 405)
    assert reply.headers["connection"] == "close"
    assert wire.is_closed()


def test_an_answer_that_is_under_way_leaves_before_the_400(wire, app, encode):
    app.holds = True
    wire.send(encode("POST", ENQUEUE, {}) + b"nonsense\r\n\r\n")
    app.reply(app.next_call(), status=201)
    assert wire.receive().status == 201
    assert wire.receive().status in (400, 405)
    assert wire.is_closed()


def test_a_connection_beyond_the_limit_is_503_and_closed_while_all_others_are_busy(serve):
    running = serve(max_connections=2, max_connections_per_address=2)
    first, second = running.connect(), running.connect()
    running.hold(first, second)
    reply = refused(running.connect(), 503, "overloaded")
    assert int(reply.headers["retry-after"]) >= 1
    assert running.metrics.connections_refused_total == 1


def test_a_connection_beyond_the_limit_takes_the_place_of_the_one_that_is_idle_for_longest(serve):
    running = serve(max_connections=3, max_connections_per_address=3)
    busy, oldest, younger = running.connect(), running.connect(), running.connect()
    running.hold(busy)
    assert oldest.request("GET", "/healthz").status == 200
    running.tick()
    assert younger.request("GET", "/healthz").status == 200
    running.tick()
    newcomer = running.connect()
    assert newcomer.request("GET", "/healthz").status == 200
    assert oldest.is_closed()
    assert younger.request("GET", "/healthz").status == 200
    assert running.metrics.connections_evicted_total == 1
    assert running.metrics.connections == 3


def test_no_address_alone_takes_all_connections(serve):
    running = serve(max_connections=10, max_connections_per_address=2)
    running.hold(*(running.connect() for _ in range(2)))
    refused(running.connect(), 503, "overloaded")
    other = running.connect(source="127.0.0.2")
    assert other.request("GET", "/healthz").status == 200
    assert NetworkConfig(max_connections=100).connections_per_address == 90


def test_a_connection_that_is_idle_is_closed(serve):
    wire = serve(idle_timeout_s=1.0).connect()
    assert wire.request("GET", "/healthz").status == 200
    assert wire.is_closed()


@pytest.mark.parametrize("limit", [{"request_timeout_s": 1.0}, {"head_timeout_s": 1.0}])
def test_a_request_that_stops_halfway_is_408(serve, limit):
    wire = serve(**limit).connect()
    wire.send(b"POST /v1/queues/q/tasks HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\n{")
    refused(wire, 408, "request_timeout")


def test_a_poll_that_waits_is_not_idle(serve, encode):
    running = serve(idle_timeout_s=1.0)
    running.app.holds = True
    waiting, other = running.connect(), running.connect()
    waiting.send(encode("POST", "/v1/queues/q/dequeue", {"wait_ms": 60_000}))
    call = running.app.next_call()
    assert other.is_closed(), "the idle one was closed meanwhile"
    assert running.app.reply(call)
    assert waiting.receive().status == 200
