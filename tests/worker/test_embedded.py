"""A worker whose server is in the same program: nothing else runs."""

import signal
import subprocess
import sys

from processes import Program

from taskqueuex import App


def test_a_worker_with_an_embedded_server(tmp_path):
    (tmp_path / "alone.py").write_text(
        "from taskqueuex import App\n"
        "app = App('embedded:./data')\n\n"
        "@app.task(mode='process')\ndef double(value: int) -> int:\n    return 2 * value\n\n"
        "@app.task\nasync def add(a: int, b: int) -> int:\n    return a + b\n"
    )
    worker = Program("taskqueuex.cli", "worker", "alone", cwd=tmp_path)
    try:
        worker.wait_for("worker ready")
        # Others reach it through the socket in its directory.
        with App(f"unix:{tmp_path}/data/tqx.sock") as outside:
            ids = [
                outside.client.enqueue("default", payload=payload, name=name).id
                for name, payload in (("alone.double", {"value": 4}), ("alone.add", {"a": 1, "b": 2}))
            ]
            results = [bytes(outside.client.get_task(each, wait_ms=20_000).result) for each in ids]
        assert results == [b"8", b"3"]
        listed = subprocess.run(
            [sys.executable, "-m", "taskqueuex.cli", "--server", "unix:data/tqx.sock", "queue", "list"],
            cwd=tmp_path, capture_output=True, text=True, timeout=30, check=True,
        )  # fmt: skip
        assert "default" in listed.stdout
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0
    finally:
        worker.kill()
