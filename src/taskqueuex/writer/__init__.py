"""The turn between the network and the engine: inbox, apply, commit, release; reads; recovery.

May import engine, storage, commands, model, errors, clock and telemetry. Owns the threads that
read and sync; everything else runs on the loop.
"""

from taskqueuex.writer.events import EventConfig
from taskqueuex.writer.idempotency import IdempotencyKeys
from taskqueuex.writer.metrics import WriterMetrics
from taskqueuex.writer.recovery import open_engine
from taskqueuex.writer.stores import Tiers
from taskqueuex.writer.writer import Writer, WriterConfig

__all__ = [
    "EventConfig",
    "IdempotencyKeys",
    "Tiers",
    "Writer",
    "WriterConfig",
    "WriterMetrics",
    "open_engine",
]
