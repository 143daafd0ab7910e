"""A Hypothesis state machine: every command in any order, with everything late that may be late.

After each dequeue the task served is held against the oracle's; after each pause the records are
held against the indexes and counts; and an engine read anew from storage must equal the live one.
"""

import os
import random

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from oracle import expected_order

from taskqueuex.engine import produce, staging
from taskqueuex.model.ids import parse_id
from taskqueuex.storage.check import check_storage
from taskqueuex.testing import Simulator
from taskqueuex.writer.recovery import open_engine

GROUPS = ["", "a", "b", "c"]
QUEUES = ["q", "r"]

staging.SLICE = 2  # so that batches of a handful are staged
produce.STAGED_ABOVE = 3

configs = st.fixed_dictionaries(
    {
        "discipline": st.sampled_from(["fifo", "lifo", "priority", "round_robin"]),
        "ordered_groups": st.booleans(),
        "max_running_per_group": st.sampled_from([None, None, 1, 2]),
        "max_running": st.sampled_from([None, None, 3]),
        "max_tasks": st.sampled_from([None, None, 6]),
        "overflow": st.sampled_from(["reject", "drop_oldest"]),
        "max_attempts": st.sampled_from([2, 5]),
        "result_ttl_ms": st.sampled_from([0, 100_000]),
        "backoff": st.just({"base_ms": 50, "jitter": 0.0}),
    }
)


def _without_bounds(partition):
    record = partition.to_record()
    record.ready_bound = record.timer_bound = b""
    record.unsettled = False
    return record


