"""Connections: keep-alive, pipelining, bodies, backpressure, the end of a connection."""

import contextlib
import json

import msgspec

from taskqueuex.commands.consume import DequeueReply

ENQUEUE = "/v1/queues/orders/tasks"
ID = "01890a5d-ac96-774b-bcce-b302099a8057"


def test_a_connection_serves_many_requests(wire, app):
    for number in range(3):
        assert wire.request("POST", ENQUEUE, {"priority": number}).status == 200
        assert app.next_call().body.priority == number


def test_a_call_carries_what_the_request_said(wire, app):
    body = b'{"payload": [1, 2 ],"name":"n"}'
    wire.request("POST", ENQUEUE, body, Idempotency_Key="k-1", Request_Timeout_Ms="1500")
    call = app.next_call()
    assert call.command.name == "enqueue" and call.target == "orders"
    assert bytes(call.body.payload) == b"[1, 2 ]"
    assert (call.key, call.raw) == ("k-1", body)
    assert call.deadline_us == call.received_us + 1_500_000


def test_a_call_without_a_key_keeps_no_raw_body(wire, app):
    wire.request("POST", ENQUEUE, {})
    call = app.next_call()
    assert (call.key, call.raw, call.deadline_us) == ("", b"", 0)


def test_a_reply_has_type_length_and_date(wire):
    reply = wire.request("POST", ENQUEUE, {})
    assert reply.json == {"ok": True}
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["date"].endswith("GMT")
    assert "durability" not in reply.headers and "connection" not in reply.headers


def test_a_reply_names_its_durability(wire, app):
    app.durability, app.status = "durable", 201
    reply = wire.request("POST", ENQUEUE, {})
    assert (reply.status, reply.headers["durability"]) == (201, "durable")


def test_a_reply_without_a_body_has_length_zero(wire, app):
    app.body = None
    assert wire.request("POST", ENQUEUE, {}).headers["content-length"] == "0"


def test_metrics_are_text(wire, app):
    app.body = b"a 1\n"
    reply = wire.request("GET", "/metrics")
    assert reply.body == b"a 1\n"
    assert reply.headers["content-type"].startswith("text/plain")


def test_answers_of_pipelined_requests_keep_their_order(wire, app, encode):
    app.holds = True
    wire.send(b"".join(encode("POST", ENQUEUE, {"priority": number}) for number in range(5)))
    calls = [app.next_call() for _ in range(5)]
    for number in (3, 1, 4, 0, 2):
        assert app.reply(calls[number], body=b"%d" % number)
    assert [wire.receive().body for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]


def test_a_refused_request_is_answered_in_its_place(wire, app, encode):
    app.holds = True
    wire.send(encode("POST", ENQUEUE, {}) + encode("GET", "/nowhere") + encode("POST", ENQUEUE, {}))
    first, second = app.next_call(), app.next_call()
    app.reply(second, body=b"2")
    app.reply(first, body=b"1")
    assert [wire.receive().status for _ in range(3)] == [200, 404, 200]


def test_at_most_64_pipelined_calls_are_under_way(wire, app, encode):
    app.holds = True
    wire.send(encode("POST", ENQUEUE, {}) * 150)
    calls = [app.next_call() for _ in range(64)]
    assert app.on_loop(app.calls.empty)
    app.reply(calls[63])
    assert app.on_loop(app.calls.empty), "an answer that cannot leave yet makes no room"
    app.reply(calls[0])
    calls.append(app.next_call())
    for call in calls[1:63] + calls[64:]:
        app.reply(call)
    answered = 65
    while answered < 150:
        app.reply(app.next_call())
        answered += 1
    assert [wire.receive().status for _ in range(150)] == [200] * 150


def test_many_refused_requests_do_not_stop_the_ones_between(wire, app, encode):
    app.holds = True
    bad, good = encode("GET", "/nowhere"), encode("POST", ENQUEUE, {})
    wire.send(good * 70 + bad * 200 + good)
    for _ in range(71):
        app.reply(app.next_call())
    assert [wire.receive().status for _ in range(271)] == [200] * 70 + [404] * 200 + [200]


def test_a_client_that_does_not_read_is_not_read(serve):
    running = serve()
    running.app.body = b'"' + b"x" * 1_000_000 + b'"'
    wire = running.connect()
    request = b"GET /v1/stats HTTP/1.1\r\nHost: t\r\n\r\n"
    wire.socket.settimeout(1.0)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < 1_000_000:
            wire.send(request * 1_000)
            sent += 1_000
    assert sent < 1_000_000
    assert running.app.calls.qsize() < sent


