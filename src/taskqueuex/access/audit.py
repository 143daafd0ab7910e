"""The audit: rows of what was done by commands of scope operate or admin, and of what was refused.

A look (GET) has no row, unless it is refused. Payloads, secrets and what fields were set to are in none.
"""

from collections import Counter
from typing import Any

import msgspec

from taskqueuex.commands.access import AuditEntry, PrincipalView
from taskqueuex.commands.call import Call
from taskqueuex.commands.tasks import Bulk
from taskqueuex.errors import TaskQueueError
from taskqueuex.model.access import AuditRecord
from taskqueuex.model.rows import Batch

__all__ = ["AUDIT_KEY_BYTES", "REFUSED_MAX", "Auditor", "audit_key", "entry_of"]

AUDIT_KEY_BYTES = 18
REFUSED_MAX = 10  # rows a minute of what one principal is not allowed
_MINUTE_MS = 60_000
_ID_LISTED_MAX = 10


class Auditor:
    """Makes rows, each under a key of its own. `nonce` is drawn anew with every start: four bytes."""

    def __init__(self, nonce: bytes) -> None:
        self._nonce = nonce
        self._count = 0
        self._refused: Counter[tuple[str, str]] = Counter()  # of the minute, by principal
        self._minute = 0

    def begin(self, batch: Batch, call: Call, now_ms: int) -> None:
        """A row of something whose end will be told later, by `put`."""
        call.audit_key = self._key(now_ms)
        batch.put_audit(call.audit_key, _record(call, 0, "", now_ms))

    def put(
        self, batch: Batch, call: Call, status: int, body: Any, now_ms: int, target: str | None = None
    ) -> None:
        """A row of how a call ended; `target` where its path names none."""
        if status == 403 and not self._admits(call, now_ms):
            return
        code = body.code if isinstance(body, TaskQueueError) else ""
        record = _record(call, status, code, now_ms)
        if target is not None:
            record.target = target
        if call.audit_key:
            record.at = int.from_bytes(call.audit_key[:8], "big")
        batch.put_audit(call.audit_key or self._key(now_ms), record)

    def _key(self, now_ms: int) -> bytes:
        self._count += 1
        return audit_key(now_ms, self._count, self._nonce)

    def _admits(self, call: Call, now_ms: int) -> bool:
        if now_ms // _MINUTE_MS != self._minute:
            self._minute = now_ms // _MINUTE_MS
            self._refused.clear()
        who = (call.principal.kind, call.principal.id)
        self._refused[who] += 1
        return self._refused[who] <= REFUSED_MAX


def audit_key(at_ms: int, count: int, nonce: bytes) -> bytes:
    """The key of a row: they sort by time, and rows of one millisecond as they were made."""
    return at_ms.to_bytes(8, "big") + count.to_bytes(6, "big") + nonce


def _record(call: Call, status: int, code: str, now_ms: int) -> AuditRecord:
    who = call.principal
    return AuditRecord(
        now_ms,
        who.kind,
        who.id,
        who.name,
        call.peer.address if call.peer is not None else "",
        call.command.name,
        call.target,
        _what(call),
        status,
        code,
    )


def _what(call: Call) -> dict[str, Any]:
    if isinstance(call.body, Bulk):
        return {"action": call.body.action, "dry_run": call.body.dry_run, "filter": _filter(call.body.filter)}
    fields = _given(call.body) + _given(call.query)
    return {"fields": fields} if fields else {}


def _filter(wanted: Any) -> dict[str, Any]:
    found = {name: getattr(wanted, name) for name in _given(wanted)}
    if len(found.get("id") or ()) > _ID_LISTED_MAX:
        found["id"] = [*found["id"][:_ID_LISTED_MAX], f"and {len(found['id']) - _ID_LISTED_MAX} more"]
    return found


def _given(struct: Any) -> list[str]:
    """The fields of a request that are not as they are when they are left out."""
    if struct is None:
        return []
    return [
        field.name
        for field in msgspec.structs.fields(struct)
        if (value := getattr(struct, field.name)) is not None and value != field.default
    ]


def entry_of(record: AuditRecord) -> AuditEntry:
    """A row as it is shown."""
    kind: Any = record.kind
    return AuditEntry(
        record.at,
        PrincipalView(record.id, record.name, kind),
        record.address,
        record.command,
        record.target,
        record.what,
        record.status or None,
        record.code or None,
    )
