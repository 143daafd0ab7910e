"""What `tqx top` knows and how keys change it. Pure: no terminal, no server, no clock.

The shell (top.py) hands in what the server answered and the keys that were pressed, and makes the calls that
come out; the view (top_view.py) draws a state.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from taskqueuex.commands.admin import StatsReply, WorkerView
from taskqueuex.commands.queues import QueueView
from taskqueuex.commands.tasks import DeadGroup

__all__ = [
    "KEYS",
    "Call",
    "Snapshot",
    "State",
    "keys_of",
    "on_key",
    "on_lost",
    "on_snapshot",
    "on_told",
    "queues_of",
    "workers_of",
]

Pane = Literal["queues", "workers"]

KEYS: Final = (
    ("up down, k j", "select"),
    ("tab", "queues or workers"),
    ("s", "sort by the next column"),
    ("p r", "pause, resume the queue"),
    ("R", "retry the dead tasks of the queue"),
    ("Q U", "make the worker quiet, resume it"),
    ("S", "stop the worker when it has finished what it runs"),
    ("?", "help"),
    ("q", "quit"),
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the server answered at one time; `at_s` by any clock that only goes forward."""

    stats: StatsReply
    queues: tuple[QueueView, ...]
    workers: tuple[WorkerView, ...]
    dead: tuple[DeadGroup, ...]
    at_s: float

    @property
    def now(self) -> int:
        """The server's time, Unix milliseconds."""
        return self.stats.started_at + self.stats.uptime_ms


@dataclass(frozen=True, slots=True)
class Call:
    """A call to make; `done` is what to say when it succeeded."""

    command: str
    target: str
    done: str
    body: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class State:
    """All that is shown. `lost`: why the snapshot is an old one, or there is none."""

    server: str
    snapshot: Snapshot | None = None
    requests_per_s: float | None = None
    lost: str = ""
    pane: Pane = "queues"
    # Selected by name, so that it is the same one when the order changes; None: the first.
    selected: Mapping[str, str | None] = field(default_factory=lambda: {"queues": None, "workers": None})
    sort: Mapping[str, str] = field(default_factory=lambda: {"queues": "name", "workers": "name"})
    message: str = ""
    question: str = ""  # to be answered by y; then `asked` is called
    asked: Call | None = None
    helping: bool = False
    ended: bool = False


_QUEUE_ORDERS: Final[dict[str, Callable[[QueueView], Any]]] = {
    "name": lambda queue: 0,
    "ready": lambda queue: -queue.counts["ready"],
    "running": lambda queue: -queue.counts["running"],
    "dead": lambda queue: -queue.counts["dead"],
    "in/s": lambda queue: -queue.rates.in_,
    "out/s": lambda queue: -queue.rates.out,
    "oldest": lambda queue: -(queue.oldest_ready_age_ms or 0),
}
_WORKER_ORDERS: Final[dict[str, Callable[[WorkerView], Any]]] = {
    "name": lambda worker: 0,
    "running": lambda worker: -len(worker.running),
    "seen": lambda worker: worker.last_seen_at,
}
_ORDERS: Final = {"queues": tuple(_QUEUE_ORDERS), "workers": tuple(_WORKER_ORDERS)}


def queues_of(state: State) -> list[QueueView]:
    """The queues, in the order that is shown."""
    order = _QUEUE_ORDERS[state.sort["queues"]]
    found = state.snapshot.queues if state.snapshot else ()
    return sorted(found, key=lambda queue: (order(queue), queue.name))


def workers_of(state: State) -> list[WorkerView]:
    """The workers, in the order that is shown."""
    order = _WORKER_ORDERS[state.sort["workers"]]
    found = state.snapshot.workers if state.snapshot else ()
    return sorted(found, key=lambda worker: (order(worker), worker.name))


# What the server answers


def on_snapshot(state: State, snapshot: Snapshot) -> State:
    """The server has answered."""
    return replace(state, snapshot=snapshot, requests_per_s=_requests_per_s(state, snapshot), lost="")


def _requests_per_s(state: State, snapshot: Snapshot) -> float | None:
    before = state.snapshot
    if before is None or before.stats.started_at != snapshot.stats.started_at:
        return None  # it has started anew, and counts from 0
    elapsed_s = snapshot.at_s - before.at_s
    if elapsed_s <= 0:
        return state.requests_per_s
    return (snapshot.stats.totals["requests"] - before.stats.totals["requests"]) / elapsed_s


def on_lost(state: State, reason: str) -> State:
    """The server has not answered; what it said last stays."""
    return replace(state, lost=reason)


