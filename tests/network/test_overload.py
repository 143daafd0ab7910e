"""More than can be done: who is taken, who waits, who is sent away, and who never is."""

import asyncio
import socket
import threading
from typing import Any

import pytest
from wires import request_bytes

from taskqueuex.access.overload import (
    BATCH,
    DEQUEUE,
    ENQUEUE,
    LISTING,
    NEVER,
    RANKS,
    Overload,
    OverloadConfig,
    rank_of,
)
from taskqueuex.clock import SystemClock
from taskqueuex.commands import COMMANDS
from taskqueuex.network import NetworkConfig
from taskqueuex.network.hub import Hub
from taskqueuex.network.metrics import NetworkMetrics
from taskqueuex.network.routes import Router

ENQUEUE_PATH = "/v1/queues/q/tasks"
ID = "01890a5d-ac96-774b-bcce-b302099a8057"
LIMIT_MAX = Overload(OverloadConfig(), lambda: 0.5).limit


class Turns:
    """A clock and the turns of a writer."""

    def __init__(self) -> None:
        self.overload = Overload(OverloadConfig(), lambda: 0.5)
        self.now_us = 1_000_000

    def run(self, count: int, longest_us: int, *, taken: int = 100, length_us: int = 10_000) -> None:
        for _ in range(count):
            self.now_us += length_us
            self.overload.on_turn(self.now_us, longest_us, taken)


@pytest.fixture
def turns():
    return Turns()


# -- when it is overloaded ------------------------------------------------------------------------


def test_waits_below_the_target_are_no_overload(turns):
    turns.run(1_000, 4_999)
    assert not turns.overload.active
    assert turns.overload.intervals_total == 0


def test_waits_above_the_target_for_an_interval_are(turns):
    turns.run(30, 8_000)
    assert turns.overload.active
    assert 32 <= turns.overload.limit < 100


def test_one_short_wait_within_each_interval_says_that_the_queue_drains(turns):
    for _ in range(100):
        turns.run(9, 50_000)
        turns.run(1, 1_000)
    assert not turns.overload.active


def test_a_single_pause_is_no_overload(turns):
    turns.run(100, 1_000)
    turns.run(1, 900_000, length_us=1_000_000)
    turns.run(100, 1_000)
    assert turns.overload.intervals_total == 0


def test_rare_turns_of_long_calls_are_no_overload(turns):
    turns.run(100, 8_000, taken=1, length_us=500_000)
    assert turns.overload.intervals_total == 0


def test_the_bound_falls_while_it_lasts_and_never_to_nothing(turns):
    turns.run(1_000, 100_000)
    assert turns.overload.limit == 32


def test_the_bound_is_lifted_within_a_second_after_it_has_ended(turns):
    turns.run(1_000, 100_000)
    turns.run(100, 500, taken=5)
    assert not turns.overload.active
    assert turns.overload.limit == LIMIT_MAX


def test_without_turns_it_is_lifted_as_well(turns):
    turns.run(1_000, 100_000)
    turns.overload.on_second(turns.now_us + 1_000_000)
    assert not turns.overload.active


def test_the_bound_settles_where_waits_are_at_the_target(turns):
    """A turn takes 20 us a call here: 250 calls are 5 ms."""
    turns.run(100, 40_000, taken=2_000)
    for _ in range(2_000):
        taken = int(min(2_000, turns.overload.limit))
        turns.run(1, 20 * taken, taken=taken, length_us=20 * taken + 500)
    assert 125 <= turns.overload.limit <= 500


# -- who is taken ----------------------------------------------------------------------------------


def test_every_command_has_its_rank():
    ranks = {name: rank_of(command) for name, command in COMMANDS.items()}
    for name in ("ack", "fail", "release", "heartbeat", "settle", "healthz", "readyz", "stats", "metrics"):
        assert ranks[name] == NEVER, name
    assert all(ranks[name] == NEVER for name, each in COMMANDS.items() if each.scope in ("admin", "public"))
    assert {name for name, rank in ranks.items() if rank == DEQUEUE} == {"dequeue", "dequeue_queue"}
    assert {name for name, rank in ranks.items() if rank == ENQUEUE} == {"enqueue"}
    assert {name for name, rank in ranks.items() if rank == BATCH} == {"enqueue_batch", "create_workflow"}
    assert {"list_tasks", "get_task", "bulk"} <= {name for name, rank in ranks.items() if rank == LISTING}


