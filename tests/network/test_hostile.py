"""Each case of `hostile.py` over a real socket: the answer it has, and a server that is well afterwards."""

import contextlib
import gc
import socket
import struct

import pytest
from hostile import CASES, ENQUEUE
from wires import request_bytes

from taskqueuex.network.session import Session
from taskqueuex.network.unread import taken_bytes


@pytest.mark.parametrize("name", CASES)
def test_the_answer_is_the_one_that_is_defined(running, name):
    case = CASES[name]
    wire = running.connect()
    with contextlib.suppress(ConnectionError):  # it may be told before it has said all
        wire.send(case.sent)
    reply = wire.receive()
    assert (reply.status, reply.json.get("code", "")) == (case.status, case.code), reply.body
    if case.goes_on:
        assert wire.request("GET", "/healthz").status == 200
    else:
        assert reply.headers["connection"] == "close"
        assert reply.json["outcome"] == "not_applied"
        assert wire.is_closed()
    assert running.connect().request("GET", "/healthz").status == 200


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.status >= 400])
def test_nothing_is_submitted_of_what_is_refused(running, name):
    wire = running.connect()
    with contextlib.suppress(ConnectionError):
        wire.send(CASES[name].sent)
    wire.receive()
    assert running.app.calls.empty()


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if len(case.sent) < 2_000])
def test_the_answer_does_not_depend_on_how_the_bytes_arrive(running, name):
    case = CASES[name]
    wire = running.connect()
    wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with contextlib.suppress(ConnectionError):
        for start in range(0, len(case.sent), 7):
            wire.send(case.sent[start : start + 7])
    reply = wire.receive()
    assert (reply.status, reply.json.get("code", "")) == (case.status, case.code)


def test_what_follows_a_broken_request_is_never_taken_for_one(running):
    wire = running.connect()
    wire.send(CASES["framing: Content-Length, then Transfer-Encoding"].sent)
    assert wire.receive().status == 400
    assert wire.is_closed()
    assert running.app.calls.empty(), "a smuggled request was submitted"


def test_a_client_that_sends_no_more_gets_its_answer(running):
    wire = running.connect()
    wire.send(request_bytes("POST", ENQUEUE, {}))
    wire.socket.shutdown(socket.SHUT_WR)
    assert wire.receive().status == 200
    assert wire.is_closed()


def test_a_client_that_ends_within_its_body_submits_nothing(running):
    wire = running.connect()
    wire.send(request_bytes("POST", ENQUEUE, {"payload": "x" * 100})[:-1])
    wire.socket.shutdown(socket.SHUT_WR)
    assert wire.is_closed()
    assert running.app.calls.empty()


def test_a_reset_within_a_body_leaves_nothing(running):
    wire = running.connect()
    wire.send(request_bytes("POST", ENQUEUE, {"payload": "x" * 100})[:-1])
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.close()
    assert running.connect().request("GET", "/healthz").status == 200
    running.app.calls.get()
    assert running.app.calls.empty()
    running.wait_for(lambda: running.metrics.connections == 1)


def test_a_pipeline_of_a_thousand_that_is_never_read_is_held_in_bytes(running):
    running.app.body = b'"' + b"x" * 100_000 + b'"'
    wire = running.connect()
    wire.socket.settimeout(1.0)
    with contextlib.suppress(TimeoutError):
        for _ in range(1_000):
            wire.send(request_bytes("POST", ENQUEUE, {"payload": "x" * 1_000}))
    session = running.app.next_call().sink
    assert len(session._calls) <= running.config.pipeline_max + 32, (
        "a slice of requests beyond what is under way"
    )
    assert running.app.calls.qsize() <= 2 * running.config.pipeline_max
    assert session._transport.get_write_buffer_size() < running.config.unread_bytes_max
    assert running.connect().request("GET", "/healthz").status == 200


def test_answers_that_nobody_reads_are_bounded(serve):
    running = serve(unread_bytes_max=1 << 20)
    running.app.holds = True
    wire = running.connect()
    wire.send(request_bytes("POST", ENQUEUE, {}) * 10)
    for call in [running.app.next_call() for _ in range(10)]:
        running.app.reply(call, body=b'"' + b"x" * 1_000_000 + b'"')
    running.wait_for(lambda: running.metrics.deadlines_total == 1)
    running.wait_for(lambda: running.metrics.connections == 0)


def test_a_client_that_does_not_read_is_cut_off(running):
    running.app.body = b'"' + b"x" * 8_000_000 + b'"'
    wire = running.connect()
    wire.send(request_bytes("POST", ENQUEUE, {}))
    running.app.next_call()
    running.tick(61)
    running.wait_for(lambda: running.metrics.connections == 0)
    assert running.metrics.deadlines_total == 1


