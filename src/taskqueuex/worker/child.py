"""A child process of a worker: runs one task after the other, for those that want a process of their own.

    python -m taskqueuex.worker.child FD

It may crash, be killed when a task's time is over, or be replaced: its worker tells the server. It ends
with its worker, at once.
"""

import asyncio
import os
import queue
import socket
import sys
import threading
import traceback
from typing import Any

from taskqueuex.app import App, Context
from taskqueuex.app.attempt import Item, run_here, unknown_task
from taskqueuex.client import TLS
from taskqueuex.commands.consume import AckItem, FailItem, LeasedTask
from taskqueuex.worker.frames import (
    Configure,
    Done,
    Extend,
    FrameReader,
    Progress,
    Ready,
    Run,
    ToChild,
    frame,
)
from taskqueuex.worker.liveness import die_with_parent
from taskqueuex.worker.load import load_app
from taskqueuex.worker.logs import configure_logs
from taskqueuex.worker.spawn import leave_signals_to_worker

__all__ = ["main"]


class _Pipe:
    """The way to the worker; also the reporter of the contexts here."""

    def __init__(self, connection: socket.socket, app: App) -> None:
        self._connection = connection
        self._app = app
        self._lock = threading.Lock()

    def send(self, message: Any) -> None:
        with self._lock:
            self._connection.sendall(frame(message))

    def on_progress(self, context: Context, progress: Any) -> None:
        self.send(Progress(context.lease, self._app.progress_of(context, progress)))

    def on_heartbeat(self, context: Context, extend_ms: int | None) -> None:
        self.send(Extend(context.lease, extend_ms))


def main(descriptor: int) -> int:
    """Runs tasks until the worker says that there are no more."""
    leave_signals_to_worker()
    connection = socket.socket(fileno=descriptor)
    messages: queue.SimpleQueue[ToChild | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(connection, messages), daemon=True).start()
    first = messages.get()
    if not isinstance(first, Configure):
        return 1
    die_with_parent(first.parent)
    configure_logs(first.log_level, first.log_format)
    sys.path[:] = first.path
    app = load_app(first.app)
    app.use_servers(first.servers)
    app.use_credentials(first.token, None if first.tls is None else TLS(**first.tls))
    pipe = _Pipe(connection, app)
    with asyncio.Runner() as runner:
        lifespan = app.lifespan()
        runner.run(lifespan.open())
        try:
            pipe.send(Ready())
            while isinstance(message := messages.get(), Run):
                pipe.send(_done(_run(app, message.task, pipe, runner)))
        finally:
            runner.run(lifespan.close())
    return 0


def _read(connection: socket.socket, messages: "queue.SimpleQueue[ToChild | None]") -> None:
    reader: FrameReader[ToChild] = FrameReader(ToChild)
    for message in reader.read(connection):
        messages.put(message)
    messages.put(None)


def _run(app: App, leased: LeasedTask, pipe: _Pipe, runner: asyncio.Runner) -> Item:
    context = Context(leased, pipe)
    task = app.tasks.get(leased.name)
    return unknown_task(app, context) if task is None else run_here(app, task, context, runner)


def _done(item: Item) -> Done:
    if isinstance(item, AckItem):
        return Done(ack=item)
    return Done(fail=item) if isinstance(item, FailItem) else Done(release=item)


if __name__ == "__main__":
    try:
        code = main(int(sys.argv[1]))
    except (KeyboardInterrupt, ConnectionError):
        code = 1
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stderr.flush()
    os._exit(code)  # threads of the user's must not keep a child from ending