class Machine(RuleBasedStateMachine):
    """The engine under test, in a simulator."""

    @initialize(seed=st.integers(0, 1 << 30), width=st.sampled_from([2, 3, 8]), first=configs, second=configs)
    def start(self, seed, width, first, second):
        self.sim = Simulator(
            seed, hot_width=width, recent_max=12, before_apply=self.before_apply, after_apply=self.after_apply
        )
        self.random = random.Random(seed)
        self.ids: list[str] = []
        self.leases: list[tuple[str, str]] = []
        self.expected = None
        self.first_of_turn = True
        for name, config in zip(QUEUES, (first, second), strict=True):
            assert self.sim.call("put_queue", name, config).status in (200, 201)

    def before_apply(self, sim, call):
        self.expected = None
        if call.command.name == "dequeue_queue":
            queue = sim.engine.core.queues[call.target]
            if queue.config.discipline != "round_robin" or self.first_of_turn:
                self.expected = (call, expected_order(sim, call.target))
        self.first_of_turn = False

    def after_apply(self, sim, call):
        name = call.command.name
        if name == "enqueue" and call.status in (200, 201):
            self.ids.append(call.json()["id"])
        if name == "dequeue_queue" and call.status == 200:
            tasks = call.json()["tasks"]
            self.leases += [(task["id"], task["lease"]) for task in tasks]
            if self.expected is not None and self.expected[0] is call:
                order = self.expected[1]
                if tasks:
                    assert order is not None, "a queue that may hand out nothing did"
                    assert parse_id(tasks[0]["id"]) == order[0], "not the first in order"
                else:
                    assert not order, "a ready task was not served"
        assert call.status < 500, call.outcome

    def submit(self, *args, **kwargs):
        self.first_of_turn = True
        call = self.sim.submit(*args, **kwargs)
        self.sim.turn()
        return call

    def some_id(self):
        return self.random.choice(self.ids) if self.ids else "01890000-0000-7000-8000-000000000000"

    @rule(
        queue=st.sampled_from(QUEUES),
        group=st.sampled_from(GROUPS),
        weight=st.sampled_from([None, 1, 2]),
        priority=st.integers(-2, 2),
        delay=st.sampled_from([0, 0, 0, 100]),
        ttl=st.sampled_from([None, None, None, 150]),
        unique=st.sampled_from([None, None, None, "k1", "k2"]),
        conflict=st.sampled_from(["existing", "reject", "replace"]),
        parents=st.sampled_from([0, 0, 0, 1, 2]),
        policy=st.sampled_from(["cancel", "run", "hold"]),
        name=st.sampled_from(["", "n"]),
        bulky=st.booleans(),
    )
    def enqueue(
        self, queue, group, weight, priority, delay, ttl, unique, conflict, parents, policy, name, bulky
    ):
        body = {"group": group or None, "group_weight": weight, "priority": priority, "name": name}
        body["payload"] = "x" * 5_000 if bulky else len(self.ids)
        if delay:
            body["delay_ms"] = delay
        if ttl:
            body["ttl_ms"] = ttl
        if unique:
            body.update(unique_key=unique, on_conflict=conflict)
        if parents and self.ids:
            body.update(depends_on=[self.some_id() for _ in range(parents)], on_dependency_failure=policy)
        self.submit("enqueue", queue, body)

    @rule(queue=st.sampled_from(QUEUES), count=st.integers(1, 12), priority=st.integers(-1, 1))
    def enqueue_batch(self, queue, count, priority):
        tasks = [
            {"group": self.random.choice(GROUPS) or None, "priority": priority, "payload": n}
            for n in range(count)
        ]
        self.submit("enqueue_batch", queue, {"tasks": tasks})

    @rule(queue=st.sampled_from(QUEUES), count=st.integers(4, 9), priority=st.integers(-1, 1))
    def enqueue_staged(self, queue, count, priority):
        tasks = [{"priority": priority * (n % 2), "payload": n, "name": "n"} for n in range(count)]
        self.submit("enqueue_batch", queue, {"tasks": tasks})

    @rule(queue=st.sampled_from(QUEUES), most=st.integers(1, 3), lease=st.sampled_from([120, 100_000]))
    def dequeue(self, queue, most, lease):
        self.submit("dequeue_queue", queue, {"max": most, "lease_ms": lease, "worker": "w"})

    @rule(
        what=st.sampled_from(["ack", "fail", "release", "heartbeat"]), delay=st.sampled_from([None, 0, 100])
    )
    def settle_one(self, what, delay):
        if not self.leases:
            return
        task_id, lease = self.leases.pop(self.random.randrange(len(self.leases)))
        body = {"lease": lease}
        if what in ("fail", "release") and delay is not None:
            body["delay_ms"] = delay
        if what == "heartbeat":
            self.leases.append((task_id, lease))
        self.submit(what, task_id, body)

    @rule(
        what=st.sampled_from(
            ["cancel_task", "kill_task", "retry_task", "unblock_task", "delete_task", "get_task", "task_why"]
        )
    )
    def steer(self, what):
        self.submit(what, self.some_id())

    @rule(
        priority=st.integers(-2, 2), delay=st.sampled_from([None, -50, 80]), ttl=st.sampled_from([None, 90])
    )
    def edit(self, priority, delay, ttl):
        body = {"priority": priority}
        if delay is not None:
            body["run_at"] = self.sim.now_ms + delay
        if ttl is not None:
            body["expires_at"] = self.sim.now_ms + ttl
        self.submit("edit_task", self.some_id(), body)

    @rule(
        queue=st.sampled_from(QUEUES), what=st.sampled_from(["pause_queue", "resume_queue", "resume_queue"])
    )
    def pause(self, queue, what):
        self.submit(what, queue)

    @rule(
        action=st.sampled_from(["cancel", "kill", "retry", "delete"]),
        state=st.sampled_from([None, "ready", "dead", "blocked", "scheduled"]),
        queue=st.sampled_from(QUEUES),
    )
    def bulk(self, action, state, queue):
        wanted = {"queue": queue}
        if state:
            wanted["state"] = state
        self.submit("bulk", body={"action": action, "filter": wanted})

    @rule(queue=st.sampled_from(QUEUES), config=configs)
    def reconfigure(self, queue, config):
        self.submit("put_queue", queue, config)

    @rule(ms=st.sampled_from([1, 40, 120, 700]))
    def advance(self, ms):
        self.sim.advance(ms)

    @rule(ms=st.sampled_from([61_000, 200_000]))
    def advance_far(self, ms):
        self.sim.advance(ms)

    @rule(times=st.integers(1, 6))
    def later(self, times):
        for _ in range(times):
            self.sim.step()
            self.first_of_turn = False

    @rule()
    def crash(self):
        self.sim.crash()

    @rule()
    def rest(self):
        self.sim.settle()
        report = check_storage(self.sim.tiers.durable)
        assert report.problems == [], report.problems
        self.compare_with_reloaded()

    def compare_with_reloaded(self):
        live = self.sim.engine.core
        fresh = open_engine(self.sim.tiers, self.sim.now_ms, random.Random(1).getrandbits, 4, 100).core
        assert fresh.queues.keys() == live.queues.keys()
        assert fresh.leases.keys() == live.leases.keys()
        for task_id, lease in live.leases.items():
            kept = fresh.leases[task_id]
            assert (kept.attempt, kept.token, kept.cancel_requested) == (
                lease.attempt,
                lease.token,
                lease.cancel_requested,
            )
        for name, queue in live.queues.items():
            other = fresh.queues[name]
            assert other.config == queue.config and other.paused == queue.paused
            assert other.running == queue.running
            for mine, theirs in zip(queue.partitions, other.partitions, strict=True):
                # Bounds may lie lower in storage than in memory; the check holds them against the rows.
                assert _without_bounds(theirs) == _without_bounds(mine)
        stored = self.sim.tiers.durable.get_tasks([*live.tasks, *live.recent], leases=True)
        for task_id, task in [*live.tasks.items(), *live.recent.items()]:
            row = stored.get(task_id)
            assert row is not None, "a task in memory that storage does not have"
            core = open_engine(self.sim.tiers, self.sim.now_ms, random.Random(1).getrandbits).core
            core.keep(task_id, row)
            copy = core.tasks.get(task_id) or core.recent.get(task_id)
            assert copy.status == task.status
            task_payload, copy.record.payload = task.record.payload, task.record.payload
            assert copy.record == task.record and task_payload is task.record.payload

    @invariant()
    def memory_is_consistent(self):
        if not hasattr(self, "sim"):
            return
        for queue in self.sim.engine.core.queues.values():
            for partition in queue.partitions:
                window = partition.ready
                keys = window.peek(window.hot_count)
                assert keys == sorted(set(keys))
                assert all(key < window.border for key in keys)
                assert window.cold >= 0 and partition.timers.cold >= 0

    def teardown(self):
        if hasattr(self, "sim"):
            self.rest()


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=int(os.environ.get("TQX_EXAMPLES", "150")),
    stateful_step_count=60,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
    **({"phases": [Phase.generate]} if "TQX_NO_SHRINK" in os.environ else {}),
)
