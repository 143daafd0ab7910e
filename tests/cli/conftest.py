"""A real server, and the command line against it."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading

import pytest

from taskqueuex.cli.app import run


@contextlib.contextmanager
def serving(data, listen="127.0.0.1:0", *options):
    """A server process; its URL, read from its first log line."""
    command = [
        sys.executable,
        "-m",
        "taskqueuex.cli",
        "serve",
        "--data",
        str(data),
        "--listen",
        listen,
        *options,
    ]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TQX_")}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environ) as process:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        url = next(
            found.group(1) for line in lines if (found := re.search(r"url=\"?(https?://[0-9.:]+)", line))
        )
        drain = threading.Thread(target=process.stderr.read)
        drain.start()
        yield url
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        drain.join()


@pytest.fixture(scope="session")
def serve():
    """Starts servers of a test's own: `with serve(data, listen) as url`."""
    return serving


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server for all tests of a module: its URL."""
    with serving(tmp_path_factory.mktemp("cli") / "data") as url:
        yield url


@pytest.fixture
def tqx(server, capsys, monkeypatch):
    """Runs a command; its exit code, output and errors. `asked` decodes the output as JSON."""
    monkeypatch.setenv("TQX_SERVER", server)

    def call(*words, code=0):
        capsys.readouterr()
        ended = run(list(words))
        told = capsys.readouterr()
        assert ended == code, told
        if code:
            assert told.err.startswith("tqx: ")
        return told.out if code == 0 else told.err

    call.asked = lambda *words: json.loads(call("--output", "json", *words))
    return call
