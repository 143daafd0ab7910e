"""Traces go through a queue: from the span that enqueues over the wait to the span of the run."""

import time

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from taskqueuex import App, Reject, Release, Retry, TaskFailed
from taskqueuex.app.tracing import Tracing
from taskqueuex.testing import MemoryServer


@pytest.fixture
def exporter():
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter):
    made = TracerProvider()
    made.add_span_processor(SimpleSpanProcessor(exporter))
    yield made
    made.shutdown()


@pytest.fixture
def app(provider):
    with MemoryServer() as server, App(server.url, middleware=[Tracing(provider)]) as made:
        yield made


@pytest.fixture
def spans(exporter):
    """Those of a kind, by the first word of their names."""

    def named(word):
        return [each for each in exporter.get_finished_spans() if each.name.split()[0] == word]

    return named


def test_a_task_is_one_trace_from_its_making_over_its_wait_to_its_run(app, provider, spans):
    @app.task(name="shop.settle", queue="orders")
    async def settle() -> None: ...

    with provider.get_tracer("test").start_as_current_span("request") as parent:
        handle = settle.enqueue()
    app.run_until_idle()
    (create,), (wait,), (process,) = spans("create"), spans("wait"), spans("process")
    assert [each.name for each in (create, wait, process)] == [
        "create shop.settle", "wait shop.settle", "process shop.settle"
    ]  # fmt: skip
    assert [each.kind for each in (create, wait, process)] == [
        SpanKind.PRODUCER, SpanKind.INTERNAL, SpanKind.CONSUMER
    ]  # fmt: skip
    assert {each.context.trace_id for each in (create, wait, process)} == {parent.get_span_context().trace_id}
    assert create.parent.span_id == parent.get_span_context().span_id
    assert wait.parent.span_id == process.parent.span_id == create.context.span_id
    # Clocks of tasks tick in milliseconds.
    assert create.start_time - 1_000_000 <= wait.start_time <= wait.end_time <= process.start_time
    for span in (wait, process):
        assert span.attributes["messaging.system"] == "taskqueuex"
        assert span.attributes["messaging.message.id"] == handle.id
        assert span.attributes["messaging.destination.name"] == "orders"
        assert span.attributes["taskqueuex.attempt"] == 1
    operations = [each.attributes["messaging.operation.type"] for each in (create, wait, process)]
    assert operations == ["create", "receive", "process"]
    assert process.attributes["taskqueuex.outcome"] == "completed"
    assert process.status.status_code is StatusCode.UNSET


def test_a_delay_is_no_wait(app, spans):
    @app.task
    def task() -> None: ...

    task.options(delay=0.2).enqueue()
    deadline = time.monotonic() + 60
    while not app.run_until_idle():
        assert time.monotonic() < deadline
    (create,), (wait,) = spans("create"), spans("wait")
    assert wait.start_time - create.start_time >= 199_000_000


def test_each_attempt_has_a_span_with_its_outcome(app, exporter, spans):
    @app.task(max_attempts=1)
    def fails(how: str) -> None:
        raise {
            "release": Release(after=3600),
            "reject": Reject("no"),
            "retry": Retry("again", after=3600),
            "error": ValueError("no"),
        }[how]

    handles = {how: fails.enqueue(how) for how in ("release", "reject", "retry", "error")}
    app.run_until_idle()
    with pytest.raises(TaskFailed):
        handles["error"].result(1)
    of = {span.attributes["messaging.message.id"]: span for span in spans("process")}
    found = {how: of[handle.id] for how, handle in handles.items()}
    outcomes = {how: span.attributes["taskqueuex.outcome"] for how, span in found.items()}
    assert outcomes == {"release": "released", "reject": "rejected", "retry": "retry", "error": "failed"}
    assert found["error"].attributes["error.type"] == "ValueError"
    assert found["error"].attributes["taskqueuex.last_attempt"] is True
    assert found["error"].status.status_code is StatusCode.ERROR
    assert [event.name for event in found["error"].events] == ["exception"]
    released = found["release"]
    assert released.status.status_code is StatusCode.UNSET
    assert not released.events and "error.type" not in released.attributes


def test_a_second_attempt_is_beside_the_first_and_its_wait_is_the_backoff_s(app, spans):
    @app.task(max_attempts=2)
    def fails() -> None:
        raise Retry("again", after=0)

    fails.enqueue()
    deadline = time.monotonic() + 60
    while len(spans("process")) < 2:
        app.run_until_idle()
        assert time.monotonic() < deadline
    first, second = spans("process")
    assert first.parent == second.parent
    assert [each.attributes["taskqueuex.attempt"] for each in (first, second)] == [1, 2]
    assert len(spans("wait")) == 1 and "taskqueuex.wait_ms" not in second.attributes


def test_what_was_enqueued_without_a_trace_has_the_spans_of_its_attempts_alone(app, exporter, spans):
    @app.task(name="plain")
    def plain() -> None: ...

    app.client.enqueue(plain.queue, name="plain", payload={})
    app.run_until_idle()
    (span,) = exporter.get_finished_spans()
    assert span.name == "process plain" and span.parent is None
    assert span.attributes["taskqueuex.wait_ms"] >= 0


def test_a_schedule_is_of_no_trace(app, provider):
    @app.every(60, name="tick")
    def tick() -> None: ...

    with provider.get_tracer("test").start_as_current_span("start"):
        (schedule,) = app.schedules
        assert schedule.definition() == schedule.definition()
        assert "traceparent" not in schedule.definition()["task"].get("meta", {})


def test_without_a_provider_nothing_is_handed_on():
    with MemoryServer() as server, App(server.url, middleware=[Tracing()]) as app:

        @app.task
        def task() -> None: ...

        assert task.enqueue().view().meta == {}
        app.run_until_idle()
