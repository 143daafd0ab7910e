"""Huey over Redis, without results."""

import os

from huey import RedisHuey
from measured import main, ran, started

huey = RedisHuey("bench", url=os.environ["REDIS_URL"], results=False)


@huey.task()
def noop(number):
    ran()


@huey.task()
def stamped(made_at):
    started(made_at)


def many(numbers):
    for number in numbers:  # it has no bulk enqueue
        noop(number)


if __name__ == "__main__":
    import with_huey  # its tasks are named after their module, and the worker knows this one

    main(with_huey.noop, with_huey.many, with_huey.stamped)
