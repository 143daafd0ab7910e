"""examples/trading: a short day runs and is found right, and each kind of fault would be found."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from trading.__main__ import play
from trading.checks import check_all
from trading.market import orders_of, quotes_of, read_timeline
from trading.programs import running
from trading.replay import Replay
from trading.tasks import app

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_the_demo_ends_with_checked_figures():
    ended = subprocess.run(
        [sys.executable, "-m", "trading", "--bars", "150", "--seconds", "2"],
        cwd=EXAMPLES,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count("│ ok ") == 7
    assert "WRONG" not in ended.stdout


def test_the_same_bars_give_the_same_orders():
    timeline = read_timeline(200)
    assert orders_of(timeline) == orders_of(read_timeline(200))
    assert {bar.symbol for bar in timeline} == {"EURUSD", "EURUSD.4h", "GOOG", "GOOG.5d", "BTCUSD"}
    assert len(list(quotes_of(timeline))) == 2 * len(timeline)


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    """A day that was played, the client of its server, and what the workers wrote."""
    directory = tmp_path_factory.mktemp("day")
    replay = Replay(read_timeline(150), directory, 2.0)
    with running(directory) as url:
        app.use_servers(url)
        with open(os.devnull, "w") as nowhere:
            play(replay, Console(file=nowhere))
        lines = [
            json.loads(line)
            for journal in directory.glob("journal-*.jsonl")
            for line in journal.read_text().splitlines()
        ]
        yield replay, app.client, lines
        app.use_servers(None)


def _lose_a_settlement(lines):
    lines.remove(next(line for line in lines if line["task"] == "settlement"))


def _settle_twice(lines):
    lines.append(next(line for line in lines if line["task"] == "settlement"))


def _settle_less(lines):
    next(line for line in lines if line["task"] == "settlement")["quantity"] -= 1


def _settle_before_risk(lines):
    next(line for line in lines if line["task"] == "settlement")["started_ns"] = 0


def _take_a_later_order_first(lines):
    max((line for line in lines if line["task"] == "orders"), key=lambda line: line["number"])[
        "started_ns"
    ] = 0


def _serve_one_symbol_after_another(lines):
    asked = [line for line in lines if line["task"] == "risk"]
    times = sorted(line["started_ns"] for line in asked)
    for line, time in zip(sorted(asked, key=lambda line: line["symbol"]), times, strict=True):
        line["started_ns"] = time


def _price_a_stale_quote(lines):
    lines.append(max((line for line in lines if line["task"] == "quotes"), key=lambda line: line["number"]))


def _lose_the_last_quote(lines):
    lines.remove(max((line for line in lines if line["task"] == "quotes"), key=lambda line: line["number"]))


def _replay_none(lines):
    lines[:] = [line for line in lines if not (line["task"] == "risk" and line["attempt"] > 1)]


@pytest.mark.parametrize(
    ("fault", "found_by"),
    [
        (_lose_a_settlement, "every trade is settled exactly once"),
        (_settle_twice, "every trade is settled exactly once"),
        (_settle_less, "what is settled is what was ordered"),
        (_settle_before_risk, "ingest, then risk, then settle"),
        (_take_a_later_order_first, "the most urgent order comes first"),
        (_serve_one_symbol_after_another, "no symbol starves behind a busy one"),
        (_price_a_stale_quote, "only the newest quote is priced"),
        (_lose_the_last_quote, "only the newest quote is priced"),
        (_replay_none, "dead letters are all replayed"),
    ],
)
def test_a_fault_is_found(day, tmp_path, fault, found_by):
    replay, client, lines = day
    assert [check.title for check in check_all(replay, client) if check.faults] == []
    changed = [dict(line) for line in lines]
    fault(changed)
    (tmp_path / "journal-1.jsonl").write_text("".join(json.dumps(line) + "\n" for line in changed))
    played = dataclasses.replace(replay, directory=tmp_path)
    played._answers = replay._answers
    wrong = [check.title for check in check_all(played, client) if check.faults]
    assert found_by in wrong