def test_a_body_may_come_in_chunks(wire, app):
    body = json.dumps({"name": "x" * 200}).encode()
    wire.send(b"POST /v1/queues/q/tasks HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
    for part in (body[:7], body[7:100], body[100:]):
        wire.send(b"%x\r\n%b\r\n" % (len(part), part))
    wire.send(b"0\r\nIdempotency-Key: smuggled\r\n\r\n")
    assert wire.receive().status == 200
    call = app.next_call()
    assert call.body.name == "x" * 200
    assert call.key == "", "a trailer is not a header"


def test_a_request_may_come_byte_by_byte(wire, app, encode):
    for byte in encode("POST", ENQUEUE, {"name": "slow"}):
        wire.send(bytes([byte]))
    assert wire.receive().status == 200
    assert app.next_call().body.name == "slow"


def test_a_large_body_arrives_whole(wire, app):
    payload = json.dumps("y" * 1_000_000).encode()
    assert wire.request("POST", ENQUEUE, b'{"payload":' + payload + b"}").status == 200
    assert bytes(app.next_call().body.payload) == payload


def test_a_client_that_expects_100_continue_gets_it(wire, app):
    wire.send(
        b"POST /v1/queues/q/tasks HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 12\r\n\r\n"
    )
    assert wire.receive().status == 100
    wire.send(b'{"name":"n"}')
    assert wire.receive().status == 200


def test_100_continue_waits_for_earlier_answers(wire, app, encode):
    app.holds = True
    wire.send(encode("POST", ENQUEUE, {}))
    wire.send(
        b"POST /v1/queues/q/tasks HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    )
    app.reply(app.next_call())
    assert [wire.receive().status, wire.receive().status] == [200, 100]
    wire.send(b"{}")
    app.reply(app.next_call(), status=201)
    assert wire.receive().status == 201


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(wire):
    wire.send(b"POST /v1/queues/q/tasks HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\n")
    wire.send(b"Content-Length: 99999999\r\n\r\n")
    reply = wire.receive()
    assert (reply.status, reply.json["code"]) == (413, "payload_too_large")
    assert reply.headers["connection"] == "close"
    assert wire.is_closed()


def test_connection_close_is_honoured(wire):
    reply = wire.request("POST", ENQUEUE, {}, Connection="close")
    assert (reply.status, reply.headers["connection"]) == (200, "close")
    assert wire.is_closed()


def test_connection_close_is_honoured_behind_an_error(wire):
    assert wire.request("GET", "/nowhere", Connection="close").headers["connection"] == "close"
    assert wire.is_closed()


def test_http_1_0_closes_by_default(wire):
    wire.send(b"GET /healthz HTTP/1.0\r\n\r\n")
    assert wire.receive().headers["connection"] == "close"
    assert wire.is_closed()


def test_http_1_0_is_kept_alive_when_asked(wire):
    for _ in range(2):
        wire.send(b"GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert wire.receive().headers["connection"] == "keep-alive"


def test_nothing_is_answered_behind_connection_close(wire, app, encode):
    wire.send(encode("POST", ENQUEUE, {}, Connection="close") + encode("POST", ENQUEUE, {}))
    assert wire.receive().status == 200
    assert wire.is_closed()
    assert app.calls.qsize() == 1


def test_an_upgrade_is_ignored(wire, encode):
    headers = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABk"}
    wire.send(encode("GET", "/healthz", **headers) + encode("GET", "/healthz"))
    assert [wire.receive().status, wire.receive().status] == [200, 200]


def test_an_upgrade_with_a_body_is_refused(wire):
    reply = wire.request("POST", ENQUEUE, {"name": "n"}, Connection="Upgrade", Upgrade="h2c")
    assert reply.status == 400
    assert wire.is_closed()


def test_a_client_that_closes_its_side_is_still_answered(wire, app, encode):
    app.holds = True
    wire.send(encode("POST", ENQUEUE, {}))
    call = app.next_call()
    wire.socket.shutdown(1)
    assert app.on_loop(lambda: call.sink.closed) is False
    app.reply(call, status=201)
    assert wire.receive().status == 201
    assert wire.is_closed()


def test_no_task_is_handed_to_a_client_that_has_gone(wire, app, encode):
    app.holds = True
    wire.send(encode("POST", "/v1/queues/q/dequeue", {"wait_ms": 60_000}))
    call = app.next_call()
    wire.close()
    assert app.gone.get(timeout=10) is call.sink
    assert call.sink.closed
    assert app.reply(call) is False


def test_a_connection_that_closes_with_nothing_under_way_is_not_reported(serve, encode):
    running = serve()
    wire = running.connect()
    wire.request("GET", "/healthz")
    wire.close()
    running.await_(running.server.drained(5))
    assert running.app.gone.empty()
    assert running.metrics.connections == 0


def test_a_bug_in_a_handler_is_a_500_whose_outcome_is_unknown(wire, app, caplog):
    app.raises = ZeroDivisionError("a bug")
    reply = wire.request("POST", ENQUEUE, {})
    assert (reply.status, reply.json["outcome"]) == (500, "unknown")
    assert "ZeroDivisionError" not in reply.body.decode()
    assert "could not be submitted" in caplog.text


def test_requests_are_counted_and_timed(running, wire):
    wire.request("POST", ENQUEUE, {})
    wire.request("GET", "/nowhere")
    metrics = running.metrics
    assert metrics.requests["enqueue"][2] == 1
    assert metrics.requests["unrouted"][4] == 1
    assert metrics.requests_total == metrics.request_time.count == 2
    assert (metrics.connections, metrics.connections_total) == (1, 1)
    assert metrics.bytes_in > 100 and metrics.bytes_out > 100


def test_a_call_is_answered_once(wire, app, encode):
    app.holds = True
    wire.send(encode("POST", ENQUEUE, {}) * 2)
    first, second = app.next_call(), app.next_call()
    assert app.reply(second, body=b"2")
    assert app.reply(second, status=503) is False
    assert app.reply(first, body=b"1")
    assert app.reply(first, status=503) is False
    assert [wire.receive().body, wire.receive().body] == [b"1", b"2"]
    wire.send(encode("POST", ENQUEUE, {}))
    app.reply(app.next_call(), body=b"3")
    assert wire.receive().body == b"3"


def test_a_lease_is_not_given_to_a_client_whose_end_came_with_its_request(serve, encode):
    running = serve()
    app = running.app
    app.body, refused = DequeueReply([msgspec.UNSET]), []

    def submit(call):
        # The end is in the socket behind the request, and was not read: we are in the read of it.
        wire.close()
        refused.append(call.sink.on_reply(call, 200, app.body, "durable"))
        app.calls.put(call)

    app.holds = True
    app.on_submit = submit
    wire = running.connect()
    wire.send(encode("POST", "/v1/queues/q/dequeue", {}))
    app.next_call()
    assert refused == [False]
