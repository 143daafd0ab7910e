"""Traces go through a queue: from the span that enqueues to the span of the run."""

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from taskqueuex import App, Release, TaskFailed
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


def test_a_run_is_a_child_of_the_span_that_enqueued_it(app, provider, exporter):
    @app.task(name="shop.settle", queue="orders")
    async def settle() -> None: ...

    with provider.get_tracer("test").start_as_current_span("request") as parent:
        handle = settle.enqueue()
    app.run_until_idle()
    span = next(each for each in exporter.get_finished_spans() if each.kind is SpanKind.CONSUMER)
    assert span.name == "process shop.settle"
    assert span.context.trace_id == parent.get_span_context().trace_id
    assert span.parent.span_id == parent.get_span_context().span_id
    assert span.attributes["messaging.message.id"] == handle.id
    assert span.attributes["messaging.destination.name"] == "orders"
    assert span.attributes["taskqueuex.attempt"] == 1 and span.status.status_code is StatusCode.UNSET


def test_an_error_is_recorded_and_a_release_is_none(app, exporter):
    @app.task(max_attempts=1)
    def fails(release: bool) -> None:
        raise Release(after=3600) if release else ValueError("no")

    failed = fails.enqueue(False)
    fails.enqueue(True)
    app.run_until_idle()
    with pytest.raises(TaskFailed):
        failed.result(1)
    spans = exporter.get_finished_spans()
    assert [span.status.status_code for span in spans] == [StatusCode.ERROR, StatusCode.UNSET]
    assert spans[0].events[0].name == "exception" and not spans[1].events


def test_without_a_span_nothing_is_handed_on(app):
    @app.task
    def task() -> None: ...

    assert task.enqueue().view().meta == {}
