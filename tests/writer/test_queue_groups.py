"""Which groups share a queue: what is told of them is what their queue would do next."""

import asyncio
from collections import Counter

import pytest
from writer_harness import Harness

from taskqueuex.writer import queries

FAIR = {"discipline": "round_robin"}


def on_a_writer(test):
    """Runs a test on a writer's loop."""

    def run():
        async def within():
            harness = Harness()
            await test(harness)
            await harness.writer.stop()

        asyncio.run(within())

    run.__name__ = test.__name__
    return run


async def _create(harness, **settings):
    assert (await harness.call("put_queue", "q", settings)).status == 201


async def _groups(harness, limit=100):
    call = await harness.call("queue_groups", "q", query={"limit": limit})
    assert call.status == 200, call.outcome
    return call.json()


async def _by_name(harness):
    return {each["group"]: each for each in (await _groups(harness))["groups"]}


async def _enqueue(harness, count, group, **fields):
    tasks = [{"group": group, **fields}] * count
    assert (await harness.call("enqueue_batch", "q", {"tasks": tasks})).status == 201


async def _take(harness, count):
    return (await harness.call("dequeue_queue", "q", {"max": count})).json()["tasks"]


@on_a_writer
async def test_an_unknown_queue_is_not_found(harness):
    assert (await harness.call("queue_groups", "q")).status == 404


@on_a_writer
async def test_a_queue_that_keeps_no_groups_says_so(harness):
    await _create(harness)
    await _enqueue(harness, 2, "a")
    assert await _groups(harness) == {"groups": [], "kept": False, "scanned": 0, "complete": True}


@on_a_writer
async def test_a_queue_without_tasks_has_no_groups(harness):
    await _create(harness, **FAIR)
    assert await _groups(harness) == {"groups": [], "kept": True, "scanned": 0, "complete": True}


@on_a_writer
async def test_shares_are_as_the_weights(harness):
    await _create(harness, **FAIR)
    await _enqueue(harness, 40, "heavy", group_weight=3)
    await _enqueue(harness, 60, "light")
    answer = await _groups(harness)
    assert [each["group"] for each in answer["groups"]] == ["light", "heavy"]  # the most ready first
    shares = {each["group"]: each["share"] for each in answer["groups"]}
    assert shares == {"heavy": 0.75, "light": 0.25}
    taken = Counter(task["group"] for task in await _take(harness, 40))
    assert {name: count / 40 for name, count in taken.items()} == shares
    heavy = (await _by_name(harness))["heavy"]
    assert (heavy["weight"], heavy["ready"], heavy["running"]) == (3, 10, 30)


@on_a_writer
async def test_a_share_goes_to_those_that_have_something_ready(harness):
    await _create(harness, **FAIR)
    await _enqueue(harness, 1, "a")
    await _enqueue(harness, 3, "b")
    (task,) = await _take(harness, 1)
    assert task["group"] == "a"
    groups = await _by_name(harness)
    assert (groups["a"]["share"], groups["b"]["share"]) == (0, 1)
    assert (groups["a"]["ready"], groups["a"]["running"], groups["a"]["held_up"]) == (0, 1, False)
    await harness.call("ack", task["id"], {"lease": task["lease"]})
    assert list(await _by_name(harness)) == ["b"]


@on_a_writer
async def test_tasks_of_no_group_share_turns_as_one(harness):
    await _create(harness, **FAIR)
    await _enqueue(harness, 2, None)
    await _enqueue(harness, 2, "a")
    assert {name: each["share"] for name, each in (await _by_name(harness)).items()} == {None: 0.5, "a": 0.5}


@on_a_writer
async def test_partitions_take_turns_and_an_empty_one_leaves_its_to_the_next(harness):
    await _create(harness, partitions=4, **FAIR)
    names = [f"g{number}" for number in range(3)]
    for name in names:
        await _enqueue(harness, 100, name)
    await _enqueue(harness, 80, None)  # of no group: in all four
    groups = await _by_name(harness)
    assert sum(each["share"] for each in groups.values()) == pytest.approx(1)
    assert groups[None]["ready"] == 80
    taken = Counter([(await _take(harness, 1))[0]["group"] for _ in range(48)])
    for name, each in groups.items():
        assert taken[name] / 48 == pytest.approx(each["share"], abs=0.05), name
    for task in (await harness.call("list_tasks", query={"queue": "q", "limit": 1_000})).json()["tasks"]:
        if task["group"] is None and task["state"] == "ready":
            await harness.call("cancel_task", task["id"])
    groups = await _by_name(harness)
    taken = Counter([(await _take(harness, 1))[0]["group"] for _ in range(48)])
    for name in names:
        assert taken[name] / 48 == pytest.approx(groups[name]["share"], abs=0.05), name


@on_a_writer
async def test_a_group_at_its_limit_is_held_up_and_gets_nothing(harness):
    await _create(harness, max_running_per_group=1, **FAIR)
    await _enqueue(harness, 3, "a")
    await _enqueue(harness, 3, "b")
    (task,) = await _take(harness, 1)
    groups = await _by_name(harness)
    assert (groups["a"]["held_up"], groups["a"]["share"]) == (True, 0)
    assert (groups["b"]["held_up"], groups["b"]["share"]) == (False, 1)
    await harness.call("ack", task["id"], {"lease": task["lease"]})
    assert (await _by_name(harness))["a"]["held_up"] is False


