"""Who may call, and what was done in whose name, as they are kept."""

from typing import Any

import msgspec

__all__ = ["AuditRecord", "RateRecord", "TokenRecord"]


class RateRecord(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A token bucket: so many a second in the long run, so many at once."""

    per_second: float
    burst: int


class TokenRecord(msgspec.Struct, array_like=True, gc=False):
    """The row of a token. The token itself is nowhere: `digest` is the SHA-256 of it."""

    id: str
    name: str
    scopes: tuple[str, ...]
    digest: bytes
    created_at: int  # Unix milliseconds, as all times here
    expires_at: int = 0  # 0: never
    rate_limit: RateRecord | None = None  # of requests
    tasks_rate_limit: RateRecord | None = None  # of tasks that it enqueues
    tasks_per_day: int = 0  # 0: any number
    last_used_at: int = 0  # written late: at most once a minute
    day: int = 0  # the UTC day that `tasks_today` is of, in days since 1970; written late as well
    tasks_today: int = 0


class AuditRecord(msgspec.Struct, array_like=True, gc=False):
    """The row of something that was done, or refused."""

    at: int  # Unix milliseconds
    kind: str  # of who did it, as Principal says
    id: str
    name: str
    address: str  # empty: the server's Unix socket
    command: str
    target: str
    what: dict[str, Any]
    status: int  # 0: it was begun, and its end is not known
    code: str  # of the error; empty: none
