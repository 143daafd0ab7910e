"""What the network is told: where to listen, and the bounds of everything a client can send."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from taskqueuex.commands.limits import BODY_BYTES_MAX

__all__ = ["UNIX", "Listener", "NetworkConfig", "parse_listener"]

UNIX: Final = "unix:"
TLS: Final = "tls:"
PROXY: Final = "proxy+"
SOCKET_PATH_BYTES_MAX: Final = 107  # of sockaddr_un, without its last NUL


class Listener(NamedTuple):
    """Where to listen, and what is spoken there."""

    host: str = ""
    port: int = 0
    path: Path | None = None  # of a Unix socket
    tls: bool = False
    proxy: bool = False  # every connection begins with a header of the PROXY protocol

    @property
    def loopback(self) -> bool:
        """Whether only programs on this machine can reach it."""
        if self.path is not None or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """One frozen section; `node.config` validates it."""

    # [proxy+][tls:]HOST:PORT, [::1]:PORT (port 0: any), unix:PATH
    listen: tuple[str, ...] = ("127.0.0.1:7470",)
    web_page: bool = True  # whether `/` is the web page
    insecure: bool = False  # listen beyond loopback without TLS or without tokens
    tls_certificate: str | None = None  # PEM file: the server's certificate, and those between it and its CA
    tls_key: str | None = None  # PEM file; None: it is in the certificate's
    tls_client_ca: str | None = None  # PEM file: a certificate of one of these is asked of every client
    tls_client_crl: str | None = None  # PEM file: what those have revoked, one list of each
    proxy_from: tuple[str, ...] = ()  # networks whose word of a client's address is taken; none: all
    backlog: int = 16_384  # connections the kernel completes before we accept them; somaxconn bounds it
    max_connections: int = 20_000  # beyond: the one that is idle for longest is closed, else 503
    max_connections_per_address: int = 0  # the same for one address; 0: nine tenths of max_connections
    request_line_bytes_max: int = 8 << 10  # beyond: 414
    head_bytes_max: int = 16 << 10  # request line and headers; beyond: 431
    headers_max: int = 100  # beyond: 431
    body_bytes_max: int = BODY_BYTES_MAX  # beyond: 413
    pipeline_max: int = 64  # calls of one connection under way at once
    unread_bytes_max: int = 32 << 20  # answers that a client does not read; beyond: the connection is cut
    idle_timeout_s: float = 75.0  # a connection with nothing under way is closed after it
    handshake_timeout_s: float = 10.0  # for the PROXY header and for TLS
    head_timeout_s: float = 10.0  # from the first byte of a request to the end of its head; beyond: 408
    body_bytes_per_s_min: int = 1_024  # a body that comes slower, after head_timeout_s of grace: 408
    request_timeout_s: float = 300.0  # from a request's first byte to its last; beyond: 408
    read_timeout_s: float = 30.0  # a client that reads nothing of its answers is cut off after it

    def listeners(self) -> list[Listener]:
        """What to listen on; raises ValueError where one is malformed."""
        return [parse_listener(each) for each in self.listen]

    @property
    def connections_per_address(self) -> int:
        """The most connections of one address: no address alone can take all of them."""
        return self.max_connections_per_address or max(1, self.max_connections * 9 // 10)


def parse_listener(text: str) -> Listener:
    """`[proxy+][tls:]HOST:PORT`, `[proxy+][tls:][IPV6]:PORT` or `unix:PATH`; raises ValueError."""
    if text.startswith(UNIX):
        path = text.removeprefix(UNIX)
        if not path or len(path.encode()) > SOCKET_PATH_BYTES_MAX:
            raise ValueError(f"{text!r}: a socket's path is 1 to {SOCKET_PATH_BYTES_MAX} bytes")
        return Listener(path=Path(path))
    rest = text.removeprefix(PROXY)
    tls = rest.startswith(TLS)
    host, separator, port = rest.removeprefix(TLS).rpartition(":")
    if not separator or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ValueError(f"{text!r} is not [proxy+][tls:]HOST:PORT or unix:PATH")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r} is not [IPV6]:PORT")
    return Listener(host, int(port), tls=tls, proxy=text.startswith(PROXY))
