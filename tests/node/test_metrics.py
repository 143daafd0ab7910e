"""The metrics of a server: all that docs/metrics.md lists, with values that are true, however many queues.

`python tests/node/test_metrics.py` writes the tables of docs/metrics.md anew.
"""

import asyncio
import json
import re
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import trustme
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from taskqueuex.network.config import NetworkConfig
from taskqueuex.node.certificate import not_after
from taskqueuex.node.config import NodeConfig, StorageConfig
from taskqueuex.node.exposition import QUEUES_MAX, families
from taskqueuex.node.node import Node
from taskqueuex.storage.directory import MEMORY
from taskqueuex.telemetry import Counter, Family, Gauge

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/metrics.md"
GROUPS = {
    "Of a queue": ("queue_",),
    "Latencies": ("_seconds",),
    "Process and host": ("process_", "host_"),
}
OF_RARE_THINGS = {
    "taskqueuex_tls_certificate_not_after_seconds",
    "taskqueuex_backup_last_success_timestamp_seconds",
}


async def described() -> list[Family]:
    """The families of a node that has done nothing yet."""
    config = NodeConfig(network=NetworkConfig(listen=("127.0.0.1:0",)), storage=StorageConfig(data=MEMORY))
    node = Node(config)
    await node.start()
    try:
        return families(await node.service.read_metrics())
    finally:
        await node.stop()


def tables(found: list[Family]) -> str:
    """What docs/metrics.md lists."""
    left = {family.name.removeprefix("taskqueuex_"): family for family in found}
    parts: dict[str, list[str]] = {"The server": []}
    for title, marks in GROUPS.items():
        at_start = all(mark.endswith("_") for mark in marks)
        names = [
            name
            for name, family in left.items()
            if (name.startswith(marks) if at_start else not isinstance(family, Counter | Gauge))
        ]
        parts[title] = [_row(left.pop(name)) for name in names]
    parts["The server"] = [_row(family) for family in left.values()]
    head = "| metric | type | labels | meaning |\n|---|---|---|---|\n"
    return "\n".join(f"## {title}\n\n{head}{''.join(rows)}" for title, rows in parts.items())


def _row(family: Family) -> str:
    kind = type(family).__name__.removesuffix("Family").lower()
    labels = ", ".join(f"`{name}`" for name in family.label_names)
    return f"| `{family.name}` | {kind} | {labels} | {family.help} |\n"


def written(found: list[Family]) -> str:
    """The page with its tables made anew."""
    text = PAGE.read_text()
    return text[: text.index("## The server")] + tables(found)


def test_the_page_lists_what_there_is() -> None:
    assert PAGE.read_text() == written(asyncio.run(described())), f"run python {Path(__file__).name}"


def test_names_and_helps_are_of_the_usual_kind() -> None:
    found = asyncio.run(described())
    assert len({family.name for family in found}) == len(found) > 70
    for family in found:
        assert re.fullmatch(r"taskqueuex_[a-z0-9_]+", family.name)
        assert not re.search(r"_(ms|us|mb|kb|percent|count|sum|bucket|created)(_|$)", family.name), (
            family.name
        )
        # Where OpenMetrics calls a counter by its name without the end, nothing else has that name.
        assert family.name + "_total" not in {each.name for each in found}
        assert 10 < len(family.help) < 140 and not family.help.endswith("."), family.help


