"""Traces through queues, by OpenTelemetry: the extra `taskqueuex[tracing]`.

    app = App(middleware=[Tracing()])

What is enqueued within a span carries its context (W3C `traceparent`) in the task's meta; the run is a
span of kind consumer, whose parent that is. Names of attributes follow OpenTelemetry's conventions for
messaging.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.propagate import extract, inject
from opentelemetry.trace import SpanKind, Status, StatusCode

from taskqueuex.app.context import Context
from taskqueuex.app.control import Release
from taskqueuex.app.middleware import Middleware

__all__ = ["Tracing"]


class Tracing(Middleware):
    """`provider`: where spans go; OpenTelemetry's global one by default."""

    def __init__(self, provider: trace.TracerProvider | None = None) -> None:
        self._tracer = trace.get_tracer("taskqueuex", tracer_provider=provider)

    def on_enqueue(self, fields: dict[str, Any]) -> None:
        """Hands the current span's context on."""
        carrier: dict[str, str] = {}
        inject(carrier)
        if carrier:
            fields["meta"] = {**fields.get("meta", {}), **carrier}

    @contextmanager
    def run(self, context: Context) -> Iterator[None]:
        """The span of one attempt."""
        with self._tracer.start_as_current_span(
            f"process {context.name}",
            context=extract(context.meta),
            kind=SpanKind.CONSUMER,
            attributes={
                "messaging.system": "taskqueuex",
                "messaging.operation.type": "process",
                "messaging.destination.name": context.queue,
                "messaging.message.id": context.id,
                "taskqueuex.attempt": context.attempt,
            },
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except Release:
                raise
            except BaseException as error:
                span.record_exception(error)
                span.set_status(Status(StatusCode.ERROR, str(error)))
                raise
