"""What a server and a worker send to a collector of OpenTelemetry: metrics, and traces from end to end."""

import asyncio
import importlib.util
import json
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from prometheus_client.parser import text_string_to_metric_families

from taskqueuex.client import Client
from taskqueuex.network.config import NetworkConfig
from taskqueuex.node import config as node_config
from taskqueuex.node.config import ConfigError, NodeConfig, StorageConfig, TelemetryConfig, load
from taskqueuex.node.node import Node
from taskqueuex.node.otlp import MetricsExporter, Source
from taskqueuex.storage.directory import MEMORY
from taskqueuex.telemetry import BOUNDS_S

sys.path.insert(0, str(Path(__file__).parent))

from otlp_receiver import Receiver, attributes

HERE = Path(__file__).parent
TIMEOUT_S = 60
# What nobody changes between a scrape and the end. Other counters grow: the history of metrics is written.
STILL = ("queue", "wait", "run", "workers", "tokens", "auth", "overload", "shed", "memory", "connections_max")
GROWING = ("_total", "_count", "_sum", "_bucket")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def environment(**more: str) -> dict[str, str]:
    """Ours without what would change a server or an exporter."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TQX_", "OTEL_"))}
    return {**kept, **more}


class Program:
    """A process whose log can be waited for."""

    def __init__(self, *arguments: str, **more: str) -> None:
        command = [sys.executable, "-m", *arguments]
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, cwd=HERE, env=environment(**more)
        )
        self.log = ""
        self._said = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._said:
                self.log += line
                self._said.notify_all()

    def said(self, pattern: str) -> re.Match[str]:
        with self._said:
            found = self._said.wait_for(lambda: re.search(pattern, self.log), TIMEOUT_S)
        assert found, self.log
        return found

    def end(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(TIMEOUT_S)
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code


@pytest.fixture
def start() -> Iterator[Any]:
    started: list[Program] = []

    def begin(*arguments: str, **more: str) -> Program:
        started.append(Program(*arguments, **more))
        return started[-1]

    yield begin
    for program in reversed(started):
        program.end()


@pytest.fixture
def serve(start: Any, tmp_path: Path) -> Any:
    def begin(**more: str) -> tuple[Program, str]:
        program = start(
            "taskqueuex.cli", "serve", "--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0", **more
        )
        return program, program.said(r"http://127\.0\.0\.1:\d+")[0]

    return begin


# -- metrics --------------------------------------------------------------------------------------------


def numbers(request: Any) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """The samples of an export, named as those of /metrics."""
    found = {}
    for metric in metrics_of(request).values():
        for point in getattr(metric, metric.WhichOneof("data")).data_points:
            labels = tuple(sorted(attributes(point.attributes).items()))
            if metric.WhichOneof("data") == "histogram":
                found[f"{metric.name}_count", labels] = point.count
                found[f"{metric.name}_sum", labels] = point.sum
                total = 0
                for bound, count in zip([*BOUNDS_S, "+Inf"], point.bucket_counts, strict=True):
                    total += count
                    found[f"{metric.name}_bucket", tuple(sorted((*labels, ("le", str(bound)))))] = total
            else:
                found[metric.name, labels] = getattr(point, point.WhichOneof("value"))
    return found


def metrics_of(request: Any) -> dict[str, Any]:
    (resource,) = request.resource_metrics
    (scope,) = resource.scope_metrics
    return {metric.name: metric for metric in scope.metrics}


def test_what_is_exported_is_what_metrics_has(receiver: Receiver, serve: Any) -> None:
    telemetry = {"TQX_TELEMETRY_OTLP_ENDPOINT": receiver.url, "TQX_TELEMETRY_OTLP_INTERVAL_S": "3600"}
    program, url = serve(**telemetry, OTEL_EXPORTER_OTLP_HEADERS="x-tenant=shop")
    with Client(url) as client:
        client.put_queue("orders", max_running=7)
        for number in range(5):
            client.enqueue("orders", name="n", payload=number)
        for task in client.dequeue_queue("orders", max=3, worker="w").tasks:
            client.ack(task.id, lease=task.lease)
        text = _text(url)
    assert program.end() == 0, "what is left is exported at the end"
    assert receiver.requests["/v1/metrics"], (program.log, receiver.heard)
    (request,) = receiver.requests["/v1/metrics"]
    shown = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    exported = numbers(request)
    still = {key for key in shown.keys() | exported.keys() if _named(key, STILL) and "oldest" not in key[0]}
    for key in still:
        assert exported.get(key) == shown.get(key), key
    growing = {key for key in shown if key[0].endswith(GROWING) and not _named(key, ("command", "requests"))}
    assert all(exported[key] >= shown[key] for key in growing), growing
    assert len(still) > 80 and len(growing - still) > 100
    assert {name for name, _ in shown} - {name for name, _ in exported} == set()
    assert exported["taskqueuex_queue_completed_total", (("queue", "orders"),)] == 3
    kinds = {name: metric.WhichOneof("data") for name, metric in metrics_of(request).items()}
    assert (
        kinds["taskqueuex_turns_total"] == "sum"
        and metrics_of(request)["taskqueuex_turns_total"].sum.is_monotonic
    )
    assert (kinds["taskqueuex_connections_open"], kinds["taskqueuex_wait_seconds"]) == ("gauge", "histogram")
    units = {name: metric.unit for name, metric in metrics_of(request).items()}
    assert units["taskqueuex_wait_seconds"] == units["taskqueuex_process_cpu_seconds_total"] == "s"
    assert units["taskqueuex_host_disk_free_bytes"] == "By" and units["taskqueuex_workers"] == "1"
    resource = attributes(request.resource_metrics[0].resource.attributes)
    assert resource["service.name"] == "taskqueuex" and resource["service.instance.id"] == url
    ((path, headers),) = receiver.heard
    assert path == "/v1/metrics" and headers["x-tenant"] == "shop"


def _named(key: tuple[str, Any], starts: tuple[str, ...]) -> bool:
    return key[0].removeprefix("taskqueuex_").startswith(starts)


def _text(url: str) -> str:
    from urllib.request import urlopen

    with urlopen(f"{url}/metrics", timeout=TIMEOUT_S) as answer:
        return answer.read().decode()


def test_it_is_exported_again_and_again_and_counts_on(receiver: Receiver, serve: Any) -> None:
    telemetry = {"TQX_TELEMETRY_OTLP_ENDPOINT": f"{receiver.url}/", "TQX_TELEMETRY_OTLP_INTERVAL_S": "1"}
    _, url = serve(**telemetry)
    enqueued = ("taskqueuex_queue_enqueued_total", (("queue", "q"),))
    with Client(url) as client:
        for number in (1, 2):
            client.enqueue("q", payload=number)
            receiver.wait(
                lambda it, number=number: (
                    it.requests["/v1/metrics"]
                    and numbers(it.requests["/v1/metrics"][-1]).get(enqueued) == number
                )
            )
    first, last = receiver.requests["/v1/metrics"][0], receiver.requests["/v1/metrics"][-1]
    point = [metrics_of(each)["taskqueuex_turns_total"].sum.data_points[0] for each in (first, last)]
    assert point[0].start_time_unix_nano == point[1].start_time_unix_nano < point[0].time_unix_nano
    assert point[0].time_unix_nano < point[1].time_unix_nano


@pytest.mark.parametrize("status", [0, 404, 503])
def test_a_collector_that_is_away_or_refuses_is_said_once_and_hurts_nobody(
    receiver: Receiver, serve: Any, status: int
) -> None:
    if status:
        receiver.status = status
    else:
        receiver.close()
    telemetry = {"TQX_TELEMETRY_OTLP_ENDPOINT": receiver.url, "TQX_TELEMETRY_OTLP_INTERVAL_S": "1"}
    program, url = serve(**telemetry)
    with Client(url) as client:
        program.said("metrics were not exported")
        for number in range(20):
            client.enqueue("q", payload=number)
        if status:
            receiver.wait(lambda it: len(it.heard) >= 2)
    assert program.end() == 0
    assert program.log.count("metrics were not exported") == 1, program.log
    assert "opentelemetry" not in program.log and "Traceback" not in program.log
    told = {0: "Connection refused", 404: "404", 503: "Service Unavailable"}[status]
    assert told in program.said("metrics were not exported.*")[0]


def test_a_collector_that_hangs_holds_up_neither_calls_nor_the_end(receiver: Receiver, serve: Any) -> None:
    receiver.gate.clear()
    telemetry = {"TQX_TELEMETRY_OTLP_ENDPOINT": receiver.url, "TQX_TELEMETRY_OTLP_INTERVAL_S": "1"}
    program, url = serve(**telemetry)
    with Client(url) as client:
        for number in range(50):
            client.enqueue("q", payload=number)
        assert client.readyz().status == "ok"
    assert program.end() == 0 and "stopped" in program.log


def test_a_reading_that_fails_is_said_and_tried_again(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        config = NodeConfig(
            network=NetworkConfig(listen=("127.0.0.1:0",)), storage=StorageConfig(data=MEMORY)
        )
        node = Node(config)
        await node.start()
        failures = [ZeroDivisionError("a bug"), ZeroDivisionError("a bug")]

        async def read() -> Any:
            if failures:
                raise failures.pop()
            return await node.service.read_metrics()

        loop = asyncio.get_running_loop()
        exporter = MetricsExporter(receiver.url, 0.01, Source("here", 0, read, loop))
        exporter.start()
        await loop.run_in_executor(None, receiver.wait, lambda it: it.requests["/v1/metrics"])
        await loop.run_in_executor(None, exporter.stop)
        await node.stop()

    with caplog.at_level(logging.WARNING, "taskqueuex.node"):
        asyncio.run(run())
    told = [record for record in caplog.records if record.getMessage() == "metrics were not exported"]
    assert [record.reason for record in told] == ["ZeroDivisionError: a bug"]  # type: ignore[attr-defined]


# -- configuration --------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["collector:4318", "grpc://collector:4317", "http://", "http://a/?b=c"])
def test_an_endpoint_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigError, match="TQX_TELEMETRY_OTLP_ENDPOINT"):
        load(None, {"TQX_TELEMETRY_OTLP_ENDPOINT": wrong}, {})


def test_an_endpoint_is_read_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "tqx.toml"
    file.write_text('[telemetry]\notlp_endpoint = "https://collector.example.org/otel"\n')
    endpoint = "https://collector.example.org/otel"
    assert load(file, {}, {}).telemetry == TelemetryConfig(otlp_endpoint=endpoint, otlp_interval_s=15.0)


@pytest.mark.parametrize("found", [None, ModuleNotFoundError("opentelemetry")])
def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, found: Any) -> None:
    def find_spec(name: str) -> None:
        assert importlib.util.find_spec(name) is not None, "what is looked for is what is there"
        if found is not None:
            raise found

    monkeypatch.setattr(node_config, "find_spec", find_spec)
    with pytest.raises(ConfigError, match=r"pip install 'taskqueuex\[otlp\]'"):
        load(None, {"TQX_TELEMETRY_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, {})


def test_without_an_endpoint_nothing_of_it_is_loaded() -> None:
    code = "import sys, taskqueuex.node.node; print([m for m in sys.modules if 'opentelemetry' in m])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"


# -- traces ---------------------------------------------------------------------------------------------


def traced(receiver: Receiver, url: str) -> dict[str, str]:
    return {
        "TQX_SERVER": url,
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }


def enqueue(code: str, receiver: Receiver, url: str) -> list[str]:
    """Enqueues in a program of its own, that ends."""
    script = f"import otlp_app, json\nprint(json.dumps([handle.id for handle in [{code}]]))"
    environ = environment(**traced(receiver, url), OTEL_SERVICE_NAME="shop")
    printed = subprocess.check_output([sys.executable, "-c", script], text=True, cwd=HERE, env=environ)
    return json.loads(printed)


@pytest.mark.parametrize("task", ["settle", "weigh"])
def test_a_task_is_one_trace_over_a_program_a_server_and_a_worker(
    receiver: Receiver, serve: Any, start: Any, task: str
) -> None:
    """`weigh` runs in a child process of the worker, which ends without what Python does at exit."""
    _, url = serve()
    (task_id,) = enqueue(f"otlp_app.{task}.enqueue(42)", receiver, url)
    arguments = ("taskqueuex.cli", "worker", "otlp_app", "--name", "w1", "--processes", "1")
    worker = start(*arguments, **traced(receiver, url), OTEL_SERVICE_NAME="shop-worker")
    with Client(url) as client:
        view = client.get_task(task_id, wait_ms=TIMEOUT_S * 1000)
    assert view.state == "completed"
    if task == "weigh":
        assert worker.end() == 0, worker.log
    receiver.wait(lambda it: len(it.spans()) >= 3)
    spans = {span.name: span for span in receiver.spans()}
    create, wait, process = (spans[f"{word} shop.{task}"] for word in ("create", "wait", "process"))
    assert len(receiver.spans()) == 3
    assert (create.kind, process.kind) == (Span.SPAN_KIND_PRODUCER, Span.SPAN_KIND_CONSUMER)
    assert create.trace_id == wait.trace_id == process.trace_id
    assert create.parent_span_id == b""
    assert wait.parent_span_id == process.parent_span_id == create.span_id
    assert create.start_time_unix_nano - 1_000_000 <= wait.start_time_unix_nano
    assert wait.start_time_unix_nano <= wait.end_time_unix_nano <= process.start_time_unix_nano
    # From the server's view: it was there at `created_at`, and leased before it was run.
    assert wait.start_time_unix_nano == view.created_at * 1_000_000
    assert process.start_time_unix_nano >= view.started_at * 1_000_000
    assert attributes(process.attributes)["messaging.message.id"] == task_id
    assert attributes(process.attributes)["taskqueuex.outcome"] == "completed"
    services = {
        span.name.split()[0]: attributes(resource.resource.attributes)["service.name"]
        for request in receiver.requests["/v1/traces"]
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    }
    assert services == {"create": "shop", "wait": "shop-worker", "process": "shop-worker"}


def test_an_attempt_that_fails_is_an_error_with_its_exception(
    receiver: Receiver, serve: Any, start: Any
) -> None:
    _, url = serve()
    (task_id,) = enqueue("otlp_app.lose.enqueue()", receiver, url)
    start("taskqueuex.cli", "worker", "otlp_app", "--name", "w1", **traced(receiver, url))
    with Client(url) as client:
        assert client.get_task(task_id, wait_ms=TIMEOUT_S * 1000).state == "dead"
    receiver.wait(lambda it: any(span.name == "process shop.lose" for span in it.spans()))
    (span,) = (each for each in receiver.spans() if each.name == "process shop.lose")
    assert span.status.code == Status.STATUS_CODE_ERROR and span.status.message == "it is lost"
    found = attributes(span.attributes)
    assert (found["taskqueuex.outcome"], found["error.type"]) == ("failed", "LookupError")
    assert [event.name for event in span.events] == ["exception"]


def test_a_collector_that_is_away_hurts_no_task(receiver: Receiver, serve: Any, start: Any) -> None:
    receiver.close()
    _, url = serve()
    (task_id,) = enqueue("otlp_app.settle.enqueue(1)", receiver, url)
    start("taskqueuex.cli", "worker", "otlp_app", "--name", "w1", **traced(receiver, url))
    with Client(url) as client:
        assert client.get_task(task_id, wait_ms=TIMEOUT_S * 1000).state == "completed"


def test_without_an_endpoint_no_provider_is_set_up() -> None:
    code = (
        "import otlp_app; from opentelemetry import trace; print(type(trace.get_tracer_provider()).__name__)"
    )
    printed = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=HERE, env=environment())
    assert printed == "ProxyTracerProvider\n"
