"""What is taken while there is more to do than can be done, what waits, and what is sent away.

Overload is told by delay, not by count, as CoDel does (K. Nichols, V. Jacobson, "Controlling queue delay",
ACM Queue 10(5), 2012; RFC 8289): the longest wait of each turn is looked at, and if the least of them within
an interval is above the target, the queue stands and does not drain. Then the number of calls that a turn
takes is bounded; the bound falls by a factor and rises by steps, as in TCP. Within the bound each kind of
call has a share, so that what can wait is put off first; what ends or keeps work that was handed out never
is.

Calls beyond the bound wait where they cost nothing (`network/room.py`). The oldest is taken first as long as
that takes no longer than people notice; beyond, the newest is (B. Maurer, "Fail at scale", ACM Queue 13(8),
2015): its caller is the likeliest to be there still. Who has waited for `patience_s` is sent away. So a
client that repeats at once gets no more of the server than one that does not, and a pause of the disk sends
nobody away, nor do a few clients more than a turn takes.

Overloaded or not, connections that send many calls at once share what a turn takes of them: the more they
make it together, the fewer of each are in the next. So they do not make turns long for those that send one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from taskqueuex.commands.table import Command
from taskqueuex.errors import Overloaded

__all__ = [
    "BATCH",
    "DEQUEUE",
    "ENQUEUE",
    "LISTING",
    "NEVER",
    "POLL",
    "RANKS",
    "UNIT_BYTES",
    "Overload",
    "OverloadConfig",
    "rank_of",
    "units_of",
]

LISTING, POLL, BATCH, ENQUEUE, DEQUEUE, NEVER = range(6)  # in the order in which they are sent away
RANKS: Final = ("listing", "poll", "batch", "enqueue", "dequeue")
_SHARES: Final = (0.2, 0.4, 0.5, 0.75, 1.0)  # of the calls of a turn, by rank
_LIMIT_MIN: Final = 32  # units of a turn, however long they take
_LIMIT_MAX: Final = 1_000_000  # no bound
UNIT_BYTES: Final = 8_192  # of a body, that count as a call of their own
_CALM_INTERVALS: Final = 5  # without need of the bound, after which it is lifted
_TURNS_MIN: Final = 4  # of an interval: a single pause, as of the disk, is no overload
_PATIENCE_S: Final = 0.5
_PATIENCE_MAX_S: Final = 2.0
_STALL_US: Final = 1_000_000  # so long calls wait for a store that takes no writes
_EXTRA_UNITS: Final = 64  # of a turn, that connections beside their first call may make together
_SENT_AWAY_A_SECOND: Final = 2_000  # what answering them may cost: about a twentieth of a core


@dataclass(frozen=True, slots=True)
class OverloadConfig:
    """When the server takes less than it is asked for."""

    target_ms: float = 5.0  # how long calls may wait for their turn, at least for a moment of each interval
    interval_ms: float = 100.0
    memory_max_mb: int | None = None  # of the process; None: what the control group or the machine has
    memory_shed_percent: float = 95.0  # of it: nothing that takes memory is taken
    memory_stop_percent: float = 98.0  # of it: no connection is


def units_of(body_bytes: int) -> int:
    """What a call counts, beside calls whose bodies are small."""
    return 1 + body_bytes // UNIT_BYTES


def rank_of(command: Command) -> int:
    """When calls of a command are sent away; NEVER for those that end work, steer or watch the server."""
    if command.name in ("dequeue", "dequeue_queue"):
        return DEQUEUE
    if command.name == "enqueue":
        return ENQUEUE
    if command.scope == "produce":
        return BATCH
    if command.name == "bulk" or (command.scope == "read" and command.name not in ("stats", "metrics")):
        return LISTING
    return NEVER


class Overload:
    """The state of one server. `random` gives numbers from 0 to 1, for answers not to come all at once."""

    __slots__ = (
        "_begun_us",
        "_calm",
        "_interval_us",
        "_least_us",
        "_most",
        "_random",
        "_stalled_since_us",
        "_stalled_us",
        "_swept_at",
        "_target_us",
        "_turns",
        "active",
        "admitted",
        "extra",
        "intervals_total",
        "limit",
        "memory_level",
        "on_room",
        "share",
        "share_max",
        "shed",
        "turns_total",
        "waiting",
    )

    def __init__(self, config: OverloadConfig, random: Callable[[], float]) -> None:
        self._target_us = config.target_ms * 1_000
        self._interval_us = config.interval_ms * 1_000
        self._random = random
        self.active = False  # whether anything may have to wait: what the fast path asks
        self.limit = float(_LIMIT_MAX)  # units of a turn
        self.admitted = 0  # units taken for the coming turn, while there is a limit
        self.extra = 0  # units submitted for the coming turn behind others of their connection
        self.memory_level = 0  # 1: nothing that takes memory is taken; 2: nor is a connection
        self.intervals_total = 0  # in which the server was overloaded
        self.shed = [0] * NEVER  # calls sent away, by rank
        self.waiting = 0  # calls that wait to be taken, or to be sent away
        self.on_room: Callable[[int], int] | None = (
            None  # takes those that wait, up to so many units; returns how many
        )
        self.share = self.share_max = 1  # calls of one connection under way at once; the network's
        self.turns_total = 0
        self._swept_at = -1  # turns, when the waiting room was swept last
        self._stalled_us = 0  # when the store put a write off, the last time; 0: it takes them
        self._stalled_since_us = 0  # and the first time
        self._begun_us = 0
        self._turns = 0  # of this interval
        self._least_us = 0  # of the longest waits of these turns
        self._most = 0  # units of one of these turns
        self._calm = 0  # intervals

    # -- what the network asks -----------------------------------------------------------------------

    def admits(self, rank: int, units: int = 1) -> bool:
        """Takes a call of a rank below NEVER for the coming turn, or does not: there are enough, or others
        wait already. Asked only while `active`."""
        if self.waiting or self._stalled_us or self.admitted >= self.limit * _SHARES[rank]:
            return False
        self.admitted += units
        return True

    def refuses(self, rank: int) -> bool:
        """Whether a call is not even to wait: it takes what there is none of."""
        stalled_us = self._stalled_us - self._stalled_since_us
        return rank < DEQUEUE and (self.memory_level > 0 or stalled_us > _STALL_US)

    def sent_away(self, rank: int) -> Overloaded:
        """What to tell the caller of one that is not taken."""
        self.shed[rank] += 1
        return Overloaded("More is asked than can be done now", retry_after_s=self.retry_after_s())

    @property
    def sheds_polls(self) -> bool:
        """Whether a dequeue that finds nothing is sent away instead of waiting: for want of memory, or
        because others wait for their turn. Slow turns alone are no reason: few calls can make them too."""
        return self.memory_level > 0 or (self.waiting > 0 and self.limit <= 2 * _LIMIT_MIN)

    @property
    def takes_connections(self) -> bool:
        """Whether there is memory for another connection."""
        return self.memory_level < 2

    def retry_after_s(self) -> float:
        """What to tell whoever is sent away: 1 to 3 seconds, not the same for all."""
        return 1.0 + 2.0 * self._random()

    def patience_s(self) -> float:
        """How long a call waits as a rule before it is sent away: longer, the more there are."""
        return min(_PATIENCE_MAX_S, max(_PATIENCE_S, self.waiting / _SENT_AWAY_A_SECOND))

    # -- what the writer and the node tell -----------------------------------------------------------

    def on_turn(self, now_us: int, longest_us: int, units: int) -> None:
        """A turn has applied calls of so many units, one of which has waited for `longest_us` since its
        head came."""
        if now_us - self._begun_us >= self._interval_us and self._turns >= _TURNS_MIN:
            self._judge(now_us)
        if not self._turns or longest_us < self._least_us:
            self._least_us = longest_us
        self._turns += 1
        self.turns_total += 1
        if units > self._most:
            self._most = units
        if self.extra > _EXTRA_UNITS:
            self.share = max(1, self.share * _EXTRA_UNITS // self.extra)
        elif 2 * self.extra <= _EXTRA_UNITS and self.share < self.share_max:
            self.share = min(2 * self.share, self.share_max)
        self.extra = 0
        self.admitted = 0
        self._let_in()

    def _let_in(self) -> None:
        """The coming turn is theirs who wait, if some do."""
        if self.waiting and self.on_room is not None and not self._stalled_us:
            self.admitted = self.on_room(int(self.limit))

    def on_sweep(self) -> None:
        """Every now and then while some wait. What was admitted and refused makes no turn, and without one
        nobody would let them in."""
        if self.turns_total == self._swept_at:
            self.admitted = 0
            self._let_in()
        self._swept_at = self.turns_total

    def _judge(self, now_us: int) -> None:
        """An interval is over."""
        # Turns come one after the other while there is work: a long gap means that there was none.
        busy = now_us - self._begun_us < 3 * self._interval_us + _TURNS_MIN * self._least_us
        if busy and self._least_us > self._target_us:
            self._tighten()
        elif self.limit < _LIMIT_MAX:
            self._loosen()
        self._begun_us = now_us
        self._turns = self._most = 0
        self._update()

    def _tighten(self) -> None:
        self.intervals_total += 1
        self._calm = 0
        factor = min(0.9, max(0.5, self._target_us / self._least_us))
        self.limit = max(_LIMIT_MIN, min(self.limit, self._most) * factor)

    def _loosen(self) -> None:
        needed = self._most >= self.limit * 0.5
        self._calm = 0 if needed else self._calm + 1
        self.limit = self.limit * 1.1 + 4
        if self._calm >= _CALM_INTERVALS:
            self.limit = float(_LIMIT_MAX)

    def on_second(self, now_us: int) -> None:
        """Once a second: without turns nobody judges, and a store that failed says nothing of its end."""
        if self.limit < _LIMIT_MAX and now_us - self._begun_us > 5 * self._interval_us:
            self.limit = float(_LIMIT_MAX)
        if self._stalled_us and now_us - self._stalled_us > 1_000_000:
            self._stalled_us = self._stalled_since_us = 0
        self._update()

    def on_stall(self, now_us: int) -> None:
        """The store put a write off; it is tried again soon."""
        if not self._stalled_us:
            self._stalled_since_us = now_us
        self._stalled_us = now_us
        self._update()

    def on_written(self) -> None:
        """The store takes writes."""
        if self._stalled_us:
            self._stalled_us = self._stalled_since_us = 0
            self._update()
            self._let_in()

    def set_memory(self, level: int) -> None:
        """How full the memory is: 0, 1 or 2."""
        self.memory_level = level
        self._update()

    def _update(self) -> None:
        self.active = self.limit < _LIMIT_MAX or self.memory_level > 0 or self._stalled_us > 0