def test_what_can_wait_is_put_off_first(turns):
    overload = turns.overload
    overload.limit = 100
    first_refused = []
    for rank in range(NEVER):
        overload.admitted = 0
        while overload.admits(rank):
            pass
        first_refused.append(overload.admitted)
    assert first_refused == sorted(set(first_refused)), "each rank is taken for longer than the one before"
    assert first_refused[-1] == 100
    assert len(RANKS) == NEVER


@pytest.mark.parametrize("level", [1, 2])
def test_with_memory_nearly_full_only_what_frees_it_is_taken(turns, level):
    turns.overload.set_memory(level)
    assert [turns.overload.refuses(rank) for rank in range(NEVER)] == [True] * DEQUEUE + [False]
    assert turns.overload.takes_connections is (level < 2)
    turns.overload.set_memory(0)
    assert not turns.overload.active


def test_a_store_that_takes_no_writes_is_waited_for_and_after_a_second_takes_no_tasks(turns):
    turns.overload.on_stall(turns.now_us)
    turns.overload.on_stall(turns.now_us + 900_000)
    assert not turns.overload.admits(ENQUEUE)
    assert not turns.overload.refuses(ENQUEUE)
    turns.overload.on_stall(turns.now_us + 1_100_000)
    assert turns.overload.refuses(ENQUEUE)
    assert not turns.overload.refuses(DEQUEUE)
    turns.overload.on_written()
    assert not turns.overload.active


def test_a_store_that_failed_while_it_took_no_writes_is_not_waited_for(turns):
    turns.overload.on_stall(turns.now_us)
    turns.overload.on_second(turns.now_us + 500_000)
    assert turns.overload.active
    turns.overload.on_second(turns.now_us + 1_000_001)
    assert not turns.overload.active


def test_a_poll_may_wait_unless_others_wait_for_their_turn(turns):
    """Slow turns of a few clients on a slow machine are no reason to send them away."""
    turns.run(1_000, 100_000, taken=5)
    assert turns.overload.active
    assert not turns.overload.sheds_polls
    turns.overload.waiting = 1
    assert turns.overload.sheds_polls
    turns.overload.waiting = 0
    turns.overload.set_memory(1)
    assert turns.overload.sheds_polls


def test_the_more_wait_the_longer_they_do(turns):
    turns.overload.waiting = 100
    assert turns.overload.patience_s() == pytest.approx(0.5)
    turns.overload.waiting = 2_000
    assert turns.overload.patience_s() == pytest.approx(1.0)
    turns.overload.waiting = 100_000
    assert turns.overload.patience_s() == 2.0


# -- over real sockets ---------------------------------------------------------------------------------


@pytest.fixture
def full(running, monkeypatch):
    """A server that takes no more in this turn, and whose turns do not come by themselves."""
    monkeypatch.setattr(Overload, "on_sweep", lambda self: None)

    def fill() -> None:
        overload = running.server._hub.overload
        overload.limit, overload.active, overload.admitted = 1.0, True, 1

    running.app.on_loop(fill)
    return running


def turn(running):
    """What the end of a turn does: lets in one that waits."""

    def run() -> None:
        overload = running.server._hub.overload
        overload.admitted = 1
        assert overload.on_room is not None
        overload.on_room(1)

    running.app.on_loop(run)


def waiting(running):
    return running.app.on_loop(lambda: running.server._hub.overload.waiting)


def patient(running):
    """Nobody is sent away by time."""
    running.app.on_loop(lambda: setattr(running.server._hub.overload, "waiting", 0))
    running.server._hub.overload._random = lambda: 1e6


