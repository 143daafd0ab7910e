"""The end of a run: one consumer takes everything out, in order, and asks after what it did not see.

Half way through each queue the server is killed once more, between two requests, so that order is judged
across a restart too.
"""

from __future__ import annotations

import asyncio
import random
import time

from tests.torture.clients import CHILDREN, DELAY_MS_MAX, LEASE_MS_MAX, QUEUES, Consumer
from tests.torture.history import Delivery, FinalState, History, Outcome
from tests.torture.server import TorturedServer

_MOVING_STATES = ("scheduled", "running", "retrying", "blocked")
_SAMPLE = 1_000  # acknowledged tasks that are asked after, at random; all others are asked after anyway


async def drain(server: TorturedServer, history: History, seed: int) -> None:
    """Wait until nothing moves by itself, take out everything, and ask for the final states."""
    consumer = Consumer("drain", server, history, seed)
    others = [queue for queue in QUEUES if queue != CHILDREN]
    for queue in others:
        await _until_still(consumer, queue)
    for queue in others:
        await _drain_queue(consumer, server, queue)
    await _until_still(consumer, CHILDREN)  # all that they depend on has ended now
    await _drain_queue(consumer, server, CHILDREN)
    await _ask_for_finals(consumer, history, random.Random(f"{seed}/finals"))
    consumer.close()


async def _until_still(consumer: Consumer, queue: str) -> None:
    """Wait until every task of a queue is ready or has ended: leases expired, delays over."""
    deadline_s = time.time() + (LEASE_MS_MAX + DELAY_MS_MAX) / 1000 + 10
    while True:
        counts = await _counts(consumer, queue)
        moving = {state: counts.get(state, 0) for state in _MOVING_STATES if counts.get(state, 0)}
        if not moving:
            return
        if time.time() > deadline_s:
            consumer.history.unexpected.append(
                f"queue {queue} still has {moving} long after every lease and delay"
            )
            return
        await asyncio.sleep(0.02)  # time must pass: leases run out


async def _counts(consumer: Consumer, queue: str) -> dict[str, int]:
    outcome, answer, _ = await consumer.call_until_known("GET", f"/v1/queues/{queue}", None)
    if outcome is not Outcome.OK or answer is None:
        consumer.history.unexpected.append(f"GET of queue {queue} was answered {answer}")
        return {}
    counts: dict[str, int] = answer.body["counts"]
    return counts


async def _drain_queue(consumer: Consumer, server: TorturedServer, queue: str) -> None:
    half = (await _counts(consumer, queue)).get("ready", 0) // 2
    position, killed = 0, False
    while True:
        # One task of a group at a time is all that an ordered queue hands out: its order shows one by one.
        most = 1 if queue == "ordered" else consumer.random.randint(1, 400)
        # Long leases: one that runs out on a busy machine before its ack arrives is delivered again, rightly
        # and out of order. Nothing is left leased when the server is killed here.
        taken = await consumer.take(f"/v1/queues/{queue}/dequeue", {"max": most, "lease_ms": 60_000})
        if taken is None:
            consumer.history.unexpected.append(
                f"a dequeue of {queue} in the quiet of the drain got no answer"
            )
            return
        if not taken:
            break
        for delivery in taken:
            delivery.order = position
            position += 1
        await _ack_all(consumer, taken)
        if position >= half and not killed:
            killed = True
            consumer.close()  # or the next request would break on the connection that died with the server
            server.kill()
            await server.start()
    left = {state: n for state, n in (await _counts(consumer, queue)).items() if n and state in _LIVE_STATES}
    if left:
        consumer.history.unexpected.append(f"queue {queue} answers an empty dequeue, and counts {left}")


_LIVE_STATES = ("ready", *_MOVING_STATES)


async def _ack_all(consumer: Consumer, taken: list[Delivery]) -> None:
    if len(taken) > 1:
        await consumer.settle_many(taken)
    else:
        await consumer.settle(taken[0], "ack", {})


async def _ask_for_finals(consumer: Consumer, history: History, draw: random.Random) -> None:
    """Ask for every acknowledged task that no ack explains, and for a sample of the others."""
    acked = {event.id for event in history.settlements if event.kind == "ack" and event.outcome is Outcome.OK}
    known = sorted({task_id for event in history.enqueues for task_id in event.ids})
    asked = [task_id for task_id in known if task_id not in acked]
    explained = [task_id for task_id in known if task_id in acked]
    asked += draw.sample(explained, min(_SAMPLE, len(explained)))
    for task_id in asked:
        _, answer, _ = await consumer.call_until_known("GET", f"/v1/tasks/{task_id}", None)
        assert answer is not None
        body = answer.body if answer.ok else {}
        history.finals[task_id] = FinalState(
            task_id, answer.status, body.get("state", ""), body.get("attempt", 0)
        )
