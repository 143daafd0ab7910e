"""How `tqx top` draws a state. Pure: a state and a size in, something that rich can print out."""

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeVar

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from taskqueuex.cli.terminal import age, printable
from taskqueuex.cli.top_model import KEYS, Pane, State, queues_of, workers_of
from taskqueuex.commands.admin import StatsReply, WorkerView
from taskqueuex.commands.queues import Percentiles, QueueView
from taskqueuex.commands.tasks import DeadGroup

__all__ = ["draw"]

Row = TypeVar("Row", QueueView, WorkerView)

_FRAME: Final = 13  # lines that are no rows: the server's, titles, heads, gaps, the foot
_FOOT: Final = "? help  q quit  tab pane  s sort  p pause  r resume  R retry  Q quiet  U resume  S stop"


class _Room(NamedTuple):
    """Lines for the rows of each section; None: as many as there are."""

    queues: int | None = None
    workers: int | None = None
    dead: int | None = None


def draw(state: State, width: int, height: int | None) -> RenderableType:
    """A frame of `width` columns and at most `height` lines; None: as many as it takes, and no keys."""
    if state.helping:
        return _help()
    if state.snapshot is None:
        waiting = f"waiting for {state.server}" if state.lost else f"asking {state.server}"
        return Group(Text(printable(waiting), style="bold"), _foot(state))
    room = _Room() if height is None else _room(state, height)
    parts: list[RenderableType] = [
        _server(state, state.snapshot.stats),
        _tasks(state.snapshot.stats),
        Text(),
        _queues(state, width, room.queues),
        Text(),
        _workers(state, room.workers),
        Text(),
        _dead(state.snapshot.dead, state.snapshot.now, room.dead),
    ]
    if height is not None:
        parts.append(_foot(state))
    return Group(*parts)


