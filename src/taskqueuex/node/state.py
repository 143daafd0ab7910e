"""What the parts of a node share: its collaborators, and how it stands."""

import os
import random

from taskqueuex.access import Access
from taskqueuex.access.overload import Overload
from taskqueuex.clock import Clock
from taskqueuex.network import NetworkMetrics
from taskqueuex.node.config import NodeConfig
from taskqueuex.telemetry import Histogram
from taskqueuex.writer import Tiers, Writer, WriterMetrics

__all__ = ["NodeState"]


class NodeState:
    """Set by the node, read by what answers for it."""

    def __init__(self, config: NodeConfig, clock: Clock) -> None:
        self.config = config
        self.clock = clock
        self.started_at = self.clock.now_ms()
        self.access = Access(
            clock,
            os.urandom,
            # Whoever asks for certificates wants to know who calls, be there tokens or not.
            required=config.auth.required or config.network.tls_client_ca is not None,
        )
        self.network_metrics = NetworkMetrics()
        self.writer_metrics = WriterMetrics()
        self.lag_us = Histogram()
        self.overload = Overload(config.overload, random.random)
        self.draining = False
        self.writer: Writer | None = None  # None while storage is being reopened
        self.tiers: Tiers | None = None
