"""Dramatiq over Redis, without results."""

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from measured import main, ran, started

dramatiq.set_broker(RedisBroker(url=os.environ["REDIS_URL"]))


@dramatiq.actor
def noop(number):
    ran()


@dramatiq.actor
def stamped(made_at):
    started(made_at)


def many(numbers):
    dramatiq.group(noop.message(number) for number in numbers).run()


if __name__ == "__main__":
    main(noop.send, many, stamped.send)
