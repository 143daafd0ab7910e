"""Who says that an answer made for somebody else will do, up to an age, gets it; nobody else does."""

from typing import Any

import msgspec

from taskqueuex.commands.call import Call
from taskqueuex.commands.principal import Principal
from taskqueuex.commands.table import COMMANDS
from taskqueuex.errors import StorageUnavailable, TaskQueueError, Unauthenticated
from taskqueuex.node.shared import SHAREABLE, SharedAnswers
from taskqueuex.testing.clock import FakeClock


class Asker:
    """A sink that keeps what it is answered."""

    closed = False
    blocked_by: Call | None = None

    def __init__(self) -> None:
        self.answers: list[Any] = []

    def on_reply(self, call: Call, status: int, body: Any, durability: str | None) -> bool:
        self.answers.append(body if isinstance(body, TaskQueueError) else msgspec.json.decode(body))
        return True


def ask(
    shared: SharedAnswers, max_age_ms: int | None, principal: Principal | None = None, **query: Any
) -> Any:
    command = COMMANDS["dead_groups"]
    asker = Asker()
    call = Call(command, "", None, command.query(max_age_ms=max_age_ms, **query), asker, 0)
    if principal is not None:
        call.principal = principal
    return asker, shared.take(call), call


def answer(made: Call, body: Any) -> None:
    made.sink.on_reply(made, 200 if not isinstance(body, TaskQueueError) else body.status, body, None)


def test_the_lists_of_the_web_page_can_be_shared() -> None:
    assert {"list_queues", "dead_groups"} <= SHAREABLE


def test_an_answer_is_shared_while_it_is_young_enough() -> None:
    clock = FakeClock()
    shared = SharedAnswers(clock)
    first, made, _ = ask(shared, 1_000)
    second, none, _ = ask(shared, 1_000)
    assert made is not None and none is None  # the second waits for what is under way
    answer(made, {"n": 1})
    assert first.answers == second.answers == [{"n": 1}]
    clock.advance(999)
    third, none, _ = ask(shared, 1_000)
    assert none is None and third.answers == [{"n": 1}]
    _, made, _ = ask(shared, 500)
    assert made is not None
    answer(made, {"n": 2})
    fourth, none, _ = ask(shared, 1_000)
    assert none is None and fourth.answers == [{"n": 2}]


def test_who_wants_what_is_true_now_gets_it_and_others_after_it() -> None:
    shared = SharedAnswers(FakeClock())
    _, before, _ = ask(shared, 1_000)
    mine, made, _ = ask(shared, 0)
    assert made is not None and made is not before
    answer(made, {"n": 2})
    answer(before, {"n": 1})
    other, none, _ = ask(shared, 1_000)
    assert none is None and mine.answers == other.answers == [{"n": 2}]


def test_queries_that_differ_share_nothing() -> None:
    shared = SharedAnswers(FakeClock())
    _, made, _ = ask(shared, 1_000)
    answer(made, {"n": 1})
    assert ask(shared, 1_000, queue="q")[1] is not None


def test_who_asks_for_no_age_or_sees_some_queues_only_is_answered_alone() -> None:
    shared = SharedAnswers(FakeClock())
    _, made, _ = ask(shared, 1_000)
    answer(made, {"n": 1})
    for max_age_ms, scopes in ((None, ["read"]), (60_000, ["read:a*"])):
        asker, made, call = ask(shared, max_age_ms, Principal("x", "x", "token", scopes))
        assert made is call and asker.answers == []


def test_an_error_is_told_to_all_and_not_kept() -> None:
    shared = SharedAnswers(FakeClock())
    first, made, _ = ask(shared, 1_000)
    second, _, _ = ask(shared, 1_000)
    answer(made, StorageUnavailable("away"))
    assert [type(each) for each in first.answers + second.answers] == [StorageUnavailable] * 2
    assert ask(shared, 1_000)[1] is not None


def test_who_was_revoked_while_it_waited_gets_nothing() -> None:
    shared = SharedAnswers(FakeClock())
    principal = Principal("x", "x", "token", ["read"])
    asker, made, _ = ask(shared, 1_000, principal)
    principal.end()
    answer(made, {"n": 1})
    assert [type(each) for each in asker.answers] == [Unauthenticated]


def test_no_answer_with_payloads_is_shared():
    """Shared answers are made in the name of one who sees everything."""
    assert not [name for name in SHAREABLE if COMMANDS[name].payloads]