def _room(state: State, height: int) -> _Room:
    """Failures and workers take a share, the queues what is left."""
    assert state.snapshot is not None
    free = max(3, height - _FRAME)
    dead = max(1, min(len(state.snapshot.dead), free // 4))
    workers = max(1, min(len(state.snapshot.workers), (free - dead) // 2))
    queues = max(1, min(len(state.snapshot.queues), free - dead - workers))
    return _Room(queues, workers, dead)


def _line(text: str, style: str = "") -> Text:
    return Text(printable(text), style=style, no_wrap=True, overflow="ellipsis")


def _server(state: State, stats: StatsReply) -> Group:
    requests = "-" if state.requests_per_s is None else f"{state.requests_per_s:.1f}"
    commit, fsync = stats.latency_ms["commit"], stats.latency_ms["fsync"]
    facts = (
        f"{requests} requests/s",
        f"connections {stats.connections}",
        f"polls that wait {stats.waiters}",
        f"commit p50 {commit['p50']:.2f} p99 {commit['p99']:.2f} ms",
        f"fsync p99 {fsync['p99']:.2f} ms",
    )
    head = f"TaskQueueX {stats.version} at {state.server}, up {age(stats.uptime_ms)}"
    return Group(_line(head, "bold"), _line(", ".join(facts)))


def _tasks(stats: StatsReply) -> Text:
    counts = ", ".join(f"{count} {state}" for state, count in stats.counts.items() if count)
    rates = ", ".join(f"{name} {rate:.1f}/s" for name, rate in stats.rates.items())
    return _line(f"tasks: {counts or 'none'}; {rates}")


def _table(title: str, columns: Sequence[str], here: bool) -> Table:
    table = Table(
        box=None,
        pad_edge=False,
        header_style="bold",
        title=Text(title, style="reverse" if here else "bold"),
        title_justify="left",
    )
    for name in columns:
        # Texts give way where there is little room: they may be cut, and figures may not.
        number = name in _NUMBERS
        table.add_column(name, no_wrap=number, overflow="ellipsis", justify="right" if number else "left")
    return table


_NUMBERS: Final = frozenset(
    (
        "ready", "running", "scheduled", "retrying", "blocked", "dead", "in/s", "out/s", "failed/s", "oldest",
        "wait p50", "wait p99", "run p50", "run p99", "of", "seen", "count", "latest",
    )
)  # fmt: skip


def _window(rows: Sequence[Row], selected: int, room: int | None) -> Sequence[Row]:
    """As many rows as there is room for, with the selected one among them."""
    if room is None or len(rows) <= room:
        return rows
    start = max(0, min(selected - room // 2, len(rows) - room))
    return rows[start : start + room]


def _select(state: State, pane: Pane, rows: Sequence[Row], room: int | None) -> list[tuple[Row, str]]:
    """The rows that are shown, each with its style."""
    names = [row.name for row in rows]
    wanted = state.selected[pane]
    index = names.index(wanted) if wanted in names else 0
    style = "reverse" if state.pane == pane and room is not None else ""
    return [(row, style if row.name == names[index] else "") for row in _window(rows, index, room)]


def _title(what: str, count: int, order: str) -> str:
    return f"{what}: {count}, by {order}"


def _queues(state: State, width: int, room: int | None) -> Table:
    rows = queues_of(state)
    facts = [(_queue_facts(queue), style) for queue, style in _select(state, "queues", rows, room)]
    columns = next(columns for least, columns in _QUEUE_COLUMNS if width >= least)
    title = _title("queues", len(rows), state.sort["queues"])
    table = _table(title, columns, room is not None and state.pane == "queues")
    for row, style in facts:
        table.add_row(*(_line(row[name]) for name in columns), style=style)
    return table


# What is shown of a queue, by how wide the terminal is at least; names have room in each.
_QUEUE_COLUMNS: Final[tuple[tuple[int, tuple[str, ...]], ...]] = (
    (160, (
        "queue", "", "discipline", "ready", "running", "scheduled", "retrying", "blocked", "dead",
        "in/s", "out/s", "failed/s", "oldest", "wait p50", "wait p99", "run p50", "run p99",
    )),
    (120, (
        "queue", "", "discipline", "ready", "running", "retrying", "dead",
        "in/s", "out/s", "failed/s", "oldest", "wait p99", "run p99",
    )),
    (0, ("queue", "", "ready", "running", "dead", "in/s", "out/s", "oldest", "wait p99")),
)  # fmt: skip


def _queue_facts(queue: QueueView) -> dict[str, str]:
    states = ("ready", "running", "scheduled", "retrying", "blocked", "dead")
    return {
        "queue": queue.name,
        "": "paused" if queue.paused else "re-sorting" if queue.resorting else "",
        "discipline": queue.discipline,
        **{state: str(queue.counts[state]) for state in states},
        "in/s": f"{queue.rates.in_:.1f}",
        "out/s": f"{queue.rates.out:.1f}",
        "failed/s": f"{queue.rates.failed:.1f}",
        "oldest": age(queue.oldest_ready_age_ms),
        "wait p50": _latency(queue.wait_ms, queue.wait_ms.p50),
        "wait p99": _latency(queue.wait_ms, queue.wait_ms.p99),
        "run p50": _latency(queue.run_ms, queue.run_ms.p50),
        "run p99": _latency(queue.run_ms, queue.run_ms.p99),
    }


def _latency(measured: Percentiles, value_ms: float) -> str:
    if not measured.count:
        return "-"
    return f"{value_ms:.1f}ms" if value_ms < 1_000 else age(round(value_ms))


def _workers(state: State, room: int | None) -> Table:
    assert state.snapshot is not None
    now = state.snapshot.now
    rows = workers_of(state)
    columns = ("worker", "", "running", "of", "seen", "queues", "host")
    title = _title("workers", len(rows), state.sort["workers"])
    table = _table(title, columns, room is not None and state.pane == "workers")
    for worker, style in _select(state, "workers", rows, room):
        facts = (
            worker.name,
            "stopping" if worker.stopping else "quiet" if worker.quiet else "",
            str(len(worker.running)),
            "-" if worker.concurrency is None else str(worker.concurrency),
            age(max(0, now - worker.last_seen_at)),
            " ".join(worker.queues),
            worker.host or "-",
        )
        table.add_row(*(_line(fact) for fact in facts), style=style)
    return table


def _dead(groups: Sequence[DeadGroup], now: int, room: int | None) -> Table:
    columns = ("dead in", "name", "error", "count", "latest", "message")
    table = _table(f"dead letters by error: {len(groups)}", columns, False)
    for group in groups[:room]:
        latest = age(max(0, now - group.latest_at))
        first = group.message.partition("\n")[0]
        facts = (group.queue, group.name or "-", group.error or "-", str(group.count), latest, first)
        table.add_row(*(_line(fact) for fact in facts))
    return table


def _foot(state: State) -> Text:
    if state.asked is not None:
        return _line(f"{state.question} y or n", "bold yellow")
    if state.lost:
        return _line(f"{state.lost}; trying again", "bold red")
    return _line(state.message or _FOOT, "bold" if state.message else "dim")


def _help() -> Table:
    table = Table(box=None, pad_edge=False, show_header=False, title="keys", title_justify="left")
    for key, meaning in (*KEYS, ("any key", "leave this page")):
        table.add_row(Text(key, style="bold"), Text(meaning))
    return table
