"""The core of the buffered producers: which tasks go together, and how each fared. No I/O, no threads.

Tasks are grouped by queue. A batch is sent when it is full, or `linger` after its first task. Batches go
as a whole, which is cheaper for the server, and item by item where that was refused, so that one bad task
is not the failure of its neighbours; nothing was enqueued by what was refused.
"""

from collections.abc import Generator, Sequence
from typing import Any, Final, Generic, TypeVar

import msgspec

from taskqueuex.client.failures import read_item
from taskqueuex.client.request import Operation, Request, encode_value
from taskqueuex.commands.limits import BATCH_MAX
from taskqueuex.commands.produce import BatchReply, EnqueueReply, EnqueueTask, PartialReply
from taskqueuex.errors import BadRequest, Conflict, Invalid, PayloadTooLarge, QueueFull, TaskQueueError

__all__ = ["BATCH_BYTES_MAX", "Batch", "Batcher", "Outcome", "check_bounds", "deliver", "encode_task"]

BATCH_BYTES_MAX: Final = 8 << 20

F = TypeVar("F")
Outcome = EnqueueReply | TaskQueueError
_Reply = BatchReply | PartialReply

_ENQUEUE_BATCH = Operation("enqueue_batch")
_encode = msgspec.json.Encoder().encode
_Task: Any = EnqueueTask
# Their state is not always `ready`: it is learnt from an answer that tells of each.
_TELLING: Final = frozenset(("delay_ms", "run_at", "depends_on", "unique_key", "expires_at"))
# They are about single tasks, or about too many at once.
_OF_ITEMS: Final = (BadRequest, Conflict, Invalid, PayloadTooLarge, QueueFull)


def encode_task(payload: Any, fields: dict[str, Any]) -> tuple[bytes, bool]:
    """A task as JSON, and whether its answer has to be its own.

    Raises TypeError for an unknown field, and Invalid where a value is not JSON.
    """
    try:
        encoded = _encode(_Task(payload=payload, **fields))
    except (ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise Invalid.field("task", f"is no JSON value: {error}") from error
    except TypeError:
        encode_value(payload, "payload")  # it is the usual culprit, and then named
        raise
    return encoded, not _TELLING.isdisjoint(fields)


def check_bounds(max_pending: int, in_flight: int) -> None:
    """Raises Invalid for what a producer cannot be bounded by."""
    if max_pending < 1:
        raise Invalid.field("max_pending", "must be at least 1")
    if not 1 <= in_flight <= 64:
        raise Invalid.field("in_flight", "must be 1 to 64")


class Batch(Generic[F]):
    """Tasks of one queue that go together; `futures` are those of the producer, one a task."""

    __slots__ = ("due_s", "futures", "items", "partial", "queue", "shared", "size")

    def __init__(self, queue: str, due_s: float, shared: Any) -> None:
        self.queue = queue
        self.due_s = due_s  # when it is sent at the latest
        self.items: list[bytes] = []
        self.futures: list[F] = []
        self.size = 0  # bytes of the items
        self.partial = False  # whether it has to be answered item by item
        self.shared = shared  # the producer's own, for all futures of the batch


class Batcher(Generic[F]):
    """Batches that are filled. The first of `filling` is due first."""

    __slots__ = ("_linger_s", "_max_batch", "filling")

    def __init__(self, linger_ms: float, max_batch: int) -> None:
        if not 0 <= linger_ms <= 60_000:
            raise Invalid.field("linger_ms", "must be 0 to 60000")
        if not 1 <= max_batch <= BATCH_MAX:
            raise Invalid.field("max_batch", f"must be 1 to {BATCH_MAX}")
        self._linger_s = linger_ms / 1_000
        self._max_batch = max_batch
        self.filling: dict[str, Batch[F]] = {}  # by queue, in the order of their first tasks

    def has_room(self, batch: Batch[F], size: int) -> bool:
        """Whether an item of so many bytes fits in."""
        return len(batch.items) < self._max_batch and batch.size + size < BATCH_BYTES_MAX

    def start(self, queue: str, now_s: float, shared: Any) -> Batch[F]:
        """A new batch of a queue; the one before it was taken."""
        batch = self.filling[queue] = Batch(queue, now_s + self._linger_s, shared)
        return batch

    def add(self, batch: Batch[F], item: bytes, partial: bool, future: F) -> bool:
        """Puts a task in; True where the batch is full with it, and is not filled any more."""
        batch.items.append(item)
        batch.futures.append(future)
        batch.size += len(item) + 1
        if partial:
            batch.partial = True
        if len(batch.items) < self._max_batch and batch.size < BATCH_BYTES_MAX:
            return False
        del self.filling[batch.queue]
        return True

    def take_due(self, now_s: float | None) -> list[Batch[F]]:
        """Those whose time has come; None: all."""
        due = []
        for batch in list(self.filling.values()):
            if now_s is not None and batch.due_s > now_s:
                break
            due.append(self.filling.pop(batch.queue))
        return due

    @property
    def next_due_s(self) -> float | None:
        """When the first of those that are filled is due."""
        for batch in self.filling.values():
            return batch.due_s
        return None


def deliver(
    queue: str, items: Sequence[bytes], partial: bool
) -> Generator[Request[_Reply], _Reply, list[Outcome]]:
    """The requests that bring tasks into their queue; returns how each task fared.

    Who runs it sends each request, and hands back the answer, or throws the TaskQueueError. Every request
    has an Idempotency-Key of its own, so that its repeats enqueue nothing twice.
    """
    if not partial:
        try:
            reply = yield _request(queue, items, False)
        except TaskQueueError as error:
            if not _is_of_items(error):
                return [error] * len(items)
        else:
            assert isinstance(reply, BatchReply)
            return [EnqueueReply(each, "ready") for each in reply.ids]
    try:
        reply = yield _request(queue, items, True)
    except TaskQueueError as error:
        if len(items) == 1 or not _is_of_items(error):
            return [error] * len(items)
    else:
        assert isinstance(reply, PartialReply)
        return [read_item(each, EnqueueReply) for each in reply.results]
    # One of them is so wrong that the server could not read on: it is found by halves.
    middle = len(items) // 2
    first = yield from deliver(queue, items[:middle], True)
    second = yield from deliver(queue, items[middle:], True)
    return first + second


def _is_of_items(error: TaskQueueError) -> bool:
    return error.outcome == "not_applied" and isinstance(error, _OF_ITEMS)


def _request(queue: str, items: Sequence[bytes], partial: bool) -> Request[_Reply]:
    end = b'],"partial":true}' if partial else b"]}"
    body = b'{"tasks":[%b%b' % (b",".join(items), end)
    return Request(_ENQUEUE_BATCH, _ENQUEUE_BATCH.path(queue), body=msgspec.Raw(body))
