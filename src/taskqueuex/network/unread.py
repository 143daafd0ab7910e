"""What the other end of a connection has taken of what was written, as far as the kernel knows.

Transports do not know it all: below one of TLS lies a buffer that is in no count, and the kernel itself may
hold megabytes. Counted are the bytes that the other kernel has acknowledged; where there is no TCP, those
that have not been read.
"""

import asyncio
import fcntl
import select
import socket
import struct
import termios
from typing import Any, Final

__all__ = ["is_dead", "is_unread", "taken_bytes"]

_ACKED_AT: Final = 120  # of tcpi_bytes_acked in tcp_info (linux/tcp.h)
_INFO_BYTES: Final = 128


def _queued_bytes(transport: asyncio.Transport, sock: Any) -> int:
    (queued,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4))
    return transport.get_write_buffer_size() + int(queued)


def is_unread(transport: asyncio.Transport) -> bool:
    """Whether something that was written is not taken yet."""
    sock = transport.get_extra_info("socket")
    try:
        return sock is not None and _queued_bytes(transport, sock) > 0
    except OSError:
        return False  # it is closed


def is_dead(transport: asyncio.Transport) -> bool:
    """Whether the other end has reset the connection, or closed both of its directions."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(sock.fileno(), 0)  # what is always told: POLLHUP and POLLERR
    return bool(poll.poll(0))


def taken_bytes(transport: asyncio.Transport) -> int:
    """A number that grows by the bytes that are taken."""
    sock = transport.get_extra_info("socket")
    try:
        if sock is None:
            return 0
        if sock.family == socket.AF_UNIX:
            return -_queued_bytes(transport, sock)
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
        return int(struct.unpack_from("Q", info, _ACKED_AT)[0])
    except OSError:
        return 0