def test_who_is_not_taken_is_sent_away_in_a_while(full):
    wire = full.connect()
    reply = wire.request("POST", ENQUEUE_PATH, {"payload": 1})
    assert (reply.status, reply.json["code"], reply.json["outcome"]) == (503, "overloaded", "not_applied")
    assert 1 <= int(reply.headers["retry-after"]) <= 3
    assert full.app.calls.empty()
    assert full.server._hub.overload.shed[ENQUEUE] == 1
    assert waiting(full) == 0
    assert wire.request("GET", "/healthz").status == 200, "the connection goes on"


@pytest.mark.parametrize(
    "request_",
    [
        ("POST", f"/v1/tasks/{ID}/ack", {"lease": "x"}),
        ("POST", f"/v1/tasks/{ID}/fail", {"lease": "x", "error": {"type": "E", "message": "m"}}),
        ("POST", f"/v1/tasks/{ID}/heartbeat", {"lease": "x"}),
        ("POST", f"/v1/tasks/{ID}/release", {"lease": "x"}),
        ("POST", "/v1/settle", {"ack": [], "dequeue": {"queues": ["q"]}}),
        ("POST", "/v1/queues/q/pause", None),
        ("GET", "/healthz", None),
        ("GET", "/readyz", None),
        ("GET", "/metrics", None),
    ],
)
def test_what_ends_or_keeps_work_is_always_taken(full, request_):
    assert full.connect().request(*request_).status == 200


def test_there_is_room_in_a_later_turn(full):
    patient(full)
    wire = full.connect()
    wire.send(request_bytes("POST", ENQUEUE_PATH, {"payload": "late"}, Idempotency_Key="k"))
    full.wait_for(lambda: waiting(full) == 1)
    turn(full)
    call = full.app.next_call()
    assert (bytes(call.body.payload), call.key, call.target) == (b'"late"', "k", "q")
    assert wire.receive().status == 200
    assert waiting(full) == 0


@pytest.mark.parametrize(("fast_us", "order"), [(0, ["newer", "older"]), (10**9, ["older", "newer"])])
def test_the_highest_rank_is_first_and_of_it_the_oldest_while_the_line_moves(
    full, monkeypatch, fast_us, order
):
    monkeypatch.setattr("taskqueuex.network.room._FAST_US", fast_us)
    patient(full)
    wires = [full.connect() for _ in range(5)]
    sent = [
        ("GET", "/v1/queues", None),
        ("POST", ENQUEUE_PATH, {"name": "older"}),
        ("POST", "/v1/queues/q/tasks/batch", {"tasks": [{}]}),
        ("POST", ENQUEUE_PATH, {"name": "newer"}),
        ("POST", "/v1/queues/q/dequeue", {}),
    ]
    for number, (wire, each) in enumerate(zip(wires, sent, strict=True)):
        wire.send(request_bytes(*each))
        full.wait_for(lambda: waiting(full) == number + 1)  # noqa: B023  # called in this round
    found = []
    for _ in sent:
        turn(full)
        call = full.app.next_call()
        found.append(getattr(call.body, "name", "") or call.command.name)
    assert found == ["dequeue_queue", *order, "enqueue_batch", "list_queues"]


def test_requests_of_one_connection_keep_their_order(full):
    patient(full)
    wire = full.connect()
    wire.send(b"".join(request_bytes("POST", ENQUEUE_PATH, {"priority": number}) for number in range(3)))
    full.wait_for(lambda: waiting(full) == 1)
    turn(full)
    assert [full.app.next_call().body.priority for _ in range(3)] == [0, 1, 2]
    assert [wire.receive().status for _ in range(3)] == [200] * 3


def test_an_ack_behind_a_request_that_waits_ends_its_waiting(full):
    patient(full)
    wire = full.connect()
    wire.send(request_bytes("POST", ENQUEUE_PATH, {}))
    full.wait_for(lambda: waiting(full) == 1)
    wire.send(request_bytes("POST", f"/v1/tasks/{ID}/ack", {"lease": "x"}))
    assert wire.receive().status == 503
    assert wire.receive().status == 200
    assert full.app.next_call().command.name == "ack"


