"""A Hypothesis state machine: every command in any order, with everything late that may be late.

After each dequeue the task served is held against the oracle's; after each pause the records are
held against the indexes and counts; and an engine read anew from storage must equal the live one.
"""

import os
import random

import msgspec
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from oracle import expected_orders

from taskqueuex.engine import produce, staging
from taskqueuex.engine.queues import listed_view, queue_view
from taskqueuex.model.ids import format_id, parse_id
from taskqueuex.model.place import VOLATILE
from taskqueuex.model.states import COMPLETED, RUNNING
from taskqueuex.storage.check import check_storage
from taskqueuex.storage.query import state_of
from taskqueuex.testing import Simulator
from taskqueuex.writer.recovery import open_engine

GROUPS = ["", "a", "b", "c"]
SCHEDULES = ["s1", "s2"]
QUEUES = ["q", "r", "p", "m"]
FIXED = {"p": {"partitions": 3}, "m": {"durability": "memory", "max_tasks": 12}}

# So that batches of a handful are staged, while the machine runs.
SMALL_SLICE, STAGED_ABOVE = 2, 3
AS_IT_IS = (staging.SLICE, produce.STAGED_ABOVE)

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
        "rate_limit": st.sampled_from([None, None, None, {"per_second": 20, "burst": 2}]),
    }
)


class Bucket:
    """What a rate limit may have handed out: at most `most` tokens are left, and at least `least`.

    They differ after a crash only: what was handed out without being committed was handed out to
    nobody, and is forgotten.
    """

    def __init__(self, queue, now_ms: int) -> None:
        self.queue = queue
        self.limit = queue.config.rate_limit
        self.least = self.most = float(self.limit.burst)
        self.at = now_ms

    def go_on(self, now_ms: int) -> None:
        gained = max(0, now_ms - self.at) * self.limit.per_second / 1000
        self.least = min(self.limit.burst, self.least + gained)
        self.most = min(self.limit.burst, self.most + gained)
        self.at = max(self.at, now_ms)

    def take(self, count: int) -> None:
        self.least = max(0.0, self.least - count)
        self.most -= count
        assert self.most > -1e-6, "more was handed out than the rate allows"


def _without_bounds(partition):
    record = partition.to_record()
    record.ready_bound = record.timer_bound = b""
    record.unsettled = False
    return record


