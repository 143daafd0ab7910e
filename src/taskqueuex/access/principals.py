"""Those who call, by what they showed."""

import logging
from collections import OrderedDict
from typing import Any, Final

from taskqueuex.access.limits import Bucket, Quota
from taskqueuex.commands.principal import SCOPES, Peer, Principal, parse_scope
from taskqueuex.model.access import TokenRecord

__all__ = ["LOCAL", "NOBODY", "Certificates", "TokenPrincipal", "Visitor", "WebPrincipal"]

_log = logging.getLogger("taskqueuex.access")
_CERTIFICATES_MAX = 1_024
_PREFIX = "tqx:"

NOBODY: Final = Principal("", "anyone", "anyone", ())
"""Who makes calls that need no credentials, on a server that asks for some; may do nothing else."""

LOCAL: Final = Principal("", "local", "local", ["admin"])
"""Who reaches the server through its Unix socket, which only its own user can open."""


class Visitor(Principal):
    """Whoever begins a web session, with where that one comes from."""

    __slots__ = ("peer",)

    def __init__(self, peer: Peer) -> None:
        super().__init__("", "anyone", "anyone", ())
        self.peer = peer


class TokenPrincipal(Principal):
    """The holder of a token.

    It is `restricted` where it has limits too, so that its calls are looked at: with admin among its
    scopes, it is allowed everything all the same.
    """

    __slots__ = ("expires_at", "quota", "record", "requests", "tasks", "unwritten", "was_used", "written_at")

    def __init__(self, record: TokenRecord, now_us: int) -> None:
        super().__init__(record.id, record.name, "token", record.scopes)
        self.record = record
        self.expires_at = record.expires_at  # 0: never
        self.requests = Bucket(record.rate_limit, now_us) if record.rate_limit else None
        self.tasks = Bucket(record.tasks_rate_limit, now_us) if record.tasks_rate_limit else None
        self.quota = Quota(record) if record.tasks_per_day else None
        self.was_used = False  # since the last look
        self.unwritten = False  # its row does not say so
        self.written_at = record.last_used_at
        if "admin" in record.scopes and (self.requests or self.tasks or self.quota):
            self.restricted = True
            self._patterns = dict.fromkeys(SCOPES)

    def is_expired(self, now_ms: int) -> bool:
        """Whether its time is over."""
        return 0 < self.expires_at <= now_ms


class WebPrincipal(Principal):
    """The holder of a token, in a web session."""

    __slots__ = ("session", "token")

    def __init__(self, token: TokenPrincipal, session: Any) -> None:
        super().__init__(token.id, token.name, "token", token.scopes)
        self.token = token
        self.session = session
        self.restricted = token.restricted
        self._patterns = token._patterns
        self._cache = token._cache


class Certificates:
    """Principals by the client certificates of connections. The same subject is the same principal."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, tuple[str, ...]], Principal | None] = OrderedDict()

    def principal_of(self, certificate: dict[str, Any] | None) -> Principal | None:
        """Whom a certificate names, by CN, with the scopes of its OU entries `tqx:<scope>`; else None."""
        if not certificate:
            return None
        pairs = [pair for entry in certificate.get("subject", ()) for pair in entry]
        name = next((value for key, value in pairs if key == "commonName"), "")
        units = [value for key, value in pairs if key == "organizationalUnitName"]
        scopes = tuple(value.removeprefix(_PREFIX) for value in units if value.startswith(_PREFIX))
        if not scopes:
            return None
        key = (name, scopes)
        if key not in self._known:
            self._known[key] = _of_subject(name, scopes)
            if len(self._known) > _CERTIFICATES_MAX:
                self._known.popitem(last=False)
        return self._known[key]


def _of_subject(name: str, scopes: tuple[str, ...]) -> Principal | None:
    try:
        for scope in scopes:
            parse_scope(scope)
    except ValueError as error:
        _log.warning("a client certificate has no say", extra={"subject": name, "reason": str(error)})
        return None
    return Principal(f"cn:{name}", name, "certificate", scopes)
