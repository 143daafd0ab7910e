"""The main job on real input: the example, as a user runs it, against a real server."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from tests.torture.server import TorturedServer

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "replay_bars.py"


@pytest.mark.timeout(200)
def test_every_bar_comes_out_once_in_order_with_the_right_summaries(tmp_path: Path) -> None:
    server = TorturedServer(tmp_path / "data", tmp_path / "log")
    asyncio.run(server.start())
    try:
        done = subprocess.run(
            [sys.executable, EXAMPLE, f"http://127.0.0.1:{server.port}"],
            capture_output=True,
            text=True,
            timeout=180,
        )
    finally:
        server.kill()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5000 bars, each out once, in order within its day" in done.stdout
