"""Declaring tasks and enqueueing them, against a real server in memory."""

import asyncio
import datetime
import subprocess
import sys

import pytest

from taskqueuex import App, ArgumentError, Backoff, Context, ResultTimeout, TaskDefinitionError, chain
from taskqueuex.errors import Conflict, NotFound
from taskqueuex.testing import MemoryServer, assert_enqueued, assert_not_enqueued


@pytest.fixture(scope="module")
def server():
    with MemoryServer() as started:
        yield started


@pytest.fixture
def app(server):
    made = App(server.url, default_queue="default")
    yield made
    for queue in made.client.list_queues().queues:
        made.client.delete_queue(queue.name, force=True)
    made.close()


def test_what_is_enqueued_says_what_the_options_say(app):
    @app.task(queue="orders", priority=3, max_attempts=7, timeout=2.5, tags=["a"], meta={"k": "v"})
    async def settle(order_id: int, qty: float) -> None: ...

    handle = settle.options(priority=9, delay=datetime.timedelta(seconds=90), group="AAPL").enqueue(42, qty=1)
    view = handle.view()
    assert (view.queue, view.priority, view.group, view.max_attempts) == ("orders", 9, "AAPL", 7)
    assert (view.timeout_ms, view.tags, view.meta, view.state) == (2_500, ("a",), {"k": "v"}, "scheduled")
    assert view.run_at - view.created_at == 90_000
    assert bytes(view.payload) == b'{"order_id":42,"qty":1}'
    assert view.name.endswith("settle")
    assert settle.queue == "orders" and settle.options().queue == "orders"


def test_instants_and_backoff(app):
    @app.task(backoff=Backoff(base=0.5, factor=3, max=60, jitter=0))
    def task() -> None: ...

    at = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    view = task.options(run_at=at, expires_at=at + datetime.timedelta(hours=1)).enqueue().view()
    assert view.run_at == int(at.timestamp() * 1000) and view.expires_at == view.run_at + 3_600_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"priority": 5_000}, "priority: Expected `int` <= 1000"),
        ({"timeout": "soon"}, "timeout: "),
        ({"run_at": datetime.datetime(2030, 1, 1)}, "run_at: must have a time zone"),
        ({"colour": "red"}, "colour: there is no such option"),
        ({"group": "x" * 300}, "group: "),
        ({"depends_on": [object()]}, "depends_on: "),
        ({"on_conflict": "explode"}, "on_conflict: "),
        ({"queue": "no spaces"}, "queue: "),
    ],
)
def test_a_wrong_option_is_refused_by_name_before_anything_is_sent(app, options, message):
    with pytest.raises(TaskDefinitionError) as raised:
        app.task(name="shop.task", **options)(lambda: None)
    assert str(raised.value).startswith("shop.task: ") and message in str(raised.value)

    @app.task
    def fine() -> None: ...

    with pytest.raises(TaskDefinitionError):
        fine.options(**options)


def test_definitions_that_make_no_sense_are_refused(app):
    with pytest.raises(TaskDefinitionError, match="async"):
        app.task(mode="async")(lambda: None)

    async def coroutine() -> None: ...

    with pytest.raises(TaskDefinitionError, match="thread"):
        app.task(mode="thread")(coroutine)
    app.task(name="twice")(coroutine)
    with pytest.raises(TaskDefinitionError, match="twice"):
        app.task(name="twice")(coroutine)


def test_a_wrong_argument_enqueues_nothing(app):
    @app.task
    async def settle(order_id: int) -> None: ...

    with pytest.raises(ArgumentError, match="order_id: Expected `int`"):
        settle.enqueue("x")
    with pytest.raises(ArgumentError):
        settle.enqueue_many([(1,), ("x",)])
    with pytest.raises(ArgumentError, match="1,048,576 are allowed"):
        app.task(name="large")(lambda text: None).enqueue("x" * (1 << 20))
    assert_not_enqueued(settle)


def test_calling_a_task_calls_the_function(app):
    @app.task
    def double(value: int) -> int:
        return 2 * value

    assert double(4) == 8
    assert_not_enqueued(double)


def test_many_at_once(app):
    @app.task
    def task(a: int, b: int = 0) -> None: ...

    handles = task.enqueue_many([(1, 2), {"a": 3, "b": 4}, 5])
    assert len(handles) == 3
    assert_enqueued(task, a=1, b=2, count=1)
    assert_enqueued(task, a=3, b=4, count=1)
    assert_enqueued(task, a=5, count=1)
    assert task.enqueue_many([]) == []
    assert len(task.enqueue_many((i, 0) for i in range(12_000))) == 12_000
    assert app.client.get_queue("default").counts["ready"] == 12_003


