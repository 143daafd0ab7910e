"""The guard that the network asks: whose call it is, and whether it may be made."""

import logging
from collections.abc import Callable, Iterable
from typing import Final

from taskqueuex.access.attempts import Attempts
from taskqueuex.access.principals import LOCAL, NOBODY, Certificates, TokenPrincipal, Visitor, WebPrincipal
from taskqueuex.access.scopes import check_scope, tasks_in
from taskqueuex.access.sessions import COOKIE_NAME, Session, Sessions, cookie_in
from taskqueuex.access.tokens import Tokens, id_in
from taskqueuex.clock import Clock
from taskqueuex.commands.access import PrincipalView, SessionView
from taskqueuex.commands.call import Call
from taskqueuex.commands.principal import ANYONE, Peer, Principal
from taskqueuex.commands.table import Command, command
from taskqueuex.errors import Forbidden, RateLimited, TaskQueueError, Unauthenticated
from taskqueuex.model.access import TokenRecord

__all__ = ["Access"]

_log = logging.getLogger("taskqueuex.access")

_SIGN_IN: Final = command("sign_in")
_READS: Final = ("GET", "HEAD")
# What ends or keeps an attempt is not limited: a worker would lose what it has done.
_UNLIMITED: Final = frozenset(("ack", "fail", "release", "heartbeat", "settle"))


