"""Which tasks go together, and how each fared: the core of the buffered producers, without any I/O."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueuex.client.batching import BATCH_BYTES_MAX, Batcher, deliver, encode_task
from taskqueuex.commands.produce import BatchReply, EnqueueReply, PartialReply
from taskqueuex.errors import ConnectionFailed, Invalid, Overloaded

ARRIVALS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(1, 5 << 20), st.floats(0, 0.01)), max_size=60
)


@given(ARRIVALS, st.integers(1, 10))
def test_every_task_is_in_one_batch_in_its_order_and_batches_are_bounded(arrivals, max_batch):
    batcher, batches, now_s = Batcher(5, max_batch), [], 0.0
    for number, (queue, size, after_s) in enumerate(arrivals):
        now_s += after_s
        batches += batcher.take_due(now_s)
        item = msgspec.Raw(b"x")  # what is added says its size itself
        batch = batcher.filling.get(queue)
        if batch is None or not batcher.has_room(batch, size):
            if batch is not None:
                batches.append(batcher.filling.pop(queue))
            batch = batcher.start(queue, now_s, None)
        batch.size += size - 1
        if batcher.add(batch, item, False, number):
            batches.append(batch)
        assert all(each.due_s > now_s for each in batcher.filling.values())
        assert batcher.next_due_s == min((each.due_s for each in batcher.filling.values()), default=None)
    batches += batcher.take_due(None)
    assert not batcher.filling
    for queue in "abc":
        found = [number for each in batches if each.queue == queue for number in each.futures]
        assert found == [number for number, arrival in enumerate(arrivals) if arrival[0] == queue]
    for each in batches:
        assert 1 <= len(each.items) <= max_batch
        assert each.size < BATCH_BYTES_MAX + (5 << 20) and (len(each.items) == 1 or each.size < 13 << 20)


class FakeServer:
    """Takes batches as the real one: a bad item refuses a plain one, an unreadable one refuses any."""

    def __init__(self) -> None:
        self.taken: list[int] = []

    def answer(self, body):
        request = msgspec.json.decode(body)
        payloads = [each["payload"] for each in request["tasks"]]
        if "unreadable" in payloads:
            raise Invalid("unreadable")
        if not request.get("partial"):
            if "bad" in payloads:
                raise Invalid("bad")
            self.taken += payloads
            return BatchReply(ids=[str(each) for each in payloads])
        results = []
        for each in payloads:
            if each == "bad":
                results.append(
                    b'{"type":"t","title":"t","status":422,"detail":"bad","code":"invalid","outcome":"not_applied"}'
                )
            else:
                self.taken.append(each)
                results.append(b'{"id":"%d","state":"ready"}' % each)
        return PartialReply(results=[msgspec.Raw(each) for each in results])


def play(delivery, answer):
    try:
        request = next(delivery)
        while True:
            try:
                reply = answer(request.body)
            except Exception as error:
                request = delivery.throw(error)
            else:
                request = delivery.send(reply)
    except StopIteration as end:
        return end.value


@given(
    st.lists(st.one_of(st.integers(0, 99), st.just("bad"), st.just("unreadable")), min_size=1), st.booleans()
)
def test_each_task_fares_on_its_own_and_none_is_taken_twice(payloads, partial):
    server = FakeServer()
    items = [encode_task(each, {})[0] for each in payloads]
    outcomes = play(deliver("q", items, partial), server.answer)
    assert len(outcomes) == len(payloads)
    for payload, outcome in zip(payloads, outcomes, strict=True):
        if isinstance(payload, int):
            assert outcome == EnqueueReply(str(payload), "ready")
        else:
            assert isinstance(outcome, Invalid)
    assert server.taken == [each for each in payloads if isinstance(each, int)]


@pytest.mark.parametrize(
    "error", [Overloaded(), ConnectionFailed(outcome="unknown"), Invalid(outcome="unknown")]
)
def test_a_failure_that_is_not_of_an_item_is_that_of_all(error):
    requests = []

    def answer(body):
        requests.append(body)
        raise error

    items = [encode_task(each, {})[0] for each in range(3)]
    assert play(deliver("q", items, False), answer) == [error] * 3
    assert len(requests) == 1


def test_a_task_is_encoded_when_it_is_handed_over():
    assert encode_task({"a": 1}, {"priority": 2}) == (b'{"payload":{"a":1},"priority":2}', False)
    assert encode_task(None, {"delay_ms": 5})[1], "its state is not known from a plain answer"
    with pytest.raises(Invalid, match="payload"):
        encode_task(object(), {})
    with pytest.raises(TypeError, match="prioritee"):
        encode_task(1, {"prioritee": 2})