class Machine(RuleBasedStateMachine):
    """The engine under test, in a simulator."""

    @initialize(
        seed=st.integers(0, 1 << 30),
        width=st.sampled_from([2, 3, 8]),
        settings=st.lists(configs, min_size=len(QUEUES), max_size=len(QUEUES)),
    )
    def start(self, seed, width, settings):
        staging.SLICE, produce.STAGED_ABOVE = SMALL_SLICE, STAGED_ABOVE
        self.sim = Simulator(
            seed, hot_width=width, recent_max=12, before_apply=self.before_apply, after_apply=self.after_apply
        )
        self.random = random.Random(seed)
        self.ids: list[str] = []
        self.leases: list[tuple[str, str]] = []
        self.workflows: list[str] = []
        self.polls = []
        self.handed_out = []
        self.triggered: set[str] = set()
        self.buckets: dict[str, Bucket] = {}
        self.expected = None
        self.first_of_turn = True
        for name, config in zip(QUEUES, settings, strict=True):
            call = self.sim.call("put_queue", name, {**config, **FIXED.get(name, {})})
            assert call.status in (200, 201), call.outcome

    def servable(self, name):
        """Which tasks may be the next of a queue: the first of each of its partitions."""
        orders = expected_orders(self.sim, name)
        bucket = self.bucket_of(name)
        if bucket is not None and bucket.most < 1 - 1e-6:
            return set()
        return {order[0] for order in orders or () if order}

    def must_serve(self, name):
        """Whether a queue with a servable task has no excuse not to serve it."""
        bucket = self.bucket_of(name)
        return bucket is None or bucket.least > 1 + 1e-6

    def before_apply(self, sim, call):
        self.expected = None
        command = call.command.name
        if command in ("dequeue_queue", "dequeue"):
            if call.body.wait_ms:
                return  # it may be answered later in the turn
            names = [call.target] if command == "dequeue_queue" else list(call.body.queues)
            queues = [queue for name in names if (queue := sim.engine.core.queues.get(name)) is not None]
            if self.first_of_turn or all(queue.config.discipline != "round_robin" for queue in queues):
                self.expected = (call, [(queue.name, self.servable(queue.name)) for queue in queues])
        self.first_of_turn = False

    def after_apply(self, sim, call):
        name = call.command.name
        assert call.status < 500, call.outcome
        if name == "enqueue" and call.status in (200, 201):
            self.ids.append(call.json()["id"])
        if name == "create_workflow" and call.status == 201:
            self.workflows.append(call.json()["id"])
            self.ids += call.json()["ids"].values()
        if name == "trigger_schedule" and call.status in (200, 201):
            self.triggered.add(call.json()["id"])
        if name == "put_queue" and call.status in (200, 201):
            self.bucket_of(call.target)
        if name in ("dequeue_queue", "dequeue", "settle") and call.status == 200:
            self.on_tasks(call, call.json()["tasks"])

    def bucket_of(self, name):
        """The bucket of a queue as it is now; None where nothing limits its rate."""
        queue = self.sim.engine.core.queues.get(name)
        limit = queue.config.rate_limit if queue is not None else None
        if limit is None:
            self.buckets.pop(name, None)
            return None
        bucket = self.buckets.get(name)
        if bucket is None or bucket.queue is not queue:
            bucket = self.buckets[name] = Bucket(queue, self.sim.now_ms)
        bucket.go_on(self.sim.now_ms)
        return bucket

    def on_tasks(self, call, tasks):
        self.leases += [(task["id"], task["lease"]) for task in tasks]
        if tasks:
            self.handed_out.append(call.outcome.tasks)
        if self.expected is not None and self.expected[0] is call:
            self.compare_with_expected(call, tasks)
        for name in {task["queue"] for task in tasks}:
            queue = self.sim.engine.core.queues[name]
            limit = queue.config.max_running
            assert limit is None or queue.running <= limit, "more run than may"
            bucket = self.bucket_of(name)
            if bucket is not None:
                bucket.take(sum(task["queue"] == name for task in tasks))

    def compare_with_expected(self, call, tasks):
        servable = self.expected[1]
        if not tasks:
            left = [name for name, first in servable if first and self.must_serve(name)]
            assert not left, f"a ready task was not served: {left}"
            return
        first_of = {}
        for task in tasks:
            first_of.setdefault(task["queue"], parse_id(task["id"]))
        for name, first in servable:
            if name in first_of:
                assert first, "a queue that may hand out nothing did"
                assert first_of[name] in first, "not the first in order"
        by_weight = call.command.name == "dequeue" and isinstance(call.body.queues, dict)
        if not by_weight:
            able = [name for name, first in servable if first and self.must_serve(name)]
            assert not able or tasks[0]["queue"] in self.not_later_than(able[0], servable), (
                "not the first queue"
            )

    @staticmethod
    def not_later_than(name, servable):
        names = [each for each, _ in servable]
        return names[: names.index(name) + 1]

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
        timeout=st.sampled_from([None, None, None, 60]),
    )
    def enqueue(
        self,
        queue,
        group,
        weight,
        priority,
        delay,
        ttl,
        unique,
        conflict,
        parents,
        policy,
        name,
        bulky,
        timeout,
    ):
        body = {"group": group or None, "group_weight": weight, "priority": priority, "name": name}
        body["payload"] = "x" * 5_000 if bulky else len(self.ids)
        if delay:
            body["delay_ms"] = delay
        if ttl:
            body["ttl_ms"] = ttl
        if timeout:
            body["timeout_ms"] = timeout
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
        queues=st.lists(st.sampled_from(QUEUES), min_size=1, max_size=3, unique=True),
        by_weight=st.booleans(),
        most=st.integers(1, 3),
        wait=st.sampled_from([0, 30, 500]),
        lease=st.sampled_from([120, 100_000]),
    )
    def dequeue_of_several(self, queues, by_weight, most, wait, lease):
        asked = {name: at + 1 for at, name in enumerate(queues)} if by_weight else queues
        body = {"queues": asked, "max": most, "wait_ms": wait, "lease_ms": lease}
        self.polls.append(self.submit("dequeue", body=body))

    @rule(wait=st.sampled_from([30, 500]))
    def wait_for_an_end(self, wait):
        self.polls.append(self.submit("get_task", self.some_id(), query={"wait_ms": wait}))

    @rule()
    def disconnect(self):
        """A client that waits has gone."""
        waiting = [poll for poll in self.polls if not poll.status]
        if waiting:
            poll = self.random.choice(waiting)
            poll.closed = True
            self.sim.engine.drop_sink(poll)

    @rule()
    def lose_an_answer(self):
        """The connection closed before tasks that were handed out had arrived."""
        if self.handed_out:
            tasks = self.handed_out.pop(self.random.randrange(len(self.handed_out)))
            self.sim.engine.begin(self.sim.now_ms, (self.sim.batch, self.sim.volatile))
            self.sim.engine.give_back(tasks)
            self.sim.turn()

    @rule(
        kinds=st.lists(st.sampled_from(["ack", "fail", "release", "heartbeat"]), max_size=4),
        queue=st.sampled_from([None, *QUEUES]),
        wait=st.sampled_from([0, 30]),
        always=st.booleans(),
    )
    def settle(self, kinds, queue, wait, always):
        body = {kind: [] for kind in kinds}
        for kind in kinds:
            if self.leases:
                task_id, lease = self.random.choice(self.leases)
                body[kind].append({"id": task_id, "lease": lease})
        if queue is not None:
            body["dequeue"] = {"queues": [queue], "max": 2, "wait_ms": wait}
            if always:
                body["wait"] = "always"
        self.polls.append(self.submit("settle", body=body))

    @rule(
        queues=st.lists(st.sampled_from(QUEUES), min_size=2, max_size=4),
        policy=st.sampled_from(["cancel", "run", "hold"]),
        unique=st.sampled_from([None, None, "k1"]),
    )
    def workflow(self, queues, policy, unique):
        tasks = [{"ref": f"t{at}", "queue": queue} for at, queue in enumerate(queues)]
        for at in range(1, len(tasks)):
            tasks[at]["depends_on"] = [f"t{self.random.randrange(at)}"]
            tasks[at]["on_dependency_failure"] = policy
        if unique:
            tasks[0]["unique_key"] = unique
        if self.ids and self.random.random() < 0.3:
            tasks[0]["depends_on"] = [self.some_id()]
        self.submit("create_workflow", body={"tasks": tasks})

    @rule()
    def cancel_workflow(self):
        if self.workflows:
            self.submit("cancel_workflow", self.random.choice(self.workflows))

    @rule(queue=st.sampled_from(QUEUES))
    def purge(self, queue):
        self.submit("purge_queue", queue)

    @rule(queue=st.sampled_from(QUEUES))
    def look_at_queue(self, queue):
        self.submit("queue_why", queue)

    @rule(queue=st.sampled_from(QUEUES), force=st.booleans())
    def delete_queue(self, queue, force):
        if self.random.random() < 0.4:
            self.submit("delete_queue", queue, query={"force": force})

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
        self.submit("put_queue", queue, {**config, **FIXED.get(queue, {})})

    @rule(
        name=st.sampled_from(SCHEDULES),
        queue=st.sampled_from(QUEUES),
        every_ms=st.sampled_from([100, 150, 90_000]),
        overlap=st.sampled_from(["skip", "queue"]),
        catch_up=st.booleans(),
        group=st.sampled_from([None, "a"]),
    )
    def put_schedule(self, name, queue, every_ms, overlap, catch_up, group):
        timing = {"every_ms": every_ms, "overlap": overlap, "catch_up": catch_up}
        self.submit("put_schedule", name, {"queue": queue, "task": {"group": group}, **timing})

    @rule(
        name=st.sampled_from(SCHEDULES),
        what=st.sampled_from(["pause", "resume", "resume", "trigger", "trigger", "delete", "get"]),
    )
    def steer_schedule(self, name, what):
        self.submit(f"{what}_schedule", name)

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
        self.polls.clear()
        self.handed_out.clear()
        self.buckets.clear()
        for name in QUEUES:
            bucket = self.bucket_of(name)
            if bucket is not None:
                bucket.least = 0.0  # what was handed out may be forgotten, or not

    @rule()
    def rest(self):
        self.sim.settle()
        tiers = self.sim.tiers
        report = check_storage(tiers.durable)
        assert report.problems == [], report.problems
        report = check_storage(tiers.volatile, VOLATILE, tiers.durable)
        assert report.problems == [], report.problems
        self.compare_with_reloaded()
        self.occurrences_are_decided_once()
        self.nobody_waits_for_what_is_there()

    def occurrences_are_decided_once(self):
        core = self.sim.engine.core
        for schedule in core.schedules.values():
            decided = schedule.state.next_at > core.now_ms
            assert decided or schedule.record.paused or schedule.retry_at > core.now_ms
        seen = []
        for queue in core.queues.values():
            for partition in queue.partitions:
                store = self.sim.tiers.of(partition.place)
                ids = store.scan_tasks(partition.place.slot, b"", 100_000)
                for task_id, task in store.get_tasks(ids).items():
                    meta = task.record.meta or {}
                    mine = task.record.queue_number == partition.place.number
                    if mine and "scheduled_at" in meta and format_id(task_id) not in self.triggered:
                        seen.append((meta["schedule"], meta["scheduled_at"]))
        assert len(seen) == len(set(seen)), "an occurrence was enqueued twice"

    def nobody_waits_for_what_is_there(self):
        waiters = self.sim.engine.waiters
        for name, line in waiters.by_queue.items():
            if any(not waiter.done for waiter in line) and name in self.sim.engine.core.queues:
                assert not (self.servable(name) and self.must_serve(name)), f"a poll waits at {name}"
        stored = self.sim.tiers.get_tasks(list(waiters.by_task), leases=True)
        for task_id in waiters.by_task:
            assert state_of(stored[task_id]) < COMPLETED, "a wait for an end that has come"
        for name, queue in self.sim.engine.core.queues.items():
            running = [task for task in self.stored_tasks(queue) if state_of(task) == RUNNING]
            assert queue.running == len(running), name

    def stored_tasks(self, queue):
        for partition in queue.partitions:
            store = self.sim.tiers.of(partition.place)
            ids = store.scan_tasks(partition.place.slot, b"", 100_000)
            for task in store.get_tasks(ids, leases=True).values():
                if task.record.queue_number == partition.place.number:
                    yield task

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
        assert fresh.schedules.keys() == live.schedules.keys()
        for name, schedule in live.schedules.items():
            assert fresh.schedules[name].record == schedule.record
            assert fresh.schedules[name].state == schedule.state
        stored = self.sim.tiers.get_tasks([*live.tasks, *live.recent], leases=True)
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

    @invariant()
    def queues_are_listed_as_they_are(self):
        if not hasattr(self, "sim"):
            return
        core, encode = self.sim.engine.core, msgspec.json.encode
        for queue in core.queues.values():
            assert encode(listed_view(core, queue)) == encode(queue_view(core, queue))

    def teardown(self):
        try:
            if hasattr(self, "sim"):
                self.rest()
        finally:
            staging.SLICE, produce.STAGED_ABOVE = AS_IT_IS


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=int(os.environ.get("TQX_EXAMPLES", "150")),
    stateful_step_count=60,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
    **({"phases": [Phase.generate]} if "TQX_NO_SHRINK" in os.environ else {}),
)
