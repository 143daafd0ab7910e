"""The machine's clock, as the server takes it."""

import time

from taskqueuex.clock import SystemClock

DAY_NS = 86_400_000_000_000


class Machine:
    """Its two clocks."""

    def __init__(self, monkeypatch) -> None:
        self.wall_ns, self.monotonic_ns = 20_000 * DAY_NS, 7
        monkeypatch.setattr(time, "time_ns", lambda: self.wall_ns)
        monkeypatch.setattr(time, "monotonic_ns", lambda: self.monotonic_ns)

    def go_on(self, ms: int) -> None:
        self.wall_ns += ms * 1_000_000
        self.monotonic_ns += ms * 1_000_000


def test_time_goes_on_when_the_clock_is_put_back(monkeypatch):
    machine = Machine(monkeypatch)
    clock = SystemClock()
    before = clock.now_ms()
    machine.wall_ns -= DAY_NS
    assert clock.now_ms() == before
    machine.go_on(250)
    assert clock.now_ms() == before + 250
    assert SystemClock().now_ms() == before + 250 - DAY_NS // 1_000_000, "a restart takes the machine's time"


def test_time_follows_the_clock_when_that_is_put_forward(monkeypatch):
    machine = Machine(monkeypatch)
    clock = SystemClock()
    before = clock.now_ms()
    machine.wall_ns += DAY_NS
    machine.go_on(1)
    assert clock.now_ms() == before + DAY_NS // 1_000_000 + 1
    machine.wall_ns -= DAY_NS
    machine.go_on(1)
    assert clock.now_ms() == before + DAY_NS // 1_000_000 + 2
