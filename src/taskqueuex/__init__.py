"""TaskQueueX: a durable task queue server for work that cannot wait, and what programs use it with.

This package is a set of rooms with one-way doors; ARCHITECTURE.md at the root of the repository draws
them. Importing the package itself imports none of them: the names below are fetched when they are first
used, so that a server does not load the SDK, nor a client the server. `__init__.pyi` has their types.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "taskqueuex.app": (
        "App",
        "ArgumentError",
        "Backoff",
        "Context",
        "DecryptionError",
        "Handle",
        "KeyRing",
        "Middleware",
        "Reject",
        "Release",
        "ResultTimeout",
        "Retry",
        "Signature",
        "Task",
        "TaskCancelled",
        "TaskDefinitionError",
        "TaskEnded",
        "TaskExpired",
        "TaskFailed",
        "Workflow",
        "WorkflowHandle",
        "chain",
        "chord",
        "current_context",
        "group",
        "injected",
    ),
    "taskqueuex.client": ("TLS", "AsyncClient", "Client", "RetryPolicy"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["__version__", *_HOME_OF]  # noqa: PLE0604  # they are strings, found by the comprehension


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(home), name)
    return value
