"""The end of a server: stop accepting, answer what is under way, close."""

import pytest

from taskqueuex.clock import SystemClock
from taskqueuex.commands import COMMANDS
from taskqueuex.network import NetworkConfig, NetworkMetrics, Router, Server
from taskqueuex.network.config import parse_listener


def test_idle_connections_are_closed_at_once(serve):
    running = serve()
    wire = running.connect()
    wire.request("GET", "/healthz")
    assert running.await_(running.server.drained(5)) is True
    assert wire.is_closed()


def test_nobody_can_connect_any_more(serve):
    running = serve()
    running.await_(running.server.drained(5))
    with pytest.raises(ConnectionError):
        running.connect()


def test_what_is_under_way_is_answered_first(serve, encode):
    running = serve()
    running.app.holds = True
    wire = running.connect()
    wire.send(encode("POST", "/v1/queues/q/tasks", {}))
    call = running.app.next_call()
    drained = running.start_soon(running.server.drained(10))
    running.app.on_loop(lambda: None)
    assert not drained.done()
    running.app.reply(call, status=201)
    reply = wire.receive()
    assert (reply.status, reply.headers["connection"]) == (201, "close")
    assert wire.is_closed()
    assert drained.result(10) is True


def test_after_the_timeout_the_rest_is_cut_off(serve, encode):
    running = serve()
    running.app.holds = True
    wire = running.connect()
    wire.send(encode("POST", "/v1/queues/q/tasks", {}))
    call = running.app.next_call()
    assert running.await_(running.server.drained(0.05)) is False
    assert wire.is_closed()
    assert running.app.gone.get(timeout=5) is call.sink


def test_an_address_that_is_taken_is_an_error(serve):
    running = serve()
    host, port = running.address
    assert parse_listener(f"{host}:{port}")[:2] == running.address
    with pytest.raises(OSError, match=rf"network\.listen: {host}:{port} cannot be had: [Aa]ddress"):
        running.await_(_start_another(running, f"{host}:{port}"))


async def _start_another(running, listen):
    router = Router(COMMANDS.values(), dict.fromkeys(("engine", "query", "server"), running.app.submit))
    server = Server(
        NetworkConfig(listen=(listen,)), router, running.app.gone.put, SystemClock(), NetworkMetrics()
    )
    await server.start()
