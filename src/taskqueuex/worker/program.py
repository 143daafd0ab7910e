"""The program: a worker from the command line to its exit code."""

import asyncio
import gc
import os
import sys
from typing import Literal

import uvloop

from taskqueuex.client import Credentials
from taskqueuex.worker.config import WorkerConfig
from taskqueuex.worker.load import load_app
from taskqueuex.worker.logs import configure_logs
from taskqueuex.worker.worker import Worker

__all__ = ["run"]


def run(
    app_path: str,
    config: WorkerConfig,
    servers: list[str] | None = None,
    credentials: Credentials | None = None,
    log_level: str = "info",
    log_format: Literal["text", "json"] = "text",
) -> None:
    """Runs the worker of `module:app` until it is told to stop.

    `servers` and `credentials` are the app's where they are not given. Modules are looked for from the
    working directory on, as `python -m` does. Raises AppNotFound, TaskDefinitionError, ValueError, and what
    the app's module and startup raise.
    """
    configure_logs(log_level, log_format)
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    app = load_app(app_path)
    if servers:
        app.use_servers(servers)
    if credentials is not None:
        app.use_credentials(credentials.token, credentials.tls)

    async def main() -> None:
        worker = Worker(app, config, app_path, log_level, log_format)
        worker.handle_signals()
        await worker.run()

    gc.collect()
    gc.freeze()  # what was imported stays: no collection needs to look at it
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())
    finally:
        app.close()
    sys.stderr.flush()
