"""The queue manager: a synchronous, single-writer state machine without I/O, clock or randomness.

May import commands, model, errors and telemetry. Touches nothing but its own memory and the batch
it is handed; what it wants to know of storage it asks for as data (model/reads.py).
"""

from taskqueuex.engine.engine import WAITS, Engine
from taskqueuex.engine.need import Need
from taskqueuex.engine.partition import LEVEL_DURABLE, LEVEL_MEMORY, LEVEL_RELAXED

__all__ = ["LEVEL_DURABLE", "LEVEL_MEMORY", "LEVEL_RELAXED", "WAITS", "Engine", "Need"]
