"""Each rule of the checker is seen to fail on a history that breaks it, and only that rule."""

from collections.abc import Callable

import pytest
from tests.torture.checker import KINDS, check, events_of
from tests.torture.history import Delivery, Enqueue, FinalState, History, Outcome, Settlement, Spec

DISCIPLINES = {
    "fifo": "fifo",
    "lifo": "lifo",
    "priority": "priority",
    "round_robin": "round_robin",
    "turns": "round_robin",
    "ordered": "ordered",
}


class Story:
    """Builds a history step by step: every step takes half a second, and half a second passes after it."""

    def __init__(self) -> None:
        self.history = History(disciplines=DISCIPLINES, untouched=["turns"])
        self.now_s = 1_000.0
        self._drained = 0

    def enqueue(self, *specs: Spec, outcome: Outcome = Outcome.OK, duplicate_of: str = "") -> None:
        ids = [duplicate_of or f"id-{spec.marker}" for spec in specs] if outcome is Outcome.OK else []
        duplicates = list(range(len(specs))) if duplicate_of else []
        self.history.enqueues.append(
            Enqueue(self.now_s, self.now_s + 0.5, list(specs), outcome, ids, duplicates)
        )
        self.now_s += 1

    def deliver(
        self, spec: Spec, attempt: int = 1, lease_s: float = 30, drained: bool = False, **changes: object
    ) -> Delivery:
        delivery = Delivery(
            self.now_s,
            self.now_s + 0.5,
            id=f"id-{spec.marker}",
            queue=spec.queue,
            attempt=attempt,
            lease=f"lease-{attempt}",
            expires_s=self.now_s + 0.5 + lease_s,
            payload=spec.payload(),
            priority=spec.priority,
            group=spec.group,
            order=self._drained if drained else -1,
        )
        self._drained += drained
        for name, value in changes.items():
            setattr(delivery, name, value)
        self.history.deliveries.append(delivery)
        self.now_s += 1
        return delivery

    def settle(
        self,
        delivery: Delivery,
        kind: str = "ack",
        state: str = "completed",
        outcome: Outcome = Outcome.OK,
        tries: int = 1,
        run_at_s: float = 0.0,
    ) -> None:
        ended_s = self.now_s + 0.5
        event = Settlement(self.now_s, ended_s, delivery.id, delivery.attempt, kind, outcome, state)
        event.run_at_s, event.tries = run_at_s, tries
        self.history.settlements.append(event)
        self.now_s += 1

    def run(self, spec: Spec, drained: bool = False) -> None:
        """Deliver and ack."""
        self.settle(self.deliver(spec, drained=drained))

    def final(self, spec: Spec, state: str, status: int = 200, attempt: int = 0) -> None:
        task_id = f"id-{spec.marker}"
        self.history.finals[task_id] = FinalState(task_id, status, state, attempt)

    def kinds(self) -> set[str]:
        return {violation.kind for violation in check(self.history)}


def spec(marker: str = "a", queue: str = "fifo", **fields: object) -> Spec:
    return Spec(marker, queue, **fields)  # type: ignore[arg-type]


A, B = spec("a"), spec("b")
GROUPED_A, GROUPED_B = spec("a", "ordered", group="g"), spec("b", "ordered", group="g")


def a_good_run(story: Story) -> None:
    story.enqueue(A, B)
    first = story.deliver(A)
    story.settle(first, "fail", "retrying", run_at_s=story.now_s)
    story.run(B)
    again = story.deliver(A, attempt=2)
    story.settle(again, tries=3)
    story.final(A, "completed")


def a_task_that_dies_of_its_attempts(story: Story) -> None:
    story.enqueue(A)
    story.settle(story.deliver(A), "fail", "dead")
    story.final(A, "dead", attempt=1)


def leases_that_expired_unseen_until_dead(story: Story) -> None:
    story.enqueue(spec("a", max_attempts=2))
    story.final(A, "dead", attempt=2)


