"""The servers of a client: which is asked, and for how long one that failed is left alone."""

import ssl
from collections.abc import Sequence
from typing import Final
from urllib.parse import SplitResult, urlsplit

from taskqueuex.client.credentials import check_clear_text, is_secure
from taskqueuex.client.tls import TLS, context_of
from taskqueuex.errors import Invalid

__all__ = ["Server", "Servers", "check_pool"]

COOL_DOWN_S: Final = 1.0
COOL_DOWN_S_MAX: Final = 30.0
_PORTS: Final = {"http": 80, "https": 443}


def check_pool(pool_size: int, connect_timeout_s: float) -> None:
    """Raises Invalid where no connection could be had."""
    if pool_size < 1:
        raise Invalid.field("pool_size", "must be at least 1")
    if connect_timeout_s <= 0:
        raise Invalid.field("connect_timeout_s", "must be over 0")


class Server:
    """An address, and the part of every request's head that is the same for it."""

    __slots__ = ("_failures", "address", "cool_until_s", "fixed_head", "tls", "url")

    def __init__(
        self, url: str, token: str | None, user_agent: str, tls: ssl.SSLContext | None = None
    ) -> None:
        self.url = url
        self.tls = tls if is_secure(url) else None  # what it is reached with; None: in clear text
        # What connects: (host, port), or the path of a Unix socket.
        self.address, host = _parse(url)
        if token is not None and self.tls is None and not isinstance(self.address, str):
            check_clear_text(url, self.address[0])
        lines = [f"Host: {host}", f"User-Agent: {user_agent}"]
        if token is not None:
            lines.append(f"Authorization: Bearer {token}")
        for line in lines:
            if not line.isascii() or not line.isprintable():
                raise Invalid.field(line.partition(":")[0], "must be visible ASCII characters")
        self.fixed_head = ("".join(f"{line}\r\n" for line in lines)).encode()
        self.cool_until_s = 0.0
        self._failures = 0

    @property
    def host(self) -> str | None:
        """The name that its certificate must have; None where there is no TLS."""
        return None if self.tls is None or isinstance(self.address, str) else self.address[0]

    def on_answer(self) -> None:
        """It works."""
        if self._failures:
            self._failures = 0
            self.cool_until_s = 0.0

    def on_failure(self, now_s: float, retry_after_s: float | None = None) -> None:
        """It is left alone for a while, longer each time, if there are others."""
        self._failures += 1
        cool_s = COOL_DOWN_S * 2.0 ** min(self._failures - 1, 5)
        if retry_after_s is not None:
            cool_s = max(cool_s, retry_after_s)
        self.cool_until_s = now_s + min(cool_s, COOL_DOWN_S_MAX)


def _parse(url: str) -> tuple[tuple[str, int] | str, str]:
    """What to connect to, and the value of Host."""
    if url.startswith("unix:"):
        path = url.removeprefix("unix:")
        if path.startswith("//"):
            path = path[2:]
        if not path or "\0" in path or len(path.encode()) > 107:
            raise Invalid.field("servers", f"{url!r}: the path of a socket is 1 to 107 bytes")
        return path, "localhost"
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port
        (host or "").encode("idna")  # as it is looked up
    except ValueError:
        parts, host, port = SplitResult("", "", "", "", ""), None, None
    if host is None or parts.scheme not in _PORTS or parts.username is not None or port == 0:
        text = f"{url!r} is not like http://127.0.0.1:7470, https://tasks.example.com:7470 or unix:/path"
        raise Invalid.field("servers", text)
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise Invalid.field("servers", f"{url!r}: a path is not of a server's address")
    return (host, port or _PORTS[parts.scheme]), parts.netloc


class Servers:
    """All addresses. The current one is used until it fails; then the next that is not cooling down."""

    __slots__ = ("_current", "all")

    def __init__(
        self,
        urls: str | Sequence[str],
        token: str | None,
        user_agent: str,
        tls: TLS | ssl.SSLContext | None = None,
    ) -> None:
        urls = [urls] if isinstance(urls, str) else list(urls)
        if not urls or len(set(urls)) != len(urls):
            raise Invalid.field("servers", "must be one address or more, each once")
        are_secure = any(map(is_secure, urls))
        if tls is not None and not are_secure:
            raise Invalid.field("tls", "is given, but no server is https://")
        context = context_of(tls) if are_secure else None
        self.all = tuple(Server(url, token, user_agent, context) for url in urls)
        self._current = self.all[0]

    def pick(self, now_s: float) -> Server:
        """The server to ask now; where all have failed, the one that is due soonest."""
        current = self._current
        if current.cool_until_s <= now_s or len(self.all) == 1:
            return current
        start = self.all.index(current)
        order = self.all[start:] + self.all[:start]
        self._current = next((each for each in order if each.cool_until_s <= now_s), None) or min(
            order, key=lambda each: each.cool_until_s
        )
        return self._current

    def named(self, url: str) -> Server | None:
        """The server with this address, if it is one of them; it becomes the current one."""
        for each in self.all:
            if each.url.rstrip("/") == url.rstrip("/"):
                self._current = each
                return each
        return None
