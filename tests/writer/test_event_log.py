"""The log of events on its own: ids, bounds, what is no longer kept."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from taskqueuex.commands.call import Call
from taskqueuex.commands.events import EventsQuery
from taskqueuex.commands.principal import ANYONE
from taskqueuex.commands.table import command
from taskqueuex.errors import Overloaded
from taskqueuex.model.states import READY
from taskqueuex.storage import memory_storage
from taskqueuex.writer import events as module
from taskqueuex.writer.events import EventConfig, EventLog


class Channel:
    """Takes all, and says that it has not sent `behind` bytes."""

    def __init__(self) -> None:
        self.text = ""
        self.behind = 0
        self.ended = False

    def send(self, data: bytes) -> None:
        assert not self.ended
        self.text += data.decode()

    def unsent(self) -> int:
        return self.behind

    def end(self) -> None:
        self.ended = True

    @property
    def ids(self) -> list[str]:
        """Of events; not of places."""
        blocks = [block.split("\n") for block in self.text.split("\n\n")]
        return [block[0].removeprefix("id: ") for block in blocks if len(block) == 3]


class Log:
    """A log, its store, and turns by hand."""

    def __init__(self, storage: Any = None, **config: Any) -> None:
        self.storage = storage or memory_storage()
        self.pool = ThreadPoolExecutor(1)
        self.now_ms = 1_000
        loop = asyncio.get_running_loop()
        self.log = EventLog(self.storage, loop, self.pool, EventConfig(**config))

    def turn(self, count: int = 1, *, passing: int = 0, fails: bool = False, publish: bool = True) -> Any:
        """A turn with events; returns what is to be published."""
        record = (READY, b"\1" * 16, "q", 0, "n", "")
        core = SimpleNamespace(events=([record] * count, [record] * passing), now_ms=self.now_ms)
        batch = self.storage.new_batch()
        turn = self.log.keep(SimpleNamespace(core=core), batch)
        assert core.events == ([], [])
        self.storage.write(batch)
        if publish:
            self.log.on_reply(self.log.call, 503 if fails else 200, turn, None)
        return turn

    def cut(self) -> None:
        for _ in range(module.CUT_EVERY_S):
            batch = self.storage.new_batch()
            self.log.cut(batch)
            self.storage.write(batch)

    def follow(self, **query: Any) -> Channel:
        sink = SimpleNamespace()
        call = Call(command("events"), "", None, EventsQuery(**query), sink, 0)
        call.principal = ANYONE
        channel = Channel()
        channel.sink = sink
        self.log.open(call).opened(channel)
        return channel

    async def caught_up(self) -> None:
        while self.log._tasks:
            await asyncio.sleep(0.001)

    def stored(self) -> int:
        return sum(len(events) for _, events in self.storage.scan_events(b"", 1 << 20))


@pytest.fixture
def run():
    def run(test: Any) -> None:
        asyncio.run(asyncio.wait_for(test(), 30))

    return run


def as_numbers(ids: list[str]) -> list[tuple[int, ...]]:
    return [tuple(int(part, 16) for part in each.split("-")) for each in ids]


def test_ids_rise_whatever_the_clock_does_and_over_restarts(run):
    async def test() -> None:
        log = Log()
        first = log.follow()
        for now_ms in (1_000, 1_000, 1_001, 900, 1_002):
            log.now_ms = now_ms
            log.turn(2)
        again = Log(log.storage)
        second = again.follow()
        again.now_ms = 5
        again.turn(1)
        again.turn(1)
        numbers = as_numbers(first.ids + second.ids)
        assert len(numbers) == 12 and numbers == sorted(set(numbers))

    run(test)


def test_a_turn_that_failed_is_not_told(run):
    async def test() -> None:
        log = Log()
        channel = log.follow()
        log.turn(fails=True)
        assert channel.ids == []
        log.turn()
        assert len(channel.ids) == 1

    run(test)


def test_events_of_queues_that_keep_nothing_are_told_and_not_kept(run):
    async def test() -> None:
        log = Log()
        channel = log.follow()
        log.turn(1, passing=2)
        log.turn(0, passing=1)
        assert len(channel.ids) == 4 and log.stored() == 1
        later = log.follow(after=channel.ids[0])
        await log.caught_up()
        assert later.ids == [] and "gap" not in later.text

    run(test)


def test_the_log_is_cut_by_number(run):
    async def test() -> None:
        log = Log(kept_max=30_000)
        for _ in range(60):
            log.now_ms += 1
            log.turn(1_000)
        log.cut()
        assert 30_000 <= log.stored() <= 30_000 + 2 * module.CHUNK
        again = Log(log.storage, kept_max=30_000)
        again.now_ms = log.now_ms
        for _ in range(40):
            again.now_ms += 1
            again.turn(1_000)
        again.cut()
        assert 30_000 <= again.stored() <= 50_000

    run(test)


def test_the_log_is_cut_by_age_and_who_comes_too_late_is_told(run):
    async def test() -> None:
        log = Log(kept_ms=10_000)
        first = log.follow()
        log.turn(3)
        log.now_ms += 8_000
        log.turn(3)
        log.cut()
        assert log.stored() == 6
        log.now_ms += 4_000
        log.turn(3)
        log.cut()
        assert log.stored() == 6
        late, in_time = log.follow(after=first.ids[0]), log.follow(after=first.ids[3])
        await log.caught_up()
        assert "event: gap" in late.text and late.ids == first.ids[3:]
        assert "event: gap" not in in_time.text and in_time.ids == first.ids[4:]

    run(test)


def test_a_log_that_keeps_nothing_tells_what_happens_all_the_same(run):
    async def test() -> None:
        log = Log(kept_max=0)
        channel = log.follow()
        log.turn(2)
        assert len(channel.ids) == 2 and log.stored() == 0
        log.now_ms += 5
        log.turn(1)
        late = log.follow(after=channel.ids[0])
        await log.caught_up()
        assert "event: gap" in late.text and late.ids == []

    run(test)


def test_what_happens_while_the_past_is_read_comes_behind_it_and_once(run, monkeypatch):
    monkeypatch.setattr(module, "PAGE", 2)
    monkeypatch.setattr(module, "PENDING_MAX", 3)

    async def test() -> None:
        log = Log()
        everything = log.follow()
        for _ in range(9):
            log.now_ms += 1
            log.turn(2)
        channel = log.follow(since=0)
        channel.behind = module.UNSENT_PAGE + 1  # the second page has to wait
        for _ in range(20):
            log.now_ms += 1
            log.turn(1)
            await asyncio.sleep(0.002)
        assert len(channel.ids) < len(everything.ids)
        channel.behind = 0
        await log.caught_up()
        log.turn(1)
        assert channel.ids == everything.ids

    run(test)


def test_what_is_kept_and_no_more(run):
    async def test() -> None:
        log = Log()
        log.turn(2)
        channel = log.follow(follow=False, since=0)
        await log.caught_up()
        assert len(channel.ids) == 2 and channel.ended and "event: end" in channel.text

    run(test)


def test_quiet_streams_hear_of_us_and_where_they_are(run):
    async def test() -> None:
        log = Log()
        channel = log.follow(queue="other")
        log.turn(1)
        for _ in range(module.QUIET_S):
            log.log.tick()
        places = [line for line in channel.text.split("\n") if line.startswith("id: ")]
        assert channel.ids == [] and places == ["id: 3e8-0-ffffffff"]
        log.turn(1)
        later = log.follow(after=places[-1].removeprefix("id: "))
        await log.caught_up()
        assert len(later.ids) == 1

    run(test)


def test_there_are_so_many_streams_and_no_more(run, monkeypatch):
    monkeypatch.setattr(module, "STREAMS_MAX", 2)

    async def test() -> None:
        log = Log()
        channels = [log.follow(), log.follow()]
        with pytest.raises(Overloaded):
            log.follow()
        log.log.drop(channels[0].sink)
        log.follow()
        assert log.log.streams == 2

    run(test)


def test_a_store_that_is_closed_ends_who_reads_it(run):
    async def test() -> None:
        log = Log()
        log.turn(1)
        channel = log.follow(since=0)
        log.log.close("the server stops")
        await log.caught_up()
        assert channel.ended and channel.text.count("event: end") == 1
        late = log.follow()
        assert late.ended

    run(test)
