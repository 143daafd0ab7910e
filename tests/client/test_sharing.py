"""One client for many threads, tasks and processes."""

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import uvloop
from tests.client.servers import ENQUEUED, HANG, answer

from taskqueuex.client import AsyncClient, Client, RetryPolicy
from taskqueuex.errors import CallTimeout, ClientError

LOOPS = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])


def test_threads_share_a_bounded_number_of_connections(scripted):
    server = scripted()
    with Client(server.url, pool_size=3) as client, ThreadPoolExecutor(12) as threads:
        replies = list(threads.map(lambda _: client.enqueue("q"), range(200)))
    assert len(replies) == 200 and server.connections <= 3
    assert len(set(server.keys())) == 200


def test_a_thread_that_gets_no_connection_in_time_is_told(scripted):
    server = scripted(HANG)
    with Client(server.url, pool_size=1, timeout_s=0.6, retry=RetryPolicy(attempts_max=1)) as client:
        threads = ThreadPoolExecutor(1)
        first = threads.submit(client.enqueue, "q")
        server.arrived.acquire()
        with pytest.raises(CallTimeout) as error:
            client.with_options(timeout_s=0.1).enqueue("q")
        assert isinstance(first.exception(), CallTimeout)
        threads.shutdown()
    assert error.value.outcome == "not_applied"


def test_the_child_of_a_fork_has_connections_and_keys_of_its_own(scripted):
    server = scripted()
    with Client(server.url) as client:
        client.enqueue("q")
        child = os.fork()
        if child == 0:
            try:
                client.enqueue("q")
                client.enqueue("q")
            except BaseException:
                os._exit(1)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        client.enqueue("q")
    assert server.connections == 2 and len(set(server.keys())) == 4
    keys = server.keys()
    assert len({key.partition("-")[0] for key in keys}) == 2


def test_a_client_with_other_options_survives_a_fork_too(scripted):
    server = scripted()
    client = Client(server.url).with_options(timeout_s=5.0)
    client.enqueue("q")
    child = os.fork()
    if child == 0:
        try:
            client.enqueue("q")
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    client.close()
    assert len(set(server.keys())) == 2


@LOOPS
def test_many_calls_are_pipelined_and_each_gets_its_own_answer(run, server, queue):
    async def main():
        async with AsyncClient(server.url, pool_size=4) as client:
            replies = await asyncio.gather(*(client.enqueue(queue, payload=each) for each in range(500)))
            views = await asyncio.gather(*(client.get_task(each.id) for each in replies))
            assert [bytes(each.payload) for each in views] == [b"%d" % each for each in range(500)]

    run(main())


@LOOPS
def test_a_long_poll_does_not_hold_up_others(run, server, queue):
    async def main():
        async with AsyncClient(server.url, pool_size=2) as client:
            poll = asyncio.create_task(client.dequeue(queues=[queue], wait_ms=30_000))
            await client.stats()
            id = (await client.enqueue(queue)).id
            assert [each.id for each in (await poll).tasks] == [id]

    run(main())


@LOOPS
def test_polls_leave_a_connection_to_others(run, server, queue):
    async def main():
        async with AsyncClient(server.url, pool_size=2) as client:
            polls = [asyncio.create_task(client.dequeue(queues=[queue], wait_ms=30_000)) for _ in range(4)]
            await asyncio.sleep(0)
            ids = [(await client.enqueue(queue)).id for _ in range(4)]
            found = [each.id for poll in polls for each in (await poll).tasks]
            assert sorted(found) == sorted(ids)

    run(main())


@LOOPS
def test_a_call_that_is_cancelled_does_not_mix_up_the_answers(run, server, queue):
    async def main():
        async with AsyncClient(server.url, pool_size=1) as client:
            await client.stats()
            for round in range(20):
                tasks = [asyncio.create_task(client.enqueue(queue, payload=each)) for each in range(10)]
                await asyncio.sleep(0)
                for each in tasks[round % 3 :: 3]:
                    each.cancel()
                done = await asyncio.gather(*tasks, return_exceptions=True)
                for number, reply in enumerate(done):
                    if isinstance(reply, asyncio.CancelledError):
                        continue
                    view = await client.get_task(reply.id)
                    assert bytes(view.payload) == b"%d" % number

    run(main())


@LOOPS
def test_what_a_cancelled_poll_would_have_got_goes_to_the_next(run, server, queue):
    async def main():
        async with AsyncClient(server.url) as client:
            poll = asyncio.create_task(client.dequeue(queues=[queue], wait_ms=30_000, lease_ms=600_000))
            while not (await client.stats()).waiters:
                pass
            poll.cancel()
            with pytest.raises(asyncio.CancelledError):
                await poll
            while (await client.stats()).waiters:
                pass
            id = (await client.enqueue(queue)).id
            assert [each.id for each in (await client.dequeue(queues=[queue], wait_ms=5_000)).tasks] == [id]

    run(main())


def test_another_event_loop_is_refused_with_the_reason(scripted):
    server = scripted()
    client = AsyncClient(server.url)
    with asyncio.Runner() as first, asyncio.Runner() as second:
        first.run(client.enqueue("q"))
        with pytest.raises(ClientError, match="event loop"):
            second.run(client.enqueue("q"))
        first.run(client.close())


@LOOPS
def test_an_answer_that_hangs_fails_its_call_and_those_behind_it_alone(run, scripted):
    server = scripted(answer(201, ENQUEUED), HANG)

    async def main():
        async with AsyncClient(server.url, pool_size=4, timeout_s=0.3) as client:
            await client.enqueue("q")
            with pytest.raises(CallTimeout):
                await client.enqueue("q")
            assert (await client.enqueue("q")).state == "ready"

    run(main())


@LOOPS
def test_closing_fails_what_is_under_way(run, scripted):
    server = scripted(HANG)

    async def main():
        client = AsyncClient(server.url, retry=RetryPolicy(attempts_max=1))
        call = asyncio.create_task(client.enqueue("q"))
        await asyncio.to_thread(server.arrived.acquire)
        await client.close()
        with pytest.raises(ClientError):
            await call

    run(main())


def test_a_unix_socket_is_served_alike(tmp_path):
    import socket

    path = str(tmp_path / "s.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()

    def serve():
        for _ in range(2):
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer(201, ENQUEUED, "Connection: close"))

    thread = threading.Thread(target=serve)
    thread.start()

    async def call():
        async with AsyncClient(f"unix:{path}") as client:
            return await client.enqueue("q")

    with listener:
        with Client(f"unix:{path}") as client:
            assert client.enqueue("q").state == "ready"
        assert asyncio.run(call()).state == "ready"
        thread.join()
