"""Traces through queues, by OpenTelemetry: the extra `taskqueuex[tracing]`; `taskqueuex[otlp]` sends them.

    app = App()
    export_traces(app)  # where OTEL_EXPORTER_OTLP_ENDPOINT says; or App(middleware=[Tracing()]) for your own

Names and attributes follow OpenTelemetry's conventions for messaging. Of a task there are three spans:

    create shop.settle      producer: the task is made; its context (W3C `traceparent`) goes into its meta
    |- wait shop.settle     from when the task could run to the start of its first attempt
    `- process shop.settle  consumer: one attempt, with its outcome

The span that was current when the task was enqueued is the parent of the first. A task that is tried again
has a span of each attempt, and none of the waits in between: they are the backoff's. One that was enqueued
without a trace, by a schedule or by another program, has the spans of its attempts alone.
"""

import logging
import os
import time
from asyncio import CancelledError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from opentelemetry import trace
from opentelemetry.context import Context as TraceContext
from opentelemetry.propagate import extract, inject
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from taskqueuex.app.context import Context
from taskqueuex.app.control import Reject, Release, Retry
from taskqueuex.app.middleware import Middleware

__all__ = ["Tracing", "export_traces"]

_log = logging.getLogger("taskqueuex.app")

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_FLUSH_MS = 5_000  # for the spans of a process that ends


class Tracing(Middleware):
    """`provider`: where spans go; OpenTelemetry's global one by default."""

    def __init__(self, provider: trace.TracerProvider | None = None) -> None:
        self._tracer = trace.get_tracer("taskqueuex", tracer_provider=provider)

    def on_enqueue(self, fields: dict[str, Any]) -> None:
        """The span of the task's making, whose context is handed on."""
        name = fields.get("name", "")
        with self._tracer.start_as_current_span(
            f"create {name}", kind=SpanKind.PRODUCER, attributes=_attributes("create", name)
        ):
            carrier: dict[str, str] = {}
            inject(carrier)
        if carrier:
            fields["meta"] = {**fields.get("meta", {}), **carrier}

    @contextmanager
    def run(self, context: Context) -> Iterator[None]:
        """The spans of the wait and of one attempt."""
        parent = extract(context.meta)
        attributes = _attributes("process", context.name) | {
            "messaging.destination.name": context.queue,
            "messaging.message.id": context.id,
            "taskqueuex.attempt": context.attempt,
        }
        if context.attempt == 1:  # of later ones it is not known here since when they could run
            self._wait(context, parent, attributes)
        with self._tracer.start_as_current_span(
            f"process {context.name}",
            context=parent,
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except BaseException as error:
                _end_badly(span, error, context)
                raise
            span.set_attribute("taskqueuex.outcome", "completed")

    def _wait(self, context: Context, parent: TraceContext, attributes: dict[str, Any]) -> None:
        now_ns = time.time_ns()
        available_at = max(context.task.created_at, context.task.run_at or 0)
        # The server's clock said so: where it is ahead of ours, the wait was none.
        since_ns = min(available_at * 1_000_000, now_ns)
        if trace.get_current_span(parent).get_span_context().is_valid:
            named = attributes | _operation("receive")
            span = self._tracer.start_span(
                f"wait {context.name}", context=parent, attributes=named, start_time=since_ns
            )
            span.end(now_ns)
        attributes["taskqueuex.wait_ms"] = (now_ns - since_ns) // 1_000_000


def _attributes(operation: str, name: str) -> dict[str, Any]:
    return {"messaging.system": "taskqueuex", "taskqueuex.task": name, **_operation(operation)}


def _operation(operation: str) -> dict[str, Any]:
    return {"messaging.operation.name": operation, "messaging.operation.type": operation}


def _end_badly(span: Span, error: BaseException, context: Context) -> None:
    if isinstance(error, Release):
        span.set_attribute("taskqueuex.outcome", "released")
        return
    outcome = "failed"
    if isinstance(error, Retry | Reject):
        outcome = "retry" if isinstance(error, Retry) else "rejected"
    elif isinstance(error, CancelledError) and context.cancelled:
        outcome = "cancelled"
    kind = type(error)
    builtin = kind.__module__ == "builtins"
    span.set_attributes(
        {
            "taskqueuex.outcome": outcome,
            "taskqueuex.last_attempt": context.last_attempt,
            "error.type": kind.__qualname__ if builtin else f"{kind.__module__}.{kind.__qualname__}",
        }
    )
    span.record_exception(error)
    span.set_status(Status(StatusCode.ERROR, str(error)))


class Traced(Protocol):
    """What is traced: an app."""

    middleware: list[Middleware]

    def on_shutdown(self, function: Callable[[], Any], /) -> Callable[[], Any]: ...


def export_traces(app: Traced) -> None:
    """Traces an app, and sends the spans by OTLP over HTTP where the environment says where.

    To be called once, where the app is made: then it holds for whoever enqueues, for `tqx worker`, and for
    its child processes. OTEL_EXPORTER_OTLP_ENDPOINT names the collector; OpenTelemetry's other variables hold
    as well: OTEL_SERVICE_NAME, OTEL_EXPORTER_OTLP_HEADERS, OTEL_TRACES_SAMPLER and so on. Without the first,
    or in a program that has set up OpenTelemetry by itself, spans go to the global provider.
    """
    provider = _provider() if any(os.environ.get(name) for name in _ENDPOINTS) else None
    app.middleware.append(Tracing(provider))
    if provider is not None:
        # A worker's children end without what Python does at exit.
        app.on_shutdown(lambda: provider.force_flush(_FLUSH_MS))


def _provider() -> Any:
    """A provider that exports, made the global one; None where there is one already, or no exporter."""
    if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        _log.warning("traces are not exported: pip install 'taskqueuex[otlp]'")
        return None
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return provider
