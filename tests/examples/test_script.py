"""examples/script.py prints what its task returned."""

import os
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_a_script_enqueues_and_gets_its_result(server, start_worker):
    start_worker("script")
    ended = subprocess.run(
        [sys.executable, "script.py"],
        cwd=EXAMPLES,
        env={**os.environ, "TQX_SERVER": server.url},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.stdout, ended.stderr, ended.returncode) == ("5\n", "", 0)