def exposed(client: Any) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """The values of /metrics, by name and labels."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(client.good("GET", "/metrics")):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def of(queue: str) -> tuple[tuple[str, str], ...]:
    return (("queue", queue),)


def test_a_queue_is_described_as_it_is(serve: Any) -> None:
    client = serve().client()
    client.good("PUT", "/v1/queues/q", {"max_tasks": 50, "max_running": 2, "max_attempts": 1})
    client.good("PUT", "/v1/queues/other", {})
    began = time.time()
    first = client.enqueue()
    for _ in range(4):
        client.enqueue()
    for task in client.take(max=2):
        verb = "fail" if task["id"] == first else "ack"
        error = {"error": {"type": "E", "message": "no"}} if verb == "fail" else {}
        client.good("POST", f"/v1/tasks/{task['id']}/{verb}", {"lease": task["lease"], **error})
    client.good("POST", "/v1/queues/q/pause", {})
    killed = client.enqueue()
    client.good("POST", f"/v1/tasks/{killed}/kill", {})
    found = exposed(client)
    elapsed = time.time() - began
    totals = {
        name: found[f"taskqueuex_queue_{name}_total"][of("q")] for name in ("enqueued", "leased", "dead")
    }
    assert totals == {"enqueued": 6, "leased": 2, "dead": 2}
    assert 0 < found["taskqueuex_queue_oldest_ready_seconds"][of("q")] <= elapsed + 0.001
    assert found["taskqueuex_queue_oldest_ready_seconds"][of("other")] == 0
    assert found["taskqueuex_queue_paused"] == {of("q"): 1, of("other"): 0}
    assert found["taskqueuex_queue_max_tasks"] == {of("q"): 50}
    assert found["taskqueuex_queue_max_running"] == {of("q"): 2}
    assert found["taskqueuex_queue_wait_seconds_count"][of("q")] == 2
    assert found["taskqueuex_run_seconds_count"][()] == 1


def test_a_dead_task_that_is_retried_was_dead_all_the_same(serve: Any) -> None:
    client = serve().client()
    task_id = client.enqueue(max_attempts=1)
    for times in (1, 2):
        (task,) = client.take()
        error = {"type": "E", "message": "no"}
        client.good("POST", f"/v1/tasks/{task_id}/fail", {"lease": task["lease"], "error": error})
        client.good("POST", f"/v1/tasks/{task_id}/retry", {})
        found = exposed(client)
        assert found["taskqueuex_queue_dead_total"][of("q")] == times
        assert found["taskqueuex_queue_tasks"][(("queue", "q"), ("state", "dead"))] == 0


def test_the_server_is_described_as_it_is(serve: Any, tmp_path: Path) -> None:
    began = time.time()
    server = serve()
    client, waiting = server.client(), server.client()
    before = exposed(client)
    assert set(before) & OF_RARE_THINGS == set()
    for name in ("a", "b", "c"):
        client.take(worker=name)
    client.good("POST", "/v1/workers/b/quiet", {})
    client.good("POST", "/v1/workers/c/stop", {})
    waiting.send("POST", "/v1/queues/q/dequeue", {"worker": "a", "wait_ms": 60_000})
    while exposed(client)["taskqueuex_waiting_polls"][()] != 1:
        pass
    started = time.time()
    client.good("POST", "/v1/admin/backup", {"path": str(tmp_path / "backup")})
    found = exposed(client)
    assert found["taskqueuex_ready"][()] == 1
    states = {labels[0][1]: value for labels, value in found["taskqueuex_workers"].items()}
    assert states == {"active": 1, "quiet": 1, "stopping": 1}
    backup_at = found["taskqueuex_backup_last_success_timestamp_seconds"][()]
    assert started - 1 <= backup_at <= time.time() + 1
    started_at = found["taskqueuex_process_start_time_seconds"][()]
    assert began - 1 <= started_at <= started
    assert found["taskqueuex_connections_max"][()] == 20_000
    assert found["taskqueuex_host_disk_total_bytes"][()] > found["taskqueuex_host_disk_free_bytes"][()] > 0
    assert found["taskqueuex_memory_limit_bytes"][()] > found["taskqueuex_process_resident_bytes"][()]
    commands = found["taskqueuex_command_seconds_count"]
    assert commands[(("command", "dequeue_queue"),)] == 3 and commands[(("command", "backup"),)] == 1
    assert sum(commands.values()) == found["taskqueuex_request_seconds_count"][()]
    client.enqueue()
    assert waiting.receive()[1]["tasks"]


def test_streams_of_events_are_counted(serve: Any) -> None:
    server = serve()
    client, follower = server.client(), server.client()
    before = exposed(client)["taskqueuex_events_published_total"][()]
    follower.send("GET", "/v1/events")
    while exposed(client)["taskqueuex_event_streams_open"][()] != 1:
        pass
    client.enqueue()
    found = exposed(client)
    assert found["taskqueuex_events_published_total"][()] > before
    assert found["taskqueuex_event_streams_total"][()] == 1
    follower.close()
    while exposed(client)["taskqueuex_event_streams_open"][()]:
        pass


# Very many queues


@pytest.mark.parametrize("discipline", ["fifo", "priority"])
def test_with_ten_thousand_queues_it_stays_bounded_and_holds_nobody_up(serve: Any, discipline: str) -> None:
    server = serve()
    client = server.client()
    for number in range(10_000):
        client.send("PUT", f"/v1/queues/q{number}", {"discipline": discipline})
        client.receive()
    client.enqueue("q9999")
    (task,) = client.take("q9999")
    client.good("POST", f"/v1/tasks/{task['id']}/ack", {"lease": task["lease"]})
    found = exposed(client)
    assert found["taskqueuex_queues"][()] == 10_000
    assert len(found["taskqueuex_queue_enqueued_total"]) == QUEUES_MAX
    assert sum(map(len, found.values())) < 60 * QUEUES_MAX
    # What has no series of its own is in the sums.
    assert found["taskqueuex_wait_seconds_count"][()] == found["taskqueuex_run_seconds_count"][()] == 1


def test_queues_that_are_deleted_make_room_for_others(serve: Any) -> None:
    client = serve().client()
    for number in range(QUEUES_MAX + 1):
        client.good("PUT", f"/v1/queues/q{number}", {})
    last = of(f"q{QUEUES_MAX}")
    assert last not in exposed(client)["taskqueuex_queue_paused"]
    client.good("DELETE", "/v1/queues/q0")
    assert last in exposed(client)["taskqueuex_queue_paused"]


def test_many_that_ask_at_once_are_all_answered(serve: Any) -> None:
    server = serve()
    clients = [server.client() for _ in range(20)]
    for client in clients:
        client.send("GET", "/metrics")
    for client in clients:
        status, text = client.receive()
        assert status == 200 and "taskqueuex_ready 1.0" in text


# The certificate


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def test_the_end_of_the_certificate_in_use_is_shown(tmp_path: Path, authority: trustme.CA) -> None:
    from datetime import UTC, datetime

    file, ca = tmp_path / "server.pem", tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    ends = [datetime(2040, 1, 2, 3, 4, 5, tzinfo=UTC), datetime(2062, 6, 7, 8, 9, 10, tzinfo=UTC)]

    def renew(at: datetime) -> None:
        issued = authority.issue_cert("127.0.0.1", not_after=at)
        issued.private_key_and_cert_chain_pem.write_to_path(str(file))

    renew(ends[0])
    command = [sys.executable, "-m", "taskqueuex.cli", "serve", "--data", str(tmp_path / "data")]
    command += ["--listen", "tls:127.0.0.1:0", "--tls-certificate", str(file)]
    server = subprocess.Popen(
        [*command, "--insecure"], stderr=subprocess.PIPE, text=True, env=_environment(), cwd=tmp_path
    )
    try:
        assert server.stderr is not None
        url = next(found[0] for line in server.stderr if (found := re.search(r"https://[0-9.:]+", line)))
        context = ssl.create_default_context(cafile=str(ca))
        assert _end_shown(url, context) == ends[0].timestamp()
        renew(ends[1])
        assert _end_shown(url, context) == ends[0].timestamp(), "it is the one in use that counts"
        server.send_signal(signal.SIGHUP)
        next(line for line in server.stderr if "reloaded" in line)
        assert _end_shown(url, context) == ends[1].timestamp()
    finally:
        server.terminate()
        server.communicate(timeout=60)


def _environment() -> dict[str, str]:
    import os

    return {name: value for name, value in os.environ.items() if not name.startswith("TQX_")}


def _end_shown(url: str, context: ssl.SSLContext) -> float:
    with urllib.request.urlopen(f"{url}/metrics", context=context, timeout=30) as answer:
        text = answer.read().decode()
    (value,) = re.findall(r"^taskqueuex_tls_certificate_not_after_seconds (.*)$", text, re.MULTILINE)
    return float(value)


def test_what_is_no_certificate_is_told(tmp_path: Path, authority: trustme.CA) -> None:
    file = tmp_path / "odd.pem"
    file.write_text("nothing")
    with pytest.raises(ValueError, match="no certificate"):
        not_after(str(file))
    file.write_text("-----BEGIN CERTIFICATE-----\nMAMwAaA=\n-----END CERTIFICATE-----\n")
    with pytest.raises(ValueError, match="cannot be read"):
        not_after(str(file))


if __name__ == "__main__":
    PAGE.write_text(written(asyncio.run(described())))
    print(json.dumps({"written": str(PAGE)}))


def test_who_accepts_openmetrics_gets_the_traces_of_slow_waits_and_runs(serve: Any) -> None:
    server = serve()
    client = server.client()
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    task = {"payload": 1, "meta": {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}}
    client.good("POST", "/v1/queues/q/tasks", task)
    (taken,) = client.take()
    client.good("POST", f"/v1/tasks/{taken['id']}/ack", {"lease": taken["lease"]})
    accept = "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5"
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
        families = list(openmetrics(answer.read().decode()))
    samples = [sample for family in families for sample in family.samples]
    told = {
        sample.name for sample in samples if sample.exemplar and sample.exemplar.labels["trace_id"] == trace
    }
    assert told == {"taskqueuex_wait_seconds_bucket", "taskqueuex_run_seconds_bucket"}
    # What else there is does not depend on the format.
    plain = exposed(client)
    assert {sample.name for sample in samples} == set(plain)
