"""The demo: `python -m trading [--bars 5000] [--seconds 30]`. Its exit code is 1 if any check fails."""

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from rich.console import Console

from trading.checks import check_all
from trading.market import EURUSD_BARS, read_timeline
from trading.programs import running
from trading.replay import Replay
from trading.screen import look, show_summary, watching
from trading.tasks import app

LOOK_EVERY_S = 0.25


def play(replay: Replay, console: Console) -> None:
    """Opens the market, and shows it until it has closed. Raises what either thread raises."""
    client = app.client
    replay.set_up(client)
    with ThreadPoolExecutor(2) as pool, watching(console, replay) as screen:
        threads = [pool.submit(replay.play_quotes, client), pool.submit(replay.play_orders, client)]
        try:
            while True:
                done, pending = wait(threads, LOOK_EVERY_S)
                for thread in done:
                    thread.result()
                screen.show(replay, look(client))
                if not pending:
                    break
        finally:
            replay.stop()


def main() -> int:
    """Runs it all; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m trading", description="Replays a market through queues.")
    parser.add_argument("--bars", type=int, default=EURUSD_BARS, help="of EUR/USD; others in proportion")
    parser.add_argument("--seconds", type=float, default=30.0, help="that the quotes take")
    arguments = parser.parse_args()
    if not 1 <= arguments.bars <= EURUSD_BARS or arguments.seconds < 0:
        parser.error(f"--bars must be 1 to {EURUSD_BARS}, --seconds 0 or more")
    return run(arguments.bars, arguments.seconds, Console())


def run(bars: int, seconds: float, console: Console) -> int:
    """One replay in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="trading-") as name:
        directory = Path(name)
        replay = Replay(read_timeline(bars), directory, seconds)
        console.print(
            f"{len(replay.timeline):,} bars of 5 symbols make {len(replay.quotes):,} quotes"
            f" and {len(replay.orders):,} orders. Starting a server and three workers.",
            highlight=False,
            soft_wrap=True,
        )
        with running(directory) as url, app:
            app.use_servers(url)
            started = time.monotonic()
            play(replay, console)
            took_s = time.monotonic() - started
            checks = check_all(replay, app.client)
        show_summary(console, replay, checks, took_s)
        return 1 if any(check.faults for check in checks) else 0


if __name__ == "__main__":
    sys.exit(main())
