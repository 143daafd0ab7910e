"""What users test with: the server in memory, its clock, the pytest plugin, what can be asserted."""

import subprocess
import sys

import pytest

from taskqueuex import App, TaskFailed
from taskqueuex.testing import MemoryServer, assert_enqueued, assert_not_enqueued

pytest_plugins = ["pytester"]


def test_the_clock_makes_delays_and_retries_due(taskqueuex_server, taskqueuex_clock):
    app = taskqueuex_server.attach(App())
    runs = []

    @app.task(max_attempts=2)
    async def fails() -> None:
        runs.append(1)
        raise ValueError("no")

    handle = fails.options(delay=3_600).enqueue()
    assert app.run_until_idle() == 0
    taskqueuex_clock.advance(3_601)
    assert app.run_until_idle() == 1
    assert handle.view().state == "retrying"
    taskqueuex_clock.advance(60)
    assert app.run_until_idle() == 1 and len(runs) == 2
    with pytest.raises(TaskFailed, match="no"):
        handle.result(1)
    with pytest.raises(ValueError, match="seconds: the clock goes forward only"):
        taskqueuex_clock.advance(-1)


def test_what_is_due_is_done_when_the_clock_has_been_put_forward(taskqueuex_server, taskqueuex_clock):
    app = taskqueuex_server.attach(App())

    @app.task
    async def remind(day: int) -> int:
        return day

    for day in range(40):  # each one's timer has to be read first, or not, as it happens
        remind.options(delay=86_400).enqueue(day)
        assert app.run_until_idle() == 0
        taskqueuex_clock.advance(86_400)
        assert app.run_until_idle() == 1


def test_the_clock_fires_schedules(taskqueuex_server, taskqueuex_clock):
    app = taskqueuex_server.attach(App())
    runs = []

    @app.cron("0 9 * * mon-fri", timezone="America/New_York", args=("AAPL",))
    @app.task
    async def opens(symbol: str) -> None:
        runs.append(symbol)

    app.register_schedules()
    app.register_schedules()  # every worker does: it changes nothing
    assert app.run_until_idle() == 0
    taskqueuex_clock.advance(3 * 86_400)
    assert app.run_until_idle() >= 1 and set(runs) == {"AAPL"}


def test_a_task_expires_by_the_clock(taskqueuex_server, taskqueuex_clock):
    app = taskqueuex_server.attach(App())

    @app.task(ttl=10)
    async def task() -> None: ...

    handle = task.enqueue()
    taskqueuex_clock.advance(11)
    assert app.run_until_idle() == 0
    assert handle.wait(1).state == "expired"


def test_an_assertion_that_fails_says_what_there_is(taskqueuex_server):
    app = taskqueuex_server.attach(App())

    @app.task(name="shop.settle")
    async def settle(order_id: int, qty: float = 1.0) -> None: ...

    with pytest.raises(AssertionError, match="it was not enqueued at all"):
        assert_enqueued(settle)
    settle.enqueue(1)
    settle.options(queue="vip").enqueue(2, qty=5.0)
    assert len(assert_enqueued(settle)) == 2
    assert_enqueued(settle, queue="vip", qty=5.0, count=1)
    assert_not_enqueued(settle, order_id=3)
    with pytest.raises(AssertionError) as raised:
        assert_enqueued(settle, order_id=3)
    assert "ready in vip: {'order_id': 2, 'qty': 5.0}" in str(raised.value)
    with pytest.raises(AssertionError, match="was to be enqueued 0 times"):
        assert_not_enqueued(settle, order_id=1)


def test_an_app_that_was_attached_has_its_own_server_again():
    app = App("http://127.0.0.1:1")
    with MemoryServer() as server:
        server.attach(app)
        assert app.servers() == server.url
    assert app.servers() == "http://127.0.0.1:1"


def test_the_plugin_is_found_by_pytest(pytester):
    pytester.makepyfile(
        shop="""
        from taskqueuex import App
        app = App()

        @app.task
        async def settle(order_id: int, qty: float) -> float:
            return qty * 2
        """,
        test_shop="""
        import pytest, shop
        from taskqueuex.testing import assert_enqueued

        @pytest.fixture
        def app(taskqueuex_server):
            return taskqueuex_server.attach(shop.app)

        @pytest.mark.parametrize("number", [1, 2])
        def test_settles(app, number):
            handle = shop.settle.enqueue(number, qty=1.5)
            assert_enqueued(shop.settle, order_id=number, count=1)
            assert app.run_until_idle() == 1
            assert handle.result(1) == 3.0
        """,
    )
    done = pytester.runpytest_subprocess("-W", "error", "-p", "no:cacheprovider")
    done.assert_outcomes(passed=2)


def test_an_embedded_server_keeps_its_tasks_over_programs(tmp_path):
    code = """
import sys
from taskqueuex import App

app = App("embedded:./data")

@app.task(name="add")
async def add(a: int, b: int) -> int:
    return a + b

if sys.argv[1] == "put":
    print(add.enqueue(1, 2).id)
else:
    assert app.run_until_idle() == 1
    print(add.handle(sys.argv[2]).result(1))
"""
    (tmp_path / "program.py").write_text(code)

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "program.py", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )

    put = run("put")
    assert put.returncode == 0, put.stderr
    assert run("run", put.stdout.strip()).stdout == "3\n"


def test_an_embedded_server_s_directory_is_for_one_program(tmp_path):
    from taskqueuex.storage import StorageError

    with App(f"embedded:{tmp_path}/data") as first:
        first.client.list_queues()
        with pytest.raises(StorageError, match="another process"):
            App(f"embedded:{tmp_path}/data").client.list_queues()
    with App(f"embedded:{tmp_path}/data") as again:
        assert again.client.list_queues().queues == []
