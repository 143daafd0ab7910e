"""PgQueuer over PostgreSQL, durable as that is by default.

python with_pgqueuer.py install | worker | one N | many N | paced N R
"""

import asyncio
import os
import sys
from datetime import timedelta

import asyncpg
import uvloop
from measured import main, ran, started
from pgqueuer import PgQueuer
from pgqueuer.queries import Queries

URL = os.environ["POSTGRES_URL"]
BULK = 1_000


async def install():
    connection = await asyncpg.connect(URL)
    await Queries.from_asyncpg_connection(connection).install()
    await connection.close()


async def worker():
    queue = PgQueuer.from_asyncpg_connection(await asyncpg.connect(URL))

    @queue.entrypoint("noop")
    async def noop(job):
        ran()

    @queue.entrypoint("stamped")
    async def stamped(job):
        started(float(job.payload))

    await queue.run(batch_size=100, dequeue_timeout=timedelta(seconds=5))


class Producer:
    def __init__(self, runner):
        self.runner = runner
        self.queries = Queries.from_asyncpg_connection(runner.run(asyncpg.connect(URL)))

    def one(self, number):
        self.runner.run(self.queries.enqueue("noop", str(number).encode()))

    def stamp(self, made_at):
        self.runner.run(self.queries.enqueue("stamped", repr(made_at).encode()))

    def many(self, numbers):
        for start in range(0, len(numbers), BULK):
            chunk = [str(number).encode() for number in numbers[start : start + BULK]]
            self.runner.run(self.queries.enqueue(["noop"] * len(chunk), chunk, [0] * len(chunk)))


if __name__ == "__main__":
    if sys.argv[1] in ("install", "worker"):
        uvloop.run(install() if sys.argv[1] == "install" else worker())
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as asyncio_runner:
            producer = Producer(asyncio_runner)
            main(producer.one, producer.many, producer.stamp)
