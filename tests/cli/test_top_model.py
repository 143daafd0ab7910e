"""The model and the view of `tqx top`, without a terminal and without a server."""

import io
from dataclasses import replace

import msgspec
import pytest
from rich.console import Console

from taskqueuex.cli.top_model import (
    Call,
    Snapshot,
    State,
    keys_of,
    on_key,
    on_lost,
    on_snapshot,
    on_told,
    queues_of,
    workers_of,
)
from taskqueuex.cli.top_view import draw
from taskqueuex.commands.admin import RunningTask, StatsReply, WorkerView
from taskqueuex.commands.produce import BackoffSpec
from taskqueuex.commands.queues import Percentiles, QueueView, Rates
from taskqueuex.commands.tasks import DeadGroup

STATES = ["scheduled", "blocked", "ready", "running", "retrying", "completed", "cancelled", "expired", "dead"]


def queue(name, paused=False, rate=0.0, oldest_ms=None, **counts):
    waits = Percentiles(1.0, 2.0, 3.0, 10)
    return QueueView(
        name=name,
        discipline="fifo",
        partitions=1,
        max_tasks=None,
        overflow="reject",
        lease_ms=1,
        max_attempts=5,
        backoff=BackoffSpec(),
        result_ttl_ms=0,
        dead_ttl_ms=0,
        rate_limit=None,
        max_running=None,
        max_running_per_group=None,
        ordered_groups=False,
        durability="durable",
        with_parents=False,
        paused=paused,
        resorting=False,
        counts={state: counts.get(state, 0) for state in STATES},
        oldest_ready_age_ms=oldest_ms,
        rates=Rates(rate, 0.0, 0.0),
        wait_ms=waits,
        run_ms=Percentiles(0.0, 0.0, 0.0, 0),
        created_at=0,
    )


def worker(name, running=0, seen=900_000, **flags):
    tasks = [RunningTask(f"id{number}", "task", 0) for number in range(running)]
    given = {"quiet": False, "stopping": False, **flags}
    return WorkerView(name, "host-1", 1, ["a", "b"], tasks, seen, "1", concurrency=8, **given)


def dead(count=3):
    return DeadGroup("orders", "settle", "ValueError", "no price\nTraceback", count, 0, 880_000, "id")


def snapshot(queues=(), workers=(), groups=(), at_s=0.0, requests=0, started_at=0):
    latencies = {name: {"p50": 0.5, "p99": 4.25} for name in ("commit", "fsync")}
    stats = StatsReply(
        version="9.9",
        started_at=started_at,
        uptime_ms=1_000_000,
        queues=len(queues),
        counts={"ready": 7, "dead": 0},
        totals={"requests": requests},
        rates={"in": 2.0},
        latency_ms=latencies,
        connections=3,
        waiters=1,
        storage={},
        process={},
        host={},
    )
    return Snapshot(stats, tuple(queues), tuple(workers), tuple(groups), at_s)


def state_of(**parts):
    return on_snapshot(State("http://server"), snapshot(**parts))


def press(state, *keys):
    """The state after the keys, and the calls they asked for."""
    calls = []
    for key in keys:
        state, call = on_key(state, key)
        calls += [] if call is None else [call]
    return state, calls


def text_of(state, width=200, height=40):
    screen = Console(file=io.StringIO(), width=width, height=height, highlight=False)
    screen.print(draw(state, width, height))
    return screen.file.getvalue()


def names(found):
    return [each.name for each in found]


# Keys


def test_what_a_terminal_sends_is_read_as_keys():
    assert keys_of(b"jk\x1b[A\x1bOBq\t\x1b") == ["down", "up", "up", "down", "q", "tab", "escape"]
    assert keys_of(b"\x1b[1;5C\xc3") == ["\x1b[1;5C", "\xc3"]


@pytest.mark.parametrize(("key", "command"), [("p", "pause_queue"), ("r", "resume_queue")])
def test_a_key_acts_on_the_selected_queue(key, command):
    state = state_of(queues=[queue("a"), queue("b"), queue("c")])
    _, calls = press(state, "down", key)
    assert [(call.command, call.target) for call in calls] == [(command, "b")]


def test_the_selection_stops_at_both_ends():
    state = state_of(queues=[queue("a"), queue("b")])
    assert press(state, "up", "p")[1][0].target == "a"
    assert press(state, "down", "down", "down", "p")[1][0].target == "b"


