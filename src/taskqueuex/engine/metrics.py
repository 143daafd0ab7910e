"""What the engine counts. Plain integers with one writer."""

from taskqueuex.commands.queues import Percentiles
from taskqueuex.telemetry import Exemplars, Histogram, HistogramSnapshot, RateMeter, Recent

__all__ = ["EngineMetrics", "QueueMetrics"]

_SPAN_MS = 60_000  # of the windows over waits and runs: what is shown is of the last one to two minutes


class QueueMetrics:
    """Of one queue, since the server started."""

    __slots__ = ("_cached", "_recent_run", "_recent_wait", "_roll_at", "_sampled", "completed", "dead",
                 "dropped", "enqueued", "failed", "leased", "rate_failed", "rate_in", "rate_out", "run_us",
                 "wait_us")  # fmt: skip

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
        self._recent_wait = Recent(self.wait_us.snapshot)
        self._recent_run = Recent(self.run_us.snapshot)
        self._sampled = -1  # what was counted when the rates were brought up to date
        self._roll_at = 0
        self._cached: tuple[tuple[int, int], tuple[Percentiles, Percentiles]] | None = None

    def sample(self, now_ms: int) -> None:
        """Brings the rates up to date with the counters; to be called once a second, and before a look."""
        counted = self.enqueued + self.completed + self.failed
        if counted != self._sampled:
            self._sampled = counted
            self.rate_in.add(self.enqueued - self.rate_in.total, now_ms)
            self.rate_out.add(self.completed - self.rate_out.total, now_ms)
            self.rate_failed.add(self.failed - self.rate_failed.total, now_ms)
        if now_ms >= self._roll_at:
            self._roll(now_ms)

    def at_rest(self, now_ms: int) -> bool:
        """Whether all rates are zero."""
        self.sample(now_ms)
        return not (
            self.rate_in.per_second(now_ms)
            or self.rate_out.per_second(now_ms)
            or self.rate_failed.per_second(now_ms)
        )

    def _roll(self, now_ms: int) -> None:
        self._roll_at = now_ms + _SPAN_MS
        self._recent_wait.roll()
        self._recent_run.roll()
        self._cached = None

    def recent_runs(self) -> HistogramSnapshot:
        """Those of the last minute or two."""
        return self._recent_run.window()

    def latencies(self) -> tuple[Percentiles, Percentiles]:
        """Of the last minute or two: of the waits, and of the runs.

        Where nothing was added since they were asked for last, which is true of most of many queues, it costs
        nothing.
        """
        key = (self.leased, self.completed)
        if self._cached is None or self._cached[0] != key:
            wait, run = self._recent_wait.window(), self._recent_run.window()
            self._cached = (key, (Percentiles(*wait.summary_ms()), Percentiles(*run.summary_ms())))
        return self._cached[1]


class EngineMetrics:
    """Of the engine as a whole, since the server started."""

    __slots__ = ("expired_leases", "forget_lag_ms", "forgotten", "promoted", "run_traces", "run_us",
                 "wait_traces", "wait_us")  # fmt: skip

    def __init__(self) -> None:
        self.wait_us = Histogram()  # as those of the queues, over all of them
        self.run_us = Histogram()
        self.wait_traces = Exemplars()
        self.run_traces = Exemplars()
        self.expired_leases = 0
        self.forgotten = 0
        self.promoted = 0
        self.forget_lag_ms = 0
