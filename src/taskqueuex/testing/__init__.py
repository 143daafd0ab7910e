"""What ships for tests: a server in memory with a clock to turn, and what may be asserted of its tasks.

And for our own tests: a simulator of the writer, storage that fails on demand. May import every room but
cli.
"""

from taskqueuex.testing.asserts import assert_enqueued, assert_not_enqueued, enqueued
from taskqueuex.testing.clock import FakeClock
from taskqueuex.testing.faults import EIO, ENOSPC, FaultyRows, faulty_storage
from taskqueuex.testing.server import MemoryServer, ServerClock
from taskqueuex.testing.simulator import SimulatedCall, Simulator

__all__ = [
    "EIO",
    "ENOSPC",
    "FakeClock",
    "FaultyRows",
    "MemoryServer",
    "ServerClock",
    "SimulatedCall",
    "Simulator",
    "assert_enqueued",
    "assert_not_enqueued",
    "enqueued",
    "faulty_storage",
]
