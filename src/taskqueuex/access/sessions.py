"""Web sessions: a token in exchange for a cookie. In memory, so that a restart ends them all.

The cookie cannot be read by scripts (HttpOnly) and is not sent from other sites (SameSite=Strict); a
change needs the session's CSRF token besides, which only a page of this server can know.
"""

import hmac
from base64 import urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable, Iterator
from hashlib import sha256

from taskqueuex.access.principals import TokenPrincipal, WebPrincipal

__all__ = ["COOKIE_NAME", "Session", "Sessions", "cookie_in"]

COOKIE_NAME = "tqx_session"
IDLE_MS = 3_600_000
LIFETIME_MS = 12 * 3_600_000
SESSIONS_MAX = 10_000
SESSIONS_OF_TOKEN_MAX = 100  # so that no token's holder ends the sessions of others
_ASSIGNMENT = f"{COOKIE_NAME}=".encode()


class Session:
    """One web session."""

    __slots__ = ("csrf_token", "digest", "ends_at", "principal", "seen_at", "token")

    def __init__(self, token: TokenPrincipal, digest: bytes, csrf_token: str, now_ms: int) -> None:
        self.token = token
        self.digest = digest
        self.csrf_token = csrf_token
        self.ends_at = now_ms + LIFETIME_MS
        if token.expires_at:
            self.ends_at = min(self.ends_at, token.expires_at)
        self.seen_at = now_ms
        self.principal = WebPrincipal(token, self)

    def is_over(self, now_ms: int) -> bool:
        """Whether it lasted long enough, or was left alone for too long."""
        return now_ms >= self.ends_at or now_ms - self.seen_at >= IDLE_MS

    def ends_before(self, now_ms: int) -> int:
        """When it is over if it is left alone from now on."""
        return min(self.ends_at, now_ms + IDLE_MS)

    def expects(self, csrf_token: bytes) -> bool:
        """Whether a change may be made with this CSRF token."""
        return hmac.compare_digest(self.csrf_token.encode(), csrf_token)


class Sessions:
    """All web sessions, the one that was used longest ago first."""

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        self._random_bytes = random_bytes
        self._by_digest: OrderedDict[bytes, Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_digest)

    def __iter__(self) -> Iterator[Session]:
        return iter(self._by_digest.values())

    def begin(self, token: TokenPrincipal, now_ms: int) -> tuple[Session, str]:
        """A new session, and the value of its cookie."""
        own = [each for each in self._by_digest.values() if each.token is token]
        if len(own) >= SESSIONS_OF_TOKEN_MAX:
            self.end(own[0])
        value, csrf_token = self._secret(), self._secret()
        digest = sha256(value.encode()).digest()
        session = self._by_digest[digest] = Session(token, digest, csrf_token, now_ms)
        if len(self._by_digest) > SESSIONS_MAX:
            self.end(next(iter(self)))
        return session, value

    def _secret(self) -> str:
        return urlsafe_b64encode(self._random_bytes(32)).decode().rstrip("=")

    def find(self, value: bytes, now_ms: int) -> Session | None:
        """The session of a cookie; None where there is none, or its time is over."""
        digest = sha256(value).digest()
        session = self._by_digest.get(digest)
        if session is None or not hmac.compare_digest(session.digest, digest):
            return None
        if session.is_over(now_ms):
            self.end(session)
            return None
        session.seen_at = now_ms
        self._by_digest.move_to_end(digest)
        return session

    def end(self, session: Session) -> None:
        """Ends one: calls made in it that still wait are not made."""
        session.principal.end()
        self._by_digest.pop(session.digest, None)

    def end_of_token(self, token_id: str) -> None:
        """Ends all that were begun with a token."""
        for session in [each for each in self._by_digest.values() if each.token.id == token_id]:
            self.end(session)

    def tidy(self, now_ms: int) -> None:
        """Forgets those that were left alone for too long."""
        while self._by_digest:
            session = next(iter(self._by_digest.values()))
            if not session.is_over(now_ms):
                return
            self.end(session)


def cookie_in(header: bytes) -> bytes:
    """The value of the session's cookie in a Cookie header; empty where it is not there."""
    if _ASSIGNMENT not in header:
        return b""
    for part in header.split(b";"):
        text = part.strip()
        if text.startswith(_ASSIGNMENT):
            return text[len(_ASSIGNMENT) :]
    return b""
