"""From an answer that is not a success to the error that the caller gets."""

from typing import Any, TypeVar

import msgspec

from taskqueuex.client.wire import Response
from taskqueuex.commands.problem import Problem
from taskqueuex.errors import (
    ClientError,
    FieldError,
    Outcome,
    ProtocolError,
    TaskQueueError,
    UnexpectedStatus,
)

__all__ = ["error_of", "owner_of", "read_item"]

T = TypeVar("T")


def _tree(kind: type[TaskQueueError]) -> list[type[TaskQueueError]]:
    found = [kind]
    for below in kind.__subclasses__():
        found += _tree(below)
    return found


_BY_CODE = {
    kind.code: kind for kind in _tree(TaskQueueError) if kind.status and not issubclass(kind, ClientError)
}
_decode_problem = msgspec.json.Decoder(Problem).decode


class _Owner(msgspec.Struct):
    """Of a problem `misdirected`: the address of who owns it."""

    owner: str = ""


def error_of(response: Response) -> TaskQueueError:
    """The error that an answer of status 300 and above tells of."""
    retry_after_s = _retry_after_s(response.headers.get("retry-after"))
    try:
        problem = _decode_problem(response.body)
        kind = _BY_CODE.get(problem.code)
    except msgspec.MsgspecError:
        kind = None
    if kind is None or kind.status != response.status:
        return _unexpected(response, retry_after_s)
    return _error(kind, problem, retry_after_s)


def owner_of(response: Response) -> str:
    """The address that a refusal `misdirected` names, or an empty one."""
    try:
        return msgspec.json.decode(response.body, type=_Owner).owner
    except msgspec.MsgspecError:
        return ""


def read_item(item: msgspec.Raw, kind: type[T]) -> T | TaskQueueError:
    """One item of a settle's or a partial batch's answer: its struct, or the error that it tells of.

    The error is returned, not raised: the other items of the call fared as they fared.
    """
    try:
        return msgspec.json.decode(item, type=kind)
    except msgspec.ValidationError:
        try:
            problem = _decode_problem(item)
        except msgspec.ValidationError:
            return ProtocolError(f"an item of the answer is {bytes(item)[:64]!r}", outcome="unknown")
        return _error(_BY_CODE.get(problem.code, TaskQueueError), problem, None)


def _error(kind: type[TaskQueueError], problem: Problem, retry_after_s: float | None) -> TaskQueueError:
    error: Any = kind(problem.detail)
    error.errors = tuple(FieldError(each.field, each.message) for each in problem.errors)
    error.outcome = _outcome(problem.outcome)
    error.retry_after_s = retry_after_s
    assert isinstance(error, TaskQueueError)
    return error


def _outcome(text: str) -> Outcome:
    return "not_applied" if text == "not_applied" else "unknown"


def _unexpected(response: Response, retry_after_s: float | None) -> UnexpectedStatus:
    start = response.body[:200].decode("utf-8", "replace")
    # A refusal in general means that nothing was done; what a gateway makes of a failure does not.
    outcome: Outcome = "not_applied" if 400 <= response.status < 500 and response.status != 408 else "unknown"
    return UnexpectedStatus(
        f"status {response.status}: {start}",
        answered=response.status,
        outcome=outcome,
        retry_after_s=retry_after_s,
    )


def _retry_after_s(text: str | None) -> float | None:
    """Seconds; a date, which our server does not send, counts as none."""
    if text is None or not text.isdecimal() or len(text) > 9:
        return None
    return float(text)