def test_unique_keys_find_the_task_that_is_there(app):
    @app.task(unique_key=lambda symbol, price: f"quote-{symbol}", on_conflict="replace")
    def quote(symbol: str, price: float) -> None: ...

    first = quote.enqueue("AAPL", 1.0)
    second = quote.enqueue("AAPL", 2.0)
    assert second.id == first.id and second.duplicate and second.replaced
    assert_enqueued(quote, symbol="AAPL", price=2.0, count=1)
    with pytest.raises(Conflict):
        quote.options(on_conflict="reject").enqueue("AAPL", 3.0)


def test_unique_keys_hold_in_workflows_too(app):
    @app.task(unique_key=lambda day: f"close-{day}", on_conflict="reject")
    def close(day: str) -> None: ...

    @app.task
    def first() -> None: ...

    assert chain(first.s(), close.s("monday")).enqueue().handles[1].view().unique_key == "close-monday"
    with pytest.raises(Conflict):
        chain(first.s(), close.s("monday")).enqueue()
    with pytest.raises(ArgumentError, match="unique_key: cannot be made while day is another's result"):
        chain(first.s(), close.s()).enqueue()


def test_a_buffered_producer_takes_tasks(app):
    @app.task
    def task(a: int) -> None: ...

    with app.buffered(linger_ms=1) as producer:
        futures = [task.enqueue_to(producer, i) for i in range(100)]
    assert len({future.result().id for future in futures}) == 100
    assert_enqueued(task, count=100)


def test_a_result_that_does_not_come_in_time(app):
    @app.task
    def task() -> None: ...

    handle = task.enqueue()
    with pytest.raises(ResultTimeout, match=r"is ready after 0\.05 s"):
        handle.result(timeout=0.05)
    with pytest.raises(NotFound):
        task.handle("01890a5d-ac96-774b-bcce-b302099a8057").result(timeout=1)


def test_all_of_it_with_await(app):
    @app.task
    async def add(a: int, b: int) -> int:
        return a + b

    async def main() -> None:
        handle = await add.enqueue_async(1, 2)
        many = await add.enqueue_many_async([(1, 1), (2, 2)])
        assert await app.run_until_idle_async() == 3
        assert await handle.result_async(timeout=5) == 3
        assert [await each.result_async(5) for each in many] == [2, 4]
        assert (await handle.view_async()).state == "completed"
        with pytest.raises(Conflict):
            await handle.cancel_async()
        await app.close_async()

    asyncio.run(main())


def test_each_event_loop_has_a_client_of_its_own(app):
    @app.task
    async def task() -> None: ...

    for _ in range(2):
        asyncio.run(_enqueue_and_close(app, task))
    assert_enqueued(task, count=2)


async def _enqueue_and_close(app, task):
    await task.enqueue_async()
    await app.close_async()


def test_run_until_idle_runs_what_tasks_enqueue(app):
    @app.task
    async def count_down(n: int, context: Context) -> int:
        if n:
            count_down.enqueue(n - 1) if n == 3 else await count_down.enqueue_async(n - 1)
        return context.attempt

    handle = count_down.enqueue(3)
    assert app.run_until_idle() == 4
    assert handle.result(1) == 1


def test_run_until_idle_gives_up_on_tasks_that_never_end(app):
    @app.task
    async def again() -> None:
        await again.enqueue_async()

    again.enqueue()
    with pytest.raises(RuntimeError, match="not idle after 50 tasks"):
        app.run_until_idle(max_tasks=50)


def test_the_server_comes_from_the_environment(server):
    code = (
        "from taskqueuex import App\napp = App()\n"
        "@app.task(name='t')\ndef t() -> None: ...\nprint(t.enqueue().view().state)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"TQX_SERVER": server.url},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "ready\n"


def test_a_script_s_tasks_are_named_after_its_file(tmp_path):
    script = tmp_path / "orders.py"
    script.write_text(
        "from taskqueuex import App\napp = App()\n@app.task\ndef settle(): ...\n"
        "if __name__ == '__main__':\n    print(settle.name)\n"
    )
    for command in ([str(script)], ["-m", "orders"]):
        done = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert done.stdout == "orders.settle\n"
