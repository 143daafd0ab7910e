"""What the workers run: `tqx worker trading.tasks`.

Each task writes a line to the journal of its process, with the machine's monotonic clock: the checks at
the end believe these lines, not the server.
"""

import asyncio
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TextIO

import msgspec

from taskqueuex import App, Context, Reject, injected

__all__ = ["Approved", "Order", "Quote", "Receipt", "app", "ingest", "price", "risk", "settle"]

PRICING_S = 0.02  # slower than quotes come in, so that there is something to conflate

app = App()  # the server of TQX_SERVER


class Quote(msgspec.Struct):
    """A price; `number` counts within the symbol."""

    symbol: str
    number: int
    price: float


class Order(msgspec.Struct):
    """What somebody wants to trade."""

    number: int
    symbol: str
    side: Literal["buy", "sell"]
    quantity: int
    price: float
    priority: int


class Approved(msgspec.Struct):
    """An order that risk has let through."""

    order: Order
    value: float


class Receipt(msgspec.Struct):
    """The end of a trade."""

    number: int
    quantity: int
    value: float


class Journal:
    """Lines of what this process did."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, context: Context, started_ns: int, **fields: object) -> None:
        line = {
            "task": context.queue,
            "attempt": context.attempt,
            "started_ns": started_ns,
            "ended_ns": time.monotonic_ns(),
            **fields,
        }
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


def directory() -> Path:
    """Where journals and rules are."""
    return Path(os.environ.get("TRADING_DIRECTORY", "."))


@app.resource
def journal() -> Iterator[Journal]:
    with (directory() / f"journal-{os.getpid()}.jsonl").open("a", encoding="utf-8") as file:
        yield Journal(file)


def symbol_of(quote: Quote) -> str:
    return quote.symbol


@app.task(queue="quotes", unique_key=symbol_of, on_conflict="replace", result_ttl=0)
async def price(context: Context, quote: Quote, journal: Journal = injected) -> None:
    """Prices a symbol's book. While one waits, a newer quote takes its place."""
    started_ns = time.monotonic_ns()
    await asyncio.sleep(PRICING_S)
    journal.write(context, started_ns, symbol=quote.symbol, number=quote.number)


@app.task(queue="orders")
async def ingest(context: Context, order: Order, journal: Journal = injected) -> Order:
    """Takes an order in; the most urgent one first."""
    journal.write(context, time.monotonic_ns(), number=order.number)
    return order


@app.task(queue="risk")
async def risk(context: Context, order: Order, journal: Journal = injected) -> Approved:
    """Asks the rules of the day; one symbol after another."""
    started_ns = time.monotonic_ns()
    limit = json.loads((directory() / "rules.json").read_text())[order.symbol]
    allowed = order.quantity <= limit
    journal.write(context, started_ns, number=order.number, symbol=order.symbol, allowed=allowed)
    if not allowed:
        raise Reject(f"{order.symbol}: the quantity is over the limit of {limit}")
    return Approved(order, order.quantity * order.price)


@app.task(queue="settlement")
async def settle(context: Context, approved: Approved, journal: Journal = injected) -> Receipt:
    """Books the trade."""
    order = approved.order
    journal.write(context, time.monotonic_ns(), number=order.number, quantity=order.quantity)
    return Receipt(order.number, order.quantity, approved.value)
