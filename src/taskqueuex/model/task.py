"""What is kept of a task: the record written once, the status that changes, the lease.

Each is one row in storage. The records are arrays on disk: to add a field, append it with
a default; to change the meaning of one, raise the version in `storage/codec.py` and convert
there.
"""

import msgspec

from taskqueuex.model.queue import Backoff
from taskqueuex.model.states import READY

__all__ = [
    "EDGE_CANCEL",
    "EDGE_HOLD",
    "EDGE_RUN",
    "DependencyRecord",
    "ErrorRecord",
    "GroupRecord",
    "HistoryRecord",
    "LeaseRecord",
    "TaskRecord",
    "TaskStatus",
]

EDGE_CANCEL = 0  # a parent that does not complete cancels the child
EDGE_RUN = 1  # any end of the parent will do
EDGE_HOLD = 2  # the child stays blocked until the parent completes after all


class TaskRecord(msgspec.Struct, array_like=True, gc=False):
    """What the producer said. Rewritten by an edit or a replace only; zero or empty means not said."""

    queue_number: int
    created_at: int  # Unix milliseconds
    name: str = ""
    priority: int = 0
    group: str = ""
    group_weight: int = 0
    run_at: int = 0
    expires_at: int = 0
    timeout_ms: int = 0
    lease_ms: int = 0
    max_attempts: int = 0
    backoff: Backoff | None = None
    depends_on: tuple[tuple[bytes, int], ...] = ()  # (parent's id, EDGE_*)
    unique_key: str = ""
    tags: tuple[str, ...] = ()
    meta: dict[str, str] | None = None
    result_ttl_ms: int = -1  # -1: the queue's
    with_parents: bool | None = None
    workflow: bytes = b""
    payload: bytes | None = b"null"  # JSON as sent; None: not in memory now, read it from storage


class ErrorRecord(msgspec.Struct, array_like=True, gc=False):
    """One failed attempt."""

    at: int
    attempt: int
    type: str
    message: str
    traceback: str
    worker: str


class HistoryRecord(msgspec.Struct, array_like=True, gc=False):
    """One thing that happened to a task."""

    at: int
    event: str
    attempt: int = 0
    worker: str = ""
    detail: str = ""
    leased_at: int = 0  # when it ended an attempt: when that began, which is no record of its own


class TaskStatus(msgspec.Struct, array_like=True, gc=False):
    """What became of a task so far. No row means: ready, never leased."""

    state: int = READY
    attempt: int = 0  # grows with every lease: the fencing number
    failures: int = 0  # what max_attempts is compared with
    run_at: int = 0  # when scheduled or retrying: due then
    started_at: int = 0  # of the latest attempt
    ended_at: int = 0
    gone_at: int = 0  # when it has ended: not shown from then on
    forget_at: int = 0  # the key of its `ended` row; 0: has none
    worker: str = ""  # of the latest attempt
    reason: str = ""  # why it ended as it did
    pending: int = 0  # parents not met yet
    has_children: bool = False
    successor: bytes = b""  # unique_key replace: the task that waits for this one to end
    successor_of: bytes = b""  # and that one's: the task that still holds the key
    last_token: str = ""  # of the latest lease that was settled
    last_answer: str = ""  # and how: ack, fail, release
    progress: bytes | None = None
    result: bytes | None = None
    errors: list[ErrorRecord] | None = None  # the last 10
    history: list[HistoryRecord] | None = None  # the last 60


class LeaseRecord(msgspec.Struct, array_like=True, gc=False):
    """The row of a running task."""

    attempt: int
    token: str  # the attempt and 64 random bits: what its holder must show
    leased_at: int
    expires_at: int
    length_ms: int  # its own, and that of a heartbeat that does not say
    timeout_at: int  # the attempt must end by then; 0: never
    worker: str
    cancel_requested: bool = False
    progress: bytes | None = None
    grace_ms: int = 0  # the longest that a heartbeat has asked for, if longer than its own length


class DependencyRecord(msgspec.Struct, array_like=True, gc=False):
    """The row of an edge from a parent to a child."""

    policy: int  # EDGE_*
    met: bool = False


class GroupRecord(msgspec.Struct, array_like=True, gc=False):
    """The row of a group with tasks that wait, run or retry, in queues that look at groups."""

    name: str
    weight: int = 1
    turn: int = 0  # round robin: its place in the ring
    credit: int = 0  # how many it may still be served in this turn
    waiting: int = 0  # ready tasks
    running: int = 0
    retrying: int = 0
    head: bytes = b""  # its key in the order index; empty: not in it
