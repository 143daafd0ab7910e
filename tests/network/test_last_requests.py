"""Connections that end with their first request, one after the other."""

import socket
from urllib.parse import urlsplit

import pytest

from taskqueuex.testing import MemoryServer

LAST = {
    "Connection: close": b"GET /healthz HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
    "HTTP/1.0": b"GET /healthz HTTP/1.0\r\n\r\n",
    "not HTTP": b"nonsense\r\n\r\n",
}


def answer_to(address, request: bytes) -> bytes:
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(request)
        with connection.makefile("rb") as file:
            return file.read()


@pytest.mark.parametrize("before", LAST.values(), ids=LAST)
def test_a_parser_that_is_used_again_knows_nothing_of_the_connection_before(before):
    with MemoryServer() as server:
        parts = urlsplit(server.url)
        for _ in range(5):
            answer_to((parts.hostname, parts.port), before)
            after = answer_to((parts.hostname, parts.port), LAST["Connection: close"])
            assert after.startswith(b"HTTP/1.1 200 "), after
