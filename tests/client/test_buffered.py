"""The buffered producers against a real server, and against scripted ones."""

import asyncio
import concurrent.futures
import os
import subprocess
import sys
import threading

import pytest
import uvloop
from tests.client.servers import HANG, answer, problem

from taskqueuex.client import AsyncClient, Client, RetryPolicy
from taskqueuex.errors import CallTimeout, ClientError, Invalid, Overloaded

ONCE = RetryPolicy(attempts_max=1)


def ids(*numbers):
    return answer(201, b'{"ids":[%b]}' % b",".join(b'"%d"' % each for each in numbers))


def test_tasks_of_many_threads_are_enqueued_once_each_and_in_order(server, queue):
    with Client(server.url) as client, client.buffered(max_batch=50, in_flight=1) as producer:

        def produce(thread):
            return [producer.enqueue(queue, payload=[thread, each]) for each in range(200)]

        with concurrent.futures.ThreadPoolExecutor(4) as threads:
            futures = [future for made in threads.map(produce, range(4)) for future in made]
        found = {future.result(20).id for future in futures}
        assert len(found) == 800
        assert client.get_queue(queue).counts["ready"] == 800
        tasks = [each for _ in range(8) for each in client.dequeue(queues=[queue], max=100).tasks]
    for thread in range(4):
        mine = [each.payload for each in tasks if bytes(each.payload).startswith(b"[%d," % thread)]
        assert [bytes(each) for each in mine] == [b"[%d,%d]" % (thread, each) for each in range(200)]


def test_each_future_has_the_outcome_of_its_own_task(server, queue):
    with Client(server.url) as client, client.buffered() as producer:
        good = [producer.enqueue(queue, payload=each) for each in range(20)]
        bad = producer.enqueue(queue, priority=9_999)
        later = producer.enqueue(queue, delay_ms=3_600_000)
        first = producer.enqueue(queue, unique_key="k")
        twin = producer.enqueue(queue, unique_key="k")
        producer.flush(20)
        assert all(future.done() for future in (*good, bad, later, first, twin))
        assert len({future.result().id for future in good}) == 20
        assert isinstance(bad.exception(), Invalid)
        assert later.result().state == "scheduled"
        assert twin.result().duplicate and twin.result().id == first.result().id
        counts = client.get_queue(queue).counts
        assert (counts["ready"], counts["scheduled"]) == (21, 1)


def test_futures_are_those_of_the_standard_library(server, queue):
    called = []
    with Client(server.url) as client, client.buffered() as producer:
        futures = [producer.enqueue(queue) for _ in range(5)]
        futures[0].add_done_callback(called.append)
        assert set(concurrent.futures.as_completed(futures, 20)) == set(futures)
        assert concurrent.futures.wait(futures, 20).not_done == set()
        assert not futures[0].cancel()
        futures[1].add_done_callback(called.append)
        producer.flush(20)
    assert called == futures[:2]


def test_without_room_enqueue_waits_and_then_says_so(scripted):
    server = scripted(HANG)
    with Client(server.url, timeout_s=1.0, retry=ONCE) as client:
        producer = client.buffered(max_batch=2, max_pending=2, in_flight=1, enqueue_timeout_s=0.05)
        stuck = [producer.enqueue("q"), producer.enqueue("q")]
        with pytest.raises(CallTimeout):
            producer.enqueue("q")
        assert isinstance(stuck[0].exception(10), CallTimeout)
        server.steps.append(ids(1))
        producer.flush(10)
        assert producer.enqueue("q").result(10).id == "1"
        producer.close()


def test_flush_says_when_it_takes_too_long_and_close_fails_what_was_not_sent(scripted):
    server = scripted(HANG)
    with Client(server.url, timeout_s=1.0, retry=ONCE) as client:
        producer = client.buffered(max_batch=1, in_flight=1)
        sent = producer.enqueue("q")
        server.arrived.acquire()
        unsent = producer.enqueue("q")
        with pytest.raises(CallTimeout):
            producer.flush(0.05)
        producer.close(0.05)
        assert isinstance(unsent.exception(10), ClientError) and unsent.exception().outcome == "not_applied"
        assert sent.exception(10).outcome == "unknown"
        with pytest.raises(ClientError, match="closed"):
            producer.enqueue("q")