class Access:
    """Tokens, sessions and attempts of a server. Credentials are needed as soon as there is a token.

    `on_refused` is told of calls of known principals that were refused with 403.
    """

    def __init__(
        self,
        clock: Clock,
        random_bytes: Callable[[int], bytes],
        *,
        required: bool = False,
        on_refused: Callable[[Call, Forbidden], None] | None = None,
    ) -> None:
        self.tokens = Tokens()
        self.sessions = Sessions(random_bytes)
        self.attempts = Attempts()
        self.limited = {"requests": 0, "tasks": 0, "tasks_per_day": 0}  # calls refused for limits of tokens
        self.on_refused = on_refused
        self._certificates = Certificates()
        self._clock = clock
        self._required = required
        self._needed = required

    @property
    def needed(self) -> bool:
        """Whether credentials are asked for."""
        return self._needed

    # Changes

    def load(self, records: Iterable[TokenRecord]) -> None:
        """Takes the tokens that storage has; sessions of others end."""
        before = {session.token.id for session in self.sessions}
        self.tokens.load(records, self._clock.monotonic_us())
        for token_id in before:
            if token_id not in self.tokens:
                self.sessions.end_of_token(token_id)
        self._needed = self._required or len(self.tokens) > 0

    def add(self, record: TokenRecord) -> None:
        """A token is durable, and counts from now on."""
        self.tokens.add(record, self._clock.monotonic_us())
        self._needed = True

    def revoke(self, token_id: str) -> None:
        """A token and its sessions are no good any more, on connections that are open as well."""
        self.tokens.remove(token_id)
        self.sessions.end_of_token(token_id)
        self._needed = self._required or len(self.tokens) > 0

    def tick(self) -> list[TokenRecord]:
        """Once a second: ends what is over. Returns rows of tokens to write."""
        now_ms = self._clock.now_ms()
        for token in self.tokens.expired(now_ms):
            self.sessions.end_of_token(token.id)
        self.attempts.tidy(now_ms)
        self.sessions.tidy(now_ms)
        return self.tokens.used(now_ms)

    # The guard

    def greet(self, peer: Peer) -> None:
        """Notes whom a connection names without further credentials."""
        if peer.unix:
            peer.principal = LOCAL
        elif peer.certificate:
            peer.principal = self._certificates.principal_of(peer.certificate)

    def identify(
        self, peer: Peer, command: Command, authorization: bytes, cookie: bytes, csrf: bytes
    ) -> Principal:
        """See network.hub.Guard. A header that is there is what counts, good or not."""
        if command is _SIGN_IN:
            return Visitor(peer)
        if not self._needed:
            return LOCAL if peer.unix else ANYONE
        if command.scope == "public":
            return NOBODY
        if authorization:
            if authorization[:7].lower() != b"bearer ":
                raise self._refusal(peer, "scheme", b"")
            token = self._token(peer, authorization[7:])
            if token.requests is not None:
                self._spend_request(token, command)
            return token
        if cookie and (value := cookie_in(cookie)):
            session = self._session(value, command, csrf)
            if session.token.requests is not None:
                self._spend_request(session.token, command)
            return session.principal
        if peer.principal is not None:
            return peer.principal
        raise self.attempts.missing()

    def _token(self, peer: Peer, text: bytes) -> TokenPrincipal:
        token = self.tokens.find(text)
        if token is None:
            reason = "revoked" if self.tokens.was_revoked(id_in(text)) else "unknown"
            raise self._refusal(peer, reason, text)
        if token.expires_at and token.is_expired(self._clock.now_ms()):
            raise self._refusal(peer, "expired", text)
        token.was_used = True
        return token

    def _refusal(self, peer: Peer, reason: str, text: bytes) -> TaskQueueError:
        return self.attempts.refuse(peer.address, reason, id_in(text), self._clock.now_ms())

    def _session(self, value: bytes, command: Command, csrf: bytes) -> Session:
        session = self.sessions.find(value, self._clock.now_ms())
        if session is None:
            self.attempts.refused["session"] += 1
            raise Unauthenticated("The session is over; sign in again")
        if command.method not in _READS and not session.expects(csrf):
            self.attempts.refused["csrf"] += 1
            raise Forbidden("X-CSRF-Token: is missing, or is not that of the session")
        session.token.was_used = True
        return session

    def check(self, call: Call) -> None:
        """See network.hub.Guard."""
        try:
            check_scope(call)
        except Forbidden as error:
            if self.on_refused is not None and call.command.scope in ("operate", "admin"):
                self.on_refused(call, error)
            raise
        principal = call.principal
        if isinstance(principal, TokenPrincipal):
            self._spend(principal, call)
        elif isinstance(principal, WebPrincipal):
            self._spend(principal.token, call)

    # Limits of tokens

    def _spend_request(self, token: TokenPrincipal, command: Command) -> None:
        assert token.requests is not None
        if command.name in _UNLIMITED:
            return
        wait_s = token.requests.take(1, self._clock.monotonic_us())
        if wait_s:
            self.limited["requests"] += 1
            raise RateLimited("the token's rate of requests is used up", retry_after_s=wait_s)

    def _spend(self, token: TokenPrincipal, call: Call) -> None:
        if token.requests is not None and getattr(call.body, "dequeue", None) is not None:
            wait_s = token.requests.take(1, self._clock.monotonic_us())  # a settle's, known only now
            if wait_s:
                self.limited["requests"] += 1
                raise RateLimited("the token's rate of requests is used up", retry_after_s=wait_s)
        if token.tasks is not None or token.quota is not None:
            count = tasks_in(call)
            if count:
                self._spend_tasks(token, count)

    def _spend_tasks(self, token: TokenPrincipal, count: int) -> None:
        if token.tasks is not None:
            wait_s = token.tasks.take(count, self._clock.monotonic_us())
            if wait_s:
                self.limited["tasks"] += 1
                raise RateLimited("the token's rate of tasks is used up", retry_after_s=wait_s)
        if token.quota is not None:
            try:
                token.quota.take(count, self._clock.now_ms())
            except TaskQueueError:
                self.limited["tasks_per_day"] += 1
                if token.tasks is not None:
                    token.tasks.give_back(count)
                raise
            token.unwritten = True

    # Web sessions

    def sign_in(self, visitor: Visitor, token_text: str) -> tuple[SessionView, str]:
        """Begins a session: what is told of it, and its Set-Cookie header. Raises Unauthenticated,
        RateLimited."""
        token = self._token(visitor.peer, token_text.encode())
        session, value = self.sessions.begin(token, self._clock.now_ms())
        secure = "; Secure" if visitor.peer.tls else ""
        _log.info("web session began", extra={"address": visitor.peer.address, "token": token.id})
        cookie = f"{COOKIE_NAME}={value}; Path=/; HttpOnly; SameSite=Strict{secure}"
        return self.view(session.principal), cookie

    def sign_out(self, principal: Principal) -> bool:
        """Ends the session that a call is made in; returns whether it was made in one."""
        if not isinstance(principal, WebPrincipal):
            return False
        self.sessions.end(principal.session)
        return True

    def view(self, principal: Principal) -> SessionView:
        """Who somebody is, and what that one may do."""
        who = PrincipalView(principal.id, principal.name, principal.kind)
        session = principal.session if isinstance(principal, WebPrincipal) else None
        if session is None:
            return SessionView(who, list(principal.scopes), None, None)
        ends_at = session.ends_before(self._clock.now_ms())
        return SessionView(who, list(principal.scopes), session.csrf_token, ends_at)
