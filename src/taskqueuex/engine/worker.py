"""A worker as the engine last heard of it."""

__all__ = ["Worker"]


class Worker:
    """A worker by name."""

    __slots__ = ("last_seen_at", "name", "queues")

    def __init__(self, name: str) -> None:
        self.name = name
        self.queues: list[str] = []
        self.last_seen_at = 0
