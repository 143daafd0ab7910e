"""What is shown while the market is open: bars and a table in a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from taskqueuex import Client
from taskqueuex.commands.queues import QueueView
from trading.checks import SHOWN_MAX, Check
from trading.replay import Replay

__all__ = ["Screen", "show_summary", "watching"]

PLAIN_EVERY_S = 2.0
WAITING = ("ready", "scheduled", "retrying")
ORDERS = {"priority": "by urgency", "round_robin": "by turns of symbols", "fifo": "first come"}


class Screen(Protocol):
    """Shows how far a replay is."""

    def show(self, replay: Replay, queues: Sequence[QueueView]) -> None: ...


class _Plain:
    """A line now and then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown_at = 0.0

    def show(self, replay: Replay, queues: Sequence[QueueView]) -> None:
        if time.monotonic() - self._shown_at >= PLAIN_EVERY_S:
            self._shown_at = time.monotonic()
            depths = ", ".join(f"{queue.name} {_waiting(queue)}" for queue in queues)
            self._console.print(
                f"{replay.phase}; quotes {replay.published} of {len(replay.quotes)}, orders"
                f" {replay.gathered} of {len(replay.orders)}; settled {_settled(queues)}; waiting: {depths}",
                highlight=False,
                soft_wrap=True,
            )


class _Terminal:
    """Progress bars over a table of the queues."""

    def __init__(self, live: Live, replay: Replay) -> None:
        self._live = live
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(40), MofNCompleteColumn(), TimeElapsedColumn()
        )
        self._bars: dict[str, TaskID] = {
            "quotes published": self._progress.add_task("quotes published", total=len(replay.quotes)),
            "orders gathered": self._progress.add_task("orders gathered", total=len(replay.orders)),
            "trades settled": self._progress.add_task("trades settled", total=len(replay.orders)),
        }

    def show(self, replay: Replay, queues: Sequence[QueueView]) -> None:
        self._progress.update(self._bars["quotes published"], completed=replay.published)
        self._progress.update(self._bars["orders gathered"], completed=replay.gathered)
        self._progress.update(self._bars["trades settled"], completed=_settled(queues))
        self._live.update(Group(self._progress, _table(replay, queues)))


def _table(replay: Replay, queues: Sequence[QueueView]) -> Table:
    table = Table(title=replay.phase, title_justify="left", expand=False)
    table.add_column("queue", min_width=11)
    table.add_column("order", min_width=19)
    for heading in ("waiting", "blocked", "running", "dead", "in/s", "out/s", "failed/s", "wait p50 ms"):
        table.add_column(heading, justify="right", min_width=6)
    for queue in queues:
        rates = queue.rates
        table.add_row(
            f"{queue.name}{' (paused)' if queue.paused else ''}",
            "newest wins" if queue.name == "quotes" else ORDERS[queue.discipline],
            f"{_waiting(queue):,}",
            *(f"{queue.counts.get(state, 0):,}" for state in ("blocked", "running", "dead")),
            *(f"{rate:,.0f}" for rate in (rates.in_, rates.out, rates.failed)),
            f"{queue.wait_ms.p50:,.1f}",
        )
    return table


def _waiting(queue: QueueView) -> int:
    return sum(queue.counts.get(state, 0) for state in WAITING)


def _settled(queues: Sequence[QueueView]) -> int:
    return sum(queue.counts.get("completed", 0) for queue in queues if queue.name == "settlement")


@contextmanager
def watching(console: Console, replay: Replay) -> Iterator[Screen]:
    """A screen for as long as the market is open."""
    if not console.is_terminal:
        yield _Plain(console)
        return
    with Live(console=console, refresh_per_second=8) as live:
        yield _Terminal(live, replay)


def look(client: Client) -> list[QueueView]:
    """All queues as they stand."""
    return client.list_queues().queues


def show_summary(console: Console, replay: Replay, checks: Sequence[Check], seconds: float) -> None:
    """The figures, each with whether it is as it must be."""
    for refusal in replay.refusals:
        console.print(f"Refused by the wrong rule: {refusal}", highlight=False, soft_wrap=True)
    table = Table(title=f"The market has closed, after {seconds:.1f} s", title_justify="left")
    table.add_column("checked")
    table.add_column("promise")
    table.add_column("figures")
    for check in checks:
        mark = "[bold red]WRONG[/]" if check.faults else "[bold green]ok[/]"
        table.add_row(mark, check.title, check.figures)
    console.print(table)
    for check in checks:
        for fault in check.faults[:SHOWN_MAX]:
            console.print(f"WRONG: {fault}", highlight=False, soft_wrap=True)
