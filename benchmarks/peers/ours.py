"""TaskQueueX, durable: its server is at TQX_SERVER."""

from collections.abc import Sequence

from measured import main, ran, started

from taskqueuex import App

app = App()


@app.task(name="noop", queue="bench")
async def noop(number: int) -> None:
    ran()


@app.task(name="stamped", queue="bench")
async def stamped(made_at: float) -> None:
    started(made_at)


def many(numbers: Sequence[int]) -> None:
    noop.enqueue_many((number,) for number in numbers)


def buffered(numbers: Sequence[int]) -> None:
    with app.buffered() as producer:
        for number in numbers:
            noop.enqueue_to(producer, number)


if __name__ == "__main__":
    import sys

    one, bulk, stamp = noop.enqueue, many, stamped.enqueue
    if sys.argv[1] == "buffered":
        sys.argv[1], bulk = "many", buffered
    elif sys.argv[1].endswith("-relaxed"):  # acknowledged when the system has it, synced every 50 ms
        sys.argv[1] = sys.argv[1].removesuffix("-relaxed")
        app.client.put_queue("bench-relaxed", durability="relaxed")
        one = noop.options(queue="bench-relaxed").enqueue
        stamp = stamped.options(queue="bench-relaxed").enqueue
    main(one, bulk, stamp)
