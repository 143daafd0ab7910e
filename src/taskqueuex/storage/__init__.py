"""Where records rest: the Storage protocol, its backends, and finding tasks in them.

May import model and errors. The only room that knows files and bytes on disk; it knows nothing
of the engine.
"""

from taskqueuex.storage.memory import memory_storage
from taskqueuex.storage.protocol import Storage, StorageError
from taskqueuex.storage.rocks import PRESETS, StoreStalled, open_rocks

__all__ = ["PRESETS", "Storage", "StorageError", "StoreStalled", "memory_storage", "open_rocks"]
