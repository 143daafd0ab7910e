"""`tqx bench` against a real server: what it does, refuses, counts, and leaves behind."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest

from taskqueuex.cli.app import run
from taskqueuex.cli.connection import Connection
from taskqueuex.cli.http import Client

SHORT = ("--duration", "0.3", "--connections", "4")


@pytest.fixture
def queue(request):
    return re.sub(r"[^a-z0-9]", "-", request.node.name)[:100]


def names_of_queues(tqx):
    return [each["name"] for each in tqx.asked("queue", "list")["queues"]]


@pytest.mark.parametrize(("operation", "requests"), [("enqueue", 1), ("pair", 3), ("batch", 1)])
def test_each_operation_is_done_and_its_queue_is_gone_afterwards(tqx, queue, operation, requests):
    before = tqx.asked("stats")["totals"]["requests"]
    options = ("--operation", operation, "--batch-size", "10", "--queue", queue)
    answer = tqx.asked("bench", *SHORT, *options)
    assert answer["operations"] > 0 and answer["errors"] == {} and answer["missed"] == 0
    done = tqx.asked("stats")["totals"]["requests"] - before
    assert 0 <= done - answer["operations"] * requests < 20  # the others made the queue, and deleted it
    tasks = answer["operations_per_s"] * (10 if operation == "batch" else 1)
    assert answer["tasks_per_s"] == pytest.approx(tasks, rel=0.01)
    latency = answer["latency_ms"]
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["p99.9"] <= latency["max"]
    assert queue not in names_of_queues(tqx)


def test_the_figures_are_shown_with_the_client_s_part_in_them(tqx, queue):
    shown = tqx("bench", *SHORT, "--queue", queue)
    assert re.search(r"latency, ms +p50 .*, p90 .*, p99 .*, p99\.9 .*, max ", shown)
    assert re.search(r"errors +none", shown)
    assert "of a core" in shown and "The server shares the machine" in shown


def test_at_a_rate_all_operations_of_the_timetable_are_done(tqx, queue):
    answer = tqx.asked("bench", *SHORT, "--rate", "100", "--queue", queue)
    assert answer["operations"] == 30 and answer["missed"] == 0


def test_a_rate_that_cannot_be_held_is_told_by_what_was_not_begun_and_by_latency(tqx, queue):
    options = ("--duration", "0.3", "--connections", "1", "--rate", "1000000", "--queue", queue)
    answer = tqx.asked("bench", *options)
    assert answer["missed"] > 0 and answer["operations"] + answer["missed"] == 300_000
    # Nearly all were due long before the one connection came to them.
    assert answer["latency_ms"]["p99"] > 100


def test_a_queue_with_tasks_is_left_alone(tqx, queue):
    tqx("enqueue", queue, "1")
    assert f"queue {queue} has 1 tasks" in tqx("bench", *SHORT, "--queue", queue, code=4)
    refused = tqx("bench", *SHORT, "--queue", queue, "--operation", "pair", "--force", code=4)
    assert "which pair would take and ack" in refused
    assert tqx.asked("queue", "show", queue)["counts"]["ready"] == 1


def test_with_force_the_tasks_and_settings_of_a_queue_stay(tqx, queue):
    tqx("queue", "create", queue, "--max-attempts", "3")
    id = tqx.asked("enqueue", queue, "1")["id"]
    assert tqx.asked("bench", *SHORT, "--queue", queue, "--force")["operations"] > 0
    left = tqx.asked("queue", "show", queue)
    assert left["counts"]["ready"] == 1 and left["max_attempts"] == 3
    assert tqx.asked("task", "show", id)["state"] == "ready"


def test_operations_that_fail_are_counted_by_code_and_by_the_exit_code(tqx, server, queue, capsys):
    tqx("queue", "create", queue, "--max-tasks", "5")
    assert run(["-o", "json", "bench", *SHORT, "--queue", queue]) == 1
    told = capsys.readouterr()
    answer = json.loads(told.out)
    assert answer["operations"] == 5 and list(answer["errors"]) == ["queue_full"]
    assert re.fullmatch(rf"tqx: {answer['errors']['queue_full']} operations failed\n", told.err)
    assert tqx.asked("queue", "show", queue)["counts"]["ready"] == 0


def test_a_paused_queue_has_nothing_to_take(tqx, queue, capsys):
    tqx("queue", "create", queue)
    tqx("queue", "pause", queue)
    assert run(["-o", "json", "bench", *SHORT, "--queue", queue, "--operation", "pair"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["operations"] == 0 and list(answer["errors"]) == ["empty"]


def test_a_batch_that_no_request_can_carry_is_refused(tqx, queue):
    options = ("--operation", "batch", "--batch-size", "10000", "--payload-bytes", "10000")
    assert "--payload-bytes" in tqx("bench", *options, "--queue", queue, code=2)
    assert queue not in names_of_queues(tqx)


def test_a_server_that_is_not_there_is_said(tqx):
    assert "no answer from" in tqx("--server", "http://127.0.0.1:9", "bench", *SHORT, code=5)


def test_ctrl_c_ends_it_with_the_figures_until_then_and_a_clean_server(server, tqx, queue):
    command = [sys.executable, "-m", "taskqueuex.cli", "--server", server, "-o", "json", "bench"]
    options = ["--duration", "600", "--connections", "2", "--queue", queue]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        client = Client(Connection(server))
        while not has_tasks(client, queue):
            assert process.poll() is None
        client.close()
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and b"interrupted" in err
    assert json.loads(out)["operations"] > 0
    assert queue not in names_of_queues(tqx)


def has_tasks(client, queue):
    found = [each for each in client.ask("list_queues")["queues"] if each["name"] == queue]
    return bool(found) and found[0]["counts"]["ready"] > 0