def test_a_large_body_waits_as_others_do_and_counts_for_more(full):
    patient(full)
    wire, other = full.connect(), full.connect()
    wire.send(large(0))
    full.wait_for(lambda: waiting(full) == 1)
    other.send(request_bytes("POST", ENQUEUE_PATH, {}))
    full.wait_for(lambda: waiting(full) == 2)
    assert full.app.on_loop(lambda: full.server._hub.overload.on_room(10)) == 25
    assert full.app.next_call().units == 25
    assert wire.receive().status == 200
    assert waiting(full) == 1


def test_a_large_body_for_which_the_room_has_no_place_is_refused_before_it_is_read(full, monkeypatch):
    monkeypatch.setattr("taskqueuex.network.room._BYTES_MAX", 250_000)
    patient(full)
    first = full.connect()
    first.send(large(0))
    full.wait_for(lambda: waiting(full) == 1)
    wire = full.connect()
    wire.send(f"POST {ENQUEUE_PATH} HTTP/1.1\r\nHost: t\r\nContent-Length: 200000\r\n\r\n".encode())
    reply = wire.receive()
    assert (reply.status, reply.headers["connection"]) == (503, "close")
    assert wire.is_closed()
    first.close()
    full.wait_for(lambda: waiting(full) == 0)
    assert full.app.on_loop(lambda: full.server._hub.room.holds(250_000)), "what has left takes no place"


def test_leave_for_a_body_that_is_not_wanted_is_refused_before_it_is_sent(running):
    running.app.on_loop(lambda: running.server._hub.overload.set_memory(1))
    wire = running.connect()
    wire.send(request_bytes("POST", ENQUEUE_PATH, Expect="100-continue", Content_Length="2"))
    assert wire.receive().status == 503


def test_who_has_gone_is_not_taken(full):
    patient(full)
    wire = full.connect()
    wire.send(request_bytes("POST", ENQUEUE_PATH, {}))
    full.wait_for(lambda: waiting(full) == 1)
    wire.close()
    full.wait_for(lambda: waiting(full) == 0)
    turn(full)
    assert full.app.calls.empty()


def test_a_client_that_waits_for_tasks_and_sends_no_more_gets_none_and_leaves_nothing(full):
    patient(full)
    wire = full.connect()
    wire.send(request_bytes("POST", "/v1/queues/q/dequeue", {}))
    full.wait_for(lambda: waiting(full) == 1)
    wire.socket.shutdown(socket.SHUT_WR)
    assert wire.is_closed()
    full.wait_for(lambda: waiting(full) == 0 and full.metrics.connections == 0)
    turn(full)
    assert full.app.calls.empty()


def test_a_body_that_is_wrong_is_told_when_its_turn_comes(full):
    patient(full)
    wire = full.connect()
    wire.send(request_bytes("POST", ENQUEUE_PATH, {"prioritty": 1}))
    full.wait_for(lambda: waiting(full) == 1)
    turn(full)
    assert wire.receive().json["code"] == "invalid"
    assert wire.request("GET", "/healthz").status == 200


def test_a_caller_with_little_time_is_sent_away_within_it(full):
    patient(full)
    wire = full.connect()
    reply = wire.request("POST", ENQUEUE_PATH, {}, Request_Timeout_Ms="100")
    assert reply.status == 503


def test_a_connection_that_closes_behind_its_request_closes_behind_it(full):
    patient(full)
    wire = full.connect()
    wire.send(request_bytes("POST", ENQUEUE_PATH, {}, Connection="close"))
    full.wait_for(lambda: waiting(full) == 1)
    turn(full)
    assert wire.receive().headers["connection"] == "close"
    assert wire.is_closed()


