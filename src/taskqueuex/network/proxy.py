"""The PROXY protocol, versions 1 and 2: what a load balancer says of a client, before the client speaks.

By https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt. The header is read to its end and not a
byte further, so that what follows (TLS, or a request) is whole.
"""

import asyncio
import ipaddress
import socket
from typing import Final

__all__ = ["ProxyError", "parse_v1", "parse_v2", "read_proxy_header"]

_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_V1_MAX = 107  # with its CRLF
_V2_HEAD = 16
_V2_REST_MAX = 4_096  # addresses and what else balancers add; the protocol would let it be 65,535
_LOCAL, _PROXY = 0x20, 0x21
_IPV4, _IPV6 = 0x10, 0x20  # with any transport in the lower half
_LENGTHS = {_IPV4: 12, _IPV6: 36}


class ProxyError(ValueError):
    """The connection does not begin with a header of the PROXY protocol."""


async def read_proxy_header(connection: socket.socket) -> str | None:
    """Reads the header of a connection that was just accepted. Returns the client's address; None where
    the balancer speaks for itself, as in a health check, or does not know.

    Raises ProxyError, OSError.
    """
    reader = _Reader(connection)
    head = await reader.exactly(8)  # both kinds are longer
    if head.startswith(b"PROXY "):
        while not head.endswith(b"\n"):
            if len(head) >= _V1_MAX:
                raise ProxyError("a line of version 1 is longer than 107 bytes")
            head += await reader.line(_V1_MAX - len(head))
        return parse_v1(head)
    if not _SIGNATURE.startswith(head):
        raise ProxyError("no header of the PROXY protocol")
    head += await reader.exactly(_V2_HEAD - len(head))
    size = int.from_bytes(head[14:16], "big")
    if size > _V2_REST_MAX:
        raise ProxyError(f"a header of version 2 announces {size} bytes")
    return parse_v2(head + await reader.exactly(size))


class _Reader:
    """Takes bytes from a socket that is not blocking, and leaves all behind them in it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()

    async def exactly(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            found += await self._receive(size - len(found))
        return found

    async def line(self, most: int) -> bytes:
        """The bytes up to a line feed, or as many of them as are there: what is behind it stays."""
        ahead = await self._receive(most, socket.MSG_PEEK)
        end = ahead.find(b"\n") + 1
        return await self._receive(end or len(ahead))

    async def _receive(self, size: int, flags: int = 0) -> bytes:
        while True:
            try:
                data = self._connection.recv(size, flags)
            except BlockingIOError:
                await self._readable()
                continue
            if not data:
                raise ProxyError("closed before its header was complete")
            return data

    async def _readable(self) -> None:
        ready = self._loop.create_future()
        descriptor = self._connection.fileno()
        self._loop.add_reader(descriptor, _wake, ready)
        try:
            await ready
        finally:
            self._loop.remove_reader(descriptor)


def _wake(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)


def parse_v1(line: bytes) -> str | None:
    """The client's address of a line with its CRLF; None for UNKNOWN. Raises ProxyError."""
    if not line.endswith(b"\r\n") or not line.isascii():
        raise ProxyError("a malformed line of version 1")
    words = line[:-2].decode().split(" ")
    if words[:2] == ["PROXY", "UNKNOWN"]:
        return None
    if len(words) != 6 or words[0] != "PROXY" or words[1] not in ("TCP4", "TCP6"):
        raise ProxyError("a malformed line of version 1")
    kind = ipaddress.IPv4Address if words[1] == "TCP4" else ipaddress.IPv6Address
    try:
        source, _ = kind(words[2]), kind(words[3])
    except ValueError:
        raise ProxyError("a malformed address in a line of version 1") from None
    for port in words[4:]:
        if not port.isdigit() or len(port) > 5 or int(port) > 65_535:
            raise ProxyError("a malformed port in a line of version 1")
    return _text(source)


def parse_v2(header: bytes) -> str | None:
    """The client's address of a whole header; None for LOCAL, and for what is not IP. Raises ProxyError."""
    if len(header) < _V2_HEAD or not header.startswith(_SIGNATURE):
        raise ProxyError("a malformed header of version 2")
    command, family = header[12], header[13] & 0xF0
    addresses = header[_V2_HEAD:]
    if len(addresses) != int.from_bytes(header[14:16], "big"):
        raise ProxyError("a header of version 2 of another length than it says")
    if command == _LOCAL:
        return None
    if command != _PROXY:
        raise ProxyError("a command or version that the PROXY protocol does not have")
    if family not in _LENGTHS:
        return None
    if len(addresses) < _LENGTHS[family]:
        raise ProxyError("a header of version 2 without its addresses")
    size = 4 if family == _IPV4 else 16
    return _text(ipaddress.ip_address(addresses[:size]))


def _text(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """As the kernel would show it: an IPv4 address within IPv6 is one of IPv4."""
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
