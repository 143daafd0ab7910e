"""A collector of OpenTelemetry within a test: takes OTLP over HTTP, and decodes it."""

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

__all__ = ["Receiver", "attributes"]

TIMEOUT_S = 60
KINDS = {"/v1/metrics": ExportMetricsServiceRequest, "/v1/traces": ExportTraceServiceRequest}


def attributes(pairs: Any) -> dict[str, Any]:
    """Those of a point, a span or a resource."""
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


class Receiver:
    """Keeps what it was sent; answers with `status`, and not before `gate` is set."""

    def __init__(self) -> None:
        self.status = 200
        self.gate = threading.Event()
        self.gate.set()
        self.heard: list[tuple[str, dict[str, str]]] = []  # of each request, path and headers
        self.requests: dict[str, list[Any]] = {path: [] for path in KINDS}
        self._news = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers["Content-Encoding"] == "gzip":
                    body = gzip.decompress(body)
                receiver.gate.wait(TIMEOUT_S)
                receiver.take(self.path, dict(self.headers.items()), body)
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        message = KINDS[path]()
        message.ParseFromString(body)
        with self._news:
            self.heard.append((path, headers))
            if self.status == 200:
                self.requests[path].append(message)
            self._news.notify_all()

    def wait(self, what: Any) -> Any:
        """Returns what a function of this returns, once that is true; looks whenever something came."""
        with self._news:
            found = self._news.wait_for(lambda: what(self), TIMEOUT_S)
        assert found, "it did not come"
        return found

    def spans(self) -> list[Any]:
        """All spans so far."""
        return [
            span
            for request in self.requests["/v1/traces"]
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def close(self) -> None:
        self.gate.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
