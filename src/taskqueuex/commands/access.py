"""Requests and replies about who may call: tokens, the web page's session, the audit."""

from typing import Annotated, Any, Literal

import msgspec

from taskqueuex.commands.limits import DURATION_MS_MAX, EntryName, Instant
from taskqueuex.commands.tasks import Cursor, PageLimit

__all__ = [
    "AuditEntry",
    "AuditList",
    "CreateToken",
    "ListAudit",
    "PrincipalView",
    "SessionView",
    "SignIn",
    "TokenCreated",
    "TokenList",
    "TokenRate",
    "TokenView",
]

Scope = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(admin|(produce|consume|read|payload|operate)(:[A-Za-z0-9._*-]{1,128})?)$(?!\n)",
        description="admin; or produce, consume, read, payload, operate, alone or with a pattern of queues",
    ),
]
PrincipalKind = Literal["anyone", "token", "certificate", "local"]


class TokenRate(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """So many a second in the long run, and `burst` at once; null: as many as a second has."""

    per_second: Annotated[float, msgspec.Meta(gt=0, le=1_000_000)]
    burst: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] | None = None


class CreateToken(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False, kw_only=True):
    """A token. At most one of `expires_in_ms` and `expires_at` is given; neither: it never expires.

    `rate_limit` bounds its requests, `tasks_rate_limit` and `tasks_per_day` the tasks that it enqueues,
    those of a batch each; a day is one of UTC.
    """

    name: EntryName
    scopes: Annotated[list[Scope], msgspec.Meta(min_length=1, max_length=64)]
    expires_in_ms: Annotated[int, msgspec.Meta(ge=1, le=DURATION_MS_MAX)] | None = None
    expires_at: Instant | None = None
    rate_limit: TokenRate | None = None
    tasks_rate_limit: TokenRate | None = None
    tasks_per_day: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000_000)] | None = None


class TokenView(msgspec.Struct, gc=False, kw_only=True):
    """A token, without what it is made of. `last_used_at` may be a minute behind after a crash."""

    id: str
    name: str
    scopes: list[str]
    created_at: int
    expires_at: int | None
    last_used_at: int | None
    rate_limit: TokenRate | None
    tasks_rate_limit: TokenRate | None
    tasks_per_day: int | None


class TokenCreated(msgspec.Struct, gc=False, kw_only=True):
    """A new token. `token` is shown this one time; the server keeps a hash of it."""

    id: str
    name: str
    scopes: list[str]
    created_at: int
    expires_at: int | None
    token: str


class TokenList(msgspec.Struct, gc=False):
    """All tokens, the oldest first; expired ones stay until they are revoked."""

    tokens: list[TokenView]


class SignIn(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The web page's way in: a token for a session."""

    token: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class PrincipalView(msgspec.Struct, gc=False):
    """In whose name calls are made."""

    id: str
    name: str
    kind: PrincipalKind


class SessionView(msgspec.Struct, gc=False):
    """Who calls, and what that one may do. `csrf_token` and `expires_at` are those of a web session."""

    principal: PrincipalView
    scopes: list[str]
    csrf_token: str | None
    expires_at: int | None


class ListAudit(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """A page of the audit, the newest first. `who` is an id or a name; `after` and `before` bound `at`."""

    limit: PageLimit = 100
    cursor: Cursor | None = None
    who: Annotated[str, msgspec.Meta(max_length=512)] | None = None
    command: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    after: Instant | None = None
    before: Instant | None = None


class AuditEntry(msgspec.Struct, gc=False):
    """Something that was done, or refused. `status` is null where its end is not known (yet).

    `what` has the names of the fields that were given; for a bulk its action and filter. An empty
    `address` is the server's Unix socket.
    """

    at: int
    who: PrincipalView
    address: str
    command: str
    target: str
    what: dict[str, Any]
    status: int | None
    code: str | None


class AuditList(msgspec.Struct, gc=False):
    """A page. Where `cursor` is not null there may be more, even behind an empty page."""

    entries: list[AuditEntry]
    cursor: str | None
