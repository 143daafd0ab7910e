"""What the network counts: plain integers with one writer, the event loop."""

from typing import Final

from taskqueuex.commands import COMMANDS
from taskqueuex.telemetry.histogram import Histogram

__all__ = ["NetworkMetrics"]

# Their time is what their client wanted it to be.
_WAIT: Final = frozenset({"dequeue", "dequeue_queue", "settle", "get_task"})


class NetworkMetrics:
    """The counters of one server."""

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "connections",
        "connections_evicted_total",
        "connections_refused_total",
        "connections_total",
        "deadlines_total",
        "handshakes_failed_total",
        "requests",
        "times",
    )

    def __init__(self) -> None:
        self.connections = 0  # open now
        self.connections_total = 0  # accepted since the start
        self.connections_refused_total = 0  # for lack of room
        self.connections_evicted_total = 0  # idle ones, closed to make room for others
        self.deadlines_total = 0  # requests and answers that took a client too long
        self.handshakes_failed_total = 0  # of TLS and of the PROXY protocol
        self.bytes_in = 0
        self.bytes_out = 0
        # By command (or `page`, `unrouted`): answers per class of status; index 2 counts the 2xx, and so on.
        self.requests: dict[str, list[int]] = {name: [0] * 6 for name in (*COMMANDS, "page", "unrouted")}
        # The same, microseconds from the complete head to the answer.
        self.times: dict[str, Histogram] = {name: Histogram() for name in self.requests}

    @property
    def requests_total(self) -> int:
        """All answers given."""
        return sum(sum(classes) for classes in self.requests.values())

    @property
    def request_time(self) -> Histogram:
        """That of all commands together, as it is now."""
        return self._merged(frozenset())

    @property
    def prompt_time(self) -> Histogram:
        """The same without those that may wait for something to happen, as polls do."""
        return self._merged(_WAIT)

    def _merged(self, without: frozenset[str]) -> Histogram:
        merged = Histogram()
        for name, classes in self.requests.items():
            if any(classes) and name not in without:
                merged.merge(self.times[name])
        return merged
