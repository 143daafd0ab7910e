"""What the engine counts. Plain integers with one writer."""

from taskqueuex.telemetry import Histogram, RateMeter

__all__ = ["EngineMetrics", "QueueMetrics"]


class QueueMetrics:
    """Of one queue, since the server started."""

    __slots__ = ("completed", "dead", "dropped", "enqueued", "failed", "leased", "rate_failed", "rate_in",
                 "rate_out", "run_us", "wait_us")  # fmt: skip

    def __init__(self) -> None:
        self.enqueued = 0
        self.leased = 0
        self.completed = 0
        self.failed = 0  # attempts
        self.dead = 0  # tasks, whether retried later or not
        self.dropped = 0
        self.wait_us = Histogram()  # from when it could have run to when it was leased
        self.run_us = Histogram()  # from the lease to the ack
        self.rate_in = RateMeter()
        self.rate_out = RateMeter()
        self.rate_failed = RateMeter()

    def sample(self, now_ms: int) -> None:
        """Brings the rates up to date with the counters; to be called once a second, and before a look."""
        self.rate_in.add(self.enqueued - self.rate_in.total, now_ms)
        self.rate_out.add(self.completed - self.rate_out.total, now_ms)
        self.rate_failed.add(self.failed - self.rate_failed.total, now_ms)


class EngineMetrics:
    """Of the engine as a whole, since the server started."""

    __slots__ = ("expired_leases", "forget_lag_ms", "forgotten", "promoted")

    def __init__(self) -> None:
        self.expired_leases = 0
        self.forgotten = 0
        self.promoted = 0
        self.forget_lag_ms = 0