def test_the_selection_follows_its_queue_when_the_order_changes():
    state = state_of(queues=[queue("a", ready=1), queue("b", ready=2), queue("c", ready=3)])
    state, _ = press(state, "down", "down", "s")
    assert state.sort["queues"] == "ready" and names(queues_of(state)) == ["c", "b", "a"]
    assert press(state, "p")[1][0].target == "c"
    assert press(state, "down", "p")[1][0].target == "b"


def test_the_first_is_selected_when_the_selected_one_has_gone():
    state, _ = press(state_of(queues=[queue("a"), queue("b")]), "down")
    state = on_snapshot(state, snapshot(queues=[queue("c"), queue("d")]))
    assert press(state, "p")[1][0].target == "c"


def test_every_order_comes_and_then_the_first_again():
    state = state_of(
        queues=[
            queue("a", dead=1),
            queue("b", ready=1, oldest_ms=5),
            queue("c", rate=2.0),
            queue("d", running=1),
        ]
    )
    first = {}
    for _ in range(7):
        first[state.sort["queues"]] = queues_of(state)[0].name
        state, _ = press(state, "s")
    assert first == {
        "name": "a",
        "ready": "b",
        "running": "d",
        "dead": "a",
        "in/s": "c",
        "out/s": "a",
        "oldest": "b",
    }
    assert state.sort["queues"] == "name"


def test_workers_are_sorted_on_their_own():
    state = state_of(workers=[worker("a", seen=2), worker("b", seen=1, running=5)])
    state, _ = press(state, "tab", "s")
    assert names(workers_of(state)) == ["b", "a"] and state.sort["queues"] == "name"
    state, _ = press(state, "s")
    assert state.sort["workers"] == "seen" and names(workers_of(state)) == ["b", "a"]


def test_dead_tasks_are_retried_when_the_question_is_answered_by_y():
    state = state_of(queues=[queue("orders", dead=3)])
    state, calls = press(state, "R")
    assert not calls and state.question == "Retry the 3 dead tasks of orders?"
    _, calls = press(state, "y")
    assert [(call.command, call.body) for call in calls] == [
        ("bulk", {"action": "retry", "filter": {"queue": "orders", "state": "dead"}})
    ]


@pytest.mark.parametrize("key", ["n", "escape", "q", "R"])
def test_any_other_answer_leaves_it(key):
    state, calls = press(state_of(queues=[queue("orders", dead=1)]), "R", key)
    assert not calls and state.asked is None and not state.ended
    assert state.message == "left as it was"
    assert press(state, "y")[1] == []


def test_nothing_is_asked_where_nothing_is_dead():
    state, calls = press(state_of(queues=[queue("orders")]), "R", "y")
    assert not calls and state.asked is None
    assert press(state_of(queues=[queue("orders")]), "R")[0].message == "orders has no dead tasks"


def test_workers_are_steered_in_their_pane():
    state = state_of(queues=[queue("a")], workers=[worker("w1"), worker("w2")])
    state, calls = press(state, "tab", "down", "Q", "U")
    assert [(call.command, call.target) for call in calls] == [
        ("quiet_worker", "w2"),
        ("resume_worker", "w2"),
    ]
    state, calls = press(state, "S")
    assert not calls and state.question == "Stop w2 when it has finished what it runs?"
    assert [(call.command, call.target) for call in press(state, "y")[1]] == [("stop_worker", "w2")]


@pytest.mark.parametrize("key", ["Q", "S", "U"])
def test_the_keys_of_workers_do_nothing_to_queues(key):
    state, calls = press(state_of(queues=[queue("a")], workers=[worker("w")]), key)
    assert not calls and state.asked is None and "select one with tab" in state.message


@pytest.mark.parametrize("key", ["p", "r", "R"])
def test_the_keys_of_queues_do_nothing_to_workers(key):
    state, calls = press(state_of(queues=[queue("a", dead=1)], workers=[worker("w")]), "tab", key)
    assert not calls and state.asked is None and "for a queue" in state.message


@pytest.mark.parametrize("key", ["up", "down", "tab", "s", "p", "r", "R", "Q", "S", "U", "?", "x", "y"])
def test_no_key_breaks_what_is_not_there_yet(key):
    for state in (State("http://server"), state_of()):
        after, calls = press(state, key)
        assert not calls and not after.ended
        assert text_of(after)


def test_q_ends_it_also_from_the_help():
    assert press(State("http://server"), "q")[0].ended
    assert press(State("http://server"), "?", "q")[0].ended
    assert not press(State("http://server"), "?", "p")[0].helping


# What the server says