def an_expired_lease_taken_over(story: Story) -> None:
    story.enqueue(A)
    late = story.deliver(A, lease_s=0.5)
    story.settle(story.deliver(A, attempt=2))
    story.settle(late, outcome=Outcome.NOT_APPLIED)


def an_ack_left_unknown_then_refused(story: Story) -> None:
    story.enqueue(A)
    first = story.deliver(A, lease_s=1.5)
    story.settle(first, outcome=Outcome.NOT_APPLIED, tries=2)
    story.settle(story.deliver(A, attempt=2))


def unknown_enqueues_that_came_out_or_not(story: Story) -> None:
    story.enqueue(A, outcome=Outcome.UNKNOWN)
    story.enqueue(B, outcome=Outcome.UNKNOWN)
    story.run(A)


def an_ordered_group_over_a_retry(story: Story) -> None:
    story.enqueue(GROUPED_A, GROUPED_B)
    story.settle(story.deliver(GROUPED_A), "fail", "retrying", run_at_s=story.now_s + 1.5)
    story.now_s += 5
    story.settle(story.deliver(GROUPED_A, attempt=2))
    story.run(GROUPED_B)


def a_dependent_after_its_parent(story: Story) -> None:
    child = spec("b", depends_on=("id-a",))
    story.enqueue(A, child)
    story.run(A)
    story.run(child)


def one_unique_key_in_two_groups(story: Story) -> None:
    first = spec("a", "round_robin", group="g", unique_key="u")
    second = spec("b", "round_robin", group="h", unique_key="u")
    story.enqueue(first)
    story.enqueue(second)
    story.run(first)
    story.run(second)


def turns_with_a_double_weight(story: Story) -> None:
    specs = [spec(f"c{n}", "turns", group="c", group_weight=2) for n in range(4)]
    specs += [spec(f"d{n}", "turns", group="d") for n in range(2)]
    story.enqueue(*specs)
    for position in (0, 1, 4, 2, 3, 5):
        story.run(specs[position], drained=True)


@pytest.mark.parametrize(
    "tell",
    [
        a_good_run,
        a_task_that_dies_of_its_attempts,
        leases_that_expired_unseen_until_dead,
        an_expired_lease_taken_over,
        an_ack_left_unknown_then_refused,
        unknown_enqueues_that_came_out_or_not,
        an_ordered_group_over_a_retry,
        a_dependent_after_its_parent,
        one_unique_key_in_two_groups,
        turns_with_a_double_weight,
    ],
)
def test_an_honest_history_is_not_accused(tell: Callable[[Story], None]) -> None:
    story = Story()
    tell(story)
    assert check(story.history) == []


def lost_never_came_out(story: Story) -> None:
    story.enqueue(A)


def lost_unknown_to_the_server(story: Story) -> None:
    story.enqueue(A)
    story.final(A, "", status=404)


def lost_stuck(story: Story) -> None:
    story.enqueue(A)
    story.final(A, "running")


def lost_dead_too_early(story: Story) -> None:
    story.enqueue(spec("a", max_attempts=5))
    story.final(A, "dead", attempt=2)


def lost_an_acknowledged_ack(story: Story) -> None:
    story.enqueue(A)
    story.run(A)
    story.final(A, "ready")


def redelivered_after_its_ack(story: Story) -> None:
    story.enqueue(A)
    story.run(A)
    story.deliver(A, attempt=2)


def redelivered_after_its_death(story: Story) -> None:
    story.enqueue(A)
    story.settle(story.deliver(A), "fail", "dead")
    story.deliver(A, attempt=2)
    story.final(A, "dead", attempt=2)


def redelivered_as_a_zombie_ack_was_accepted(story: Story) -> None:
    story.enqueue(A)
    zombie = story.deliver(A, lease_s=0.5)
    story.deliver(A, attempt=2)
    story.settle(zombie)


