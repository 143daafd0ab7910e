"""The network: TCP, sessions, HTTP/1.1, and the way from bytes to a `Call` and back.

Job: read requests, refuse what is malformed or too large, decode and check the rest against the
command table, hand each `Call` to whoever answers its kind, and write the answers in order.
It decides nothing about tasks or queues. May import commands, model, errors, clock, telemetry;
touches sockets and nothing else.
"""

from taskqueuex.network.config import NetworkConfig
from taskqueuex.network.metrics import NetworkMetrics
from taskqueuex.network.routes import Router
from taskqueuex.network.server import Server
from taskqueuex.network.tls import TlsError

__all__ = ["NetworkConfig", "NetworkMetrics", "Router", "Server", "TlsError"]
