"""Fakes that ship: a simulator of the writer, storage that fails on demand, a clock to turn by hand.

For our tests and for those of users. May import every room but node and cli.
"""

from taskqueuex.testing.clock import FakeClock
from taskqueuex.testing.faults import EIO, ENOSPC, FaultyRows, faulty_storage
from taskqueuex.testing.simulator import SimulatedCall, Simulator

__all__ = ["EIO", "ENOSPC", "FakeClock", "FaultyRows", "SimulatedCall", "Simulator", "faulty_storage"]