def test_requests_a_second_are_of_the_time_between_two_snapshots():
    state = on_snapshot(State("http://server"), snapshot(at_s=10.0, requests=100))
    assert state.requests_per_s is None
    assert on_snapshot(state, snapshot(at_s=12.0, requests=150)).requests_per_s == 25.0


def test_a_server_that_has_started_anew_counts_from_zero():
    state = on_snapshot(State("http://server"), snapshot(at_s=10.0, requests=100))
    anew = on_snapshot(state, snapshot(at_s=12.0, requests=5, started_at=7))
    assert anew.requests_per_s is None


def test_what_was_seen_last_stays_while_the_server_is_gone():
    state = on_lost(state_of(queues=[queue("orders")]), "no answer from http://server")
    shown = text_of(state)
    assert "orders" in shown and "no answer from http://server; trying again" in shown
    assert "trying again" not in text_of(on_snapshot(state, snapshot()))


# The view


def test_a_frame_shows_the_server_its_queues_workers_and_dead_letters():
    state = state_of(
        queues=[queue("orders", paused=True, ready=12, dead=3, rate=1.5, oldest_ms=61_000)],
        workers=[worker("w1", running=2), worker("w2", quiet=True), worker("w3", stopping=True)],
        groups=[dead()],
    )
    lines = [" ".join(line.split()) for line in text_of(state).splitlines()]
    assert lines[0] == "TaskQueueX 9.9 at http://server, up 16m 40s"
    assert lines[1] == (
        "- requests/s, connections 3, polls that wait 1, commit p50 0.50 p99 4.25 ms, fsync p99 4.25 ms"
    )
    assert lines[2] == "tasks: 7 ready; in 2.0/s"
    assert "orders paused fifo 12 0 0 0 0 3 1.5 0.0 0.0 1m 1s 1.0ms 3.0ms - -" in lines
    assert "w1 2 8 1m 40s a b host-1" in lines
    assert "w2 quiet 0 8 1m 40s a b host-1" in lines
    assert "w3 stopping 0 8 1m 40s a b host-1" in lines
    assert "orders settle ValueError 3 2m 0s no price" in lines


@pytest.mark.parametrize("height", [14, 24, 60])
@pytest.mark.parametrize("width", [80, 200])
def test_a_frame_never_is_higher_or_wider_than_the_screen_and_shows_the_selected_row(width, height):
    queues = [queue(f"queue-{number:03d}") for number in range(200)]
    workers = [worker(f"worker-{number:03d}") for number in range(50)]
    state = state_of(queues=queues, workers=workers, groups=[dead()] * 30)
    state, _ = press(state, *["down"] * 120, "tab", *["down"] * 40)
    lines = text_of(state, width, height).splitlines()
    assert len(lines) <= max(height, 16)  # a terminal of fewer lines is cut at its end
    assert max(map(len, lines)) <= width
    assert any("queue-120" in line for line in lines) and any("worker-040" in line for line in lines)


@pytest.mark.parametrize("width", [80, 160])
def test_long_names_are_cut_and_figures_are_not(width):
    long = queue("q" * 128, ready=1_234_567, running=7_654_321, oldest_ms=3 * 86_400_000)
    shown = text_of(state_of(queues=[long], workers=[worker("w" * 256)]), width)
    for figure in ("1234567", "7654321", "3d 0h", "1m 40s", "qqq…", "www…"):
        assert figure in shown
    assert len(shown.splitlines()) == len(
        text_of(state_of(queues=[queue("q")], workers=[worker("w")])).splitlines()
    )


def test_without_a_height_everything_is_shown():
    queues = [queue(f"queue-{number:03d}") for number in range(200)]
    shown = text_of(state_of(queues=queues), height=None)
    assert all(each.name in shown for each in queues)


def test_the_foot_shows_the_question_before_what_was_told():
    state = replace(on_told(state_of(), "orders is paused"), question="Sure?", asked=Call("bulk", "", ""))
    assert "Sure? y or n" in text_of(state) and "orders is paused" not in text_of(state)
    assert "orders is paused" in text_of(on_told(state_of(), "orders is paused"))


def test_text_of_others_does_not_steer_the_terminal():
    group = msgspec.structs.replace(dead(), message="\x1b[2Jboo", name="[red]x")
    shown = text_of(state_of(groups=[group]))
    assert "\x1b" not in shown and "\\x1b[2Jboo" in shown and "[red]x" in shown


def test_the_help_names_every_key():
    shown = text_of(press(state_of(), "?")[0])
    for meaning in ("quit", "pause, resume the queue", "retry the dead", "make the worker quiet"):
        assert meaning in shown
