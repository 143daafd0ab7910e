"""Leases, deaths and restarts: what is delivered again, and what is not."""

import os
import signal
import threading

import pytest
from processes import Server, until

from taskqueuex import App, TaskFailed


@pytest.mark.parametrize("name", ["blocks", "holds_gil"])
def test_a_blocked_loop_keeps_its_lease(start, sample, queue, name):
    start("sample_app", "--queues", queue)
    handle = getattr(sample, name).options(queue=queue, lease=1.5).enqueue(4.0)
    assert handle.result(30) == "slept"
    view = handle.view()
    assert (view.attempt, view.failures) == (1, 0)


@pytest.mark.parametrize("name", ["waits_in_thread", "sleeps_in_process", "sleeps"])
def test_long_tasks_of_all_kinds_keep_their_leases(start, sample, queue, name):
    start("sample_app", "--queues", queue, "--processes", "1")
    handle = getattr(sample, name).options(queue=queue, lease=1.5).enqueue(4.0)
    handle.result(30)
    assert handle.view().attempt == 1


def test_a_stopped_worker_loses_its_lease_and_another_one_completes(start, sample, queue, tmp_path):
    first = start("sample_app", "--queues", queue, name="first")
    handle = sample.waits_for.options(queue=queue, lease=0.6).enqueue(str(tmp_path / "gate"))
    until(lambda: handle.view().state == "running")
    first.signal(signal.SIGSTOP)
    until(lambda: handle.view().errors)
    start("sample_app", "--queues", queue, name="second")
    (tmp_path / "gate").write_text("done")
    assert handle.result(30) == "done"
    view = handle.view()
    assert view.worker == "second" and view.errors[0].type == "LeaseExpired"
    first.signal(signal.SIGCONT)
    first.signal(signal.SIGTERM)
    assert first.wait() == 0


def test_a_stopped_child_loses_its_lease(start, sample, queue, tmp_path):
    worker = start("sample_app", "--queues", queue, "--processes", "1")
    task = sample.progresses_in_process.options(queue=queue, lease=0.6, max_attempts=1)
    handle = task.enqueue(str(tmp_path / "gate"))
    until(lambda: bytes(handle.view().progress) != b"null", "the task to run in the child")
    os.kill(worker.children()[0], signal.SIGSTOP)
    with pytest.raises(TaskFailed) as raised:
        handle.result(30)
    assert raised.value.type == "LeaseExpired"
    # The child that lost its lease is killed, and another one takes its place.
    assert sample.process.options(queue=queue).enqueue(1, 1.0).result(30) == sample.Receipt(1, 4.0)


def test_a_killed_worker_s_task_is_delivered_again(start, sample, queue, tmp_path):
    first = start("sample_app", "--queues", queue, "--processes", "1", name="first")
    handle = sample.waits_for.options(queue=queue, lease=0.6).enqueue(str(tmp_path / "gate"))
    in_child = sample.sleeps_in_process.options(queue=queue, lease=0.6).enqueue(2)
    until(lambda: handle.view().state == "running" and in_child.view().state == "running")
    children = first.children()
    first.process.kill()
    first.wait()
    for pid in children:
        until(lambda pid=pid: not _lives(pid), "the end of the children")
    start("sample_app", "--queues", queue, name="second")
    (tmp_path / "gate").write_text("done")
    assert handle.result(30) == "done" and handle.view().attempt == 2
    assert in_child.result(30) == "slept" and in_child.view().failures == 1


def _lives(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_task_that_kills_its_worker_is_dead_after_its_attempts(start, sample, queue):
    worker = start("sample_app", "--queues", queue)
    handle = sample.kills_worker.options(queue=queue, lease=0.5).enqueue()
    worker.wait()
    assert handle.wait(30).state == "dead"


def test_a_heartbeat_process_that_dies_is_started_again(start, sample, queue):
    worker = start("sample_app", "--queues", queue)
    handle = sample.sleeps.options(queue=queue, lease=1.5).enqueue(5)
    until(lambda: handle.view().state == "running")
    os.kill(worker.children("heart")[0], signal.SIGKILL)
    worker.wait_for("the heartbeat process ended")
    assert handle.result(30) == "slept" and handle.view().attempt == 1


def test_worker_and_producer_go_on_when_the_server_is_killed_and_comes_back(tmp_path):
    import sample_app
    from processes import Worker

    server = Server(tmp_path / "data")
    sample_app.app.use_servers(server.url)
    worker = Worker(server, "sample_app", "--queues", "orders")
    producer = App(server.url)
    add = sample_app.add.options(queue="orders", lease=2.0)
    fields = add.fields((20, 22), {})
    ids: list[str] = []
    stop = threading.Event()

    def produce():
        while not stop.is_set():
            ids.append(producer.client.enqueue("orders", **fields).id)

    def more(what):
        at = len(ids) + 100
        until(lambda: len(ids) >= at, what)

    thread = threading.Thread(target=produce)
    thread.start()
    try:
        for round_number in range(3):
            more(f"enqueues in round {round_number}")
            server = server.killed_and_restarted()
        more("enqueues after the last restart")
        stop.set()
        thread.join(40)
        assert not thread.is_alive()
        views = [add.handle(task_id).wait(60) for task_id in ids]
        assert {view.state for view in views} == {"completed"}
        assert len(set(ids)) == len(ids)
        # All that there is was acknowledged to the producer, once each.
        known = [view.id for view in producer.client.iterate_tasks(queue="orders", state="completed")]
        assert sorted(known) == sorted(ids)
        # Nothing failed but leases whose answer the dying server did not get out.
        assert {error.type for view in views for error in view.errors} <= {"LeaseExpired"}
    finally:
        stop.set()
        thread.join(40)
        worker.kill()
        producer.close()
        sample_app.app.close()
        server.kill()