def test_a_client_that_reads_slowly_is_served(running):
    running.app.body = b'"' + b"x" * 8_000_000 + b'"'
    wire = running.connect()
    wire.send(request_bytes("POST", ENQUEUE, {}))
    session = running.app.next_call().sink
    for _ in range(5):
        taken = running.app.on_loop(lambda: taken_bytes(session._transport))
        assert wire._file.read(300_000)
        running.wait_for(lambda: running.app.on_loop(lambda: taken_bytes(session._transport)) > taken)  # noqa: B023  # called in this round
        running.tick(30)
    assert running.metrics.connections == 1


@pytest.mark.parametrize(
    "sent", [b"G", b"GET /healthz HTTP/1.1\r\nHo", request_bytes("POST", ENQUEUE, {"payload": 1})[:-1]]
)
def test_a_request_that_drips_is_408(running, sent):
    wire = running.connect()
    wire.send(sent)
    running.wait_for(lambda: running.sessions()[0]._reader is not None)
    for _ in range(3):  # a byte now and then keeps nothing alive
        running.tick(5)
    reply = wire.receive()
    assert (reply.status, reply.json["code"]) == (408, "request_timeout")
    assert wire.is_closed()


def test_a_body_that_comes_at_the_rate_asked_for_is_read(running):
    wire = running.connect()
    body = b'{"payload":"' + b"x" * 100_000 + b'"}'
    wire.send(b"POST %b HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % (ENQUEUE.encode(), len(body)))
    for start in range(0, len(body), 10_000):
        wire.send(body[start : start + 10_000])
        running.wait_for(lambda: running.received() >= start)  # noqa: B023  # called in this round
        running.tick(8)
    assert wire.receive().status == 200


def test_a_whole_request_has_its_time_too(serve):
    running = serve(request_timeout_s=20, body_bytes_per_s_min=0)
    wire = running.connect()
    wire.send(request_bytes("POST", ENQUEUE, {"payload": 1})[:-1])
    running.wait_for(lambda: running.sessions()[0]._reader is not None)
    running.tick(19)
    assert running.metrics.deadlines_total == 0
    running.tick(1)
    assert wire.receive().status == 408


def test_a_connection_between_requests_holds_no_parser(running):
    wire = running.connect()
    for _ in range(3):
        assert wire.request("GET", "/healthz").status == 200
    session = running.app.next_call().sink
    reader = session._reader
    running.tick(3)
    assert session._reader is None
    other = running.connect()
    assert other.request("GET", "/healthz").status == 200
    [running.app.next_call() for _ in range(2)]
    assert running.app.next_call().sink._reader is reader, "the next one that needs a parser gets it"
    assert wire.request("GET", "/healthz").status == 200


def test_a_parser_that_was_used_for_one_client_shows_another_nothing_of_it(running):
    first, second = running.connect(), running.connect()
    first.request("POST", ENQUEUE, {"payload": "first"}, Idempotency_Key="k", Authorization="Bearer a")
    reader = running.app.next_call().sink._reader
    running.tick(3)
    second.request("POST", ENQUEUE, {})
    call = running.app.next_call()
    assert call.sink._reader is reader
    assert (call.key, call.raw, bytes(call.body.payload)) == ("", b"", b"null")


def test_leave_to_send_is_not_given_when_the_body_has_come(running):
    running.app.holds = True
    wire = running.connect()
    wire.send(request_bytes("POST", ENQUEUE, {}))
    first = running.app.next_call()
    wire.send(request_bytes("POST", ENQUEUE, {}, Expect="100-continue"))
    running.app.next_call()
    running.app.holds = False
    running.app.reply(first)
    assert wire.receive().status == 200
    running.app.on_loop(lambda: None)
    wire.send(request_bytes("GET", "/healthz"))
    second = running.sessions()[0]._calls[0]
    running.app.reply(second)
    assert [wire.receive().status for _ in range(2)] == [200, 200], "no 100 Continue among them"


@pytest.mark.parametrize(
    "sent",
    [
        request_bytes("GET", "/healthz", Connection="close"),
        CASES["framing: Content-Length, then Transfer-Encoding"].sent,
        CASES["head: no Host"].sent,
        CASES["JSON: NaN"].sent,
        request_bytes("POST", ENQUEUE, {"payload": "x" * 100})[:-1],
        b"",
    ],
)
def test_a_connection_that_has_ended_is_freed_at_once(running, sent):
    """Cycles would be left to the garbage collector, which stops the loop when there are thousands."""

    def sessions():
        return [each for each in gc.get_objects() if isinstance(each, Session)]

    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            wire = running.connect()
            wire.send(sent)
            wire.close()
        running.wait_for(lambda: running.metrics.connections_total >= 20 and not running.metrics.connections)
        while not running.app.calls.empty():
            running.app.calls.get()
        assert running.app.on_loop(lambda: None) is None
        assert len(sessions()) == 0
    finally:
        gc.enable()


def test_http_1_0_gets_no_interim_answer(running):
    wire = running.connect()
    wire.send(f"POST {ENQUEUE} HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{{}}".encode())
    assert wire.receive().status == 200
