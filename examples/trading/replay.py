"""Plays the market: quotes without a pause, orders in sessions, and one wrong rule that is put right.

In each session orders are gathered while their queue is paused, as before an auction; then it is opened
and they are taken in by urgency. Risk is opened when all of them are in, so that all symbols wait there at
once, and the turn among them can be checked.
"""

import json
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from taskqueuex import Client, Workflow
from taskqueuex.commands.produce import EnqueueReply
from trading.market import Bar, orders_of, quotes_of
from trading.tasks import Order, Quote, app, ingest, price, risk, settle

__all__ = ["Replay"]

SESSIONS = 6
LIMIT = 1_000
WRONG_LIMIT = 50
WRONG_SYMBOL = "GOOG"
GATHERING = 0.6  # of a session's time; the rest is for what follows
DRAIN_S = 60.0
LOOK_S = 0.02
LIVE = ("ready", "running", "scheduled", "retrying")


@dataclass
class Replay:
    """One run. What it did so far may be read by other threads at any time."""

    timeline: Sequence[Bar]
    directory: Path
    seconds: float  # that the quotes take
    quotes: list[Quote] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    sessions: list[list[Order]] = field(default_factory=list)
    published: int = 0
    gathered: int = 0
    phase: str = "starting"
    refused: int = 0  # dead letters, when the rule was put right
    replayed: int = 0  # of them, by the bulk retry
    refusals: list[str] = field(default_factory=list)  # why, as the server groups them

    def __post_init__(self) -> None:
        self.quotes = list(quotes_of(self.timeline))
        self.orders = orders_of(self.timeline)
        size = -(-len(self.orders) // SESSIONS)
        self.sessions = [self.orders[start : start + size] for start in range(0, len(self.orders), size)]
        self._answers: list[Future[EnqueueReply]] = []
        self._ended = threading.Event()  # somebody failed: the others need not go on

    def set_up(self, client: Client) -> None:
        """The queues, each with an order of its own, and the rules with their mistake."""
        client.put_queue("quotes", durability="memory", max_tasks=1_000)
        client.put_queue("orders", discipline="priority", max_running=1)
        client.put_queue("risk", discipline="round_robin", max_running=1)
        self._write_rules(WRONG_LIMIT)

    def _write_rules(self, limit: int) -> None:
        symbols = {bar.symbol for bar in self.timeline}
        rules = {**dict.fromkeys(symbols, LIMIT), WRONG_SYMBOL: limit}
        new = self.directory / "rules.new"
        new.write_text(json.dumps(rules))
        new.replace(self.directory / "rules.json")

    def stop(self) -> None:
        """Makes both threads end soon."""
        self._ended.set()

    # Quotes

    def play_quotes(self, client: Client) -> None:
        """Publishes all quotes, one after another, over the time given; returns when all are priced."""
        started = time.monotonic()
        with app.buffered(in_flight=1) as producer:  # one batch at a time keeps them in order
            for quote in self.quotes:
                due = started + self.seconds * self.published / len(self.quotes)
                if due > time.monotonic() and self._ended.wait(due - time.monotonic()):
                    return
                self._answers.append(price.enqueue_to(producer, quote))
                self.published += 1
        self.drain(client, "quotes")

    def superseded(self) -> set[tuple[str, int]]:
        """The quotes that a newer one took the place of while they waited, by the server's answers."""
        found = set()
        for quote, answer in zip(self.quotes, self._answers, strict=True):
            if answer.result().duplicate:  # it found the one before it, and replaced it
                found.add((quote.symbol, quote.number - 1))
        return found

    # Orders

    def play_orders(self, client: Client) -> None:
        """All sessions; after the half of them the rule is put right, and the dead letters are replayed."""
        for number, session in enumerate(self.sessions):
            self._gather(client, number, session)
            self.phase = f"session {number + 1}: orders by urgency"
            client.resume_queue("orders")
            self.drain(client, "orders")
            self.phase = f"session {number + 1}: risk, by turns"
            client.resume_queue("risk")
            self.drain(client, "risk")
            if number + 1 == len(self.sessions) // 2:
                self._put_right(client)
        self.phase = "the last settlements"
        self.drain(client, "settlement")
        self.phase = "orders done"

    def _gather(self, client: Client, number: int, session: Sequence[Order]) -> None:
        self.phase = f"session {number + 1}: gathering orders"
        client.pause_queue("orders")
        client.pause_queue("risk")
        pace_s = GATHERING * self.seconds / len(self.orders)
        due = time.monotonic()
        for order in session:
            due += pace_s
            if self._ended.wait(max(0.0, due - time.monotonic())):
                raise RuntimeError("stopped")
            self._trade(order).enqueue()
            self.gathered += 1

    def _trade(self, order: Order) -> Workflow:
        """Ingest, then risk, then settle, each with what the one before returned."""
        trade = Workflow(f"trade {order.number}")
        taken = trade.add(ingest.s(order), priority=order.priority)
        approved = trade.add(risk.s(taken), group=order.symbol)
        # A refused order keeps its settlement waiting, for the case that it is let through later.
        trade.add(settle.s(approved), on_failure="hold")
        return trade

    def _put_right(self, client: Client) -> None:
        self.phase = "dead letters: the rule is put right"
        groups = client.dead_groups(queue="risk").groups
        self.refused = sum(group.count for group in groups)
        self.refusals = [f"{group.count} × {group.error}: {group.message}" for group in groups]
        self._write_rules(LIMIT)
        self.replayed = client.bulk(action="retry", filter={"queue": "risk", "state": "dead"}).changed
        self.drain(client, "risk")

    def drain(self, client: Client, queue: str) -> None:
        """Returns when nothing of a queue waits or runs. Raises RuntimeError when that takes too long."""
        until = time.monotonic() + DRAIN_S
        while any(client.get_queue(queue).counts.get(state) for state in LIVE):
            if self._ended.wait(LOOK_S):
                raise RuntimeError("stopped")
            if time.monotonic() > until:
                raise RuntimeError(f"queue {queue} was not empty after {DRAIN_S:.0f} s")
