"""How attempts end that do not end well: exceptions, time, cancellation, crashes."""

import signal

import pytest
from processes import until

from taskqueuex import TaskCancelled, TaskFailed
from taskqueuex.app import Backoff

FAST = {"backoff": Backoff(base=0.01, factor=1.0)}


def dead(handle):
    with pytest.raises(TaskFailed) as raised:
        handle.result(30)
    return raised.value


def test_a_failed_task_is_tried_again_and_then_dead_with_its_traceback(start, sample, queue):
    start("sample_app", "--queues", queue)
    handle = sample.fails.options(queue=queue, max_attempts=3, **FAST).enqueue("no such order")
    error = dead(handle)
    assert error.type == "sample_app.Flaky" and "no such order" in str(error)
    assert "raise Flaky(message)" in error.traceback and "attempt.py" not in error.traceback
    view = handle.view()
    assert (view.failures, view.attempt, len(view.errors)) == (3, 3, 3)


def test_a_retry_succeeds(start, sample, queue):
    start("sample_app", "--queues", queue)
    assert sample.fails_until.options(queue=queue, **FAST).enqueue(3).result(30) == 3


@pytest.mark.parametrize(
    ("task", "kind", "attempts"),
    [("picky", "flaky", 3), ("picky", "hopeless", 1), ("gives_up", "flaky", 3), ("gives_up", "hopeless", 1)],
)
def test_exception_lists_decide_whether_to_try_again(start, sample, queue, task, kind, attempts):
    start("sample_app", "--queues", queue)
    handle = getattr(sample, task).options(queue=queue, max_attempts=3, **FAST).enqueue(kind)
    dead(handle)
    assert handle.view().attempt == attempts


def test_a_task_says_how_it_ends(start, sample, queue):
    start("sample_app", "--queues", queue)
    task = sample.ends.options(queue=queue)
    retried = task.enqueue("retry")
    assert retried.result(30) == "attempt 2" and retried.view().failures == 1
    released = task.enqueue("release")
    assert released.result(30) == "attempt 2" and released.view().failures == 0
    rejected = task.enqueue("reject")
    assert dead(rejected).type == "Reject" and rejected.view().attempt == 1


def test_a_task_that_wants_to_exit_has_failed_and_the_worker_lives(start, sample, queue):
    worker = start("sample_app", "--queues", queue)
    handle = sample.ends.options(queue=queue, max_attempts=1).enqueue("exit")
    assert dead(handle).type == "SystemExit"
    assert worker.process.poll() is None


def test_error_hooks_are_told(start, sample, queue, tmp_path):
    journal = tmp_path / "journal"
    start("sample_app", "--queues", queue, "--processes", "1", env={"JOURNAL": str(journal)})
    dead(sample.fails.options(queue=queue, max_attempts=1).enqueue("x"))
    dead(sample.exits.options(queue=queue).enqueue(3))
    lines = journal.read_text().split("\n")
    assert "reported Flaky" in lines and "reported ProcessCrashed" in lines


def test_an_unknown_task_is_dead_with_a_reason(start, sample, queue):
    start("sample_app", "--queues", queue)
    task = sample.app.client.enqueue(queue, payload={}, name="sample_app.sedtle")
    view = until(lambda: (v := sample.app.client.get_task(task.id, wait_ms=5_000)).state == "dead" and v)
    assert view.errors[0].type == "UnknownTask" and view.failures == 1
    assert "no task named sample_app.sedtle" in view.errors[0].message
    assert "sample_app.settle" in view.errors[0].message or "it has:" in view.errors[0].message


@pytest.mark.parametrize("payload", [{"order_id": "x", "qty": 1}, [1], None, {"order_id": 1}])
def test_a_payload_that_does_not_fit_is_dead_with_a_reason(start, sample, queue, payload):
    start("sample_app", "--queues", queue)
    task = sample.app.client.enqueue(queue, payload=payload, name="sample_app.settle")
    view = until(lambda: (v := sample.app.client.get_task(task.id, wait_ms=5_000)).state == "dead" and v)
    assert view.errors[0].type == "InvalidPayload" and view.failures == 1
    assert view.errors[0].message.startswith("sample_app.settle: the payload does not fit: ")


def test_a_result_that_is_too_large_is_dead_with_a_reason(start, sample, queue):
    start("sample_app", "--queues", queue)
    error = dead(sample.huge.options(queue=queue).enqueue())
    assert "2,097,154 bytes" in str(error) and error.type == "Reject"


