"""Judges a history: what was promised, against what the clients saw.

Each rule accuses only on what is certain from outside. A server's step lies somewhere between a call's
start and its end, so a rule compares the end of the one with the start of the other, never two guesses;
what a broken connection left unknown accuses nobody. `test_checker.py` shows for each rule a history
that breaks it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

import msgspec
from tests.torture.history import Delivery, Enqueue, FinalState, History, Outcome, Settlement, Spec, describe

KINDS = {
    "lost": "acknowledged, and neither came out nor ended as it may",
    "redelivered": "acked (or dead), then delivered again",
    "two_leases": "two valid leases of one task",
    "phantom": "delivered, but nobody enqueued this",
    "order": "out of the discipline's order",
    "group": "two of an ordered group at once",
    "attempt": "an attempt number that fell",
    "early": "delivered before its delay was over",
    "dependency": "delivered before what it depends on had ended",
    "unique": "two live tasks with one unique key",
    "torn_batch": "a batch that was applied in part",
    "damage": "the offline check of the store found something",
    "unexpected": "an answer that should not be",
}

CLOCK_SLACK_S = 0.010
"""The server reads its clock once a turn, in whole milliseconds."""

_IMMORTAL_ATTEMPTS = 1_000  # a task with so many attempts cannot die of leases that nobody saw


class Violation(msgspec.Struct, frozen=True):
    """One broken promise."""

    kind: str
    subject: str
    """The task's id, or its marker where no id is known; empty for the run as a whole."""
    text: str


def check(history: History) -> list[Violation]:
    """Return every violation that the history proves, by kind in the order of `KINDS`."""
    judge = _Judge(history)
    violations = [
        *judge.identities(),
        *judge.lost(),
        *judge.leases(),
        *judge.delays(),
        *judge.dependencies(),
        *judge.uniqueness(),
        *judge.batches(),
        *judge.groups(),
        *judge.drained_order(),
        *(Violation("damage", "", text) for text in history.damage),
        *(Violation("unexpected", "", text) for text in history.unexpected),
    ]
    ranks = {kind: rank for rank, kind in enumerate(KINDS)}
    return sorted(violations, key=lambda violation: ranks[violation.kind])


def events_of(history: History, subject: str) -> list[str]:
    """Return the history of one task, by id or marker, a line an event in order of time."""
    markers = {subject}
    for event in history.enqueues:
        markers |= {
            spec.marker for spec, known in zip(event.specs, event.ids, strict=False) if known == subject
        }
    markers |= {_marker(delivery) for delivery in history.deliveries if delivery.id == subject}
    events: list[Enqueue | Delivery | Settlement] = [
        event
        for event in history.enqueues
        if subject in event.ids or any(spec.marker in markers for spec in event.specs)
    ]
    events += [event for event in history.deliveries if event.id == subject or _marker(event) in markers]
    events += [event for event in history.settlements if event.id == subject]
    lines = [describe(event) for event in sorted(events, key=lambda event: event.started_s)]
    final = history.finals.get(subject)
    return [*lines, describe(final)] if final is not None else lines


def _marker(delivery: Delivery) -> str:
    payload = delivery.payload
    marker = payload.get("marker") if isinstance(payload, dict) else None
    return marker if isinstance(marker, str) else ""


class _Origin(msgspec.Struct, frozen=True):
    """Where a marker comes from."""

    spec: Spec
    event: Enqueue
    index: int

    @property
    def duplicate(self) -> bool:
        return self.index in self.event.duplicates


