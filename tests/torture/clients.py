"""The clients: producers and consumers that do a little of everything and write down what they saw.

Each draws from its own random generator, so a seed gives the same intentions; what the server's death does
to them is up to the moment.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

from tests.torture.history import Delivery, Enqueue, History, Outcome, Settlement, Spec
from tests.torture.server import TorturedServer
from tests.torture.wire import Answer, Connection, ConnectionBroke, Stalled

QUEUES: dict[str, dict[str, object]] = {
    # Short leases, so that they expire between two kills: a recovered lease runs its whole length again.
    "fifo": {"discipline": "fifo", "lease_ms": 400},
    "lifo": {"discipline": "lifo", "lease_ms": 700},
    "priority": {"discipline": "priority", "lease_ms": 1_500},
    "round_robin": {"discipline": "round_robin", "lease_ms": 400},
    "ordered": {"discipline": "fifo", "ordered_groups": True, "lease_ms": 300},
    "turns": {"discipline": "round_robin", "lease_ms": 2_000},
    "children": {"discipline": "fifo", "lease_ms": 400},
}
CHILDREN = "children"
"""Its tasks depend on tasks of the other queues, so it is drained last."""
DEEP = ("fifo", "lifo", "priority", "round_robin")
"""Filled so deep before the first kill that most of it is in storage alone, not in memory."""
UNTOUCHED = "turns"
"""Filled all along and consumed only in the final drain: there round_robin can be judged strictly."""
LEASE_MS_MAX = 2_000
DELAY_MS_MAX = 400
BACKLOG_MAX = 700
"""Producers rest while a queue holds more than this (and what it was filled with), so that draining it
stays short; and enough for the groups of `ordered` to reach beyond what is kept of a group in memory."""

_GROUPS = ("a", "b", "c", "d", "e")
_BIG_BATCH = 600  # larger than the server applies in one turn
_IMMORTAL = 1_000  # so many attempts that leases which nobody saw cannot kill a task
_DOUBLE_WEIGHT = "c"  # this group has weight 2 in the untouched queue
_SETTLED_RESULT_MS = 24 * 3_600_000  # ended tasks stay readable to the end of the run


def queue_settings(name: str) -> dict[str, object]:
    """Return the body of PUT /v1/queues/{name}."""
    return QUEUES[name] | {"result_ttl_ms": _SETTLED_RESULT_MS}


class Client:
    """What producers and consumers share: a connection, repeats, the history."""

    def __init__(self, name: str, server: TorturedServer, history: History, seed: int) -> None:
        self.name = name
        self.random = random.Random(f"{seed}/{name}")
        self.history = history
        self.stopping = False
        self._server = server
        self._connection = Connection(server.port)

    async def call_once(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> tuple[Outcome, Answer | None]:
        """Send one request when the server is up; return what is known of it."""
        await self._server.up.wait()
        try:
            answer = await self._connection.call(method, path, body, headers)
        except Stalled as error:
            if self._server.up.is_set():
                self.history.unexpected.append(str(error))
            return Outcome.UNKNOWN, None
        except ConnectionBroke:
            await asyncio.sleep(0.005)  # the killer may not have noted yet that the server is down
            return Outcome.UNKNOWN, None
        if answer.ok:
            return Outcome.OK, answer
        if answer.status >= 500 and answer.body.get("outcome") != "not_applied":
            return Outcome.UNKNOWN, answer
        return Outcome.NOT_APPLIED, answer

    async def call_until_known(
        self, method: str, path: str, body: object, headers: dict[str, str] | None = None
    ) -> tuple[Outcome, Answer | None, int]:
        """Repeat a request until its outcome is known; return it, the answer, and the number of tries.

        A refusal with 503 is repeated too. Only for requests that are safe to repeat.
        """
        tries = 0
        while True:
            tries += 1
            outcome, answer = await self.call_once(method, path, body, headers)
            if outcome is not Outcome.UNKNOWN and (answer is None or answer.status != 503):
                return outcome, answer, tries

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class Producer(Client):
    """Enqueues: single and in batches, delayed, unique, dependent, with and without idempotency keys."""

    def __init__(
        self, name: str, server: TorturedServer, history: History, seed: int, queued: Callable[[str], int]
    ) -> None:
        super().__init__(name, server, history, seed)
        self._queued = queued
        self._number = 0
        self._parents: list[str] = []
        """Ids of own tasks that others may depend on."""

    async def fill(self, queue: str, tasks: int) -> None:
        """Put in many tasks before the torture begins."""
        for _ in range(0, tasks, _BIG_BATCH):
            await self._enqueue(queue, _BIG_BATCH, repeat=True)

    async def run(self) -> None:
        """Produce until told to stop."""
        while not self.stopping:
            queue = self.random.choice(list(QUEUES))
            if self._queued(queue) > BACKLOG_MAX:
                await asyncio.sleep(0.01)
                continue
            lot = self.random.random()
            if lot < 0.005 and queue in DEEP:
                size = _BIG_BATCH
            else:
                size = self.random.randint(2, 20) if lot < 0.3 else 1
            await self._enqueue(queue, size, repeat=self.random.random() < 0.6)

    async def _enqueue(self, queue: str, size: int, repeat: bool) -> None:
        """Enqueue; with `repeat` under an idempotency key, until the outcome is known."""
        batch = size > 1
        specs = [self._spec(queue, plain=size == _BIG_BATCH) for _ in range(size)]
        tasks = [_request(spec) for spec in specs]
        path = f"/v1/queues/{queue}/tasks" + ("/batch" if batch else "")
        body: object = {"tasks": tasks} if batch else tasks[0]
        started_s = time.time()
        tries = 1
        if repeat:
            headers = {"Idempotency-Key": f"{specs[0].marker}-key"}
            outcome, answer, tries = await self.call_until_known("POST", path, body, headers)
            if outcome is Outcome.OK and self.random.random() < 0.05:
                # An answer that the client lost without knowing: the repeat must change nothing.
                _, answer_again, _ = await self.call_until_known("POST", path, body, headers)
                if _body(answer_again) != _body(answer):
                    text = f"an idempotent repeat of {path} differs: {answer}, then {answer_again}"
                    self.history.unexpected.append(text)
        else:
            outcome, answer = await self.call_once("POST", path, body)
        self._note(Enqueue(started_s, time.time(), specs, outcome, tries=tries), answer)

    def _note(self, event: Enqueue, answer: Answer | None) -> None:
        if event.outcome is Outcome.OK and answer is not None:
            event.ids = answer.body["ids"] if "ids" in answer.body else [answer.body["id"]]
            event.duplicates = answer.body.get("duplicates", [0] if answer.body.get("duplicate") else [])
            # Only the immortal: of others the checker could not tell when they ended.
            self._parents += [
                task_id
                for spec, task_id in zip(event.specs, event.ids, strict=True)
                if spec.max_attempts == _IMMORTAL and spec.queue != CHILDREN
            ]
            del self._parents[:-50]
        elif event.outcome is Outcome.NOT_APPLIED and answer is not None and answer.status != 503:
            self.history.unexpected.append(f"an enqueue was refused: {answer}")
        self.history.enqueues.append(event)

    def _spec(self, queue: str, plain: bool) -> Spec:
        """Draw a task; a plain one has no delay, no unique key, and lives until it is acked."""
        self._number += 1
        draw = self.random
        marker = f"{self.name}-{self._number}"
        group = draw.choice(_GROUPS) if queue in ("round_robin", "ordered", UNTOUCHED) else None
        if queue == UNTOUCHED:
            weight = 2 if group == _DOUBLE_WEIGHT else 1
            return Spec(marker, queue, group=group, group_weight=weight)
        if queue == CHILDREN:
            parents = draw.sample(self._parents, min(len(self._parents), draw.choice([1, 1, 1, 3])))
            return Spec(marker, queue, depends_on=tuple(parents), max_attempts=_IMMORTAL)
        unique = draw.random() < 0.05 and not plain
        delayed = draw.random() < 0.15 and not plain
        return Spec(
            marker,
            queue,
            priority=draw.randint(-3, 3) if queue in ("priority", "round_robin") else 0,
            group=group,
            # A scheduled task does not block its group, so the order within a group is only simple without.
            delay_ms=draw.randint(1, DELAY_MS_MAX) if delayed and queue != "ordered" else 0,
            unique_key=f"unique-{draw.randint(1, 30)}" if unique else None,
            # A unique task must not die of expired leases unseen, or the checker could not tell if it lives.
            max_attempts=_IMMORTAL if unique or plain else draw.choice([2, 5, _IMMORTAL]),
        )


def _body(answer: Answer | None) -> object:
    return answer.body if answer is not None and answer.ok else answer


def _request(spec: Spec) -> dict[str, object]:
    body: dict[str, object] = {"payload": spec.payload(), "max_attempts": spec.max_attempts}
    optional = {
        "priority": spec.priority,
        "group": spec.group,
        "delay_ms": spec.delay_ms,
        "unique_key": spec.unique_key,
        "depends_on": list(spec.depends_on),
        "on_dependency_failure": "run" if spec.depends_on else None,
        "group_weight": spec.group_weight if spec.group_weight != 1 else None,
    }
    return body | {name: value for name, value in optional.items() if value}


class Consumer(Client):
    """Dequeues, and acks, fails, releases, prolongs, abandons or comes too late."""

    async def run(self) -> None:
        """Consume until told to stop."""
        late: list[Delivery] = []
        while not self.stopping:
            for delivery in await self._dequeue() or []:
                await self._treat(delivery, late)
            while late and late[0].expires_s < time.time():
                await self.settle(late.pop(0), "ack", {})  # a zombie: its lease is gone

    async def _dequeue(self) -> list[Delivery] | None:
        draw = self.random
        body: dict[str, object] = {"max": draw.choice([1, 1, 1, 5, 20]), "worker": self.name}
        if draw.random() < 0.5:
            body["wait_ms"] = draw.randint(1, 300)
        names = [name for name in QUEUES if name != UNTOUCHED]
        if draw.random() < 0.3:
            draw.shuffle(names)
            body["queues"] = names if draw.random() < 0.5 else {name: draw.randint(1, 5) for name in names}
            return await self.take("/v1/dequeue", body)
        return await self.take(f"/v1/queues/{draw.choice(names)}/dequeue", body)

    async def take(self, path: str, body: object) -> list[Delivery] | None:
        """Dequeue once, note and return what came; None when no answer did."""
        started_s = time.time()
        _, answer = await self.call_once("POST", path, body)
        if answer is None:
            return None
        if not answer.ok:
            if answer.status != 503:  # which refuses, and hands nothing out
                self.history.unexpected.append(f"a dequeue was answered {answer}")
            return None
        ended_s = time.time()
        deliveries = [
            Delivery(
                started_s,
                ended_s,
                id=task["id"],
                queue=task["queue"],
                attempt=task["attempt"],
                lease=task["lease"],
                expires_s=task["lease_expires_at"] / 1000,
                payload=task["payload"],
                priority=task["priority"],
                group=task.get("group"),
                consumer=self.name,
            )
            for task in answer.body["tasks"]
        ]
        self.history.deliveries.extend(deliveries)
        return deliveries

    async def _treat(self, delivery: Delivery, late: list[Delivery]) -> None:
        lot = self.random.random()
        if lot < 0.72:
            await self.settle(delivery, "ack", {"result": {"by": self.name}} if lot < 0.3 else {})
        elif lot < 0.78:
            await self.settle_many([delivery])
        elif lot < 0.86:
            await self.settle(delivery, "fail", {"retryable": True, "delay_ms": 0})
        elif lot < 0.90:
            await self.settle(delivery, "fail", {"retryable": True, "delay_ms": self.random.randint(1, 150)})
        elif lot < 0.91:
            await self.settle(delivery, "fail", {"retryable": False, "error": {"type": "Fatal"}})
        elif lot < 0.96:
            await self.settle(delivery, "release", {})
        elif lot < 0.98:
            await self._heartbeat(delivery)
            await self.settle(delivery, "ack", {})
        elif lot < 0.99:
            late.append(delivery)
        # else: abandoned, its lease expires

    async def settle(self, delivery: Delivery, kind: str, body: dict[str, object]) -> Settlement:
        """Settle one delivery, repeating until the outcome is known, and note it."""
        started_s = time.time()
        path = f"/v1/tasks/{delivery.id}/{kind}"
        outcome, answer, tries = await self.call_until_known("POST", path, {"lease": delivery.lease} | body)
        event = Settlement(started_s, time.time(), delivery.id, delivery.attempt, kind, outcome, tries=tries)
        if outcome is Outcome.OK and answer is not None:
            event.state = answer.body.get("state", "")
            event.run_at_s = (answer.body.get("run_at") or 0) / 1000
        elif answer is not None and answer.status not in (409, 410):
            self.history.unexpected.append(f"{kind} of a lease was answered {answer.status}: {answer.body}")
        self.history.settlements.append(event)
        return event

    async def settle_many(self, deliveries: list[Delivery]) -> None:
        """Ack many deliveries with one settle."""
        started_s = time.time()
        items = [{"id": delivery.id, "lease": delivery.lease} for delivery in deliveries]
        _, answer, tries = await self.call_until_known("POST", "/v1/settle", {"ack": items})
        if answer is None or not answer.ok:
            self.history.unexpected.append(f"settle was answered {answer}")
            return
        for delivery, item in zip(deliveries, answer.body["ack"], strict=True):
            outcome = Outcome.OK if item.get("state") == "completed" else Outcome.NOT_APPLIED
            self.history.settlements.append(
                Settlement(
                    started_s,
                    time.time(),
                    delivery.id,
                    delivery.attempt,
                    "ack",
                    outcome,
                    state=item.get("state", ""),
                    tries=tries,
                )
            )

    async def _heartbeat(self, delivery: Delivery) -> None:
        path = f"/v1/tasks/{delivery.id}/heartbeat"
        outcome, answer = await self.call_once("POST", path, {"lease": delivery.lease})
        if outcome is Outcome.OK and answer is not None:
            delivery.expires_s = max(delivery.expires_s, answer.body["lease_expires_at"] / 1000)
