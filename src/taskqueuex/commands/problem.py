"""What an error looks like on the wire: application/problem+json (RFC 9457)."""

import msgspec

from taskqueuex.errors import TaskQueueError

__all__ = ["Problem", "ProblemField", "problem_of"]

TYPE_PREFIX = "https://taskqueuex.dev/errors/"


class ProblemField(msgspec.Struct, gc=False):
    """One field of the request that is wrong; `field` is its path, such as `tasks[3].priority`."""

    field: str
    message: str


class Problem(msgspec.Struct, gc=False, omit_defaults=True):
    """An error. `outcome` says whether the request may have changed anything."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    outcome: str
    errors: list[ProblemField] = []


def problem_of(error: TaskQueueError) -> Problem:
    """The problem that tells a caller of an error: as a body, or as one item of a settle or batch."""
    return Problem(
        type=TYPE_PREFIX + error.code,
        title=error.title,
        status=error.status,
        detail=error.detail,
        code=error.code,
        outcome=error.outcome,
        errors=[ProblemField(each.field, each.message) for each in error.errors],
    )
