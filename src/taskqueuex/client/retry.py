"""When a call is repeated, and after how long. Pure: time and chance are handed in."""

from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["RetryBudget", "RetryPolicy"]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How a call that failed is repeated, within its timeout.

    A call is repeated when no answer came, or one of 408, 429 and 503, and only where a repeat is safe:
    reads, PUTs and what names a lease are so by themselves, other calls by the Idempotency-Key that goes
    with their first sending. A plain dequeue is repeated only where nothing of it was sent.

    Raises ValueError where a field is out of range.
    """

    attempts_max: int = 10  # sendings of one call, the first included; 1: never repeated
    base_s: float = 0.05  # the bound of the pause before the first repeat; doubles with each
    cap_s: float = 2.0  # the bound of every pause
    queue_full: bool = False  # whether a full queue is asked again, too
    # "never" saves the server a row per call; what was sent and not answered is then not repeated.
    idempotency: Literal["always", "never"] = "always"
    attempt_timeout_s: float | None = None  # of each sending; None: the timeout of the call alone

    def __post_init__(self) -> None:
        if self.attempts_max < 1:
            raise ValueError("attempts_max: must be at least 1")
        if not 0 < self.base_s <= self.cap_s <= 3_600:
            raise ValueError("base_s, cap_s: must be 0 < base_s <= cap_s <= 3600")
        if self.idempotency not in ("always", "never"):
            raise ValueError("idempotency: must be 'always' or 'never'")
        if self.attempt_timeout_s is not None and self.attempt_timeout_s <= 0:
            raise ValueError("attempt_timeout_s: must be over 0")

    def pause_s(self, failures: int, chance: float) -> float:
        """Seconds to wait after so many failures (1 or more). `chance`: at random in [0, 1).

        Exponential backoff with full jitter: M. Brooker, "Exponential Backoff And Jitter", AWS
        Architecture Blog, 2015.
        """
        return chance * min(self.cap_s, self.base_s * 2.0 ** min(failures - 1, 62))


class RetryBudget:
    """A token bucket that repeats are paid from, so that a sick server is not hammered.

    Every call brings a tenth of a token, every second ten, and a repeat costs one: in the long run they
    are a tenth of the calls. What a bucket holds at first lets all that was under way be repeated when a
    server restarts. After Finagle's RetryBudget.

    It is not exact under threads: a lost update is a lost tenth.
    """

    PER_CALL: Final = 0.1
    PER_SECOND: Final = 10.0
    RESERVE: Final = 1_000.0

    __slots__ = ("_at_s", "tokens")

    def __init__(self, now_s: float) -> None:
        self.tokens = self.RESERVE
        self._at_s = now_s

    def on_call(self) -> None:
        """A call begins."""
        if self.tokens < self.RESERVE:
            self.tokens += self.PER_CALL

    def spend(self, now_s: float) -> bool:
        """Takes the price of one repeat; False where there is too little."""
        earned = max(0.0, now_s - self._at_s) * self.PER_SECOND
        self._at_s = now_s
        self.tokens = min(self.RESERVE, self.tokens + earned)
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True
