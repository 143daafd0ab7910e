"""A server for tests: the real one, over real HTTP, with its store in memory and a clock to turn."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from taskqueuex.app import App
from taskqueuex.clock import SystemClock
from taskqueuex.network.config import NetworkConfig
from taskqueuex.node.config import NodeConfig, StorageConfig
from taskqueuex.node.embedded import EmbeddedNode
from taskqueuex.storage.directory import MEMORY

__all__ = ["MemoryServer", "ServerClock"]


class ServerClock(SystemClock):
    """Goes as the machine's clock does, and can be put forward.

    What the server does in time (delays, retries, schedules, expiries) then happens at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self._added_us = 0
        self._node: EmbeddedNode | None = None

    def advance(self, seconds: float) -> None:
        """Puts the clock forward, and returns when the server has done what is due by then.

        Leases that would have ended by then end, too. Raises ValueError for a negative number.
        """
        if seconds < 0:
            raise ValueError(f"seconds: the clock goes forward only, not by {seconds}")
        self._added_us += round(seconds * 1_000_000)
        if self._node is not None:
            self._node.catch_up()

    def now_ms(self) -> int:
        return super().now_ms() + self._added_us // 1_000

    def monotonic_us(self) -> int:
        return super().monotonic_us() + self._added_us

    def _drives(self, node: EmbeddedNode) -> None:
        self._node = node


class MemoryServer:
    """Serves on a free port of 127.0.0.1 until it is closed. `url` is where, `clock` is its time."""

    def __init__(self) -> None:
        self.clock = ServerClock()
        config = NodeConfig(
            network=NetworkConfig(listen=("127.0.0.1:0",)), storage=StorageConfig(data=MEMORY)
        )
        self._node = EmbeddedNode(config, self.clock)
        self.clock._drives(self._node)
        self.url = self._node.url
        self._attached: list[tuple[App, str | Sequence[str] | None]] = []

    def attach(self, app: App) -> App:
        """Makes an app use this server until it is closed; its own servers are its own again then."""
        self._attached.append((app, app.use_servers(self.url)))
        return app

    def close(self) -> None:
        """Ends it, and all that it kept."""
        for app, servers in reversed(self._attached):
            app.use_servers(servers)
        self._attached.clear()
        self._node.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