def test_no_connection_is_taken_without_memory(running):
    busy = running.connect()
    assert busy.request("GET", "/healthz").status == 200
    running.app.on_loop(lambda: running.server._hub.overload.set_memory(2))
    assert running.connect().receive().status == 503
    assert busy.request("POST", f"/v1/tasks/{ID}/ack", {"lease": "x"}).status == 200
    assert busy.request("POST", ENQUEUE_PATH, {}).status == 503


# -- work that takes long ------------------------------------------------------------------------------


def large(number, size=200_000):
    return request_bytes("POST", ENQUEUE_PATH, {"name": f"n{number}", "payload": "x" * size})


def test_what_comes_in_large_pieces_is_read_turn_by_turn_and_whole(serve, monkeypatch):
    monkeypatch.setattr("taskqueuex.network.hub.READ_US_A_TURN", 1)
    running = serve()
    wires = [running.connect() for _ in range(5)]
    for wire in wires:
        wire.send(large(0) + large(1))
    for wire in wires:
        assert [wire.receive().status for _ in range(2)] == [200, 200]
    calls = [running.app.next_call() for _ in range(10)]
    assert {len(bytes(call.body.payload)) for call in calls} == {200_002}
    by_sink: dict[int, list[str]] = {}
    for call in calls:
        by_sink.setdefault(id(call.sink), []).append(call.body.name)
    assert list(by_sink.values()) == [["n0", "n1"]] * 5, "the requests of a connection keep their order"


def test_a_small_request_does_not_wait_for_large_ones(serve, monkeypatch):
    monkeypatch.setattr("taskqueuex.network.hub.READ_US_A_TURN", -1)  # there is never time
    running = serve()
    for _ in range(3):
        running.connect().send(large(0))
    assert running.connect().request("GET", "/healthz").status == 200
    assert running.app.next_call().command.name == "healthz"
    assert running.app.calls.empty()
    monkeypatch.setattr("taskqueuex.network.hub.READ_US_A_TURN", 2_000)
    assert [running.app.next_call().command.name for _ in range(3)] == ["enqueue"] * 3


def test_whoever_sends_much_is_read_in_turn(running, monkeypatch):
    put_off: list[Any] = []
    monkeypatch.setattr(Hub, "put_off", lambda hub, session: put_off.append(session))
    for number in range(3):
        wire = running.connect()
        threading.Thread(target=wire.send, args=(large(number, 1_000_000),), daemon=True).start()
    metrics = running.server._hub.metrics
    running.wait_for(lambda: len(put_off) == 3)
    assert running.connect().request("GET", "/healthz").status == 200
    assert metrics.bytes_in < 3 * 256_000 + 1_000, "no more than one read of each"
    assert running.app.next_call().command.name == "healthz"

    def go_on() -> bool:
        for session in put_off[:]:
            put_off.remove(session)
            running.app.on_loop(session.read_on)
        return running.app.calls.qsize() == 3

    running.wait_for(go_on)


def test_whoever_asks_in_vain_is_served_after_others(running, monkeypatch):
    put_off: list[Any] = []
    monkeypatch.setattr(Hub, "put_off", lambda hub, session: put_off.append(session))
    vain = running.connect()
    vain.send(request_bytes("GET", "/nothing"))
    assert vain.receive().status == 404
    vain.send(request_bytes("GET", "/nothing"))
    assert running.connect().request("GET", "/healthz").status == 200
    assert len(put_off) == 1
    running.app.on_loop(put_off[0].read_on)
    assert vain.receive().status == 404
    running.wait_for(lambda: len(put_off) == 2)


def test_a_client_that_sends_no_more_has_all_read_that_came(serve, monkeypatch):
    monkeypatch.setattr("taskqueuex.network.hub.READ_US_A_TURN", 1)
    running = serve()
    wire = running.connect()
    wire.send(large(0) + large(1))
    wire.socket.shutdown(socket.SHUT_WR)
    assert [wire.receive().status for _ in range(2)] == [200, 200]
    assert wire.is_closed()


def test_large_bodies_count_for_more(running):
    running.connect().send(large(0))
    assert running.app.next_call().units == 25
    running.connect().send(request_bytes("POST", ENQUEUE_PATH, {}))
    assert running.app.next_call().units == 1


