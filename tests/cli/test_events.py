"""`tqx events` against a real server."""

import json
import os
import signal
import subprocess
import sys

import pytest


@pytest.fixture
def happened(tqx):
    """A task of a queue of its own; its id."""
    task = tqx.asked("enqueue", "--name", "job", "noted", "{}")["id"]
    tqx("queue", "pause", "noted")
    tqx("queue", "resume", "noted")
    return task


def test_what_happened_is_listed(tqx, happened):
    lines = [line.split("  ")[1:] for line in tqx("events", "--queue", "noted").splitlines()]
    assert ["ready", "noted", happened, "job"] in lines
    assert ["queue paused", "noted"] in lines and ["queue resumed", "noted"] in lines


def test_it_is_filtered_and_json_is_a_line_each(tqx, happened):
    told = tqx("--output", "json", "events", "--queue", "noted", "--kind", "task", "--id", happened)
    events = [json.loads(line) for line in told.splitlines()]
    assert [(each["id"], each["state"]) for each in events] == [(happened, "ready")]
    assert tqx("events", "--queue", "noted", "--since", "0") == ""
    assert "kind" in tqx("events", "--kind", "tasks", code=2)
    assert "state" in tqx("events", "--state", "done", code=2)


def test_it_goes_on_over_a_restart_of_the_server(serve, tmp_path):
    def enqueue(url: str, payload: str) -> str:
        command = [sys.executable, "-m", "taskqueuex.cli", "--output", "json", "enqueue", "--server", url]
        done = subprocess.run([*command, "q", payload], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)["id"]

    def ids(process, count: int) -> list[str]:
        return [json.loads(process.stdout.readline())["id"] for _ in range(count)]

    with serve(tmp_path / "data") as url:
        address = url.removeprefix("http://")
        command = [sys.executable, "-m", "taskqueuex.cli", "--output", "json", "events", "--follow"]
        first = enqueue(url, "1")
        follower = subprocess.Popen(
            [*command, "--since", "60", "--kind", "task", "--server", url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        assert ids(follower, 1) == [first]
        second = enqueue(url, "2")
        assert ids(follower, 1) == [second]
    with serve(tmp_path / "data", address) as url:
        third = enqueue(url, "3")
        assert ids(follower, 1) == [third]
        follower.send_signal(signal.SIGINT)
        assert follower.wait(20) == 130
        follower.communicate()


def test_a_server_that_is_not_there_is_told(tqx, monkeypatch):
    monkeypatch.setenv("TQX_SERVER", "http://127.0.0.1:9")
    assert "no answer" in tqx("events", code=5)
    assert "no answer" in tqx("events", "--follow", code=5)
