"""What the worker runs: `cd examples && tqx worker fastapi_app.tasks`."""

import asyncio
from decimal import Decimal

import msgspec

from taskqueuex import App, Context, Reject

app = App(default_queue="quotes")


class Quote(msgspec.Struct):
    """What a price request comes to."""

    symbol: str
    quantity: int
    total: Decimal


PRICES = {"EURUSD": Decimal("1.0716"), "GOOG": Decimal("806.19")}


@app.task(max_attempts=3, timeout=60)
async def price(symbol: str, quantity: int) -> Quote:
    if symbol not in PRICES:
        raise Reject(f"there is no price of {symbol}")
    return Quote(symbol, quantity, PRICES[symbol] * quantity)


@app.task(timeout=60)
async def watch(context: Context, symbol: str, seconds: float) -> str:
    """Takes its time, so that it can be watched, and cancelled."""
    context.progress({"watching": symbol})
    await asyncio.sleep(seconds)
    return symbol
