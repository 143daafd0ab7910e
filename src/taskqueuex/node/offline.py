"""The tokens of a server that does not run: the first one, and a way back in for who has lost theirs."""

import os
from pathlib import Path
from types import TracebackType
from typing import Self

from taskqueuex.access import Tokens, audit_key, make_token
from taskqueuex.clock import Clock, SystemClock
from taskqueuex.commands.access import CreateToken, TokenCreated, TokenList
from taskqueuex.model.access import AuditRecord, TokenRecord
from taskqueuex.model.rows import Batch
from taskqueuex.storage.directory import DataDirectory
from taskqueuex.storage.protocol import StorageError

__all__ = ["OfflineTokens", "created_reply"]


class OfflineTokens:
    """Holds a data directory, so that no server uses it meanwhile.

    Raises StorageError where one does, and with `make` False where there is no store.
    """

    def __init__(self, data: Path, *, make: bool, clock: Clock | None = None) -> None:
        if not make and not (data / "db").is_dir():
            raise StorageError(f"{data} has no store")
        self._clock = clock or SystemClock()
        self._directory = DataDirectory(data)
        try:
            self._storage = self._directory.open()
        except BaseException:
            self._directory.close()
            raise
        self._tokens = Tokens()
        self._tokens.load(self._storage.load_tokens(), 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._storage.close()
        self._directory.close()

    def create(self, asked: CreateToken) -> TokenCreated:
        """A new token, durable when this returns; raises Invalid, Conflict, StorageError."""
        record, token = make_token(asked, self._clock.now_ms(), os.urandom)
        self._tokens.check_new(record)
        batch = self._storage.new_batch()
        batch.put_token(record)
        self._write(batch, "create_token", record.id, 201)
        self._tokens.add(record, 0)
        return created_reply(record, token)

    def list(self) -> TokenList:
        """All tokens."""
        return TokenList(self._tokens.views())

    def revoke(self, token_id: str) -> None:
        """Ends a token; raises NotFound, Conflict, StorageError."""
        self._tokens.check_removal(token_id, self._clock.now_ms())
        batch = self._storage.new_batch()
        batch.delete_token(token_id)
        self._write(batch, "delete_token", token_id, 200)
        self._tokens.remove(token_id)

    def _write(self, batch: Batch, command: str, target: str, status: int) -> None:
        now_ms = self._clock.now_ms()
        key = audit_key(now_ms, 0, os.urandom(4))
        what = {"data": str(self._directory.path)}
        batch.put_audit(key, AuditRecord(now_ms, "local", "", "local", "", command, target, what, status, ""))
        self._storage.write(batch)
        self._storage.sync()


def created_reply(record: TokenRecord, token: str) -> TokenCreated:
    """What is told of a new token, the one time that it is shown."""
    return TokenCreated(
        id=record.id,
        name=record.name,
        scopes=[*record.scopes],
        created_at=record.created_at,
        expires_at=record.expires_at or None,
        token=token,
    )
