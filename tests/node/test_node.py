"""The node: storage that fails, directories that may not be served, stops and restarts, telemetry."""

import http.client
import json
import subprocess
import sys
import threading

import pytest
from prometheus_client.parser import text_string_to_metric_families

from taskqueuex.storage.check import check_storage
from taskqueuex.storage.directory import FORMAT, DataDirectory
from taskqueuex.storage.maintenance import check


def tqx(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "taskqueuex.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def refused(data):
    """What `tqx serve` says where it does not start."""
    result = tqx("serve", "--data", data, "--listen", "127.0.0.1:0")
    assert result.returncode == 1, result
    assert "Traceback" not in result.stderr
    return result.stderr


def is_sound(data):
    report = check(data)
    assert report.problems == []
    return report


# Storage that fails


@pytest.mark.parametrize("commit", ["inline", "thread"])
@pytest.mark.parametrize("fault", ["write", "sync"])
def test_after_a_failure_of_the_store_it_is_reopened_and_nothing_acknowledged_is_lost(serve, fault, commit):
    server = serve(commit=commit)
    client = server.client()
    kept = [client.enqueue(payload=n) for n in range(20)]
    (task,) = client.take(lease_ms=60_000)
    server.fault(fault)
    status, problem = client.call("POST", "/v1/queues/q/tasks", {"payload": "lost, or not"})
    assert (status, problem["code"], problem["outcome"]) == (503, "storage_unavailable", "unknown")
    assert server.wait_said("recovered from storage")
    assert client.good("GET", "/readyz") == {"status": "ok"}
    assert (
        client.good("POST", f"/v1/tasks/{task['id']}/ack", {"lease": task["lease"]})["state"] == "completed"
    )
    left = [each["id"] for each in client.take(max=100)]
    assert left[:19] == kept[1:] and len(left) in (19, 20)
    stats = client.good("GET", "/v1/stats")
    assert (stats["totals"]["storage_failures"], stats["totals"]["recoveries"]) == (1, 1)
    assert server.stop() == 0
    is_sound(server.data)


def test_while_the_store_is_reopened_requests_are_refused_and_not_applied(serve):
    server = serve()
    client = server.client()
    client.enqueue()
    server.fault("open")
    server.fault("sync")
    assert client.call("POST", "/v1/queues/q/tasks", {})[0] == 503
    assert server.wait_said("cannot be reopened")
    status, problem = client.call("POST", "/v1/queues/q/tasks", {})
    assert (status, problem["outcome"]) == (503, "not_applied")
    assert client.call("GET", "/readyz")[0] == 503 and client.call("GET", "/healthz")[0] == 200
    server.fault("open", on=False)
    assert server.wait_said("recovered from storage")
    assert client.counts()["ready"] in (1, 2)


def test_a_store_that_cannot_be_reopened_ends_the_process_with_a_clear_message(serve):
    server = serve()
    client = server.client()
    kept = client.enqueue()
    server.fault("open")
    server.fault("sync")
    assert client.call("POST", "/v1/queues/q/tasks", {})[0] == 503
    assert server.ended() == 1
    last = server.log.strip().splitlines()[-1]
    assert "could not be reopened" in last and "as the test said" in last and "Traceback" not in server.log
    server.fault("open", on=False)
    assert serve().client().good("GET", f"/v1/tasks/{kept}")["state"] == "ready"


def test_a_store_that_opens_and_fails_again_and_again_ends_the_process(serve):
    server = serve()
    client = server.client()
    kept = client.enqueue()
    server.fault("writes")
    while server.process.poll() is None:
        try:
            status, problem = client.call("POST", "/v1/queues/q/tasks", {})
        except (OSError, http.client.HTTPException):
            break
        assert status == 503, problem
    assert server.ended() == 1
    last = server.log.strip().splitlines()[-1]
    assert "10 times" in last and "as the test said" in last
    server.fault("writes", on=False)
    assert serve().client().good("GET", f"/v1/tasks/{kept}")["state"] == "ready"


def test_on_a_full_disk_enqueues_are_refused_and_what_frees_space_passes(serve):
    server = serve()
    client = server.client()
    ids = [client.enqueue() for _ in range(3)]
    (task,) = client.take()
    server.fault("full")
    while (answer := client.call("POST", "/v1/queues/q/tasks", {}))[0] == 201:
        ids.append(answer[1]["id"])
    status, problem = answer
    assert (status, problem["code"], problem["outcome"]) == (503, "storage_unavailable", "not_applied")
    assert "disk" in problem["detail"]
    batch = client.call("POST", "/v1/queues/q/tasks/batch", {"tasks": [{}]})
    workflow = client.call("POST", "/v1/workflows", {"tasks": [{"ref": "a", "queue": "q"}]})
    assert (batch[0], workflow[0]) == (503, 503)
    assert (
        client.good("POST", f"/v1/tasks/{task['id']}/ack", {"lease": task["lease"]})["state"] == "completed"
    )
    assert client.good("DELETE", f"/v1/tasks/{ids[-1]}") == {"deleted": True}
    server.fault("full", on=False)
    while client.call("POST", "/v1/queues/q/tasks", {})[0] == 503:
        pass
    assert server.stop() == 0


# Directories


def test_a_newer_format_is_refused(serve):
    server = serve()
    assert server.stop() == 0
    (server.data / "FORMAT").write_text(f"{FORMAT + 1}\n")
    told = refused(server.data)
    assert f"format {FORMAT + 1}" in told and "newer version" in told
    checked = tqx("storage", "check", "--data", server.data)
    assert checked.returncode != 0 and "newer version" in checked.stderr + checked.stdout


def test_a_directory_without_a_format_is_refused(serve):
    server = serve()
    assert server.stop() == 0
    (server.data / "FORMAT").unlink()
    assert "FORMAT" in refused(server.data)


def test_a_second_process_is_refused_and_told_whose_the_directory_is(serve):
    server = serve()
    told = refused(server.data)
    assert f"pid {server.process.pid}" in told and str(server.data) in told
    assert f"pid {server.process.pid}" in tqx("storage", "check", "--data", server.data).stderr
    assert server.client().good("GET", "/readyz") == {"status": "ok"}


def test_a_store_that_ends_below_its_watermark_is_refused_and_the_way_out_is_told(serve):
    server = serve()
    server.client().enqueue()
    assert server.stop() == 0
    watermark = server.data / "WATERMARK"
    assert int(watermark.read_text()) > 0
    watermark.write_text("1000000\n")
    told = refused(server.data)
    assert "acknowledged changes are missing" in told.replace("\n", " ") and "tqx restore" in told
    watermark.write_text("nonsense\n")
    assert "WATERMARK" in refused(server.data)
    watermark.unlink()
    assert serve(server.data).client().counts()["ready"] == 1


def newest_log(data):
    return max((data / "db").glob("*.log"), key=lambda file: int(file.stem))


def flip(file, at):
    content = bytearray(file.read_bytes())
    content[at] ^= 0xFF
    file.write_bytes(content)


def test_damage_in_the_middle_of_the_log_is_never_served(serve):
    server = serve()
    client = server.client()
    for n in range(200):
        client.enqueue(payload=n)
    server.wait_watermark()
    server.kill()
    log = newest_log(server.data)
    flip(log, log.stat().st_size // 2)
    told = refused(server.data)
    assert "Corruption" in told or "acknowledged changes are missing" in told.replace("\n", " ")


def test_a_torn_tail_of_the_log_costs_no_more_than_what_lies_above_the_watermark(serve):
    server = serve()
    client = server.client()
    ids = [client.enqueue(payload=n) for n in range(50)]
    server.wait_watermark()
    server.kill()
    log = newest_log(server.data)
    with log.open("ab") as torn:  # a record that the crash cut off: its header, and half of it
        torn.write(b"\x12\x34\x56\x78\x40\x00\x01" + b"x" * 17)
    again = serve(server.data)
    assert [task["id"] for task in again.client().take(max=100)] == ids
    assert again.stop() == 0
    is_sound(server.data)


def test_a_damaged_record_is_found_by_the_check_and_named_at_the_start(serve):
    server = serve()
    server.client().good("PUT", "/v1/queues/q", {})
    assert server.stop() == 0
    directory = DataDirectory(server.data)
    storage = directory.open()
    rows = storage.rows.new_rows()
    rows.put(5, b"\xff\xffqq", b"\x01nonsense")
    storage.rows.write(rows)
    storage.sync()
    assert any("cannot be read" in problem for problem in check_storage(storage).problems)
    storage.close()
    directory.close()
    assert "QueueRecord" in refused(server.data)


def test_a_backup_taken_under_load_is_sound_and_can_be_restored(serve, tmp_path):
    server = serve()
    client = server.client()
    before = [client.enqueue(payload=n) for n in range(100)]
    (task,) = client.take(lease_ms=600_000)
    stop = threading.Event()

    def load():
        other = server.client()
        while not stop.is_set():
            other.enqueue("load")

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        answer = client.good("POST", "/v1/admin/backup", {"path": str(tmp_path / "backup")})
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert answer["bytes"] > 0
    assert server.stop() == 0
    is_sound(server.data)
    assert tqx("storage", "check", "--data", tmp_path / "backup").returncode == 0
    assert tqx("restore", tmp_path / "backup", "--data", tmp_path / "restored").returncode == 0
    is_sound(tmp_path / "restored")
    again = serve(tmp_path / "restored").client()
    assert again.good("POST", f"/v1/tasks/{task['id']}/ack", {"lease": task["lease"]})["state"] == "completed"
    assert [each["id"] for each in again.take(max=1_000)] == before[1:]


# Stops and restarts


def test_a_signal_answers_the_polls_that_are_open(serve):
    server = serve()
    poll, wait = server.client(), server.client()
    task_id = server.client().enqueue("other")
    poll.send("POST", "/v1/queues/q/dequeue", {"wait_ms": 60_000})
    wait.send("GET", f"/v1/tasks/{task_id}?wait_ms=60000")
    watcher = server.client()
    while watcher.good("GET", "/v1/stats")["waiters"] < 2:
        pass
    assert server.stop() == 0
    assert poll.receive() == (200, {"tasks": []})
    assert wait.receive()[1]["state"] == "ready"


def test_a_signal_amid_a_hundred_requests_loses_none_that_was_acknowledged(serve):
    server = serve()
    acknowledged, refused_ones = [], []
    go = threading.Event()

    def work():
        client = server.client()
        go.wait()
        for _ in range(1_000):
            try:
                status, answer = client.call("POST", "/v1/queues/q/tasks", {})
            except (OSError, http.client.HTTPException):
                return  # the connection has ended, behind an answer or instead of one
            if status != 201:
                refused_ones.append(answer)
                return
            acknowledged.append(answer["id"])
            if len(acknowledged) == 500:
                server.process.terminate()

    threads = [threading.Thread(target=work) for _ in range(100)]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join()
    assert server.ended() == 0
    assert len(acknowledged) >= 500
    assert all(problem["outcome"] == "not_applied" for problem in refused_ones)
    client = serve(server.data).client()
    found = set()
    while tasks := client.take(max=1_000):
        found.update(task["id"] for task in tasks)
    assert set(acknowledged) <= found


def test_a_killed_process_loses_nothing_acknowledged_of_a_relaxed_queue(serve):
    server = serve()
    client = server.client()
    client.good("PUT", "/v1/queues/q", {"durability": "relaxed"})
    client.good("PUT", "/v1/queues/m", {"durability": "memory", "max_tasks": 10})
    ids = [client.enqueue() for _ in range(300)]
    client.enqueue("m")
    server.kill()
    client = serve(server.data).client()
    assert [task["id"] for task in client.take(max=1_000)] == ids
    view = client.good("GET", "/v1/queues/m")
    assert view["durability"] == "memory" and sum(view["counts"].values()) == 0
    assert client.enqueue("m") and len(client.take("m")) == 1


def test_what_came_due_while_nobody_served_is_there_after_the_start(serve):
    server = serve()
    client = server.client()
    delayed = client.enqueue(delay_ms=1)
    expired = client.enqueue("e", ttl_ms=300)
    retried = client.enqueue("r", backoff={"base_ms": 1, "jitter": 0})
    (task,) = client.take("r")
    client.good("POST", f"/v1/tasks/{retried}/fail", {"lease": task["lease"], "delay_ms": 200})
    leased = client.enqueue("l")
    (lease,) = client.take("l", lease_ms=60_000)
    server.kill()
    client = serve(server.data).client()
    assert [task["id"] for task in client.take(wait_ms=10_000)] == [delayed]
    assert [task["id"] for task in client.take("r", wait_ms=10_000)] == [retried]
    assert client.good("GET", f"/v1/tasks/{expired}?wait_ms=10000")["state"] == "expired"
    assert client.take("l") == []
    assert client.good("POST", f"/v1/tasks/{leased}/ack", {"lease": lease["lease"]})["state"] == "completed"


# Telemetry


def test_the_metrics_are_prometheus_text_and_name_what_they_should(serve):
    client = serve().client()
    task_id = client.enqueue()
    (task,) = client.take()
    client.good("POST", f"/v1/tasks/{task_id}/ack", {"lease": task["lease"]})
    client.enqueue()
    families = {each.name: each for each in text_string_to_metric_families(client.good("GET", "/metrics"))}
    for name in ("commits", "rows", "turns", "parked", "shed", "stalls", "storage_failures", "recoveries"):
        assert families[f"taskqueuex_{name}"].type == "counter"
    for name in ("wait", "run", "request", "turn", "commit", "fsync", "loop_lag"):
        assert families[f"taskqueuex_{name}_seconds"].type == "histogram"
    for family in families.values():
        assert family.documentation, family.name
    tasks = {
        sample.labels["state"]: sample.value
        for sample in families["taskqueuex_queue_tasks"].samples
        if sample.labels["queue"] == "q"
    }
    assert (tasks["ready"], tasks["completed"]) == (1, 1)
    run = {sample.name: sample.value for sample in families["taskqueuex_run_seconds"].samples}
    assert run["taskqueuex_run_seconds_count"] == 1


def test_the_stats_hold_what_is_described(serve):
    client = serve().client()
    client.enqueue()
    stats = client.good("GET", "/v1/stats")
    assert {
        "version", "started_at", "uptime_ms", "queues", "counts", "totals", "rates", "latency_ms",
        "connections", "waiters", "storage", "process", "host",
    } <= set(stats)  # fmt: skip
    assert stats["queues"] == 1 and stats["counts"]["ready"] == 1 and stats["totals"]["enqueued"] == 1
    assert stats["totals"]["commits"] >= 1 and stats["storage"]["backend"] == "rocksdb"
    assert stats["process"]["resident_bytes"] > 0
    assert stats["latency_ms"]["fsync"]["count"] >= 1


def test_points_of_the_history_survive_a_restart(serve):
    server = serve()
    client = server.client()
    client.enqueue()
    while not (points := client.good("GET", "/v1/metrics/history?range=1h")["points"]):
        pass
    assert points[0]["values"]["tasks.ready"] >= 0
    server.kill()
    again = serve(server.data).client().good("GET", "/v1/metrics/history?range=1h")["points"]
    assert json.dumps(again[: len(points)]) == json.dumps(points)
