"""What the network is told: where to listen, and the bounds of everything a client can send."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from taskqueuex.commands.limits import BODY_BYTES_MAX

__all__ = ["UNIX", "NetworkConfig", "parse_address"]

UNIX: Final = "unix:"
SOCKET_PATH_BYTES_MAX: Final = 107  # of sockaddr_un, without its last NUL


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """One frozen section; `node.config` validates it."""

    listen: tuple[str, ...] = ("127.0.0.1:7470",)  # HOST:PORT, [::1]:PORT (port 0: any), unix:PATH
    backlog: int = 4_096  # connections the kernel completes before we accept them
    max_connections: int = 20_000  # beyond: 503 and close
    request_line_bytes_max: int = 8 << 10  # beyond: 414
    head_bytes_max: int = 16 << 10  # request line and headers; beyond: 431
    headers_max: int = 100  # beyond: 431
    body_bytes_max: int = BODY_BYTES_MAX  # beyond: 413
    pipeline_max: int = 64  # calls of one connection under way at once
    idle_timeout_s: float = 75.0  # a connection with nothing under way is closed after it
    request_timeout_s: float = 30.0  # a request that began and brings no more bytes: 408

    def addresses(self) -> list[tuple[str, int] | Path]:
        """(host, port), or the path of a socket, of each; raises ValueError where one is malformed."""
        return [parse_address(each) for each in self.listen]


def parse_address(text: str) -> tuple[str, int] | Path:
    """`HOST:PORT` or `[IPV6]:PORT` as a pair, `unix:PATH` as a path; raises ValueError."""
    if text.startswith(UNIX):
        path = text.removeprefix(UNIX)
        if not path or len(path.encode()) > SOCKET_PATH_BYTES_MAX:
            raise ValueError(f"{text!r}: a socket's path is 1 to {SOCKET_PATH_BYTES_MAX} bytes")
        return Path(path)
    host, separator, port = text.rpartition(":")
    if not separator or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ValueError(f"{text!r} is not HOST:PORT or unix:PATH")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r} is not [IPV6]:PORT")
    return host, int(port)
