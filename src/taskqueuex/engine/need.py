"""How a command says that something must be read before it can be applied."""

from taskqueuex.model.reads import ReadRequest

__all__ = ["Need"]


class Need(Exception):
    """A command cannot be applied yet: these must be read first. Nothing has changed."""

    def __init__(self, reads: list[ReadRequest]) -> None:
        super().__init__("reads are needed")
        self.reads = reads
