"""Tokens: how they are made, and what the server keeps of them.

`tqx_<id>_<secret>`. The secret has 256 random bits, so that its SHA-256 cannot be turned back by trying,
and needs neither salt nor a slow hash. A token is found by its digest; the digests are compared in
constant time after that, although whoever can choose a digest could find secrets anyway.
"""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable
from hashlib import sha256

from taskqueuex.access.principals import TokenPrincipal
from taskqueuex.commands.access import CreateToken, TokenRate, TokenView
from taskqueuex.errors import Conflict, Invalid, NotFound
from taskqueuex.model.access import RateRecord, TokenRecord

__all__ = ["TOKENS_MAX", "Tokens", "id_in", "make_token", "token_view"]

TOKENS_MAX = 10_000
USED_WRITE_MS = 60_000  # how late the row of a token may be about its use
_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
_ID_LENGTH = 10
_SECRET_BYTES = 32
_REVOKED_MAX = 1_000


def make_token(
    asked: CreateToken, now_ms: int, random_bytes: Callable[[int], bytes]
) -> tuple[TokenRecord, str]:
    """What is kept of a new token, and the token itself; raises Invalid."""
    if asked.expires_in_ms is not None and asked.expires_at is not None:
        raise Invalid.field("expires_at", "is given with expires_in_ms; only one of them may be")
    expires_at = asked.expires_at or (now_ms + asked.expires_in_ms if asked.expires_in_ms else 0)
    if asked.expires_at is not None and asked.expires_at <= now_ms:
        raise Invalid.field("expires_at", "has passed")
    token_id = "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in random_bytes(_ID_LENGTH))
    secret = urlsafe_b64encode(random_bytes(_SECRET_BYTES)).decode().rstrip("=")
    token = f"tqx_{token_id}_{secret}"
    record = TokenRecord(
        token_id,
        asked.name,
        tuple(dict.fromkeys(asked.scopes)),
        sha256(token.encode()).digest(),
        now_ms,
        expires_at,
        _rate(asked.rate_limit),
        _rate(asked.tasks_rate_limit),
        asked.tasks_per_day or 0,
    )
    return record, token


def _rate(asked: TokenRate | None) -> RateRecord | None:
    if asked is None:
        return None
    return RateRecord(asked.per_second, asked.burst or max(1, int(asked.per_second)))


def id_in(token: bytes) -> str:
    """The id within what may be a token, for the log; empty where it has not the form of one."""
    prefix, _, rest = token.partition(b"_")
    text = rest.partition(b"_")[0].decode("latin-1")
    fits = prefix == b"tqx" and len(text) == _ID_LENGTH and set(text) <= set(_ALPHABET)
    return text if fits else ""


class Tokens:
    """All tokens of a server, by digest and by id."""

    def __init__(self) -> None:
        self._by_digest: dict[bytes, TokenPrincipal] = {}
        self._by_id: dict[str, TokenPrincipal] = {}
        self._revoked: dict[str, None] = {}  # ids, the latest of them, for the log

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, token_id: str) -> bool:
        return token_id in self._by_id

    def load(self, records: Iterable[TokenRecord], now_us: int) -> None:
        """Takes what storage has. Principals of tokens that did not change stay who they are."""
        kept = {record.digest: record for record in records}
        for token in [each for each in self._by_id.values() if each.record.digest not in kept]:
            self.remove(token.id)
        for digest, record in kept.items():
            if digest not in self._by_digest:
                self.add(record, now_us)

    def add(self, record: TokenRecord, now_us: int) -> None:
        """Makes a token known."""
        token = TokenPrincipal(record, now_us)
        self._by_digest[record.digest] = self._by_id[record.id] = token

    def find(self, token: bytes) -> TokenPrincipal | None:
        """The one whose token this is, expired or not."""
        digest = sha256(token).digest()
        found = self._by_digest.get(digest)
        if found is None or not hmac.compare_digest(found.record.digest, digest):
            return None
        return found

    def remove(self, token_id: str) -> None:
        """Forgets a token; whoever holds its principal may do nothing any more."""
        token = self._by_id.pop(token_id)
        del self._by_digest[token.record.digest]
        token.end()
        self._revoked[token_id] = None
        if len(self._revoked) > _REVOKED_MAX:
            del self._revoked[next(iter(self._revoked))]

    def was_revoked(self, token_id: str) -> bool:
        """Whether a token was revoked lately, as far as that is remembered."""
        return token_id in self._revoked

    def check_new(self, record: TokenRecord) -> None:
        """Whether a token may be added; raises Conflict."""
        if len(self._by_id) >= TOKENS_MAX:
            raise Conflict(f"there are {TOKENS_MAX} tokens, as many as there may be")
        if not self._by_id and "admin" not in record.scopes:
            raise Conflict("scopes: the first token must have admin, else nobody could make another")
        if record.id in self._by_id or record.digest in self._by_digest:
            raise Conflict("a token of this id is there; try again")

    def check_removal(self, token_id: str, now_ms: int) -> None:
        """Whether a token may be revoked; raises NotFound, or Conflict for the last admin among others."""
        token = self._by_id.get(token_id)
        if token is None:
            raise NotFound(f"no token {token_id!r}")
        others = [each for each in self._by_id.values() if each is not token]
        if not others or "admin" not in token.scopes:
            return
        if not any("admin" in each.scopes and not each.is_expired(now_ms) for each in others):
            raise Conflict("it is the last token with admin, and there are others: revoke those first")

    def views(self) -> list[TokenView]:
        """All of them, the oldest first."""
        tokens = sorted(self._by_id.values(), key=lambda each: (each.record.created_at, each.id))
        return [token_view(each.record) for each in tokens]

    def expired(self, now_ms: int) -> list[TokenPrincipal]:
        """Those whose time is over since this was last asked: they have ended."""
        found = [each for each in self._by_id.values() if each.is_expired(now_ms) and not each.ended]
        for token in found:
            token.end()
        return found

    def used(self, now_ms: int) -> list[TokenRecord]:
        """Notes who was here since the last call, a second or so ago; returns rows to write."""
        due = []
        for token in self._by_id.values():
            if token.was_used:
                token.was_used = False
                token.record.last_used_at = now_ms
                token.unwritten = True
            if token.unwritten and now_ms - token.written_at >= USED_WRITE_MS:
                token.unwritten, token.written_at = False, now_ms
                due.append(token.record)
        return due


def token_view(record: TokenRecord) -> TokenView:
    """What may be shown of a token."""
    return TokenView(
        id=record.id,
        name=record.name,
        scopes=list(record.scopes),
        created_at=record.created_at,
        expires_at=record.expires_at or None,
        last_used_at=record.last_used_at or None,
        rate_limit=_shown(record.rate_limit),
        tasks_rate_limit=_shown(record.tasks_rate_limit),
        tasks_per_day=record.tasks_per_day or None,
    )


def _shown(rate: RateRecord | None) -> TokenRate | None:
    return None if rate is None else TokenRate(rate.per_second, rate.burst)
