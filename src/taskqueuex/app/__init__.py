"""Tasks as functions: declare them, enqueue them, wait for what they return.

May import client and what is below it. It runs nothing: that is the worker's job, which imports this.
"""

from taskqueuex.app.app import App
from taskqueuex.app.context import Context, current_context
from taskqueuex.app.control import (
    ArgumentError,
    Reject,
    Release,
    ResultTimeout,
    Retry,
    TaskCancelled,
    TaskDefinitionError,
    TaskEnded,
    TaskExpired,
    TaskFailed,
)
from taskqueuex.app.encryption import DecryptionError, KeyRing
from taskqueuex.app.handle import Handle
from taskqueuex.app.middleware import Middleware
from taskqueuex.app.options import Backoff, TaskOptions
from taskqueuex.app.resources import injected
from taskqueuex.app.task import Signature, Task
from taskqueuex.app.workflow import Node, Workflow, WorkflowHandle, chain, chord, group

__all__ = [
    "App",
    "ArgumentError",
    "Backoff",
    "Context",
    "DecryptionError",
    "Handle",
    "KeyRing",
    "Middleware",
    "Node",
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
    "TaskOptions",
    "Workflow",
    "WorkflowHandle",
    "chain",
    "chord",
    "current_context",
    "group",
    "injected",
]
