"""A node within another program: its own thread and event loop, reached through a Unix socket.

It is the server that `tqx serve` runs, with the same store and promises; it lives as long as the program
or until `stop`. The socket lies in the data directory, for this user alone, so that child processes and
`tqx --server unix:DIR/tqx.sock` reach it too.
"""

import asyncio
import atexit
import threading
from pathlib import Path

import uvloop

from taskqueuex.clock import Clock
from taskqueuex.network.config import UNIX, NetworkConfig
from taskqueuex.node.config import NodeConfig, StorageConfig
from taskqueuex.node.node import Node

__all__ = ["EmbeddedNode", "start"]

SOCKET_NAME = "tqx.sock"
STOP_S = 30.0
CATCH_UP_S = 5.0


class EmbeddedNode:
    """Runs a node until `stop`. Raises what a node's start raises: StorageError, OSError."""

    def __init__(self, config: NodeConfig, clock: Clock | None = None) -> None:
        self._node = Node(config, clock)
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="taskqueuex-node", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            raise self._failure
        self.url = self._node.server.urls[0]
        atexit.register(self.stop)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            self._loop = runner.get_loop()
            runner.run(self._serve())

    async def _serve(self) -> None:
        try:
            await self._node.start()
        except BaseException as error:
            self._failure = error
            return
        finally:
            self._started.set()
        await self._node.stopping()
        await self._node.stop()

    def catch_up(self) -> None:
        """Makes the node look at its clock, when that was turned by hand, and do all that is due."""
        if self._loop is not None and self._thread.is_alive():
            done = asyncio.run_coroutine_threadsafe(self._node.caught_up(CATCH_UP_S), self._loop)
            done.result(STOP_S)

    def stop(self) -> None:
        """Stops it in good order, and waits for that."""
        atexit.unregister(self.stop)
        if self._thread.is_alive() and self._loop is not None:
            self._loop.call_soon_threadsafe(self._node.request_stop)
            self._thread.join(STOP_S)


def start(directory: str) -> EmbeddedNode:
    """A node over a data directory, which is made where there is none."""
    path = Path(directory)
    path.mkdir(parents=True, exist_ok=True)
    listen = f"{UNIX}{(path / SOCKET_NAME).absolute()}"
    return EmbeddedNode(
        NodeConfig(network=NetworkConfig(listen=(listen,)), storage=StorageConfig(data=directory))
    )
