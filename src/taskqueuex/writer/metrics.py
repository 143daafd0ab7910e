"""What the writer counts."""

from taskqueuex.telemetry import Histogram

__all__ = ["WriterMetrics"]


SLOW_SYNC_US = 100_000


class WriterMetrics:
    """Of the turn and the commit, since the server started."""

    __slots__ = ("applied", "commit_us", "commits", "failures", "fsync_us", "parked", "recoveries", "rows",
                 "shed", "slow_syncs", "slowest_sync_us", "stalls", "turn_us", "turns")  # fmt: skip

    def __init__(self) -> None:
        self.turns = 0
        self.applied = 0  # calls
        self.parked = 0  # calls that had to wait for a read
        self.commits = 0
        self.rows = 0
        self.stalls = 0
        self.failures = 0
        self.recoveries = 0
        self.shed = 0  # calls that found the inbox full
        self.slow_syncs = 0  # over SLOW_SYNC_US
        self.slowest_sync_us = 0  # since that was told
        self.turn_us = Histogram()  # applying and writing, fsync excluded
        self.commit_us = Histogram()  # the write of a batch
        self.fsync_us = Histogram()

    def on_sync(self, took_us: int) -> None:
        """A sync has ended."""
        self.fsync_us.record(took_us)
        if took_us > SLOW_SYNC_US:
            self.slow_syncs += 1
            self.slowest_sync_us = max(self.slowest_sync_us, took_us)
