"""Puts the nouns together. Importing a noun registers its commands."""

import importlib

__all__ = ["nouns"]

_NOUNS = (
    "serve",
    "worker",
    "enqueue",
    "queue",
    "task",
    "dead",
    "bulk",
    "workflow",
    "schedule",
    "workers",
    "stats",
    "top",
    "bench",
    "token",
    "audit",
    "events",
    "tls",
    "backup",
    "doctor",
    "openapi",
)


def nouns() -> None:
    """Registers all commands, in the order of the help; once."""
    for name in _NOUNS:
        importlib.import_module(f"taskqueuex.cli.{name}")