def test_connections_that_send_many_calls_at_once_share_a_turn(turns):
    overload = turns.overload
    overload.share = overload.share_max = 64

    def run(extra, taken):
        overload.extra = extra
        turns.run(1, 1_000, taken=taken)
        return overload.share

    assert run(0, 5_000) == 64, "who sends one at a time takes nothing from those that send more"
    assert run(64, 5_000) == 64
    assert run(20 * 63, 20 * 64) == 3
    assert run(20 * 3, 20 * 3) == 3
    assert run(1_000 * 3, 1_000 * 3) == 1
    assert [run(0, 1_000) for _ in range(7)] == [2, 4, 8, 16, 32, 64, 64]


def test_what_comes_behind_others_of_its_connection_counts_apart(running):
    running.app.holds = True
    one, many = running.connect(), running.connect()
    one.send(request_bytes("POST", ENQUEUE_PATH, {}))
    many.send(request_bytes("POST", ENQUEUE_PATH, {}) * 3 + large(0))
    calls = [running.app.next_call() for _ in range(5)]
    assert running.server._hub.overload.extra == 2 + 25
    for call in calls:
        assert running.app.reply(call)


def test_a_connection_has_few_calls_under_way_while_many_send_many(running):
    running.app.holds = True
    wire = running.connect()

    def press() -> None:
        running.server._hub.overload.share = 4

    running.app.on_loop(press)
    wire.send(request_bytes("POST", ENQUEUE_PATH, {}) * 20)
    calls = [running.app.next_call() for _ in range(4)]
    running.app.on_loop(lambda: None)
    assert running.app.calls.empty()
    for call in calls:
        assert running.app.reply(call)
        calls.append(running.app.next_call()) if len(calls) < 20 else None
    assert [wire.receive().status for _ in range(20)] == [200] * 20


def test_what_is_read_behind_broken_streams_is_bounded(serve, monkeypatch):
    monkeypatch.setattr("taskqueuex.network.session.DROPPED_A_SECOND", 1 << 20)
    running = serve()
    wire = running.connect()
    with pytest.raises(ConnectionError):  # noqa: PT012  # which of the sends it is, the kernel says
        wire.send(b"POST /v1/queues/q/tasks HTTP/1.1\r\nHost: t\r\nContent-Length: 17000000\r\n\r\n")
        for _ in range(170):
            wire.send(b"x" * 100_000)
        running.wait_for(lambda: running.metrics.connections == 0)
        wire.send(b"x")
        wire.send(b"x")
    running.wait_for(lambda: running.metrics.connections == 0)


def test_requests_that_are_wrong_use_up_no_turn_of_others(running):
    """They were admitted, and come to no turn: those who wait behind them are let in all the same."""
    overload = running.server._hub.overload

    def press() -> None:
        overload.limit, overload.active = 10.0, True

    running.app.on_loop(press)
    wire = running.connect()
    for _ in range(30):
        assert wire.request("GET", "/v1/tasks?limit=no").status == 422
    assert wire.request("GET", "/v1/queues").status == 200
    assert overload.shed == [0] * NEVER


def test_those_that_were_put_off_are_read_one_in_a_turn_of_the_loop():
    class Much:
        left = 3

        def read_on(self):
            read.append(turn)
            self.left -= 1
            if self.left:
                hub.put_off(self)

    async def run():
        nonlocal turn
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context))
        for session in (Much(), Much()):
            hub.put_off(session)
        while turn < 20:
            turn += 1
            await asyncio.sleep(0)

    read: list[int] = []
    failed: list[Any] = []
    turn = 0
    router = Router(COMMANDS.values(), dict.fromkeys(("engine", "query", "server"), lambda _: None))
    hub = Hub(NetworkConfig(), router, lambda _: None, SystemClock(), NetworkMetrics())
    asyncio.run(run())
    assert not failed
    assert len(read) == 6
    assert len(set(read)) == 6, "one in each"
