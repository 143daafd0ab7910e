"""Measure the server and its peers, and print what was found beside the bars set for it.

    python benchmarks/run.py [--quick] [--only NAME ...] [--directory DIR] [--output FILE]

Nothing here is asserted by the tests: a figure is reported, with its bar and whether it is met.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from results import Result
from scenarios import FULL, QUICK, SCENARIOS
from servers import Bench

# The hardware the seed figures were stated for, and the figures: a comparison by extrapolation only.
SEED_CORES = 8
SEED_FIGURES = {"enqueue": 50_000, "batch": 120_000, "mixed": 80_000, "connections": 10_000}

_BAR_CELLS = 24


def main() -> int:
    """Run what the command line asks for; returns the exit code."""
    arguments = _arguments()
    bench = Bench(arguments.directory)
    console = Console(width=None if sys.stdout.isatty() else 120)
    results: list[Result] = []
    try:
        bench.compile_load()
        console.print(_machine())
        for name in arguments.only or SCENARIOS:
            try:
                result = SCENARIOS[name](bench, QUICK if arguments.quick else FULL)
            except RuntimeError as error:
                result = Result(name, "could not be measured", notes=[str(error)])
            results.append(result)
            _show(console, result)
    finally:
        bench.remove()
    _show_bars(console, results)
    _show_extrapolation(console, results)
    _write(arguments.output, results)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one short round and a tenth of the backlog")
    parser.add_argument("--only", action="append", choices=list(SCENARIOS), help="this scenario; repeatable")
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"), help="on the disk to be measured")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("results.json"))
    return parser.parse_args()


def _machine() -> str:
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    python = platform.python_version()
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release()}, Python {python}"


def _show(console: Console, result: Result) -> None:
    table = Table(title=f"{result.name}: {result.what}", title_justify="left")
    for heading in ("program", "operations/s", "", "CPU us/op", "p50 us", "p90 us", "p99 us", "errors"):
        table.add_column(heading, justify="left" if heading in ("program", "") else "right")
    fastest = max((figures.ops_per_s for figures in result.figures), default=1.0) or 1.0
    for figures in result.figures:
        table.add_row(
            figures.program,
            f"{figures.ops_per_s:,.0f}",
            "█" * max(1, round(_BAR_CELLS * figures.ops_per_s / fastest)),
            f"{figures.cpu_us_per_op:.1f}",
            f"{figures.p50_us:,.0f}",
            f"{figures.p90_us:,.0f}",
            f"{figures.p99_us:,.0f}",
            str(figures.errors),
        )
    if result.figures:
        console.print(table)
    else:
        console.print(f"{result.name}: {result.what}")
    for note in result.notes:
        console.print(f"  {note}", markup=False)
    console.print()


def _show_bars(console: Console, results: list[Result]) -> None:
    table = Table(title="Against the bars", title_justify="left")
    for heading in ("figure", "measured", "bar", "reached"):
        table.add_column(heading, justify="right" if heading in ("measured", "bar") else "left")
    for bar in [bar for result in results for bar in result.bars]:
        sign = ">=" if bar.at_least else "<="
        limit = f"{sign} {bar.limit:,g} {bar.unit}"
        table.add_row(bar.what, f"{bar.measured:,.2f} {bar.unit}", limit, "yes" if bar.met else "NO")
    console.print(table)


def _show_extrapolation(console: Console, results: list[Result]) -> None:
    """Print the rate per core, and what it would be on the seed hardware if it scaled with the cores."""
    for result in results:
        if result.name not in SEED_FIGURES or not result.figures:
            continue
        per_core = result.figures[0].ops_per_s
        console.print(
            f"{result.name}: {per_core:,.0f}/s on one core; extrapolated linearly to {SEED_CORES} cores "
            f"(not measured, an upper bound) {per_core * SEED_CORES:,.0f}/s; the seed figure is "
            f"{SEED_FIGURES[result.name]:,}/s",
            highlight=False,
        )


def _write(path: Path, results: list[Result]) -> None:
    document = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": _machine(),
        "results": results,
        "bars_missed": [bar.what for result in results for bar in result.bars if not bar.met],
    }
    path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")


if __name__ == "__main__":
    sys.exit(main())
