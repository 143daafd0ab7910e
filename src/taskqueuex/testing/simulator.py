"""The writer, simulated: an engine on real stores, where a random choice decides what happens when.

Everything that may be late in the real server may be late here: batches are written some turns
after they grew, reads run some time after that, answers arrive some time after they were read, and
a crash may come between any two. A seed replays a run exactly.
"""

import random
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from taskqueuex.commands import COMMANDS
from taskqueuex.commands.call import Call
from taskqueuex.engine import Engine, Need
from taskqueuex.errors import TaskQueueError
from taskqueuex.model.reads import ReadRequest
from taskqueuex.storage import Storage, memory_storage
from taskqueuex.writer.recovery import open_engine
from taskqueuex.writer.stores import Tiers, answer_inline, run_read

__all__ = ["SimulatedCall", "Simulator"]

_MORE_TURNS = 10_000


class SimulatedCall(Call):
    """A call that is its own sink, and keeps its answer."""

    __slots__ = ("blocked_by", "closed", "outcome", "status")

    def __init__(self, name: str, target: str = "", body: Any = None, query: Any = None) -> None:
        command = COMMANDS[name]
        if isinstance(body, dict):
            body = msgspec.json.decode(msgspec.json.encode(body), type=command.body)
        elif body is None and command.body is not None:
            body = msgspec.convert({}, command.body)
        if isinstance(query, dict):
            query = msgspec.convert(query, command.query)
        elif query is None and command.query is not None:
            query = msgspec.convert({}, command.query)
        super().__init__(command, target, body, query, self, 0)
        self.closed = False
        self.blocked_by: Call | None = None
        self.status = 0  # 0: not answered yet
        self.outcome: Any = None  # the body, or the error

    def on_reply(self, call: Call, status: int, body: Any, durability: str | None) -> bool:
        """Satisfies Sink."""
        return True

    def json(self) -> Any:
        """The body as a client would read it."""
        return msgspec.json.decode(msgspec.json.encode(self.outcome))


