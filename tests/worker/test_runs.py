"""A worker runs tasks of all modes, and tells the server how they ended."""

import signal

import pytest
from processes import until

from taskqueuex import TaskFailed, chain, chord, group
from taskqueuex.app.workflow import Workflow


@pytest.mark.parametrize("name", ["settle", "threaded", "process"])
def test_a_task_runs_and_its_result_comes_back_typed(start, sample, queue, name):
    start("sample_app", "--queues", queue)
    task = getattr(sample, name).options(queue=queue)
    factor = {"settle": 2, "threaded": 3, "process": 4}[name]
    assert task.enqueue(7, qty=1.5).result(30) == sample.Receipt(7, 1.5 * factor)


def test_coroutines_run_in_processes_too_each_in_a_process_of_its_own(start, sample, queue):
    worker = start("sample_app", "--queues", queue, "--processes", "2")
    pids = {sample.process_async.options(queue=queue).enqueue().result(30) for _ in range(4)}
    assert pids <= set(worker.children()) and worker.pid not in pids


def test_what_an_attempt_knows_of_itself(start, sample, queue):
    start("sample_app", "--queues", queue)
    task = sample.about.options(queue=queue, timeout=20, max_attempts=1, meta={"a": "b"})
    found = task.enqueue().result(30)
    assert found["attempt"] == 1 and found["queue"] == queue and found["last"] is True
    assert 0 < found["remaining"] <= 20 and found["meta"] == {"a": "b"}


def test_resources_and_hooks_live_as_long_as_the_worker(start, sample, queue, tmp_path):
    journal = tmp_path / "journal"
    worker = start("sample_app", "--queues", queue, "--processes", "1", env={"JOURNAL": str(journal)})
    assert sample.write.options(queue=queue).enqueue("here").result(30) == str(journal)
    assert sample.write_in_process.options(queue=queue).enqueue("there").result(30) == str(journal)
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    lines = journal.read_text().split()
    assert sorted(lines) == sorted(
        ["opened", "started", "here", "ended", "closed", "opened", "started", "there", "ended", "closed"]
    )
    assert lines[0] == "opened" and lines[-1] == "closed"


def test_middleware_is_around_each_run(start, sample, queue, tmp_path):
    start("sample_app", "--queues", queue)
    journal = tmp_path / "journal"
    options = {"queue": queue, "meta": {"journal": str(journal)}, "max_attempts": 1}
    sample.settle.options(**options).enqueue(1, 1.0).result(30)
    sample.threaded.options(**options).enqueue(1, 1.0).result(30)
    sample.process.options(**options).enqueue(1, 1.0).result(30)
    with pytest.raises(TaskFailed):
        sample.fails.options(**options).enqueue("x").result(30)
    expected = ["settle", "threaded", "process"]
    lines = [line for name in expected for line in (f"before sample_app.{name}", f"after sample_app.{name}")]
    assert journal.read_text().splitlines() == [
        *lines,
        "before sample_app.fails",
        "error Flaky sample_app.fails",
    ]


def test_log_lines_of_a_task_carry_its_id(start, sample, queue):
    worker = start("sample_app", "--queues", queue)
    handle = sample.says.options(queue=queue).enqueue("hello")
    handle.result(30)
    line = worker.wait_for("hello")
    assert f"task={handle.id} task_name=sample_app.says attempt=1" in line.string


def test_logs_are_json_if_asked_for(start, sample, queue):
    worker = start("sample_app", "--queues", queue, "--log-format", "json")
    handle = sample.says.options(queue=queue).enqueue("hello")
    handle.result(30)
    assert f'"task":"{handle.id}"' in worker.wait_for('"message":"hello"').string


def test_many_tasks_run_each_once(start, sample, queue):
    start("sample_app", "--queues", queue)
    handles = sample.add.options(queue=queue).enqueue_many((i, 1) for i in range(3_000))
    assert [handle.result(60) for handle in handles] == list(range(1, 3_001))
    assert all(handle.view().attempt == 1 for handle in handles[::100])


def test_strict_order_of_queues(start, sample, queue):
    first, second = f"{queue}-1", f"{queue}-2"
    low = [sample.add.options(queue=second).enqueue(1, 1) for _ in range(20)]
    high = [sample.add.options(queue=first).enqueue(1, 1) for _ in range(20)]
    start("sample_app", "--queues", f"{first},{second}", "--concurrency", "1")
    ends = {handle.id: handle.wait(30).started_at for handle in [*low, *high]}
    assert max(ends[each.id] for each in high) <= min(ends[each.id] for each in low)


