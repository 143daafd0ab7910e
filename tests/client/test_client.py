"""Both clients against a real server."""

import msgspec
import pytest

from taskqueuex.client import read_item
from taskqueuex.commands.consume import AckItem, Dequeue, ErrorSpec, SettledReply
from taskqueuex.commands.produce import BatchReply, EnqueueReply, EnqueueTask, PartialReply
from taskqueuex.errors import Conflict, Invalid, LeaseLost, NotFound, ProtocolError, TaskQueueError

UNKNOWN_ID = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.fixture
def client(connect, server):
    return connect(server.url)


def test_a_task_goes_its_way(client, queue):
    id = client.enqueue(queue, payload={"any": "json"}, name="x", priority=3, tags=["a"]).id
    (task,) = client.dequeue(queues=[queue], max=5, wait_ms=5_000, worker="w").tasks
    assert (task.id, task.name, task.priority, task.tags) == (id, "x", 3, ("a",))
    assert msgspec.json.decode(task.payload) == {"any": "json"}
    client.heartbeat(id, lease=task.lease, progress=0.5)
    assert client.ack(id, lease=task.lease, result=[1, 2]).state == "completed"
    view = client.get_task(id, wait_ms=1_000)
    assert (view.state, bytes(view.result), bytes(view.progress)) == ("completed", b"[1,2]", b"0.5")
    assert [each.event for each in client.task_history(id)][-1] == "completed"


def test_raw_json_is_sent_as_it_is_and_what_was_not_given_is_not_sent(client, queue):
    id = client.enqueue(queue, payload=msgspec.Raw(b'{"a" : 1.50}')).id
    assert bytes(client.get_task(id).payload) == b'{"a" : 1.50}'
    client.put_queue(queue, max_tasks=5)
    client.put_queue(queue, lease_ms=1_000)
    assert client.get_queue(queue).max_tasks == 5
    assert client.put_queue(queue, max_tasks=None).max_tasks is None


def test_batches_take_structs_and_mappings(client, queue):
    reply = client.enqueue_batch(queue, tasks=[EnqueueTask(payload=1), {"payload": {"n": 2}}])
    assert isinstance(reply, BatchReply) and len(reply.ids) == 2
    reply = client.enqueue_batch(queue, tasks=[{"payload": 1}, {"depends_on": [UNKNOWN_ID]}], partial=True)
    assert isinstance(reply, PartialReply)
    good, bad = (read_item(each, EnqueueReply) for each in reply.results)
    assert isinstance(good, EnqueueReply) and isinstance(bad, Invalid)


def test_a_settle_is_a_whole_round_trip(client, queue):
    client.enqueue_batch(queue, tasks=[{"payload": each} for each in range(3)])
    first = client.settle(dequeue=Dequeue(queues=[queue], max=1, wait_ms=5_000)).tasks[0]
    reply = client.settle(
        ack=[AckItem(id=first.id, lease=first.lease), {"id": first.id, "lease": "0" * 24}],
        dequeue={"queues": [queue], "max": 5},
    )
    assert len(reply.tasks) == 2
    done, lost = (read_item(each, SettledReply) for each in reply.ack)
    assert isinstance(done, SettledReply) and done.state == "completed"
    assert isinstance(lost, TaskQueueError)
    second, third = reply.tasks
    assert (
        client.fail(second.id, lease=second.lease, error=ErrorSpec(type="E"), retryable=False).state == "dead"
    )
    assert client.release(third.id, lease=third.lease).state == "ready"
    assert client.dead_groups(queue=queue).groups[0].error == "E"


def test_pages_are_followed_to_their_end(connect, server, queue):
    client = connect(server.url)
    ids = set(client.enqueue_batch(queue, tasks=[{"payload": each} for each in range(25)]).ids)
    if hasattr(client, "_client"):

        async def all_pages():
            return [each.id async for each in client._client.iterate_tasks(queue=queue, limit=7)]

        found = client._runner.run(all_pages())
    else:
        found = [each.id for each in client.iterate_tasks(queue=queue, limit=7)]
    assert len(found) == 25 and set(found) == ids


def test_errors_are_those_of_the_api(client, queue):
    with pytest.raises(NotFound):
        client.get_task(UNKNOWN_ID)
    with pytest.raises(Invalid) as error:
        client.enqueue(queue, priority=9_999)
    assert error.value.errors[0].field == "priority" and error.value.outcome == "not_applied"
    with pytest.raises(Invalid) as error:
        client.enqueue("")
    assert error.value.errors[0].field == "queue"
    id = client.enqueue(queue, unique_key="k").id
    with pytest.raises(Conflict):
        client.enqueue(queue, unique_key="k", on_conflict="reject")
    client.dequeue(queues=[queue], wait_ms=5_000)
    with pytest.raises(LeaseLost):
        client.ack(id, lease=f"{'0' * 24}")


def test_an_item_that_is_neither_is_told_as_such():
    assert isinstance(read_item(msgspec.Raw(b'{"a":1}'), EnqueueReply), ProtocolError)
    problem = (
        b'{"type":"t","title":"t","status":409,"detail":"d","code":"lease_lost","outcome":"not_applied"}'
    )
    assert isinstance(read_item(msgspec.Raw(problem), SettledReply), LeaseLost)


def test_a_target_with_strange_characters_is_quoted(client):
    with pytest.raises(Invalid):
        client.get_queue("a/../b?c=d#e ü")
    with pytest.raises(NotFound):
        client.quiet_worker("nobody/here?x=1 ü%")


def test_the_key_of_a_caller_gets_the_first_answer_again(client, queue):
    first = client.enqueue(queue, payload=1, idempotency_key="mine-" + queue)
    assert client.enqueue(queue, payload=1, idempotency_key="mine-" + queue) == first
    assert client.get_queue(queue).counts["ready"] == 1


def test_workflows_schedules_and_the_server_itself(client, queue):
    flow = client.create_workflow(
        tasks=[{"ref": "a", "queue": queue}, {"ref": "b", "queue": queue, "depends_on": ["a"]}], name="f"
    )
    assert client.get_workflow(flow.id).counts == {"ready": 1, "blocked": 1}
    assert client.cancel_workflow(flow.id).changed == 2
    schedule = client.put_schedule(queue[:60], queue=queue, every_ms=3_600_000, task={"payload": 1})
    assert schedule.name == client.get_schedule(queue[:60]).name
    assert client.delete_schedule(queue[:60]).deleted
    assert client.healthz().status == "ok"
    assert "taskqueuex_" in client.metrics()
    assert client.openapi()["openapi"].startswith("3.1")
    assert client.stats().queues >= 1


def test_a_long_poll_outlives_the_timeout_of_a_call(connect, server, queue):
    client = connect(server.url, timeout_s=0.5)
    assert client.dequeue(queues=[queue], wait_ms=800).tasks == []
