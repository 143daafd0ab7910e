"""Celery over Redis: results ignored, which is what its guide advises for speed, acks early (its default)."""

import os

from celery import Celery, group
from measured import main, ran, started

app = Celery("bench", broker=os.environ["REDIS_URL"])
app.conf.update(
    task_ignore_result=True,
    worker_prefetch_multiplier=64,
    broker_pool_limit=1,
    task_serializer="json",
    worker_hijack_root_logger=False,
)


@app.task(name="noop")
def noop(number):
    ran()


@app.task(name="stamped")
def stamped(made_at):
    started(made_at)


def many(numbers):
    group(noop.s(number) for number in numbers).apply_async()


if __name__ == "__main__":
    main(noop.delay, many, stamped.delay)
