"""What the writer counts."""

from taskqueuex.telemetry import Histogram

__all__ = ["WriterMetrics"]


class WriterMetrics:
    """Of the turn and the commit, since the server started."""

    __slots__ = ("applied", "commit_us", "commits", "failures", "fsync_us", "parked", "recoveries", "rows",
                 "shed", "stalls", "turn_us", "turns")  # fmt: skip

    def __init__(self) -> None:
        self.turns = 0
        self.applied = 0  # calls
        self.parked = 0  # calls that had to wait for a read
        self.commits = 0
        self.rows = 0
        self.stalls = 0
        self.failures = 0
        self.recoveries = 0
        self.shed = 0
        self.turn_us = Histogram()  # applying and writing, fsync excluded
        self.commit_us = Histogram()  # the write of a batch
        self.fsync_us = Histogram()
