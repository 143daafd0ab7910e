"""The client of the HTTP API, for threads and for asyncio.

`exchange.py` is the core: it decides what is sent, to whom, until when, and whether again; `wire.py` reads
answers. Both do no I/O. `Client` and `AsyncClient` are shells over them. May import commands, model, errors,
clock and telemetry.
"""

from taskqueuex.client.async_buffered import AsyncBufferedProducer
from taskqueuex.client.async_client import AsyncClient
from taskqueuex.client.buffered import BufferedProducer
from taskqueuex.client.credentials import Credentials
from taskqueuex.client.failures import read_item
from taskqueuex.client.request import Request
from taskqueuex.client.retry import RetryPolicy
from taskqueuex.client.sync_client import DEFAULT_SERVER, Client
from taskqueuex.client.tls import TLS

__all__ = [
    "DEFAULT_SERVER",
    "TLS",
    "AsyncBufferedProducer",
    "AsyncClient",
    "BufferedProducer",
    "Client",
    "Credentials",
    "Request",
    "RetryPolicy",
    "read_item",
]
