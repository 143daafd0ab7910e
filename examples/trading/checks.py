"""What must be true when the market has closed, by what the workers wrote down.

Each check returns what it found wrong, and a line of figures for the summary.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from taskqueuex import Client
from trading.replay import Replay
from trading.tasks import Order

__all__ = ["Check", "check_all"]

Line = dict[str, Any]
SHOWN_MAX = 5
LIVE_OR_DEAD = ("ready", "running", "scheduled", "blocked", "retrying", "dead")


@dataclass(frozen=True)
class Check:
    """One promise, and how it fared."""

    title: str
    figures: str
    faults: list[str]


class Journals:
    """All lines of all workers, by task, in the order in which they were started."""

    def __init__(self, directory: Path) -> None:
        self._lines: dict[str, list[Line]] = defaultdict(list)
        for path in directory.glob("journal-*.jsonl"):
            for text in path.read_text().splitlines():
                line = json.loads(text)
                self._lines[line["task"]].append(line)
        for lines in self._lines.values():
            lines.sort(key=lambda line: int(line["started_ns"]))

    def of(self, task: str) -> list[Line]:
        return self._lines[task]


def check_all(replay: Replay, client: Client) -> list[Check]:
    """All checks, in the order in which they are shown."""
    journals = Journals(replay.directory)
    return [
        _check_once(replay, journals),
        _check_quantity(replay, journals),
        _check_steps(replay, journals),
        _check_urgency(replay, journals),
        _check_turns(replay, journals),
        _check_quotes(replay, journals),
        _check_dead(replay, journals, client),
    ]


def _check_once(replay: Replay, journals: Journals) -> Check:
    times = Counter(line["number"] for line in journals.of("settlement"))
    faults = [
        f"trade {order.number} was settled {times[order.number]} times"
        for order in replay.orders
        if times[order.number] != 1
    ]
    faults += [f"trade {number} was never ordered" for number in times if number >= len(replay.orders)]
    return Check("every trade is settled exactly once", f"{len(times):,} trades", faults)


def _check_quantity(replay: Replay, journals: Journals) -> Check:
    ordered: dict[str, int] = defaultdict(int)
    settled: dict[str, int] = defaultdict(int)
    for order in replay.orders:
        ordered[order.symbol] += order.quantity
    for line in journals.of("settlement"):
        settled[replay.orders[line["number"]].symbol] += line["quantity"]
    faults = [
        f"{symbol}: {settled[symbol]} settled of {ordered[symbol]}"
        for symbol in sorted({*ordered, *settled})
        if settled[symbol] != ordered[symbol]
    ]
    figures = ", ".join(f"{symbol} {quantity:,}" for symbol, quantity in sorted(settled.items()))
    return Check("what is settled is what was ordered", figures, faults)


def _check_steps(replay: Replay, journals: Journals) -> Check:
    """Ingest, risk and settle follow each other, and none starts before the one before has ended."""
    ingested = {line["number"]: line for line in journals.of("orders")}
    let_through = {line["number"]: line for line in journals.of("risk") if line["allowed"]}
    faults = []
    for line in journals.of("settlement"):
        steps = [ingested.get(line["number"]), let_through.get(line["number"]), line]
        ordered = all(
            before and after and before["ended_ns"] <= after["started_ns"]
            for before, after in pairwise(steps)
        )
        if not ordered:
            faults.append(f"trade {line['number']}: its steps overlap, or one is missing")
    return Check("ingest, then risk, then settle", f"{3 * len(replay.orders):,} tasks", faults)


def _check_urgency(replay: Replay, journals: Journals) -> Check:
    """Within a session, orders are taken in by priority, and in the order of arrival within one."""
    faults = []
    for number, session, lines in _by_session(replay, journals.of("orders")):
        wanted = sorted(session, key=lambda order: (-order.priority, order.number))
        if [line["number"] for line in lines] != [order.number for order in wanted]:
            faults.append(f"session {number + 1}: the orders were not taken in by urgency")
    levels = Counter(order.priority for order in replay.orders)
    figures = ", ".join(f"{count:,} of priority {level}" for level, count in sorted(levels.items())[::-1])
    return Check("the most urgent order comes first", figures, faults)


def _check_turns(replay: Replay, journals: Journals) -> Check:
    """While several symbols wait, none is looked at a second time before all were looked at once."""
    faults = []
    for number, _, lines in _by_session(replay, journals.of("risk")):
        first = [line for line in lines if line["attempt"] == 1]  # what was replayed came later
        seen: dict[str, int] = defaultdict(int)
        round_before = 0
        for line in first:
            symbol = replay.orders[line["number"]].symbol
            seen[symbol] += 1
            if seen[symbol] < round_before:
                faults.append(f"session {number + 1}: {symbol} had to wait for more than its turn")
            round_before = max(round_before, seen[symbol])
    shares = Counter(order.symbol for order in replay.orders)
    figures = ", ".join(f"{symbol} {count:,}" for symbol, count in shares.most_common())
    return Check("no symbol starves behind a busy one", figures, faults)


def _by_session(replay: Replay, lines: Sequence[Line]) -> Iterator[tuple[int, list[Order], list[Line]]]:
    session_of = {order.number: index for index, session in enumerate(replay.sessions) for order in session}
    split: list[list[Line]] = [[] for _ in replay.sessions]
    for line in lines:
        split[session_of[line["number"]]].append(line)
    for index, session in enumerate(replay.sessions):
        yield index, session, split[index]


def _check_quotes(replay: Replay, journals: Journals) -> Check:
    """Priced is what no newer quote took the place of; nothing else, and nothing twice."""
    superseded = replay.superseded()
    wanted = {(quote.symbol, quote.number) for quote in replay.quotes} - superseded
    priced = [(line["symbol"], line["number"]) for line in journals.of("quotes")]
    faults = [f"quote {number} of {symbol} was not priced" for symbol, number in wanted - set(priced)]
    faults += [f"quote {number} of {symbol} was stale, and priced" for symbol, number in set(priced) - wanted]
    faults += [
        f"quote {each} was priced {times} times" for each, times in Counter(priced).items() if times > 1
    ]
    newest: dict[str, int] = {}
    for symbol, number in priced:
        if number <= newest.get(symbol, 0):
            faults.append(f"{symbol}: quote {number} was priced after {newest[symbol]}")
        newest[symbol] = number
    last = {quote.symbol: quote.number for quote in replay.quotes}
    faults += [
        f"{symbol}: the last quote was not priced" for symbol in last if newest.get(symbol) != last[symbol]
    ]
    if not superseded:
        faults.append("no quote was ever replaced: this run shows nothing")
    figures = f"{len(replay.quotes):,} published, {len(superseded):,} replaced, {len(priced):,} priced"
    return Check("only the newest quote is priced", figures, faults)


def _check_dead(replay: Replay, journals: Journals, client: Client) -> Check:
    """All that the wrong rule refused was replayed, let through and settled; nothing is left."""
    refused = {line["number"] for line in journals.of("risk") if not line["allowed"]}
    again = {line["number"] for line in journals.of("risk") if line["allowed"] and line["attempt"] > 1}
    faults = []
    if not refused:
        faults.append("no order was refused: this run shows nothing")
    if not len(refused) == replay.refused == replay.replayed:
        faults.append(f"{len(refused)} refused, {replay.refused} dead letters, {replay.replayed} replayed")
    if again != refused:
        faults.append(f"{len(refused ^ again)} orders were refused and not let through later, or the reverse")
    faults += [
        f"queue {queue.name} still has {queue.counts[state]} tasks {state}"
        for queue in client.list_queues().queues
        for state in LIVE_OR_DEAD
        if queue.counts.get(state)
    ]
    return Check(
        "dead letters are all replayed", f"{len(refused):,} refused, {len(again):,} replayed", faults
    )