def test_queues_by_weight_are_both_served(start, sample, queue):
    handles = [sample.add.options(queue=f"{queue}-{each}").enqueue(1, 1) for each in "ab" for _ in range(50)]
    start("sample_app", "--queues", f"{queue}-a=3,{queue}-b=1", "--concurrency", "1")
    started = {handle.id: handle.wait(30).started_at for handle in handles}
    order = sorted(handles, key=lambda handle: started[handle.id])
    first = [handle.id for handle in order[:60]]
    assert {each.id for each in handles[50:]} & set(first), "the light queue waited for the heavy one"


def test_results_flow_through_a_chain(start, sample, queue):
    start("sample_app", "--queues", queue)
    add = sample.add.options(queue=queue)
    assert chain(add.s(1, 2), add.s(b=10), add.s(b=100)).enqueue().result(30) == 113


def test_a_group_has_all_results_in_order(start, sample, queue):
    start("sample_app", "--queues", queue)
    add = sample.add.options(queue=queue)
    assert group(*(add.s(i, i) for i in range(20))).enqueue().result(30) == [2 * i for i in range(20)]


def test_a_chord_gets_all_results(start, sample, queue):
    start("sample_app", "--queues", queue)
    add, total = sample.add.options(queue=queue), sample.total.options(queue=queue)
    assert chord([add.s(i, 1) for i in range(100)], total.s()).enqueue("sum").result(30) == sum(range(1, 101))


def test_chains_and_groups_nest(start, sample, queue):
    start("sample_app", "--queues", queue)
    add, total = sample.add.options(queue=queue), sample.total.options(queue=queue)
    inner = chain(add.s(1, 1), group(add.s(b=1), add.s(b=2)), total.s())  # 2 -> 3, 4 -> 7
    assert chain(inner, add.s(b=1)).enqueue().result(30) == 8


def test_any_graph(start, sample, queue):
    start("sample_app", "--queues", queue)
    add, total = sample.add.options(queue=queue), sample.total.options(queue=queue)
    graph = Workflow("graph")
    one = graph.add(add.s(1, 0))
    two = graph.add(add.s(one, 1))
    three = graph.add(add.s(one, two))
    end = graph.add(total.s([one, three, two]), after=[one])
    failing = graph.add(sample.fails.s("x"), queue=queue, max_attempts=1)
    after = graph.add(add.s(5, 5), after=[failing, end], on_failure="run")
    handle = graph.enqueue()
    assert handle.result(30) == [10]
    assert handle.handles[3].result(30) == 6
    assert (failing.ref, after.ref) == ("4", "5")


def test_a_child_of_a_failed_task_is_cancelled(start, sample, queue):
    from taskqueuex import TaskCancelled

    start("sample_app", "--queues", queue)
    add = sample.add.options(queue=queue)
    handle = chain(sample.fails.options(queue=queue, max_attempts=1).s("no"), add.s(b=1)).enqueue()
    with pytest.raises(TaskCancelled):
        handle.result(30)


def test_progress_is_shown(start, sample, queue, tmp_path):
    start("sample_app", "--queues", queue, "--processes", "1")
    for number, task in enumerate((sample.progresses, sample.progresses_in_process)):
        gate = tmp_path / str(number)
        handle = task.options(queue=queue).enqueue(str(gate))
        until(lambda handle=handle: bytes(handle.view().progress) == b'{"done":40}', "progress")
        gate.write_text("")
        handle.result(30)


def test_the_worker_is_listed_with_what_it_runs(start, sample, queue, tmp_path):
    worker = start("sample_app", "--queues", queue, name=f"lister-{queue}")
    handle = sample.waits_for.options(queue=queue).enqueue(str(tmp_path / "gate"))

    def listed():
        workers = {each.name: each for each in sample.app.client.list_workers().workers}
        found = workers.get(worker.name)
        return found if found is not None and found.running else None

    found = until(listed, "the worker in the list")
    assert found.pid == worker.pid and found.queues == [queue] and found.host and found.version
    assert [(each.id, each.name) for each in found.running] == [(handle.id, "sample_app.waits_for")]
    (tmp_path / "gate").write_text("go")
    assert handle.result(30) == "go"
    worker.signal(signal.SIGTERM)
    worker.wait()
    assert worker.name not in {each.name for each in sample.app.client.list_workers().workers}
