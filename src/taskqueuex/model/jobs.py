"""Work of the server's own that takes more than one turn, and survives a crash midway."""

from typing import Any

import msgspec

__all__ = ["JobRecord", "WorkflowRecord"]


class JobRecord(msgspec.Struct, array_like=True, gc=False):
    """The row of a job: what it does and where it stands."""

    kind: str  # release | sweep | stage | drop
    created_at: int
    subject: bytes = b""  # a task's id, for kind release
    queue: str = ""
    action: str = ""
    cursor: bytes = b""  # done up to here
    until: bytes = b""  # and no further (exclusive)
    filter: dict[str, Any] | None = None
    matched: int = 0
    changed: int = 0
    ids: list[bytes] = []  # not in use any more
    tier: int = 0  # for kind release: where the edges of its subject lie
    generation: int = 0  # for kind stage: of its order rows


class WorkflowRecord(msgspec.Struct, array_like=True, gc=False):
    """The row of a workflow, kept until its last task is forgotten."""

    name: str
    created_at: int
    remaining: int  # tasks not forgotten yet
    refs: dict[str, bytes] | None = None  # not in use any more: it was written anew with every end
