"""Drain, quiet, stop, limits of what is taken, reload; wrong usage."""

import signal
import subprocess
import sys

import pytest
from processes import HERE, Program, Worker, until


def test_a_worker_that_is_told_to_stop_finishes_what_runs(start, sample, queue):
    worker = start("sample_app", "--queues", queue, "--processes", "1")
    tasks = (sample.sleeps, sample.waits_in_thread, sample.sleeps_in_process)
    handles = [task.options(queue=queue).enqueue(1.5) for task in tasks]
    until(lambda: all(handle.view().state == "running" for handle in handles))
    later = sample.add.options(queue=queue).enqueue(1, 1)
    later.result(30)
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert [handle.view().state for handle in handles] == ["completed"] * 3
    waiting = sample.add.options(queue=queue).enqueue(1, 1)
    assert waiting.view().state == "ready"


def test_what_does_not_end_within_the_grace_time_is_given_back(start, sample, queue):
    worker = start("sample_app", "--queues", queue, "--processes", "1", "--grace", "0.3")
    tasks = (sample.sleeps, sample.stubborn, sample.sleeps_in_process)
    handles = [task.options(queue=queue).enqueue(60) for task in tasks]
    until(lambda: all(handle.view().state == "running" for handle in handles))
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    views = [handle.view() for handle in handles]
    assert [(view.state, view.attempt, view.failures) for view in views] == [("ready", 1, 0)] * 3


def test_a_second_signal_does_not_wait_for_the_grace_time(start, sample, queue):
    worker = start("sample_app", "--queues", queue, "--grace", "600")
    handle = sample.sleeps.options(queue=queue).enqueue(600)
    until(lambda: handle.view().state == "running")
    worker.signal(signal.SIGINT)
    worker.wait_for("stopping")
    worker.signal(signal.SIGINT)
    assert worker.wait() == 0
    assert handle.view().state == "ready"


def test_quiet_by_signal_takes_nothing_more_and_resumes(start, sample, queue):
    worker = start("sample_app", "--queues", queue, name=f"quiet-{queue}")
    running = sample.sleeps.options(queue=queue).enqueue(1.0)
    until(lambda: running.view().state == "running")
    worker.signal(signal.SIGUSR1)
    worker.wait_for("quiet")
    until(lambda: _listed(sample, worker).quiet)
    handle = sample.add.options(queue=queue).enqueue(1, 1)
    assert running.result(30) == "slept"
    assert handle.view().state == "ready"
    worker.signal(signal.SIGUSR2)
    assert handle.result(30) == 2


def _listed(sample, worker):
    return {each.name: each for each in sample.app.client.list_workers().workers}[worker.name]


def test_quiet_resume_and_stop_from_the_server(start, sample, queue):
    worker = start("sample_app", "--queues", queue, name=f"steered-{queue}")
    until(lambda: worker.name in {each.name for each in sample.app.client.list_workers().workers})
    sample.app.client.quiet_worker(worker.name)
    worker.wait_for("quiet: no more tasks")
    handle = sample.add.options(queue=queue).enqueue(1, 1)
    sample.app.client.resume_worker(worker.name)
    assert handle.result(30) == 2
    sample.app.client.stop_worker(worker.name)
    assert worker.wait() == 0


def test_nothing_is_hoarded(start, sample, queue, tmp_path):
    """A worker with one slot that is busy leaves what waits to others."""
    first = start("sample_app", "--queues", queue, "--concurrency", "1", name="first")
    busy = sample.waits_for.options(queue=queue).enqueue(str(tmp_path / "gate"))
    until(lambda: busy.view().state == "running")
    handles = sample.add.options(queue=queue).enqueue_many((i, 0) for i in range(5))
    start("sample_app", "--queues", queue, "--concurrency", "1", name="second")
    assert [handle.result(30) for handle in handles] == list(range(5))
    assert {handle.view().worker for handle in handles} == {"second"}
    (tmp_path / "gate").write_text("")
    busy.result(30)
    assert first.process.poll() is None


def test_a_delayed_task_is_not_taken_before_it_is_due(start, sample, queue):
    start("sample_app", "--queues", queue)
    handle = sample.add.options(queue=queue, delay=1.0).enqueue(1, 1)
    assert handle.view().state == "scheduled"
    view = handle.wait(30)
    assert view.started_at >= view.created_at + 1_000


def test_it_starts_anew_when_a_source_changes(server, sample, queue, tmp_path):
    (tmp_path / "reloaded.py").write_text(
        "from taskqueuex import App\napp = App()\n\n@app.task\nasync def version() -> int:\n    return 1\n"
    )
    worker = Program(
        "taskqueuex.cli", "worker", "reloaded", "--queues", queue, "--reload",
        env={"TQX_SERVER": server.url}, cwd=tmp_path,
    )  # fmt: skip
    try:
        worker.wait_for("worker ready")
        client = sample.app.client
        first = client.enqueue(queue, payload={}, name="reloaded.version")
        assert bytes(client.get_task(first.id, wait_ms=20_000).result) == b"1"
        source = tmp_path / "reloaded.py"
        source.write_text(source.read_text().replace("return 1", "return 2"))
        until(lambda: worker.log.count("worker ready") == 2, "another start")
        second = client.enqueue(queue, payload={}, name="reloaded.version")
        assert bytes(client.get_task(second.id, wait_ms=20_000).result) == b"2"
    finally:
        worker.signal(signal.SIGINT)
        worker.wait()
        worker.kill()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no_such_module"], "there is no module 'no_such_module'"),
        (["sample_app:nothing"], "has no app named 'nothing'; it has app"),
        (["sample_app", "--queues", "a=1,b"], "queues: 'b'"),
        (["sample_app", "--concurrency", "0"], "concurrency: must be 1 to 10000, not 0"),
        (["sample_app", "--grace", "-1"], "grace_s: must be 0 to 86400"),
        (["sample_app", "--memory-limit-mb", "0"], "memory_limit_mb: must be above 0"),
    ],
)
def test_wrong_usage_is_said_in_one_line(arguments, message):
    done = subprocess.run(
        [sys.executable, "-m", "taskqueuex.cli", "worker", *arguments],
        cwd=HERE,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr


def test_without_a_server_it_waits_for_one(sample, queue, tmp_path):
    """Started before its server, a worker takes tasks as soon as that is there."""
    from processes import Server

    free = Server(tmp_path / "data")
    port = free.port
    free.kill()
    early = Program("taskqueuex.cli", "worker", "sample_app", "--queues", queue, env={"TQX_SERVER": free.url})
    server = None
    try:
        early.wait_for("no answer from the server")
        server = Server(tmp_path / "data", port)
        sample.app.use_servers(server.url)
        assert sample.add.options(queue=queue).enqueue(1, 1).result(30) == 2
    finally:
        early.kill()
        if server is not None:
            server.kill()


def test_a_worker_idles_at_nearly_no_cost(start, sample, queue):
    """It polls: a few calls a minute. Counted, not timed: the server says how many requests came."""
    worker: Worker = start("sample_app", "--queues", queue)
    sample.add.options(queue=queue).enqueue(1, 1).result(30)
    before = sample.app.client.stats().totals["requests"]
    assert sample.app.client.get_task(
        sample.add.options(queue=f"{queue}-x", delay=60).enqueue(1, 1).id, wait_ms=3_000
    )
    after = sample.app.client.stats().totals["requests"]
    assert after - before <= 6, worker.log
