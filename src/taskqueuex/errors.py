"""One tree of errors: the class says whose fault it is, its code and its HTTP status.

`outcome` tells the caller whether the request may have changed anything: `not_applied`
(it surely did not) or `unknown` (repeat it with the same Idempotency-Key to find out).
"""

from typing import ClassVar, Literal

__all__ = [
    "BadRequest",
    "CallTimeout",
    "ClientError",
    "Conflict",
    "ConnectionFailed",
    "Cycle",
    "Draining",
    "FieldError",
    "Forbidden",
    "Gone",
    "HeadersTooLarge",
    "IdempotencyMismatch",
    "Invalid",
    "InvalidJson",
    "LeaseLost",
    "LengthRequired",
    "MethodNotAllowed",
    "Misdirected",
    "NotFound",
    "Overloaded",
    "PayloadTooLarge",
    "ProtocolError",
    "QueueFull",
    "RateLimited",
    "RequestTimeout",
    "StorageUnavailable",
    "TaskQueueError",
    "Unauthenticated",
    "UnexpectedStatus",
    "UnsupportedMediaType",
    "UriTooLong",
]

Outcome = Literal["not_applied", "unknown"]


class FieldError:
    """One field of a request that is wrong: its path in the body, and why."""

    __slots__ = ("field", "message")

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        self.message = message

    def __repr__(self) -> str:
        return f"FieldError({self.field!r}, {self.message!r})"


class TaskQueueError(Exception):
    """Base of every error that a caller of the API can be told."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal error"

    def __init__(
        self,
        detail: str = "",
        *,
        errors: tuple[FieldError, ...] = (),
        outcome: Outcome = "not_applied",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.errors = errors
        self.outcome: Outcome = outcome
        self.retry_after_s = retry_after_s


class BadRequest(TaskQueueError):
    status, code, title = 400, "bad_request", "Bad request"


class InvalidJson(BadRequest):
    code, title = "invalid_json", "The body is not valid JSON"


class Unauthenticated(TaskQueueError):
    """No credentials, or none that are known here. Which of both is not told."""

    status, code, title = 401, "unauthenticated", "Credentials are needed"


class Forbidden(TaskQueueError):
    """The caller is known, and has no scope for this."""

    status, code, title = 403, "forbidden", "Not allowed"


class NotFound(TaskQueueError):
    status, code, title = 404, "not_found", "Not found"


class MethodNotAllowed(TaskQueueError):
    status, code, title = 405, "method_not_allowed", "Method not allowed"

    def __init__(self, detail: str = "", *, allow: tuple[str, ...] = ()) -> None:
        super().__init__(detail)
        self.allow = allow


class RequestTimeout(TaskQueueError):
    status, code, title = 408, "request_timeout", "The request did not arrive in time"


class Conflict(TaskQueueError):
    status, code, title = 409, "conflict", "Conflict with the current state"


class LeaseLost(Conflict):
    code, title = "lease_lost", "The lease is not the task's current one"


class Gone(TaskQueueError):
    status, code, title = 410, "gone", "The task has ended and was forgotten"


class LengthRequired(TaskQueueError):
    status, code, title = 411, "length_required", "Length required"


class PayloadTooLarge(TaskQueueError):
    status, code, title = 413, "payload_too_large", "Payload too large"


class UriTooLong(TaskQueueError):
    status, code, title = 414, "uri_too_long", "URI too long"


class UnsupportedMediaType(TaskQueueError):
    status, code, title = 415, "unsupported_media_type", "Unsupported media type"


class Misdirected(TaskQueueError):
    status, code, title = 421, "misdirected", "Another node owns this"


class Invalid(TaskQueueError):
    """A field is out of range, of the wrong type, unknown or too long."""

    status, code, title = 422, "invalid", "The request is not valid"

    @classmethod
    def field(cls, field: str, message: str) -> "Invalid":
        """The error of one field; `field` is its path, such as `tasks[3].priority`."""
        return cls(f"{field}: {message}", errors=(FieldError(field, message),))


class IdempotencyMismatch(Invalid):
    code, title = "idempotency_mismatch", "This Idempotency-Key was used with another body"


class Cycle(Invalid):
    code, title = "cycle", "The dependencies form a cycle"


class QueueFull(TaskQueueError):
    status, code, title = 429, "queue_full", "The queue is full"


class RateLimited(TaskQueueError):
    status, code, title = 429, "rate_limited", "Over the quota"


class HeadersTooLarge(TaskQueueError):
    status, code, title = 431, "headers_too_large", "Request header fields too large"


class Overloaded(TaskQueueError):
    status, code, title = 503, "overloaded", "Overloaded"


class StorageUnavailable(TaskQueueError):
    status, code, title = 503, "storage_unavailable", "The storage cannot take writes now"


class Draining(TaskQueueError):
    status, code, title = 503, "draining", "The server is shutting down"


class ClientError(TaskQueueError):
    """No answer of the server: what the client itself finds. It has no HTTP status."""

    status, code, title = 0, "client_error", "The call failed in the client"


class ConnectionFailed(ClientError):
    """There was no answer. `outcome` is `not_applied` where nothing of the request was sent."""

    code, title = "connection_failed", "No answer from the server"


class CallTimeout(ClientError):
    """The time of the call was over before an answer came."""

    code, title = "call_timeout", "The call took too long"


class ProtocolError(ClientError):
    """What answered does not speak the protocol of the server, or not well."""

    code, title = "protocol_error", "The answer is not the server's"


class UnexpectedStatus(ClientError):
    """An answer that is none of the API's, as of a proxy on the way. `answered` is its HTTP status."""

    code, title = "unexpected_status", "The answer is not one of the API's"

    def __init__(
        self,
        detail: str = "",
        *,
        answered: int = 0,
        outcome: Outcome = "unknown",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(detail, outcome=outcome, retry_after_s=retry_after_s)
        self.answered = answered
