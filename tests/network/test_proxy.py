"""The PROXY protocol: the header is read to its end, whole or in pieces, and only from whom it may come."""

import socket
import ssl
import struct
from contextlib import closing

import pytest
import trustme
from wires import TIMEOUT_S, Running, Wire, request_bytes

from taskqueuex.network import NetworkConfig
from taskqueuex.network.proxy import ProxyError, parse_v1, parse_v2

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
GET = request_bytes("GET", "/v1/stats")


def v2(command=0x21, family=0x11, addresses=None, extra=b""):
    if addresses is None:
        addresses = (
            socket.inet_aton("203.0.113.7") + socket.inet_aton("10.0.0.1") + struct.pack(">HH", 4_000, 443)
        )
    content = addresses + extra
    return SIGNATURE + bytes([command, family]) + struct.pack(">H", len(content)) + content


V6 = socket.inet_pton(socket.AF_INET6, "2001:db8::7") + bytes(16) + struct.pack(">HH", 4_000, 443)
GOOD = {
    "v1 of IPv4": (b"PROXY TCP4 203.0.113.7 10.0.0.1 4000 443\r\n", "203.0.113.7"),
    "v1 of IPv6": (b"PROXY TCP6 2001:db8::7 ::1 4000 443\r\n", "2001:db8::7"),
    "v1, unknown": (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    "v1, unknown with more": (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "127.0.0.1"),
    "v2 of IPv4": (v2(), "203.0.113.7"),
    "v2 of IPv6": (v2(family=0x21, addresses=V6), "2001:db8::7"),
    "v2 with extensions": (v2(extra=b"\x03\x00\x04abcd"), "203.0.113.7"),
    "v2, the balancer's own": (v2(command=0x20, family=0, addresses=b""), "127.0.0.1"),
    "v2 of a Unix socket": (v2(family=0x31, addresses=bytes(216)), "127.0.0.1"),
    "v2, IPv4 within IPv6": (
        v2(family=0x21, addresses=bytes(10) + b"\xff\xff\xcb\x00\x71\x07" + bytes(20)),
        "203.0.113.7",
    ),
}
BAD = {
    "no header": GET,
    "v1, no address": b"PROXY TCP4 \r\n",
    "v1, wrong family": b"PROXY TCP4 2001:db8::7 ::1 4000 443\r\n",
    "v1, port too large": b"PROXY TCP4 203.0.113.7 10.0.0.1 70000 443\r\n",
    "v1, port signed": b"PROXY TCP4 203.0.113.7 10.0.0.1 +4000 443\r\n",
    "v1, bare line feed": b"PROXY TCP4 203.0.113.7 10.0.0.1 4000 443\n",
    "v1, two spaces": b"PROXY  TCP4 203.0.113.7 10.0.0.1 4000 443\r\n",
    "v1, not ASCII": "PROXY TCP4 203.0.113.٧ 10.0.0.1 4000 443\r\n".encode(),
    "v1, too long": b"PROXY UNKNOWN " + b"x" * 200 + b"\r\n",
    "v2, another version": v2(command=0x11),
    "v2, another command": v2(command=0x22),
    "v2, too short for its family": v2(addresses=b"\0" * 8),
    "v2, too long": SIGNATURE + b"\x21\x11\xff\xff",
    "v2, half a signature": SIGNATURE[:9] + b"xxxxxxx",
}


@pytest.fixture
def serve_proxy():
    started = []

    def start(listen=("proxy+127.0.0.1:0",), **settings):
        running = Running(NetworkConfig(listen=listen, **settings))
        running.app.holds = True
        started.append(running)
        return running

    yield start
    for running in started:
        running.stop()


@pytest.mark.parametrize("kind", GOOD)
def test_the_client_is_who_the_header_says(serve_proxy, kind):
    header, address = GOOD[kind]
    running = serve_proxy()
    running.connect().send(header + GET)
    call = running.app.next_call()
    assert (call.peer.address, call.sink.peer.address) == (address, address)


@pytest.mark.parametrize("kind", ["v1 of IPv4", "v2 with extensions"])
def test_a_header_may_come_byte_by_byte(serve_proxy, kind):
    header, address = GOOD[kind]
    running = serve_proxy()
    wire = running.connect()
    wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in header + GET:
        wire.send(bytes([byte]))
    assert running.app.next_call().peer.address == address


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_header_is_closed_without_an_answer(serve_proxy, kind):
    running = serve_proxy()
    wire = running.connect()
    wire.send(BAD[kind])
    assert wire.is_closed()
    assert running.metrics.handshakes_failed_total == 1
    assert running.metrics.connections_total == 0


def test_a_header_that_does_not_come_is_waited_for_so_long_only(serve_proxy):
    running = serve_proxy(handshake_timeout_s=1.0)
    wire = running.connect()
    wire.send(b"PROXY TCP4 ")
    assert wire.is_closed()


def test_a_client_that_ends_within_the_header_leaves_nothing(serve_proxy):
    running = serve_proxy()
    wire = running.connect()
    wire.send(b"PROXY TCP4 ")
    wire.socket.shutdown(socket.SHUT_WR)
    assert wire.is_closed()


def test_only_balancers_that_are_named_are_believed(serve_proxy):
    running = serve_proxy(proxy_from=("127.0.0.9/32", "::1/128"))
    header, address = GOOD["v2 of IPv4"]
    stranger = running.connect()
    stranger.send(header + GET)
    assert stranger.is_closed()
    running.connect(source="127.0.0.9").send(header + GET)
    assert running.app.next_call().peer.address == address


def test_connections_are_counted_by_the_client_not_by_the_balancer(serve_proxy):
    running = serve_proxy(max_connections=10, max_connections_per_address=1)
    for number in range(3):
        running.connect().send(b"PROXY TCP4 203.0.113.%d 10.0.0.1 4000 443\r\n" % number + GET)
        running.app.next_call()
    twice = running.connect()
    twice.send(b"PROXY TCP4 203.0.113.1 10.0.0.1 4000 443\r\n" + GET)
    assert twice.receive().status == 503


def test_tls_comes_behind_the_header(serve_proxy, tmp_path):
    authority = trustme.CA()
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    running = serve_proxy(("proxy+tls:127.0.0.1:0",), tls_certificate=str(tmp_path / "both.pem"))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    plain = socket.create_connection(running.address, timeout=TIMEOUT_S)
    header, address = GOOD["v2 with extensions"]
    plain.sendall(header)
    with closing(context.wrap_socket(plain, server_hostname="localhost")) as connection:
        connection.sendall(GET)
        call = running.app.next_call()
        assert call.peer.address == address
        assert call.sink.peer.tls


def test_both_parsers_take_whole_headers_only():
    for kind, (header, address) in GOOD.items():
        parse = parse_v1 if kind.startswith("v1") else parse_v2
        assert (parse(header) or "127.0.0.1") == address, kind
        with pytest.raises(ProxyError):
            parse(header[:-1])


def test_a_listener_without_it_takes_no_header(serve_proxy):
    running = serve_proxy(("127.0.0.1:0",))
    wire: Wire = running.connect()
    wire.send(GOOD["v1 of IPv4"][0] + GET)
    assert wire.receive().status in (400, 405)
