"""The server is killed and started again under load: all goes on by itself, and nothing is doubled."""

import asyncio
import threading

import msgspec

from taskqueuex.client import AsyncClient, Client
from taskqueuex.client.retry import RetryPolicy

PATIENT = RetryPolicy(attempts_max=100)
KILLS = 3


def kill_and_start(server, stop: threading.Event) -> None:
    """Kills while requests are under way: the pauses are what they had time to do."""
    for _ in range(KILLS):
        stop.wait(0.4)
        server.kill()
        server.start()
    stop.wait(0.4)
    stop.set()


def payloads_of(client, queue):
    return sorted(
        msgspec.json.decode(each.payload) for each in client.iterate_tasks(queue=queue, limit=1_000)
    )


def test_what_threads_enqueue_is_there_once(own_server):
    stop = threading.Event()
    done: list[list[int]] = []

    def produce(thread, client):
        for number in range(1_000_000):
            if stop.is_set():
                return
            client.enqueue("q", payload=[thread, number])
            done.append([thread, number])

    with Client(own_server.url, timeout_s=60, retry=PATIENT) as client:
        threads = [threading.Thread(target=produce, args=(each, client)) for each in range(4)]
        for each in threads:
            each.start()
        kill_and_start(own_server, stop)
        for each in threads:
            each.join()
        assert len(done) > 4 * KILLS
        assert payloads_of(client, "q") == sorted(done)


def test_what_a_producer_enqueues_is_there_once(own_server):
    stop = threading.Event()
    with Client(own_server.url, timeout_s=60, retry=PATIENT) as client:
        with client.buffered(max_batch=20, max_pending=200) as producer:
            futures = []

            def produce():
                for number in range(1_000_000):
                    if stop.is_set():
                        return
                    futures.append(producer.enqueue("q", payload=number))

            thread = threading.Thread(target=produce)
            thread.start()
            kill_and_start(own_server, stop)
            thread.join()
        ids = {each.result(0).id for each in futures}
        assert len(ids) == len(futures) > 0
        assert payloads_of(client, "q") == list(range(len(futures)))


def test_what_is_pipelined_is_there_once(own_server):
    stop = threading.Event()

    async def produce(client, number, done):
        count = 0
        while not stop.is_set():
            await client.enqueue("q", payload=[number, count])
            done.append([number, count])
            count += 1

    async def main():
        done: list[list[int]] = []
        async with AsyncClient(own_server.url, timeout_s=60, retry=PATIENT, pool_size=4) as client:
            killer = asyncio.create_task(asyncio.to_thread(kill_and_start, own_server, stop))
            await asyncio.gather(*(produce(client, each, done) for each in range(50)))
            await killer
        return done

    done = asyncio.run(main())
    with Client(own_server.url) as client:
        assert payloads_of(client, "q") == sorted(done) and len(done) > 50 * KILLS