def test_a_failure_of_the_server_is_that_of_the_futures(scripted):
    server = scripted(problem(503, "overloaded"))
    with Client(server.url, retry=ONCE) as client, client.buffered(linger_ms=0) as producer:
        assert isinstance(producer.enqueue("q").exception(10), Overloaded)
        server.steps.append(ids(7))
        assert producer.enqueue("q").result(10).id == "7"


def test_an_answer_of_another_length_fails_all_of_the_batch(scripted):
    server = scripted(ids(1, 2, 3))
    with Client(server.url) as client, client.buffered() as producer:
        assert producer.enqueue("q").exception(10).outcome == "unknown"


def test_after_a_fork_it_says_that_it_is_of_no_use(server, queue):
    with Client(server.url) as client, client.buffered() as producer:
        producer.enqueue(queue).result(20)
        child = os.fork()
        if child == 0:
            try:
                producer.enqueue(queue)
            except ClientError:
                producer.close()
                os._exit(0)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        producer.enqueue(queue).result(20)


@pytest.mark.parametrize("ends", ["", "raise SystemExit(0)", "import threading; p._threads[0].join(0)"])
def test_the_end_of_the_interpreter_sends_what_is_there(server, queue, ends):
    name = f"{queue[:90]}-{len(ends)}"
    script = (
        "from taskqueuex.client import Client\n"
        f"p = Client({server.url!r}).buffered(linger_ms=60_000)\n"
        f"for each in range(5): p.enqueue({name!r}, payload=each)\n{ends}\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    with Client(server.url) as client:
        assert client.get_queue(name).counts["ready"] == 5


def test_the_end_of_the_interpreter_does_not_hang_with_the_server(scripted):
    server = scripted(HANG)
    script = (
        "from taskqueuex.client import Client, buffered\n"
        "buffered.EXIT_FLUSH_S = 0.2\n"
        f"p = Client({server.url!r}, timeout_s=3_600).buffered(linger_ms=0)\n"
        "p.enqueue('q').add_done_callback(print)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    assert len(server.requests) <= 1


@pytest.mark.parametrize(
    "option", [{"linger_ms": -1}, {"max_batch": 10_001}, {"max_pending": 0}, {"in_flight": 0}]
)
def test_an_option_out_of_range_is_named(scripted, option):
    with Client(scripted().url) as client, pytest.raises(Invalid) as error:
        client.buffered(**option)
    assert error.value.errors[0].field == next(iter(option))
    assert not [each for each in threading.enumerate() if each.name.startswith("taskqueuex-producer")]


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_the_twin_for_asyncio_fares_alike(run, server, queue):
    async def main():
        async with AsyncClient(server.url) as client:
            async with client.buffered(max_batch=50, max_pending=120) as producer:
                futures = [await producer.enqueue(queue, payload=each) for each in range(400)]
                bad = await producer.enqueue(queue, priority=9_999)
                futures[3].cancel()
                await producer.flush(20)
                assert isinstance(bad.exception(), Invalid)
                good = [each for each in futures if not each.cancelled()]
                assert len({each.result().id for each in good}) >= 399
            with pytest.raises(ClientError, match="closed"):
                await producer.enqueue(queue)
            assert (await client.get_queue(queue)).counts["ready"] == 400

    run(main())


def test_the_twin_waits_for_room_and_says_so(scripted):
    server = scripted(HANG)

    async def main():
        async with AsyncClient(server.url, timeout_s=1.0, retry=ONCE) as client:
            producer = client.buffered(max_batch=1, max_pending=1, enqueue_timeout_s=0.05)
            stuck = await producer.enqueue("q")
            with pytest.raises(CallTimeout):
                await producer.enqueue("q")
            with pytest.raises(CallTimeout):
                await producer.flush(0.05)
            await producer.close(0.05)
            assert stuck.done() and stuck.exception().outcome == "unknown"

    asyncio.run(main())
