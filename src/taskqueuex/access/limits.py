"""How much a token may do: requests a second, tasks a second, tasks a day."""

from taskqueuex.errors import Invalid, RateLimited
from taskqueuex.model.access import RateRecord, TokenRecord

__all__ = ["DAY_MS", "Bucket", "Quota"]

DAY_MS = 86_400_000


class Bucket:
    """A token bucket that may go into debt: what is larger than the burst passes when it is full.

    So a large batch is admitted whole or not at all, and whoever sent it waits longer afterwards.
    """

    __slots__ = ("_at_us", "_burst", "_level", "_per_us")

    def __init__(self, rate: RateRecord, now_us: int) -> None:
        self._per_us = rate.per_second / 1_000_000
        self._burst = float(rate.burst)
        self._level = self._burst
        self._at_us = now_us

    def take(self, count: int, now_us: int) -> float:
        """Takes `count`; returns 0, or the seconds until it could be taken, having taken nothing."""
        level = min(self._burst, self._level + (now_us - self._at_us) * self._per_us)
        self._at_us = now_us
        wanted = min(float(count), self._burst)
        if level + 1e-9 >= wanted:
            self._level = level - count
            return 0.0
        self._level = level
        return (wanted - level) / self._per_us / 1_000_000

    def give_back(self, count: int) -> None:
        """What was taken was not used."""
        self._level += count


class Quota:
    """Tasks of a UTC day; the count is of the token's row, which is written late."""

    __slots__ = ("_record",)

    def __init__(self, record: TokenRecord) -> None:
        self._record = record

    def take(self, count: int, now_ms: int) -> None:
        """Counts tasks; raises RateLimited, or Invalid where no day would have room for so many."""
        record = self._record
        if count > record.tasks_per_day:
            raise Invalid.field("tasks", f"the token may enqueue {record.tasks_per_day} tasks a day")
        day = now_ms // DAY_MS
        if day != record.day:
            record.day, record.tasks_today = day, 0
        if record.tasks_today + count > record.tasks_per_day:
            left_s = ((day + 1) * DAY_MS - now_ms) / 1_000
            raise RateLimited(
                f"the token may enqueue {record.tasks_per_day} tasks a day, and has enqueued "
                f"{record.tasks_today}",
                retry_after_s=left_s,
            )
        record.tasks_today += count