# Time


@pytest.mark.parametrize("name", ["sleeps", "sleeps_in_process"])
def test_a_task_is_ended_when_its_time_is_over(start, sample, queue, name):
    worker = start("sample_app", "--queues", queue, "--processes", "1")
    handle = getattr(sample, name).options(queue=queue, timeout=1.0, max_attempts=1).enqueue(60)
    assert dead(handle).type == "Timeout"
    assert sample.add.options(queue=queue).enqueue(1, 1).result(30) == 2
    if name == "sleeps_in_process":
        assert sample.process.options(queue=queue).enqueue(1, 1.0).result(30) == sample.Receipt(1, 4.0)
    assert worker.process.poll() is None


def test_a_thread_learns_that_its_time_is_over(start, sample, queue):
    start("sample_app", "--queues", queue, "--threads", "1")
    handle = sample.waits_in_thread.options(queue=queue, timeout=1.0, max_attempts=1).enqueue(60)
    assert dead(handle).type == "Timeout"
    # The only thread is free again, since the function looked at `cancelled`.
    assert sample.threaded.options(queue=queue).enqueue(1, 1.0).result(30)


# Cancellation


@pytest.mark.parametrize("name", ["sleeps", "sleeps_in_process", "waits_in_thread"])
def test_a_running_task_is_cancelled(start, sample, queue, name):
    start("sample_app", "--queues", queue, "--processes", "1")
    handle = getattr(sample, name).options(queue=queue).enqueue(60)
    until(lambda: handle.view().state == "running")
    assert handle.cancel().cancel_requested
    view = handle.wait(30)
    if name == "waits_in_thread":  # it stopped by itself, and returned
        assert handle.result() == "stopped early"
    else:
        assert view.state == "cancelled"
        with pytest.raises(TaskCancelled):
            handle.result()


def test_a_cancelled_coroutine_tidies_up(start, sample, queue, tmp_path):
    start("sample_app", "--queues", queue)
    handle = sample.tidies_up.options(queue=queue).enqueue(str(tmp_path / "tidy"))
    until(lambda: handle.view().state == "running")
    handle.cancel()
    assert handle.wait(30).state == "cancelled"
    assert (tmp_path / "tidy").read_text() == "tidy"


# Crashes


@pytest.mark.parametrize(
    ("number", "how"),
    [(signal.SIGKILL, "signal 9 (SIGKILL)"), (signal.SIGSEGV, "signal 11 (SIGSEGV)")],
)
def test_a_crash_is_a_failed_attempt_with_its_signal(start, sample, queue, number, how):
    worker = start("sample_app", "--queues", queue, "--processes", "2")
    neighbour = sample.sleeps_in_process.options(queue=queue).enqueue(3)
    until(lambda: neighbour.view().state == "running")
    handle = sample.crashes.options(queue=queue, **FAST).enqueue(int(number))
    error = dead(handle)
    assert error.type == "ProcessCrashed" and how in str(error)
    assert handle.view().failures == 2
    assert neighbour.result(30) == "slept" and neighbour.view().attempt == 1
    assert worker.process.poll() is None


def test_a_real_segmentation_fault(start, sample, queue):
    start("sample_app", "--queues", queue, "--processes", "1")
    assert "SIGSEGV" in str(dead(sample.segfaults.options(queue=queue, **FAST).enqueue()))
    assert sample.process.options(queue=queue).enqueue(1, 1.0).result(30) == sample.Receipt(1, 4.0)


def test_an_exit_is_said_with_its_code(start, sample, queue):
    start("sample_app", "--queues", queue, "--processes", "1")
    assert "exited with code 3" in str(dead(sample.exits.options(queue=queue).enqueue(3)))


def test_a_child_that_takes_too_much_memory_is_killed(start, sample, queue):
    start("sample_app", "--queues", queue, "--processes", "1", "--memory-limit-mb", "200")
    error = dead(sample.eats_memory.options(queue=queue).enqueue(400))
    assert error.type == "ProcessCrashed" and "200 MB are allowed" in str(error)


def test_children_are_replaced_after_so_many_tasks(start, sample, queue):
    start("sample_app", "--queues", queue, "--processes", "1", "--max-tasks-per-child", "2")
    pids = [sample.pid.options(queue=queue).enqueue().result(30) for _ in range(6)]
    assert [pids.count(each) for each in dict.fromkeys(pids)] == [2, 2, 2]