class Simulator:
    """An engine and its stores, driven one small step at a time."""

    def __init__(
        self,
        seed: int = 0,
        *,
        durable: Storage | None = None,
        hot_width: int = 4,
        recent_max: int = 1_000,
        now_ms: int = 1_700_000_000_000,
        before_apply: Callable[["Simulator", Call], None] | None = None,
        after_apply: Callable[["Simulator", SimulatedCall], None] | None = None,
    ) -> None:
        self.random = random.Random(seed)
        self.now_ms = now_ms
        self.hot_width = hot_width
        self.recent_max = recent_max
        self.tiers = Tiers(durable or memory_storage(), memory_storage())
        self.before_apply = before_apply
        self.after_apply = after_apply
        self._start()

    def _start(self) -> None:
        self.engine: Engine = open_engine(
            self.tiers, self.now_ms, self.random.getrandbits, self.hot_width, self.recent_max
        )
        self.batch = self.tiers.durable.new_batch()
        self.volatile = self.tiers.volatile.new_batch()
        self.inbox: deque[SimulatedCall] = deque()
        self.parked: list[tuple[SimulatedCall, set[ReadRequest]]] = []
        self.wanted: list[ReadRequest] = []  # wait for the batch that grows
        self.startable: list[ReadRequest] = []  # may run
        self.answers: list[tuple[ReadRequest, Any]] = []  # have run, and have not arrived
        self._landing: list[tuple[ReadRequest, Any]] = []  # arrive with the next turn
        self.known: set[ReadRequest] = set()
        self.held: list[SimulatedCall] = []  # answered, and not committed

    # What a test does

    def submit(self, name: str, target: str = "", body: Any = None, query: Any = None) -> SimulatedCall:
        """Puts a call into the inbox."""
        call = SimulatedCall(name, target, body, query)
        self.inbox.append(call)
        return call

    def call(self, name: str, target: str = "", body: Any = None, query: Any = None) -> SimulatedCall:
        """Submits a call and goes on until it is answered and committed."""
        call = self.submit(name, target, body, query)
        for _ in range(_MORE_TURNS):
            self.turn()
            self.write()
            self.read_all()
            if call.status and call not in self.held:
                return call
        raise AssertionError(f"{name} was not answered")

    def advance(self, ms: int) -> None:
        """Lets time pass."""
        self.now_ms += ms

    def settle(self) -> None:
        """Goes on until nothing is left to do at this time; long polls still wait."""
        for _ in range(_MORE_TURNS):
            self.turn()
            self.write()
            self.read_all()
            if not self.busy():
                return
        reasons = {
            name: getattr(self, name) for name in ("inbox", "parked", "wanted", "startable", "answers")
        }
        reasons["parked"] = [
            (
                c.command.name,
                [
                    (type(r).__name__, getattr(r, "ids", None), r in self.known, getattr(r, "stale", None))
                    for r in reads
                ],
            )
            for c, reads in self.parked
        ]
        core, alarm = self.engine.core, self.engine.next_alarm_ms()
        raise AssertionError(f"it never comes to rest: {reasons}, {core.jobs}, {alarm}, {core.alarms[:3]}")

    def busy(self) -> bool:
        """Whether another turn would do something."""
        alarm = self.engine.next_alarm_ms()
        return bool(
            self.inbox or self.parked or self.wanted or self.startable or self.answers or len(self.batch)
            or self.engine.more or self.engine.core.jobs or (alarm is not None and alarm <= self.now_ms)
        )  # fmt: skip

    def step(self) -> None:
        """One random thing that the real server might do next."""
        choice = self.random.random()
        if choice < 0.45:
            self.turn()
        elif choice < 0.65:
            self.write()
        elif choice < 0.85:
            self._run_some_reads()
        else:
            self._land_some_answers()

    def crash(self) -> None:
        """SIGKILL: what was not written never was; memory and the tier in memory are gone."""
        self.tiers = Tiers(self.tiers.durable, memory_storage())
        self._start()

    # What the writer does

    def turn(self) -> None:
        """Applies what may be applied; the batch grows."""
        self.engine.begin(self.now_ms, (self.batch, self.volatile))
        runnable = self._take_landed()
        for call in [*runnable, *self.inbox]:
            if call in runnable:
                self._apply(call)
        pending, self.inbox = self.inbox, deque()
        for call in pending:
            self._apply(call)
        for released, status, body, _ in self.engine.end():
            assert isinstance(released, SimulatedCall)
            if status:
                self._answer(released, status, body)
            else:
                self.inbox.append(released)
        self.wanted += self.engine.take_reads()

    def _apply(self, call: SimulatedCall) -> None:
        if self.before_apply is not None:
            self.before_apply(self, call)
        try:
            applied = self.engine.apply(call)
        except Need as need:
            self._park(call, need.reads)
        except TaskQueueError as error:
            self._answer(call, error.status, error)
        else:
            if applied is not None:
                self._answer(call, *applied)

    def _park(self, call: SimulatedCall, reads: list[ReadRequest]) -> None:
        if all(read.inline for read in reads):
            for read in reads:
                self.engine.deliver(read, run_read(self.tiers, read))
            self._apply(call)
            return
        self.parked.append((call, set(reads)))
        self.wanted += reads

    def _answer(self, call: SimulatedCall, status: int, body: Any) -> None:
        assert not call.status, "answered twice"
        call.status, call.outcome = status, body
        self.held.append(call)
        if self.after_apply is not None:
            self.after_apply(self, call)

    def write(self) -> None:
        """The batch becomes readable, and its answers true."""
        if len(self.batch):
            self.tiers.durable.write(self.batch)
            self.batch = self.tiers.durable.new_batch()
        if len(self.volatile):
            self.tiers.volatile.write(self.volatile)
            self.volatile = self.tiers.volatile.new_batch()
        self.engine.on_batch()
        self.engine.on_written()
        self.held.clear()
        for read in self.wanted:
            if read not in self.known:
                self.known.add(read)
                self.startable.append(read)
        self.wanted.clear()

    def read_all(self) -> None:
        """Runs every read that may run; the answers arrive with the next turn."""
        self._run_reads(self.startable)
        self._landing = list(self.answers)

    def _run_some_reads(self) -> None:
        self._run_reads([read for read in self.startable if self.random.random() < 0.6])

    def _run_reads(self, reads: list[ReadRequest]) -> None:
        for read in list(reads):
            self.startable.remove(read)
            done, answer = answer_inline(self.tiers, read)
            self.answers.append((read, answer if done else run_read(self.tiers, read)))

    def _land_some_answers(self) -> None:
        self._landing = [answer for answer in self.answers if self.random.random() < 0.6]

    def _take_landed(self) -> list[SimulatedCall]:
        landing, self._landing = self._landing, []
        landed: set[ReadRequest] = set()
        replaced: dict[ReadRequest, ReadRequest] = {}
        for answer in landing:
            if answer not in self.answers:
                continue
            self.answers.remove(answer)
            read, value = answer
            if read.inline:
                value = run_read(self.tiers, read)  # lookups happen in the turn that uses them
            again = self.engine.deliver(read, value)
            if again is None:
                landed.add(read)
            else:
                replaced[read] = again
                self.wanted.append(again)
        runnable = []
        waiting = []
        for call, reads in self.parked:
            reads = {_latest(replaced, read) for read in reads} - landed
            if reads:
                waiting.append((call, reads))
            else:
                runnable.append(call)
        self.parked = waiting
        return runnable


def _latest(replaced: dict[ReadRequest, ReadRequest], read: ReadRequest) -> ReadRequest:
    """The read that stands for another which came too late, as that one may have in its turn."""
    while read in replaced:
        read = replaced[read]
    return read
