"""Tokens and web sessions: the calls about them, and what is written of their use."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any

from taskqueuex.access import Visitor, make_token
from taskqueuex.commands.access import SessionView, TokenList
from taskqueuex.commands.call import Call, Headed
from taskqueuex.commands.tasks import DeletedReply
from taskqueuex.errors import StorageUnavailable, TaskQueueError, Unauthenticated
from taskqueuex.model.access import TokenRecord
from taskqueuex.model.rows import Batch
from taskqueuex.node.offline import created_reply
from taskqueuex.node.state import NodeState
from taskqueuex.writer import Writer

__all__ = ["Credentials"]

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
_NOT_STORED = ("Cache-Control", "no-store")  # by whatever is between: the answer has a secret
_NO_COOKIE = "tqx_session=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"


class Credentials:
    """Answers for tokens and sessions; changes of tokens are made one after the other."""

    def __init__(self, state: NodeState, spawn: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        self._state = state
        self._access = state.access
        self._spawn = spawn
        self._changing = asyncio.Lock()
        self._audit_swept_at = 0
        self._access.on_refused = self._note_refused
        self.answers: dict[str, Callable[[Call], Any]] = {
            "create_token": self._create_token,
            "list_tokens": self._list_tokens,
            "delete_token": self._delete_token,
            "sign_in": self._sign_in,
            "get_session": self._get_session,
            "sign_out": self._sign_out,
        }

    def _writer(self) -> Writer:
        if self._state.writer is None:
            raise StorageUnavailable("the store is being reopened", retry_after_s=1)
        return self._state.writer

    def note(self, call: Call, status: int, body: Any) -> None:
        """A row of the audit about a call that was answered by the node itself."""
        if call.command.audited and self._state.writer is not None:
            self._state.writer.audit(call, status, body)

    def _note_refused(self, call: Call, error: TaskQueueError) -> None:
        if self._state.writer is not None:
            self._state.writer.audit(call, error.status, error)

    # Tokens

    def _list_tokens(self, call: Call) -> TokenList:
        return TokenList(self._access.tokens.views())

    def _create_token(self, call: Call) -> None:
        record, token = make_token(call.body, self._state.clock.now_ms(), os.urandom)
        self._spawn(self._answer(call, self._create(call, record, token)))

    async def _create(self, call: Call, record: TokenRecord, token: str) -> tuple[int, Any]:
        async with self._changing:
            self._access.tokens.check_new(record)
            await self._committed(call, 201, record.id, lambda batch: batch.put_token(record))
            self._access.add(record)
        return 201, Headed(created_reply(record, token), (_NOT_STORED,))

    def _delete_token(self, call: Call) -> None:
        self._spawn(self._answer(call, self._delete(call)))

    async def _delete(self, call: Call) -> tuple[int, Any]:
        async with self._changing:
            self._writer()
            self._access.tokens.check_removal(call.target, self._state.clock.now_ms())
            # First of all here: else its row could be written once more, behind the deletion, to say that it
            # was used. Should the batch fail, tokens are loaded anew from what is stored.
            self._access.revoke(call.target)
            await self._committed(call, 200, call.target, lambda batch: batch.delete_token(call.target))
        return 200, DeletedReply(True)

    async def _committed(self, call: Call, status: int, target: str, put: Callable[[Batch], None]) -> None:
        """A change of tokens and its row in the audit, in one batch."""
        writer = self._writer()

        def put_both(batch: Batch) -> None:
            put(batch)
            writer.auditor.put(batch, call, status, None, self._state.clock.now_ms(), target)

        await writer.committed(call, put_both)

    async def _answer(self, call: Call, change: Coroutine[Any, Any, tuple[int, Any]]) -> None:
        try:
            status, body = await change
        except TaskQueueError as error:
            self.note(call, error.status, error)
            status, body = error.status, error
        call.sink.on_reply(call, status, body, None)

    # Web sessions

    def _sign_in(self, call: Call) -> Headed:
        if not isinstance(call.principal, Visitor):
            raise Unauthenticated("These credentials are not known")
        view, cookie = self._access.sign_in(call.principal, call.body.token)
        return Headed(view, (("Set-Cookie", cookie), _NOT_STORED))

    def _get_session(self, call: Call) -> SessionView:
        return self._access.view(call.principal)

    def _sign_out(self, call: Call) -> Headed:
        ended = self._access.sign_out(call.principal)
        return Headed(DeletedReply(ended), (("Set-Cookie", _NO_COOKIE),))

    # Housekeeping

    def tick(self) -> None:
        """Once a second: writes when tokens were used, and ends the audit of long ago."""
        used = self._access.tick()
        writer = self._state.writer
        if writer is None:
            return
        if used:
            writer.put_tokens(used)
        now_ms = self._state.clock.now_ms()
        if now_ms - self._audit_swept_at >= _HOUR_MS:
            self._audit_swept_at = now_ms
            before_ms = max(0, now_ms - self._state.config.auth.audit_days * _DAY_MS)
            writer.drop_audit(before_ms)
