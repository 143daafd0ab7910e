"""One call, from its first sending to its end: what to send, to whom, until when, and whether again.

This is the core under both shells. It does no I/O and asks for no time: a shell sends `message()` to
`server` and tells how that went, and is told how long to pause before the next sending, or the error that
ends the call. The call ends well when the answer is below 300.
"""

import itertools
import os
import random
import ssl
from collections.abc import Sequence
from typing import Any

from taskqueuex.client.failures import error_of, owner_of
from taskqueuex.client.request import Request
from taskqueuex.client.retry import RetryBudget, RetryPolicy
from taskqueuex.client.servers import Server, Servers
from taskqueuex.client.tls import TLS
from taskqueuex.client.wire import Response
from taskqueuex.errors import (
    CallTimeout,
    ClientError,
    ConnectionFailed,
    Draining,
    Invalid,
    Misdirected,
    QueueFull,
    StorageUnavailable,
    TaskQueueError,
    UnexpectedStatus,
)

__all__ = ["Core", "Exchange", "Keys"]

_AGAIN = frozenset((408, 429, 503))
_GATEWAY = frozenset((408, 429, 502, 503, 504))  # of a proxy, which does not say what it means


class Keys:
    """Idempotency-Keys: 96 random bits of this client and process, and a number."""

    __slots__ = ("_numbers", "_prefix")

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Another series, as a process needs that was forked from one with a series."""
        self._prefix = os.urandom(12).hex()
        self._numbers = itertools.count(1)

    def next(self) -> str:
        """A key that nobody has."""
        return f"{self._prefix}-{next(self._numbers)}"


class Core:
    """What all calls of a client share. `timeout_s` is of a call, beside what it waits on the server."""

    __slots__ = ("budget", "keys", "retry", "servers", "timeout_s")

    def __init__(
        self, servers: Servers, retry: RetryPolicy, timeout_s: float, budget: RetryBudget, keys: Keys
    ) -> None:
        if not 0 < timeout_s <= 86_400 - 60:
            raise Invalid.field("timeout_s", "must be over 0, and less than a day")
        self.servers = servers
        self.retry = retry
        self.timeout_s = timeout_s
        self.budget = budget
        self.keys = keys

    @classmethod
    def of(
        cls,
        servers: str | Sequence[str],
        token: str | None,
        user_agent: str,
        retry: RetryPolicy | None,
        timeout_s: float,
        now_s: float,
        tls: TLS | ssl.SSLContext | None = None,
    ) -> "Core":
        """The core of a new client."""
        retry = RetryPolicy() if retry is None else retry
        return cls(Servers(servers, token, user_agent, tls), retry, timeout_s, RetryBudget(now_s), Keys())

    def changed(self, timeout_s: float | None, retry: RetryPolicy | None) -> "Core":
        """The same, but for the options given."""
        return Core(
            self.servers,
            self.retry if retry is None else retry,
            self.timeout_s if timeout_s is None else timeout_s,
            self.budget,
            self.keys,
        )


class Exchange:
    """One call."""

    __slots__ = (
        "_core",
        "_key",
        "_maybe_applied",
        "_request",
        "_sendings",
        "_was_stale",
        "deadline_s",
        "server",
        "until_s",
    )

    def __init__(self, core: Core, request: Request[Any], now_s: float) -> None:
        self._core = core
        self._request = request
        self._sendings = 0
        self._was_stale = False
        self._maybe_applied = False  # an earlier sending may have been carried out
        self._key = request.key
        if self._key is None and request.operation.repeat == "keyed" and core.retry.idempotency == "always":
            self._key = core.keys.next()
        self.deadline_s = now_s + core.timeout_s + request.wait_s
        self.until_s = self.deadline_s  # of the present sending
        self.server: Server = core.servers.pick(now_s)
        core.budget.on_call()

    @property
    def repeatable(self) -> bool:
        """Whether it can be sent again after it may have been carried out."""
        repeat = self._request.operation.repeat
        return repeat == "always" or (repeat == "keyed" and self._key is not None)

    def message(self, now_s: float) -> bytes:
        """The bytes of the next sending, which is over at `until_s`."""
        request = self._request
        self._sendings += 1
        attempt_s = self._core.retry.attempt_timeout_s
        if attempt_s is not None:
            self.until_s = min(self.deadline_s, now_s + attempt_s + request.wait_s)
        key = "" if self._key is None else f"Idempotency-Key: {self._key}\r\n"
        body = request.body
        content = "Content-Type: application/json\r\n" if body else ""
        timeout_ms = max(1, int((self.until_s - now_s) * 1_000))
        return (
            b"%b%b"
            % (
                f"{request.operation.method} {request.path} HTTP/1.1\r\n"
                f"{key}{content}Request-Timeout-Ms: {timeout_ms}\r\nContent-Length: {len(body)}\r\n".encode(),
                self.server.fixed_head,
            )
            + b"\r\n"
            + body
        )

    def on_response(self, response: Response, now_s: float) -> float:
        """An answer of 300 and above. Returns the pause before the next sending in seconds.

        Raises the error that it tells of, where the call is not repeated.
        """
        error = error_of(response)
        if isinstance(error, Misdirected):
            owner = self._core.servers.named(owner_of(response))
            if owner is None or owner is self.server or self._sendings >= self._core.retry.attempts_max:
                raise error
            self.server = owner
            return 0.0
        if isinstance(error, Draining | StorageUnavailable) or _is_gateway(error):
            self.server.on_failure(now_s, error.retry_after_s)
        else:
            self.server.on_answer()
        if not self._is_worth_repeating(error):
            raise error
        return self._pause(error, now_s, sent=True)

    def on_failure(
        self, error: ClientError, now_s: float, was_reused: bool = False, is_lasting: bool = False
    ) -> float:
        """No answer. `was_reused`: nothing came back from a connection that had served before.
        `is_lasting`: asking this server again is of no use.

        Returns the pause before the next sending in seconds; raises the error where there is none.
        """
        if was_reused and not self._was_stale and (self.repeatable or error.outcome == "not_applied"):
            # The server closed it while it was idle. That is not a failure, and costs nothing.
            self._was_stale = True
            if error.outcome != "not_applied":
                self._maybe_applied = True
            self._sendings -= 1
            return 0.0
        self.server.on_failure(now_s)
        if not isinstance(error, ConnectionFailed | CallTimeout):
            raise self._honest(error)
        if is_lasting and self._core.servers.pick(now_s).cool_until_s > now_s:
            raise self._honest(error)  # and no other server is well
        return self._pause(error, now_s, sent=error.outcome != "not_applied")

    def _is_worth_repeating(self, error: TaskQueueError) -> bool:
        if isinstance(error, QueueFull):
            return self._core.retry.queue_full
        return error.status in _AGAIN or _is_gateway(error)

    def _pause(self, error: TaskQueueError, now_s: float, sent: bool) -> float:
        """The pause before the call is sent again; raises the error where it is not."""
        if error.outcome != "not_applied":
            self._maybe_applied = True
            if not self.repeatable:
                raise error
        core = self._core
        if self._sendings >= core.retry.attempts_max:
            raise self._honest(error)
        pause_s = core.retry.pause_s(self._sendings, random.random())
        server = core.servers.pick(now_s)
        if server is not self.server and server.cool_until_s <= now_s:
            pause_s = 0.0  # another one, which is well as far as is known
        elif error.retry_after_s is not None:
            pause_s += error.retry_after_s
        if now_s + pause_s >= self.deadline_s:
            raise self._honest(error)
        # Where nothing was sent, nobody was burdened with it.
        if sent and not core.budget.spend(now_s):
            raise self._honest(error)
        self.server = server
        self.until_s = self.deadline_s
        return pause_s

    def _honest(self, error: TaskQueueError) -> TaskQueueError:
        """The error of the last sending, which knows nothing of what earlier ones may have done."""
        if self._maybe_applied:
            error.outcome = "unknown"
        return error


def _is_gateway(error: TaskQueueError) -> bool:
    return isinstance(error, UnexpectedStatus) and error.answered in _GATEWAY