def two_leases_at_once(story: Story) -> None:
    story.enqueue(A)
    story.deliver(A)
    story.settle(story.deliver(A, attempt=2))


def two_leases_of_one_attempt(story: Story) -> None:
    story.enqueue(A)
    story.deliver(A, lease_s=0.5)
    story.settle(story.deliver(A))


def two_leases_as_a_stale_release_was_accepted(story: Story) -> None:
    story.enqueue(A)
    stale = story.deliver(A, lease_s=0.5)
    current = story.deliver(A, attempt=2)
    story.settle(stale, "release", "ready")
    story.settle(current)


def two_leases_though_the_fail_was_refused(story: Story) -> None:
    story.enqueue(A)
    story.settle(story.deliver(A), "fail", "", outcome=Outcome.NOT_APPLIED)
    story.settle(story.deliver(A, attempt=2))


def phantom_from_nowhere(story: Story) -> None:
    story.deliver(A)


def phantom_of_a_refused_enqueue(story: Story) -> None:
    story.enqueue(A, outcome=Outcome.NOT_APPLIED)
    story.run(A)


def phantom_of_a_duplicate(story: Story) -> None:
    first, second = spec("a", unique_key="u"), spec("b", unique_key="u")
    story.enqueue(first)
    story.enqueue(second, duplicate_of="id-a")
    story.run(first)
    story.run(second)


def phantom_enqueued_twice(story: Story) -> None:
    story.enqueue(A)
    story.run(A)
    story.deliver(A, id="another")


def phantom_of_another_payload(story: Story) -> None:
    story.enqueue(A)
    story.settle(story.deliver(A, payload=A.payload() | {"text": "changed"}))


def phantom_of_another_queue(story: Story) -> None:
    story.enqueue(A)
    story.settle(story.deliver(A, queue="lifo"))


def phantom_before_it_was_sent(story: Story) -> None:
    delivery = story.deliver(A)
    story.now_s += 5
    story.enqueue(A)
    story.settle(delivery)


def order_of_fifo(story: Story) -> None:
    story.enqueue(A, B)
    story.run(B, drained=True)
    story.run(A, drained=True)


def order_of_lifo(story: Story) -> None:
    first, second = spec("a", "lifo"), spec("b", "lifo")
    story.enqueue(first, second)
    story.run(first, drained=True)
    story.run(second, drained=True)


def order_of_priority(story: Story) -> None:
    low, high = spec("a", "priority", priority=1), spec("b", "priority", priority=2)
    story.enqueue(low, high)
    story.run(low, drained=True)
    story.run(high, drained=True)


def order_within_a_level(story: Story) -> None:
    first, second = spec("a", "priority", priority=1), spec("b", "priority", priority=1)
    story.enqueue(first, second)
    story.run(second, drained=True)
    story.run(first, drained=True)


def order_within_a_group(story: Story) -> None:
    low, high = (
        spec("a", "round_robin", group="g", priority=1),
        spec("b", "round_robin", group="g", priority=2),
    )
    story.enqueue(low, high)
    story.run(low, drained=True)
    story.run(high, drained=True)


def order_of_turns(story: Story) -> None:
    specs = [spec(f"{group}{n}", "turns", group=group) for group in "cd" for n in range(3)]
    story.enqueue(*specs)
    for one in specs:  # all of the one group, then all of the other
        story.run(one, drained=True)


def order_of_an_ordered_group(story: Story) -> None:
    story.enqueue(GROUPED_A, GROUPED_B)
    story.run(GROUPED_B)
    story.run(GROUPED_A)


def group_running_twice(story: Story) -> None:
    story.enqueue(GROUPED_A, GROUPED_B)
    first = story.deliver(GROUPED_A)
    second = story.deliver(GROUPED_B)
    story.now_s += 1
    story.settle(first)
    story.settle(second)