class _Judge:
    """The history, indexed; one method a rule."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.origins: dict[str, _Origin] = {}
        self.spec_of: dict[str, Spec] = {}
        """By task id: of acknowledged tasks, and of unknown ones once delivered."""
        self.created_by: dict[str, Enqueue] = {}
        for event in history.enqueues:
            for index, spec in enumerate(event.specs):
                self.origins[spec.marker] = _Origin(spec, event, index)
                if event.outcome is Outcome.OK and index not in event.duplicates:
                    self.spec_of[event.ids[index]] = spec
                    self.created_by[event.ids[index]] = event
        self.deliveries: dict[str, list[Delivery]] = defaultdict(list)
        for delivery in sorted(history.deliveries, key=lambda delivery: delivery.attempt):
            self.deliveries[delivery.id].append(delivery)
        self.settlements: dict[str, list[Settlement]] = defaultdict(list)
        for settlement in history.settlements:
            self.settlements[settlement.id].append(settlement)

    # -- nothing comes out that nobody put in, and as it was put in --------------------------------

    def identities(self) -> Iterator[Violation]:
        ids: dict[str, str] = {self.spec_of[task_id].marker: task_id for task_id in self.spec_of}
        for delivery in self.history.deliveries:
            marker = _marker(delivery)
            origin = self.origins.get(marker)
            fault = "no such task was ever sent" if origin is None else self._fault(delivery, origin)
            if not fault and ids.setdefault(marker, delivery.id) != delivery.id:
                fault = f"enqueued once, it is also {ids[marker]}"
            if fault:
                yield Violation("phantom", delivery.id, fault)
            elif origin is not None:
                self.spec_of.setdefault(delivery.id, origin.spec)

    def _fault(self, delivery: Delivery, origin: _Origin) -> str:
        spec = origin.spec
        if origin.event.outcome is Outcome.NOT_APPLIED:
            return "its enqueue was refused"
        if origin.duplicate:
            return "its enqueue was answered as a duplicate"
        if delivery.ended_s < origin.event.started_s:
            return "it was delivered before it was sent"
        seen = (delivery.queue, delivery.payload, delivery.priority, delivery.group or None)
        sent = (spec.queue, spec.payload(), spec.priority, spec.group or None)
        return "" if seen == sent else f"altered: sent {sent}, delivered {seen}"

    # -- nothing acknowledged is lost --------------------------------------------------------------

    def lost(self) -> Iterator[Violation]:
        for task_id, spec in self.spec_of.items():
            if task_id not in self.created_by:
                continue
            acked = any(s.kind == "ack" and s.outcome is Outcome.OK for s in self.settlements[task_id])
            final = self.history.finals.get(task_id)
            fault = self._end_fault(task_id, spec, acked, final)
            if fault:
                yield Violation("lost", task_id, fault)

    def _end_fault(self, task_id: str, spec: Spec, acked: bool, final: FinalState | None) -> str:
        if final is None:
            return "" if acked else "it never came out, and nobody asked for its state"
        if acked:
            forgotten_in_time = final.status == 410
            return "" if final.state == "completed" or forgotten_in_time else f"acked, but it is {final}"
        if final.status != 200:
            return f"GET answers {final.status}"
        if final.state == "dead":
            said_dead = any(s.state == "dead" for s in self.settlements[task_id])
            worn_out = final.attempt >= spec.max_attempts
            return (
                "" if said_dead or worn_out else f"dead after {final.attempt} attempts of {spec.max_attempts}"
            )
        return f"after the drain it is {final.state}"

    # -- leases, attempts --------------------------------------------------------------------------

    def leases(self) -> Iterator[Violation]:
        for task_id, deliveries in self.deliveries.items():
            for earlier, later in pairwise(deliveries):
                yield from self._check_succession(task_id, earlier, later)
            for settlement in self.settlements[task_id]:
                if settlement.outcome is Outcome.OK:
                    yield from self._check_settlement(settlement, deliveries)

    def _check_succession(self, task_id: str, earlier: Delivery, later: Delivery) -> Iterator[Violation]:
        if earlier.attempt == later.attempt:
            yield Violation("two_leases", task_id, f"attempt {later.attempt} was handed out twice")
            return
        if later.ended_s < earlier.started_s:
            text = f"attempt {later.attempt} was handed out before attempt {earlier.attempt}"
            yield Violation("attempt", task_id, text)
            return
        given_back_s = self._settled_from(earlier)
        expired = earlier.expires_s <= later.ended_s + CLOCK_SLACK_S
        if not expired and given_back_s > later.ended_s:
            text = (
                f"attempt {later.attempt} was handed out {earlier.expires_s - later.ended_s:.3f} s "
                f"before the lease of attempt {earlier.attempt} expired"
            )
            yield Violation("two_leases", task_id, text)

    def _settled_from(self, delivery: Delivery) -> float:
        """Return from when on a lease may have been given back: the start of its first settlement."""
        starts = [
            settlement.started_s
            for settlement in self.settlements[delivery.id]
            if settlement.attempt == delivery.attempt
            # Refused at the first try, it gave nothing back; refused at a repeat, it may have before.
            and (settlement.outcome is not Outcome.NOT_APPLIED or settlement.tries > 1)
        ]
        return min(starts, default=math.inf)

    def _check_settlement(self, settlement: Settlement, deliveries: list[Delivery]) -> Iterator[Violation]:
        ended = settlement.kind == "ack" or settlement.state in ("completed", "dead", "cancelled")
        for delivery in deliveries:
            if delivery.attempt <= settlement.attempt:
                continue
            if ended:
                text = f"{settlement.kind} of attempt {settlement.attempt} was acknowledged, then attempt "
                yield Violation("redelivered", settlement.id, f"{text}{delivery.attempt} was delivered")
            elif delivery.ended_s < settlement.started_s:
                text = f"{settlement.kind} of attempt {settlement.attempt} was accepted while attempt "
                yield Violation("two_leases", settlement.id, f"{text}{delivery.attempt} was out")

    # -- delays, unique keys, batches --------------------------------------------------------------

    def delays(self) -> Iterator[Violation]:
        for delivery in self.history.deliveries:
            origin = self.origins.get(_marker(delivery))
            if origin is None or not origin.spec.delay_ms:
                continue
            due_s = origin.event.started_s + origin.spec.delay_ms / 1000
            if delivery.ended_s < due_s - CLOCK_SLACK_S:
                text = f"delivered {due_s - delivery.ended_s:.3f} s before its delay was over"
                yield Violation("early", delivery.id, text)

    def dependencies(self) -> Iterator[Violation]:
        for delivery in self.history.deliveries:
            origin = self.origins.get(_marker(delivery))
            for parent in origin.spec.depends_on if origin is not None else ():
                if self._may_have_ended_from(parent) > delivery.ended_s:
                    yield Violation("dependency", delivery.id, f"delivered before {parent} had ended")

    def _may_have_ended_from(self, task_id: str) -> float:
        """Return from when on a task that cannot die unseen may have ended."""
        starts = [
            settlement.started_s
            for settlement in self.settlements[task_id]
            if settlement.kind != "release"
            and (settlement.outcome is not Outcome.NOT_APPLIED or settlement.tries > 1)
        ]
        return min(starts, default=math.inf)

    def uniqueness(self) -> Iterator[Violation]:
        # With a group, a key is unique within its group.
        holders: dict[tuple[str, str | None, str], list[str]] = defaultdict(list)
        for task_id, spec in self.spec_of.items():
            if spec.unique_key is not None and task_id in self.created_by:
                holders[spec.queue, spec.group, spec.unique_key].append(task_id)
        for task_ids in holders.values():
            # Ids rise with the order of creation: only neighbours can overlap if none of them does.
            for first, second in pairwise(sorted(task_ids)):
                alive_until_s = self._may_have_ended_from(first)
                created = self.created_by[second]
                if self.created_by[first].ended_s < created.started_s and created.ended_s < alive_until_s:
                    yield Violation("unique", second, f"created while {first} lived")
        yield from self._dead_holders()

    def _dead_holders(self) -> Iterator[Violation]:
        for event in self.history.enqueues:
            for index in event.duplicates:
                for settlement in self.settlements[event.ids[index]]:
                    ended = settlement.outcome is Outcome.OK and settlement.state in ("completed", "dead")
                    if ended and settlement.ended_s < event.started_s:
                        yield Violation("unique", event.ids[index], "named as a duplicate after it had ended")

    def batches(self) -> Iterator[Violation]:
        delivered = {_marker(delivery) for delivery in self.history.deliveries}
        for event in self.history.enqueues:
            if event.outcome is not Outcome.UNKNOWN:
                continue
            certain = [
                spec.marker
                for spec in event.specs
                if spec.unique_key is None
                and (spec.max_attempts >= _IMMORTAL_ATTEMPTS or spec.queue in self.history.untouched)
            ]
            present = [marker for marker in certain if marker in delivered]
            if present and len(present) < len(certain):
                text = f"of a batch, {len(present)} of {len(certain)} tasks came out"
                yield Violation("torn_batch", present[0], text)

    # -- order -------------------------------------------------------------------------------------

    def groups(self) -> Iterator[Violation]:
        """At most one of an ordered group runs at a time, in order, over all kills."""
        by_group: dict[tuple[str, str], list[Delivery]] = defaultdict(list)
        for delivery in self.history.deliveries:
            if self.history.disciplines.get(delivery.queue) == "ordered" and delivery.group:
                by_group[delivery.queue, delivery.group].append(delivery)
        for deliveries in by_group.values():
            yield from self._check_one_at_a_time(deliveries)
            yield from self._check_group_sequence(deliveries)

    def _check_one_at_a_time(self, deliveries: list[Delivery]) -> Iterator[Violation]:
        busy = sorted(interval for delivery in deliveries for interval in self._busy(delivery))
        latest_end_s, holder = -math.inf, ""
        for start_s, end_s, task_id in busy:
            if start_s < latest_end_s and task_id != holder:
                text = f"handed out while {holder} of its group was running or retrying"
                yield Violation("group", task_id, text)
            if end_s > latest_end_s:
                latest_end_s, holder = end_s, task_id

    def _busy(self, delivery: Delivery) -> Iterator[tuple[float, float, str]]:
        """Yield the times in which a task certainly kept its group busy: start, end, id."""
        mine = [s for s in self.settlements[delivery.id] if s.attempt == delivery.attempt]
        end_s = min([delivery.expires_s, *(settlement.started_s for settlement in mine)])
        if end_s > delivery.ended_s:
            yield delivery.ended_s, end_s, delivery.id
        for settlement in mine:
            waits = settlement.outcome is Outcome.OK and settlement.state == "retrying"
            if waits and settlement.run_at_s - CLOCK_SLACK_S > settlement.ended_s:
                yield settlement.ended_s, settlement.run_at_s - CLOCK_SLACK_S, delivery.id

    def _check_group_sequence(self, deliveries: list[Delivery]) -> Iterator[Violation]:
        """A task is never delivered after a later one of its group was: that one had to wait for it."""
        ended = sorted(deliveries, key=lambda delivery: delivery.ended_s)
        position, highest = 0, ""
        for delivery in sorted(deliveries, key=lambda delivery: delivery.started_s):
            while position < len(ended) and ended[position].ended_s < delivery.started_s:
                highest = max(highest, ended[position].id)
                position += 1
            if delivery.id < highest:
                yield Violation("order", delivery.id, f"delivered after {highest}, a later one of its group")

    def drained_order(self) -> Iterator[Violation]:
        """In the final drain one consumer saw everything: the discipline's order is strict."""
        drained: dict[str, list[Delivery]] = defaultdict(list)
        for delivery in self.history.deliveries:
            if delivery.order >= 0:
                drained[delivery.queue].append(delivery)
        for queue, deliveries in drained.items():
            deliveries.sort(key=lambda delivery: delivery.order)
            discipline = self.history.disciplines[queue]
            if discipline == "round_robin":
                yield from self._check_within_groups(deliveries)
                if queue in self.history.untouched:
                    yield from self._check_turns(deliveries)
            else:
                yield from _check_sorted(deliveries, discipline)

    def _check_within_groups(self, deliveries: list[Delivery]) -> Iterator[Violation]:
        by_group: dict[str, list[Delivery]] = defaultdict(list)
        for delivery in deliveries:
            by_group[delivery.group or ""].append(delivery)
        for group in by_group.values():
            yield from _check_sorted(group, "priority")

    def _check_turns(self, deliveries: list[Delivery]) -> Iterator[Violation]:
        """No group is a whole turn ahead of another that still has tasks; a turn is its weight in tasks."""
        weights = {d.group or "": self.spec_of[d.id].group_weight for d in deliveries if d.id in self.spec_of}
        left: dict[str, int] = defaultdict(int)
        for delivery in deliveries:
            left[delivery.group or ""] += 1
        served = dict.fromkeys(left, 0)
        for delivery in deliveries:
            group = delivery.group or ""
            served[group] += 1
            left[group] -= 1
            waiting = [served[other] / weights.get(other, 1) for other, tasks in left.items() if tasks]
            if waiting and served[group] / weights.get(group, 1) - min(waiting) > 1:
                yield Violation("order", delivery.id, f"group {group} was served out of turn: {served}")
                return


def _check_sorted(deliveries: list[Delivery], discipline: str) -> Iterator[Violation]:
    for before, after in pairwise(deliveries):
        if discipline == "lifo":
            right = before.id > after.id
        elif discipline == "priority":
            right = (-before.priority, before.id) < (-after.priority, after.id)
        else:  # fifo, ordered; ids are UUIDv7 of one slot: their text sorts as the sequence
            right = before.id < after.id
        if not right:
            text = f"{discipline}: delivered after {before.id} (priority {before.priority})"
            yield Violation("order", after.id, text)
