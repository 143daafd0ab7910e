"""In whose name a call is made, and what that one may do.

A scope is `produce`, `consume`, `read`, `payload` or `operate`, for all queues or, behind a colon, for those
whose names match a pattern: `produce:orders.*`. A star stands for any characters. `admin` may do everything.
No scope includes another: whoever may enqueue cannot look. `payload` allows no call; it says whether the
answers of those that are allowed show payloads and results.
"""

import fnmatch
import re
from collections.abc import Callable, Iterable
from typing import Any, Final, Literal

from taskqueuex.errors import Forbidden, Unauthenticated

__all__ = ["ANYONE", "SCOPES", "Peer", "Principal", "matcher", "parse_scope"]

Kind = Literal["anyone", "token", "certificate", "local"]

SCOPES: Final = ("produce", "consume", "read", "payload", "operate", "admin")
_SCOPE = re.compile(r"(produce|consume|read|payload|operate)(?::([A-Za-z0-9._*-]{1,128}))?").fullmatch
_CACHE_MAX = 1_024


def parse_scope(text: str) -> tuple[str, str]:
    """A scope and its pattern of queues, `*` where it has none; raises ValueError."""
    if text == "admin":
        return "admin", "*"
    found = _SCOPE(text)
    if found is None:
        raise ValueError(
            f"{text!r} is not a scope: produce, consume, read, payload or operate, each alone or with a "
            "pattern of queues as in produce:orders.*, or admin"
        )
    return found[1], found[2] or "*"


class Principal:
    """A caller, known or not. `id` is what it is told apart by, `name` what people call it.

    `restricted` is False for those who may do everything: nothing else needs to be asked of them.
    `ended` is True once what it showed is no good any more: calls of it that still wait are not made.
    """

    __slots__ = ("_cache", "_patterns", "ended", "id", "kind", "name", "restricted", "scopes")

    def __init__(self, id: str, name: str, kind: Kind, scopes: Iterable[str]) -> None:
        """Raises ValueError where a scope is malformed."""
        self.id = id
        self.name = name
        self.kind: Kind = kind
        self.scopes = tuple(scopes)
        self.ended = False
        patterns: dict[str, list[str]] = {}
        for scope, pattern in map(parse_scope, self.scopes):
            patterns.setdefault(scope, []).append(pattern)
        self.restricted = "admin" not in patterns
        self._patterns = {scope: matcher(several) for scope, several in patterns.items()}
        self._cache: dict[tuple[str, str], bool] = {}

    def end(self) -> None:
        """It may do nothing any more, by whoever holds it."""
        self.ended = self.restricted = True
        self._patterns = {}
        self._cache = {}

    def require_current(self) -> None:
        """Raises Unauthenticated where it has ended."""
        if self.ended:
            raise Unauthenticated("The token was revoked, or has expired")

    def has(self, scope: str) -> bool:
        """Whether it has a scope for any queue at all."""
        return not self.restricted or scope in self._patterns

    def has_all(self, scope: str) -> bool:
        """Whether it has a scope for every queue."""
        return not self.restricted or (scope in self._patterns and self._patterns[scope] is None)

    def allows(self, scope: str, queue: str) -> bool:
        """Whether it has a scope for a queue."""
        if not self.restricted:
            return True
        found = self._cache.get((scope, queue))
        if found is None:
            found = self._match(scope, queue)
            if len(self._cache) >= _CACHE_MAX:
                self._cache.clear()
            self._cache[scope, queue] = found
        return found

    def sees_payloads(self, queue: str) -> bool:
        """Whether payloads and results of a queue are shown to it. Writes nothing: any thread may ask."""
        return not self.restricted or self._match("payload", queue)

    def patterns_of(self, scope: str) -> list[str] | None:
        """The patterns of queues that it has a scope for; None: for all of them."""
        if self.has_all(scope):
            return None
        return [pattern for name, pattern in map(parse_scope, self.scopes) if name == scope]

    def require(self, scope: str, queue: str) -> None:
        """Raises Forbidden unless it has a scope for a queue."""
        if not self.allows(scope, queue):
            raise Forbidden(f"the scope {scope} is needed for queue {queue!r}")

    def _match(self, scope: str, queue: str) -> bool:
        patterns = self._patterns  # one look: it may end meanwhile, on another thread
        if scope not in patterns:
            return False
        pattern = patterns[scope]
        return pattern is None or pattern.fullmatch(queue) is not None

    def __repr__(self) -> str:
        return f"Principal({self.id!r}, {self.name!r}, {self.kind!r}, {self.scopes!r})"


def matcher(patterns: list[str]) -> re.Pattern[str] | None:
    """One expression for several patterns; None where one of them matches everything."""
    if "*" in patterns:
        return None
    return re.compile("|".join(map(fnmatch.translate, patterns)))  # which does not backtrack


ANYONE: Final = Principal("", "anyone", "anyone", ["admin"])


class Peer:
    """The other end of a connection."""

    __slots__ = ("_address", "certificate", "principal", "tls", "unix")

    def __init__(
        self,
        address: str | Callable[[], str],
        *,
        tls: bool = False,
        unix: bool = False,
        certificate: dict[str, Any] | None = None,
    ) -> None:
        self._address = address
        self.tls = tls
        self.unix = unix  # reached through a socket that only this server's user can open
        self.certificate = certificate  # that it proved to have, as ssl.SSLSocket.getpeercert() shows it
        self.principal: Principal | None = None  # who it is without further credentials; the guard's

    @property
    def address(self) -> str:
        """Of IP, without the port; empty on a Unix socket. To look it up is dear, and rarely needed."""
        if not isinstance(self._address, str):
            self._address = self._address()
        return self._address