def group_running_beside_a_retry(story: Story) -> None:
    story.enqueue(GROUPED_A, GROUPED_B)
    story.settle(story.deliver(GROUPED_A), "fail", "retrying", run_at_s=story.now_s + 60)
    story.run(GROUPED_B)
    story.final(GROUPED_A, "completed")
    story.history.settlements.append(Settlement(2_000, 2_001, "id-a", 2, "ack", Outcome.OK, "completed"))


def attempt_that_fell(story: Story) -> None:
    story.enqueue(A)
    story.settle(story.deliver(A, attempt=2), "release", "ready")
    story.deliver(A, attempt=1)
    story.settle(story.deliver(A, attempt=3))


def early_by_two_seconds(story: Story) -> None:
    delayed = spec("a", delay_ms=4_000)
    story.enqueue(delayed)
    story.run(delayed)


def dependency_not_met(story: Story) -> None:
    child = spec("b", depends_on=("id-a",))
    story.enqueue(A, child)
    parent = story.deliver(A)
    story.run(child)
    story.settle(parent)


def unique_twice(story: Story) -> None:
    first, second = spec("a", unique_key="u"), spec("b", unique_key="u")
    story.enqueue(first)
    story.enqueue(second)
    story.run(first)
    story.run(second)


def unique_held_by_the_dead(story: Story) -> None:
    first, second = spec("a", unique_key="u"), spec("b", unique_key="u")
    story.enqueue(first)
    story.run(first)
    story.enqueue(second, duplicate_of="id-a")


def torn_batch_of_two(story: Story) -> None:
    first, second = spec("a", max_attempts=1_000), spec("b", max_attempts=1_000)
    story.enqueue(first, second, outcome=Outcome.UNKNOWN)
    story.run(first)


def damage_in_the_store(story: Story) -> None:
    story.history.damage.append("a counter is wrong")


def unexpected_answer(story: Story) -> None:
    story.history.unexpected.append("a 500")


BROKEN = [
    lost_never_came_out,
    lost_unknown_to_the_server,
    lost_stuck,
    lost_dead_too_early,
    lost_an_acknowledged_ack,
    redelivered_after_its_ack,
    redelivered_after_its_death,
    redelivered_as_a_zombie_ack_was_accepted,
    two_leases_at_once,
    two_leases_of_one_attempt,
    two_leases_as_a_stale_release_was_accepted,
    two_leases_though_the_fail_was_refused,
    phantom_from_nowhere,
    phantom_of_a_refused_enqueue,
    phantom_of_a_duplicate,
    phantom_enqueued_twice,
    phantom_of_another_payload,
    phantom_of_another_queue,
    phantom_before_it_was_sent,
    order_of_fifo,
    order_of_lifo,
    order_of_priority,
    order_within_a_level,
    order_within_a_group,
    order_of_turns,
    order_of_an_ordered_group,
    group_running_twice,
    group_running_beside_a_retry,
    attempt_that_fell,
    early_by_two_seconds,
    dependency_not_met,
    unique_twice,
    unique_held_by_the_dead,
    torn_batch_of_two,
    damage_in_the_store,
    unexpected_answer,
]


@pytest.mark.parametrize("tell", BROKEN)
def test_a_broken_promise_is_found(tell: Callable[[Story], None]) -> None:
    story = Story()
    tell(story)
    name = tell.__name__
    [kind] = [kind for kind in KINDS if name.startswith(kind) or name.startswith(f"{kind}_")]
    assert story.kinds() == {kind}


def test_every_kind_of_violation_has_a_history_that_shows_it() -> None:
    assert {kind for kind in KINDS for tell in BROKEN if tell.__name__.startswith(kind)} == set(KINDS)


def test_the_history_of_one_task_is_told_in_order() -> None:
    story = Story()
    a_good_run(story)
    lines = events_of(story.history, "id-a")
    assert [line.split()[0] for line in lines] == [
        "Enqueue",
        "Delivery",
        "Settlement",
        "Delivery",
        "Settlement",
        "FinalState",
    ]