def on_told(state: State, message: str) -> State:
    """A call was made: what came of it."""
    return replace(state, message=message)


# Keys

_SEQUENCES: Final = {
    b"\x1b[A": "up",
    b"\x1bOA": "up",
    b"\x1b[B": "down",
    b"\x1bOB": "down",
    b"\t": "tab",
    b"\x1b": "escape",
    b"k": "up",
    b"j": "down",
}
_KEY: Final = re.compile(rb"\x1b[\[O][0-9;]*[A-Za-z~]|[\x00-\xff]", re.DOTALL)


def keys_of(typed: bytes) -> list[str]:
    """The keys of what a terminal sent; those that nothing is bound to have their own sequence as name."""
    return [_SEQUENCES.get(key, key.decode("latin-1")) for key in _KEY.findall(typed)]


def on_key(state: State, key: str) -> tuple[State, Call | None]:
    """A key was pressed: the state after it, and the call to make for it."""
    if state.asked is not None:
        return _answer(state, key)
    if state.helping:
        return replace(state, helping=False, ended=key == "q"), None
    state = replace(state, message="")
    if key in _CHANGES:
        return _CHANGES[key](state), None
    if key in ("p", "r", "R"):
        return _queue_key(state, key)
    if key in ("Q", "S", "U"):
        return _worker_key(state, key)
    return state, None


def _answer(state: State, key: str) -> tuple[State, Call | None]:
    call = state.asked if key in ("y", "Y") else None
    message = "" if call else "left as it was"
    return replace(state, asked=None, question="", message=message), call


def _moved(step: int) -> Callable[[State], State]:
    def move(state: State) -> State:
        names = _names(state)
        if not names:
            return state
        index = names.index(_selected(state, names)) + step
        name = names[max(0, min(index, len(names) - 1))]
        return replace(state, selected={**state.selected, state.pane: name})

    return move


def _other_pane(state: State) -> State:
    return replace(state, pane="workers" if state.pane == "queues" else "queues")


def _next_order(state: State) -> State:
    orders = _ORDERS[state.pane]
    following = orders[(orders.index(state.sort[state.pane]) + 1) % len(orders)]
    return replace(state, sort={**state.sort, state.pane: following})


_CHANGES: Final[dict[str, Callable[[State], State]]] = {
    "up": _moved(-1),
    "down": _moved(1),
    "tab": _other_pane,
    "s": _next_order,
    "?": lambda state: replace(state, helping=True),
    "q": lambda state: replace(state, ended=True),
}


def _names(state: State) -> list[str]:
    if state.pane == "queues":
        return [queue.name for queue in queues_of(state)]
    return [worker.name for worker in workers_of(state)]


def _selected(state: State, names: list[str]) -> str:
    """The selected one, or the first when it has gone."""
    name = state.selected[state.pane]
    return name if name is not None and name in names else names[0]


def _queue_key(state: State, key: str) -> tuple[State, Call | None]:
    queues = {queue.name: queue for queue in queues_of(state)}
    if state.pane != "queues" or not queues:
        return on_told(state, f"{key} is for a queue: select one"), None
    queue = queues[_selected(state, list(queues))]
    if key == "p":
        return state, Call("pause_queue", queue.name, f"{queue.name} is paused")
    if key == "r":
        return state, Call("resume_queue", queue.name, f"{queue.name} goes on")
    count = queue.counts["dead"]
    if not count:
        return on_told(state, f"{queue.name} has no dead tasks"), None
    body = {"action": "retry", "filter": {"queue": queue.name, "state": "dead"}}
    call = Call("bulk", "", f"the dead tasks of {queue.name} are tried again", body)
    tasks = "the dead task" if count == 1 else f"the {count} dead tasks"
    return replace(state, question=f"Retry {tasks} of {queue.name}?", asked=call), None


def _worker_key(state: State, key: str) -> tuple[State, Call | None]:
    names = [worker.name for worker in workers_of(state)]
    if state.pane != "workers" or not names:
        return on_told(state, f"{key} is for a worker: select one with tab"), None
    name = _selected(state, names)
    if key == "Q":
        return state, Call("quiet_worker", name, f"{name} is asked to take no more tasks")
    if key == "U":
        return state, Call("resume_worker", name, f"{name} is asked to take tasks again")
    call = Call("stop_worker", name, f"{name} is asked to finish what it has, and to exit")
    return replace(state, question=f"Stop {name} when it has finished what it runs?", asked=call), None
