"""What an app does around all its tasks."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from taskqueuex.app.context import Context

__all__ = ["Middleware"]


class Middleware:
    """Override what you need. The hooks of a run are called where the task runs, in its thread or process.

    `run` is around all three: override it instead for what needs a `with` block, such as a span. The
    body of a coroutine runs within it, so it must not wait for anything itself.
    """

    def on_enqueue(self, fields: dict[str, Any]) -> None:
        """A task is about to be enqueued; `fields` are those of the API, and may be changed."""

    def before(self, context: Context) -> None:
        """A task is about to start. What this raises fails the attempt."""

    def after(self, context: Context) -> None:
        """The task returned."""

    def on_error(self, context: Context, error: BaseException) -> None:
        """The task raised; Retry, Reject and Release among it."""

    @contextmanager
    def run(self, context: Context) -> Iterator[None]:
        """Around the run of a task."""
        self.before(context)
        try:
            yield
        except BaseException as error:
            self.on_error(context, error)
            raise
        self.after(context)
