"""Ends of connections of which the other side takes no note: none is left behind, whatever is unread."""

import os
import socket
import struct

import pytest
from wires import request_bytes

ENQUEUE = "/v1/queues/orders/tasks"
PIECE = b'"' + b"a" * 20_000 + b'"'


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def leave_unread(running):
    """A connection with answers that neither its client nor its kernel takes, few enough for the server to
    read on."""
    running.app.body = PIECE
    wire = running.connect()
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    wire.request("POST", ENQUEUE, {})
    (session,) = running.sessions()
    transport = session._transport
    while not running.app.on_loop(transport.get_write_buffer_size):
        wire.send(request_bytes("POST", ENQUEUE, {}))
        running.app.next_call()
    assert not session._write_paused
    return wire, transport


@pytest.mark.parametrize("way", ["half-close", "idle", "evicted"])
def test_answers_that_nobody_reads_do_not_keep_a_closed_connection(serve, way):
    running = serve(read_timeout_s=2.0, idle_timeout_s=3.0, max_connections=1)
    before = descriptors()
    wire, transport = leave_unread(running)
    if way == "half-close":
        wire.socket.shutdown(socket.SHUT_WR)
        running.wait_for(transport.is_closing)
    elif way == "evicted":
        other = running.connect()
        other.request("POST", ENQUEUE, {})
        other.close()
    running.tick(12)
    running.wait_for(lambda: running.metrics.connections == 0)
    running.wait_for(lambda: descriptors() == before + 1)  # the client's own, still open


def test_a_request_that_stops_halfway_behind_a_poll_is_refused_once(serve):
    running = serve(head_timeout_s=2.0)
    wire = running.connect()
    running.hold(wire)
    wire.send(b"GET /healthz HT")
    (session,) = running.sessions()
    running.wait_for(lambda: session._in_request())
    running.tick(10)
    assert running.metrics.deadlines_total == 1
    assert len(running.app.on_loop(lambda: list(session._calls))) == 2


def test_a_connection_that_is_not_read_is_seen_to_be_gone(serve):
    """Reading is paused behind a long pipeline, and so nothing tells that the other side has reset it."""
    running = serve(pipeline_max=2)
    running.app.holds = True
    wire = running.connect()
    wire.send(request_bytes("POST", "/v1/queues/q/dequeue", {"wait_ms": 60_000}) * 4)
    (session,) = running.sessions()
    running.wait_for(lambda: session._paused)
    running.tick(30)
    assert not session.closed, "it is there, and waits"
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.close()
    running.wait_for(lambda: running.tick() or not running.metrics.connections)
    assert running.app.gone.get_nowait() is session


def test_a_client_that_sends_no_more_and_is_not_read_is_not_gone(serve):
    running = serve(pipeline_max=2)
    running.app.holds = True
    wire = running.connect()
    wire.send(request_bytes("POST", ENQUEUE, {}) * 4)
    (session,) = running.sessions()
    running.wait_for(lambda: session._paused)
    wire.socket.shutdown(socket.SHUT_WR)
    running.tick(30)
    for _ in range(4):
        running.app.reply(running.app.next_call())
    assert [wire.receive().status for _ in range(4)] == [200] * 4
    assert wire.is_closed()
