import asyncio
import time

import pytest
import uvloop

from taskqueuex.telemetry import Histogram, LoopLag


class SignallingHistogram(Histogram):
    """Sets an event at each record, so that a test can wait for a measurement instead of sleeping."""

    def __init__(self) -> None:
        super().__init__()
        self.recorded = asyncio.Event()

    def record(self, value_us: int) -> None:
        super().record(value_us)
        self.recorded.set()


async def measure_with_a_blocked_loop(blocked_s: float) -> LoopLag:
    histogram = SignallingHistogram()
    probe = LoopLag(asyncio.get_running_loop(), interval_s=0.001, histogram=histogram)
    probe.start()
    until = time.monotonic() + blocked_s
    while time.monotonic() < until:  # what a command that is too large does to everyone
        pass
    async with asyncio.timeout(10):
        await histogram.recorded.wait()
    probe.stop()
    return probe


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_blocked_loop_shows_as_lag(new_loop: object) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:  # type: ignore[arg-type]
        probe = runner.run(measure_with_a_blocked_loop(0.05))
    assert probe.latest_us >= 40_000
    assert probe.histogram.percentile(1.0) >= 40_000


def test_a_stopped_probe_measures_no_more() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        probe = LoopLag(loop, interval_s=0.0)
        probe.start()
        probe.start()
        probe.stop()
        turned = asyncio.Event()
        loop.call_later(0.005, turned.set)
        await turned.wait()
        assert probe.histogram.count == 0

    asyncio.run(scenario())
