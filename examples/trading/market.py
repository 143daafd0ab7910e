"""Real bars, made into a stream of quotes and orders. The same bars give the same orders each time.

The package `backtesting` ships three files: EUR/USD by the hour, GOOG by the day, BTC/USD by the month.
That are three symbols; two more are resampled from them, and are named so: EURUSD.4h and GOOG.5d. Each
series is stretched over the whole replay, so that a symbol with few bars ticks less often.
"""

import csv
import importlib.util
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from trading.tasks import Order, Quote

__all__ = ["Bar", "orders_of", "quotes_of", "read_timeline"]

EURUSD_BARS = 5_000  # what `bars` counts: the others are cut in proportion


class Bar(NamedTuple):
    """One bar of one symbol."""

    symbol: str
    time: str
    open: float
    high: float
    low: float
    close: float
    volume: float


def read_timeline(bars: int = EURUSD_BARS) -> list[Bar]:
    """The bars of all symbols in the order of the replay: the first `bars` of EUR/USD, others in proportion.

    Raises SystemExit where the package is not installed.
    """
    series = [_read("EURUSD"), _read("GOOG"), _read("BTCUSD")]
    series += [_resampled(series[0], 4, "EURUSD.4h"), _resampled(series[1], 5, "GOOG.5d")]
    placed = []
    for whole in series:
        part = whole[: max(4, len(whole) * bars // EURUSD_BARS)]
        placed += [((index + 0.5) / len(part), bar) for index, bar in enumerate(part)]
    return [bar for _, bar in sorted(placed, key=lambda each: each[0])]


def _read(symbol: str) -> list[Bar]:
    package = importlib.util.find_spec("backtesting")  # finds it without importing it
    if package is None or not package.submodule_search_locations:
        raise SystemExit("install the package `backtesting`: the files of its test directory hold the bars")
    path = Path(package.submodule_search_locations[0]) / "test" / f"{symbol}.csv"
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Bar(symbol, row[""], *(float(row[name]) for name in ("Open", "High", "Low", "Close", "Volume")))
            for row in csv.DictReader(file)
        ]


def _resampled(bars: Sequence[Bar], count: int, symbol: str) -> list[Bar]:
    return [_joined(bars[start : start + count], symbol) for start in range(0, len(bars), count)]


def _joined(bars: Sequence[Bar], symbol: str) -> Bar:
    return Bar(
        symbol,
        bars[0].time,
        bars[0].open,
        max(bar.high for bar in bars),
        min(bar.low for bar in bars),
        bars[-1].close,
        sum(bar.volume for bar in bars),
    )


def quotes_of(timeline: Sequence[Bar]) -> Iterator[Quote]:
    """Two quotes a bar, its open and its close, numbered within their symbol."""
    numbers: dict[str, int] = defaultdict(int)
    for bar in timeline:
        for price in (bar.open, bar.close):
            numbers[bar.symbol] += 1
            yield Quote(bar.symbol, numbers[bar.symbol], price)


def orders_of(timeline: Sequence[Bar]) -> list[Order]:
    """An order wherever three bars of a symbol went the same way; the wider the bar, the more urgent."""
    usual = _usual_range(timeline)
    last: dict[str, list[bool]] = defaultdict(list)
    orders: list[Order] = []
    for bar in timeline:
        rose = last[bar.symbol] = [*last[bar.symbol][-2:], bar.close > bar.open]
        if len(rose) == 3 and len(set(rose)) == 1:
            orders.append(
                Order(
                    number=len(orders),
                    symbol=bar.symbol,
                    side="buy" if rose[0] else "sell",
                    quantity=1 + int(bar.volume) // 100 % 100,
                    price=bar.close,
                    priority=_priority((bar.high - bar.low) / bar.open / usual[bar.symbol]),
                )
            )
    return orders


def _usual_range(timeline: Sequence[Bar]) -> dict[str, float]:
    ranges = defaultdict(list)
    for bar in timeline:
        ranges[bar.symbol].append((bar.high - bar.low) / bar.open)
    return {symbol: statistics.median(found) for symbol, found in ranges.items()}


def _priority(times_usual: float) -> int:
    if times_usual > 2:
        return 9
    return 5 if times_usual > 1 else 1
