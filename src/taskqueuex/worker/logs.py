"""The logs of a worker: every line that a task causes carries its id."""

import logging
import sys
from typing import Literal

from taskqueuex.app import current_context
from taskqueuex.telemetry import configure

__all__ = ["configure_logs"]


def configure_logs(level: str, format: Literal["text", "json"]) -> None:
    """Sends the logs of this process to standard error."""
    configure(level, format, sys.stderr).addFilter(_add_task)


def _add_task(record: logging.LogRecord) -> bool:
    context = current_context.get()
    if context is not None and not hasattr(record, "task"):
        record.task = context.id
        record.task_name = context.name
        record.attempt = context.attempt
    return True
