"""What the engine asks of storage, as data. It never reads by itself.

A read is run by the writer, on another thread, after the batch that was growing when it was
asked has been written; its answer comes back through Engine.deliver. `inline` ones are single
lookups that cost under a microsecond when there is nothing to find, and are run in place; what
batches under way hide from them is in the engine's overlays.
"""

from typing import Any, ClassVar

from taskqueuex.model.place import Place
from taskqueuex.model.rows import Index

__all__ = [
    "ReadChildren",
    "ReadEnded",
    "ReadFilter",
    "ReadGroup",
    "ReadGroups",
    "ReadIndex",
    "ReadLater",
    "ReadRequest",
    "ReadSlot",
    "ReadTasks",
    "ReadUnique",
    "ReadWorkflow",
    "ReadWorkflowTasks",
    "TaskFilter",
]


class ReadRequest:
    """Base of all reads. Two reads are the same only if they are the same object."""

    __slots__ = ("owner",)
    inline: ClassVar[bool] = False

    def __init__(self, owner: Any = None) -> None:
        self.owner = owner  # whatever the engine wants to find again with the answer


class ReadLater(ReadRequest):
    """Reads nothing: whoever needs it is tried again in some milliseconds. Answer: None."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__()


class ReadTasks(ReadRequest):
    """All rows of some tasks. Answer: dict of id to StoredTask."""

    __slots__ = ("ids", "stale")

    def __init__(self, ids: list[bytes]) -> None:
        super().__init__()
        self.ids = ids
        self.stale = False  # a row of one of them was written since; the answer must not be used


class ReadIndex(ReadRequest):
    """Keys of an index from `start` on. Answer: (keys, whether there are no more, dict of tasks)."""

    __slots__ = ("id_at", "index", "inverted", "limit", "place", "prefix", "start")

    def __init__(
        self,
        owner: Any,
        place: Place,
        index: Index,
        start: bytes,
        limit: int,
        *,
        prefix: bytes = b"",
        id_at: int = -1,
        inverted: bool = False,
    ) -> None:
        super().__init__(owner)
        self.place = place
        self.index = index
        self.start = start
        self.limit = limit
        self.prefix = prefix
        self.id_at = id_at  # where in a key its task's id begins, to read the tasks too; -1: do not
        self.inverted = inverted  # the id's bits are inverted (lifo)


class ReadUnique(ReadRequest):
    """The live task of a unique key. Answer: its id, or None."""

    __slots__ = ("key_hash", "place")
    inline = True

    def __init__(self, place: Place, key_hash: bytes) -> None:
        super().__init__()
        self.place = place
        self.key_hash = key_hash


class ReadGroup(ReadRequest):
    """The row of a group. Answer: GroupRecord, or None."""

    __slots__ = ("group_hash", "name", "place")
    inline = True

    def __init__(self, owner: Any, place: Place, group_hash: bytes, name: str) -> None:
        super().__init__(owner)
        self.place = place
        self.group_hash = group_hash
        self.name = name


class ReadGroups(ReadRequest):
    """Hashes of a partition's groups from `start` on. Answer: list of hashes."""

    __slots__ = ("limit", "place", "start")

    def __init__(self, place: Place, start: bytes, limit: int) -> None:
        super().__init__()
        self.place = place
        self.start = start
        self.limit = limit


class ReadChildren(ReadRequest):
    """Edges of a parent from `start` on. Answer: list of (child's id, DependencyRecord)."""

    __slots__ = ("limit", "parent", "start")

    def __init__(self, parent: bytes, start: bytes, limit: int) -> None:
        super().__init__()
        self.parent = parent
        self.start = start
        self.limit = limit


class ReadEnded(ReadRequest):
    """Rows of the retention index from `start` on. Answer: list of EndedRow."""

    __slots__ = ("limit", "place", "start", "state")

    def __init__(self, owner: Any, place: Place, state: int, start: bytes, limit: int) -> None:
        super().__init__(owner)
        self.place = place
        self.state = state
        self.start = start
        self.limit = limit


class ReadWorkflow(ReadRequest):
    """The row of a workflow. Answer: WorkflowRecord, or None."""

    __slots__ = ("workflow",)

    def __init__(self, workflow: bytes) -> None:
        super().__init__()
        self.workflow = workflow


class ReadWorkflowTasks(ReadRequest):
    """Ids of a workflow's tasks from `start` on. Answer: list of ids."""

    __slots__ = ("limit", "start", "workflow")

    def __init__(self, workflow: bytes, start: bytes, limit: int) -> None:
        super().__init__()
        self.workflow = workflow
        self.start = start
        self.limit = limit


class ReadSlot(ReadRequest):
    """Ids of a slot's tasks from `start` up to `end`. Answer: (ids, dict of tasks)."""

    __slots__ = ("end", "limit", "place", "start")

    def __init__(self, place: Place, start: bytes, end: bytes, limit: int) -> None:
        super().__init__()
        self.place = place
        self.start = start
        self.end = end
        self.limit = limit


class TaskFilter:
    """Which tasks a listing or a sweep is about; a field that is None does not matter."""

    __slots__ = (
        "after",
        "before",
        "error",
        "group",
        "ids",
        "masked",
        "name",
        "now_ms",
        "numbers",
        "places",
        "states",
        "tag",
        "until",
        "workflow",
    )

    def __init__(
        self,
        places: list[tuple[str, Place, tuple[str, bool, bool]]],
        states: tuple[int, ...] | None = None,
        *,
        group: str | None = None,
        tag: str | None = None,
        name: str | None = None,
        error: str | None = None,
        workflow: bytes | None = None,
        ids: list[bytes] | None = None,
        after: int | None = None,
        before: int | None = None,
        until: bytes = b"",
        now_ms: int = 0,
        masked: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        self.places = places  # (queue, place, layout) of every partition looked at, in order
        self.numbers = frozenset(place.number for _, place, _ in places)
        self.states = states
        self.group = group
        self.tag = tag
        self.name = name
        self.error = error
        self.workflow = workflow
        self.ids = ids
        self.after = after  # created_at >= after
        self.before = before  # created_at < before
        self.until = until  # ids below this; empty: all
        self.masked = masked  # (from, below): ids that are not there yet, though some rows are
        self.now_ms = now_ms  # tasks that are gone by then are left out; 0: none is


class ReadFilter(ReadRequest):
    """A page of the tasks that match a filter. Answer: (dict of id to StoredTask, cursor, examined)."""

    __slots__ = ("cursor", "filter", "limit")

    def __init__(self, owner: Any, task_filter: TaskFilter, cursor: bytes, limit: int) -> None:
        super().__init__(owner)
        self.filter = task_filter
        self.cursor = cursor
        self.limit = limit
