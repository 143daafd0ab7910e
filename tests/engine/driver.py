"""A plain random driver of the engine: every single dequeue is held against the oracle."""

import random

from oracle import expected_order

from taskqueuex.model.ids import parse_id
from taskqueuex.storage.check import check_storage
from taskqueuex.testing import Simulator

OPERATIONS = (
    "enqueue",
    "enqueue",
    "enqueue",
    "take",
    "take",
    "settle",
    "cancel",
    "edit",
    "later",
    "later",
    "advance",
)


class Driver:
    """Random calls on one queue, with commits and reads as late as the simulator likes."""

    def __init__(self, seed: int, config: dict, *, width: int = 2, restart: bool = False) -> None:
        self.random = random.Random(seed)
        self.restart = restart
        self.expected = None
        self.first = True
        self.ids: list[str] = []
        self.leases: list[tuple[str, str]] = []
        self.served: list[str] = []
        self.sim = Simulator(seed, hot_width=width, before_apply=self.before, after_apply=self.after)
        self.sim.call("put_queue", "q", config)

    def before(self, sim, call):
        self.expected = None
        if call.command.name == "dequeue_queue" and self.first:
            self.expected = (call, expected_order(sim, "q") or [])
        self.first = False

    def after(self, sim, call):
        assert call.status < 500, call.outcome
        if call.command.name == "enqueue" and call.status == 201:
            self.ids.append(call.json()["id"])
        if call.command.name == "dequeue_queue":
            tasks = call.json()["tasks"]
            self.leases += [(task["id"], task["lease"]) for task in tasks]
            self.served += [task["id"] for task in tasks]
            if self.expected is not None and self.expected[0] is call:
                got = [parse_id(task["id"]) for task in tasks]
                assert got == self.expected[1][: len(got)], "not the first in order"
                assert got or not self.expected[1], "a ready task was not served"

    def submit(self, name, target="q", body=None):
        self.first = True
        self.sim.submit(name, target, body)
        self.sim.turn()

    def step(self):
        chance = self.random
        what = chance.choice(OPERATIONS)
        if what == "enqueue":
            body = {"priority": chance.randrange(-1, 2), "group": chance.choice([None, "a", "b"])}
            if chance.random() < 0.15:
                body["delay_ms"] = chance.choice([20, 90])
            self.submit("enqueue", "q", body)
        elif what == "take":
            self.submit("dequeue_queue", "q", {"max": 1, "lease_ms": chance.choice([60, 100_000])})
        elif what == "settle" and self.leases:
            task_id, lease = self.leases.pop(chance.randrange(len(self.leases)))
            self.submit(chance.choice(["ack", "fail", "release"]), task_id, {"lease": lease})
        elif what in ("cancel", "edit") and self.ids:
            body = {"priority": chance.randrange(-1, 2)} if what == "edit" else None
            self.submit(f"{what}_task", chance.choice(self.ids), body)
        elif what == "advance":
            self.sim.advance(chance.choice([1, 30, 120]))
        else:
            self.first = False
            for _ in range(chance.randrange(1, 5)):
                self.sim.step()
        if self.restart and chance.random() < 0.03:
            self.sim.settle()
            self.sim.crash()

    def run(self, steps: int = 120) -> None:
        for _ in range(steps):
            self.step()
        self.check()

    def check(self) -> None:
        self.sim.settle()
        assert check_storage(self.sim.tiers.durable).problems == []

    def drain(self) -> list[str]:
        """Everything that can be served, in order, without acks."""
        got = []
        while True:
            self.sim.settle()
            tasks = self.sim.call("dequeue_queue", "q", {"max": 1, "lease_ms": 10_000_000}).json()["tasks"]
            if not tasks:
                return got
            got.append(tasks[0]["id"])


CONFIGS = [
    {"discipline": "fifo"},
    {"discipline": "lifo"},
    {"discipline": "priority"},
    {"discipline": "round_robin"},
    {"discipline": "fifo", "ordered_groups": True},
    {"discipline": "priority", "max_running_per_group": 1},
    {"discipline": "lifo", "max_tasks": 8, "overflow": "drop_oldest"},
]
