"""The server as a process: restart, SIGKILL, drain, backup, one per directory."""

import signal
import subprocess
import sys

import pytest


def test_what_was_acknowledged_survives_sigkill(own_server, connect, queue):
    server = own_server()
    api = connect(server)
    ids = api.batch(queue, [{"payload": number} for number in range(50)])
    running = api.take(queue, lease_ms=60_000)
    done = api.take(queue)
    api.ack(done, result="r")
    api.put_queue(queue, max_attempts=7)
    api.good("POST", f"/v1/queues/{queue}-paused/tasks", {}, 201)
    api.good("POST", f"/v1/queues/{queue}-paused/pause")
    server.process.kill()
    server.process.wait(20)

    api = connect(own_server(server.data))
    assert api.task(done["id"])["result"] == "r"
    assert api.ack(done) == {"state": "completed"}, "a repeated ack answers over a restart too"
    assert api.heartbeat(running)["cancel"] is False, "a lease survives"
    assert api.ack(running)["state"] == "completed"
    assert [task["id"] for task in api.dequeue(queue, max=100)] == ids[2:]
    assert api.queue(queue)["max_attempts"] == 7
    assert api.queue(queue + "-paused")["paused"] is True


def test_an_idempotency_key_survives_sigkill(own_server, connect, queue):
    server = own_server()
    request = ("POST", f"/v1/queues/{queue}/tasks", {"payload": 1})
    first = connect(server).call(*request, Idempotency_Key="k")
    server.process.kill()
    server.process.wait(20)
    api = connect(own_server(server.data))
    assert api.call(*request, Idempotency_Key="k").body == first.body
    assert api.queue(queue)["counts"]["ready"] == 1


def test_a_memory_queue_keeps_its_settings_and_loses_its_content(own_server, connect, queue):
    server = own_server()
    api = connect(server)
    api.put_queue(queue, durability="memory", max_tasks=10)
    api.enqueue(queue)
    server.process.kill()
    server.process.wait(20)
    api = connect(own_server(server.data))
    seen = api.queue(queue)
    assert (seen["durability"], seen["max_tasks"], seen["counts"]["ready"]) == ("memory", 10, 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_good_order(own_server, connect, queue, number):
    server = own_server()
    api = connect(server)
    waiting = api.connect()
    waiting.send("POST", f"/v1/queues/{queue}/dequeue", {"wait_ms": 60_000})
    id = api.enqueue(queue + "-other")
    server.process.send_signal(number)
    reply = waiting.receive()
    assert (reply.status == 200 and reply.json == {"tasks": []}) or reply.status == 503
    assert server.process.wait(20) == 0
    assert connect(own_server(server.data)).state(id) == "ready"


def test_a_drain_answers_and_ends_the_process(own_server, connect):
    server = own_server()
    assert connect(server).good("POST", "/v1/admin/drain")["draining"] is True
    assert server.process.wait(20) == 0


def test_a_second_process_on_the_same_directory_is_refused(own_server):
    server = own_server()
    command = [
        sys.executable,
        "-m",
        "taskqueuex.cli",
        "serve",
        "--data",
        str(server.data),
        "--listen",
        "127.0.0.1:0",
    ]
    second = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode == 1
    assert str(server.data) in second.stderr and "Traceback" not in second.stderr


def test_a_backup_taken_while_serving_can_be_served(own_server, connect, queue, tmp_path):
    server = own_server()
    api = connect(server)
    id = api.enqueue(queue, payload="kept")
    answer = api.good("POST", "/v1/admin/backup", {"path": str(tmp_path / "backup")})
    assert answer["path"] == str(tmp_path / "backup") and answer["bytes"] > 0
    later = api.enqueue(queue)
    copy = connect(own_server(tmp_path / "backup"))
    assert copy.task(id)["payload"] == "kept"
    assert copy.call("GET", f"/v1/tasks/{later}").status == 404