@on_a_writer
async def test_an_ordered_group_is_held_up_by_what_runs_and_by_what_retries(harness):
    await _create(harness, ordered_groups=True)
    await _enqueue(harness, 2, "a")
    (task,) = await _take(harness, 1)
    a = (await _by_name(harness))["a"]
    assert (a["ready"], a["running"], a["held_up"], a["share"]) == (1, 1, True, None)
    await harness.call("fail", task["id"], {"lease": task["lease"], "error": {"type": "E"}})
    a = (await _by_name(harness))["a"]
    assert (a["running"], a["retrying"], a["held_up"]) == (0, 1, True)


@on_a_writer
async def test_groups_are_told_after_a_restart(harness):
    await _create(harness, **FAIR)
    await _enqueue(harness, 3, "a", group_weight=2)
    await _enqueue(harness, 4, "b")
    await _take(harness, 1)
    before = await _groups(harness)
    harness.recover(power_cut=True)
    assert await _groups(harness) == before
    assert [each["ready"] + each["running"] for each in before["groups"]] == [4, 3]


@on_a_writer
async def test_a_queue_in_memory_tells_its_groups(harness):
    await _create(harness, durability="memory", max_tasks=100, **FAIR)
    await _enqueue(harness, 2, "a")
    await _enqueue(harness, 1, "b")
    await _take(harness, 1)
    groups = await _by_name(harness)
    assert (groups["a"]["ready"], groups["a"]["running"], groups["a"]["share"]) == (1, 1, 0.5)


def test_of_a_queue_in_memory_fewer_are_looked_at_since_it_is_read_on_the_loop(monkeypatch):
    async def within(harness):
        monkeypatch.setattr(queries, "GROUPS_INLINE_MAX", 2)
        await _create(harness, durability="memory", max_tasks=100, **FAIR)
        for name in "ab":
            await _enqueue(harness, 1, name)
        assert (await _groups(harness))["complete"] is True
        await _enqueue(harness, 1, "c")
        answer = await _groups(harness)
        assert (answer["scanned"], answer["complete"]) == (2, False)

    on_a_writer(within)()


@on_a_writer
async def test_what_was_put_in_a_moment_ago_is_told(harness):
    """The read runs once the batch with all that came before it is written."""
    await _create(harness, **FAIR)
    calls = [harness.call("enqueue", "q", {"group": name}) for name in "abc"]
    *_, groups = await asyncio.gather(*calls, harness.call("queue_groups", "q"))
    assert [each["group"] for each in groups.json()["groups"]] == ["a", "b", "c"]


@on_a_writer
async def test_of_thousands_of_groups_the_longest_are_told(harness):
    await _create(harness, **FAIR)
    for _ in range(2):
        tasks = [{"group": f"g{number}"} for number in range(2_500)]
        await harness.call("enqueue_batch", "q", {"tasks": tasks})
    await _enqueue(harness, 5, "g1234")
    answer = await _groups(harness, limit=10)
    assert (answer["scanned"], answer["complete"], len(answer["groups"])) == (2_500, True, 10)
    assert (answer["groups"][0]["group"], answer["groups"][0]["ready"]) == ("g1234", 7)
    assert answer["groups"][0]["share"] == pytest.approx(1 / 2_500)


@pytest.mark.parametrize("partitions", [1, 3])
def test_a_scan_that_ends_at_its_bound_says_so(monkeypatch, partitions):
    async def within(harness):
        await _create(harness, partitions=partitions, **FAIR)
        await harness.call("enqueue_batch", "q", {"tasks": [{"group": f"g{i}"} for i in range(50)]})
        whole = await _groups(harness)
        assert (whole["scanned"], whole["complete"]) == (50, True)
        monkeypatch.setattr(queries, "_GROUPS_PAGE", 7)
        assert await _groups(harness) == whole
        monkeypatch.setattr(queries, "GROUPS_SCANNED_MAX", 50)
        assert await _groups(harness) == whole
        monkeypatch.setattr(queries, "GROUPS_SCANNED_MAX", 49)
        cut = await _groups(harness)
        assert (len(cut["groups"]), cut["scanned"], cut["complete"]) == (49, 49, False)
        assert {each["share"] for each in cut["groups"]} == {None}

    on_a_writer(within)()


@on_a_writer
async def test_groups_of_a_changed_queue(harness):
    await _create(harness)
    await _enqueue(harness, 700, "a")
    changed = harness.call("put_queue", "q", FAIR)
    _, meanwhile = await asyncio.gather(changed, harness.call("queue_groups", "q"))
    assert meanwhile.json()["complete"] is False
    while (await harness.call("get_queue", "q")).json()["resorting"]:
        await asyncio.sleep(0)
    answer = await _groups(harness)
    assert (answer["complete"], answer["groups"][0]["ready"]) == (True, 700)
