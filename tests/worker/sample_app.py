"""The tasks of the worker's tests. It goes where TQX_SERVER says."""

import asyncio
import ctypes
import dataclasses
import logging
import os
import signal
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

from taskqueuex import App, Context, Middleware, Reject, Release, Retry

log = logging.getLogger("sample")


class Journal:
    """A resource: lines in a file that the test reads."""

    def __init__(self, path: str) -> None:
        self.path = path

    def write(self, line: str) -> None:
        with open(self.path, "a") as file:
            file.write(line + "\n")


class Noted(Middleware):
    """Writes what happens around each run, if the task's meta names a file."""

    def before(self, context: Context) -> None:
        self._note(context, "before")

    def after(self, context: Context) -> None:
        self._note(context, "after")

    def on_error(self, context: Context, error: BaseException) -> None:
        self._note(context, f"error {type(error).__name__}")

    def _note(self, context: Context, what: str) -> None:
        if "journal" in context.meta:
            Journal(context.meta["journal"]).write(f"{what} {context.name}")


app = App(middleware=[Noted()])


@app.resource
async def journal() -> AsyncIterator[Journal]:
    opened = Journal(os.environ.get("JOURNAL", os.devnull))
    opened.write("opened")
    yield opened
    opened.write("closed")


@app.on_startup
async def started() -> None:
    Journal(os.environ.get("JOURNAL", os.devnull)).write("started")


@app.on_shutdown
def ended() -> None:
    Journal(os.environ.get("JOURNAL", os.devnull)).write("ended")


@app.on_error
def report(error: BaseException, context: Context) -> None:
    Journal(os.environ.get("JOURNAL", os.devnull)).write(f"reported {type(error).__name__}")


@dataclasses.dataclass
class Receipt:
    order_id: int
    total: float


@app.task
async def settle(order_id: int, qty: float) -> Receipt:
    return Receipt(order_id, qty * 2)


@app.task
def threaded(order_id: int, qty: float) -> Receipt:
    assert threading.current_thread() is not threading.main_thread()
    return Receipt(order_id, qty * 3)


@app.task(mode="process")
def process(order_id: int, qty: float) -> Receipt:
    return Receipt(order_id, qty * 4)


@app.task(mode="process")
async def process_async() -> int:
    await asyncio.sleep(0)
    return os.getpid()


@app.task(mode="process")
def pid() -> int:
    return os.getpid()


@app.task
async def noop() -> None:
    pass


@app.task
async def add(a: int, b: int) -> int:
    return a + b


@app.task
async def total(values: list[int]) -> int:
    return sum(values)


@app.task
async def about(context: Context) -> dict[str, object]:
    return {
        "attempt": context.attempt,
        "queue": context.queue,
        "last": context.last_attempt,
        "remaining": context.remaining(),
        "meta": context.meta,
    }


@app.task
async def write(line: str, journal: Journal) -> str:
    journal.write(line)
    return journal.path


@app.task(mode="process")
def write_in_process(line: str, journal: Journal) -> str:
    journal.write(line)
    return journal.path


@app.task
async def says(message: str) -> None:
    log.warning(message)


# How attempts end


class Flaky(Exception):
    pass


class Hopeless(Exception):
    pass


@app.task
async def fails(message: str) -> None:
    raise Flaky(message)


@app.task
async def fails_until(attempt: int, context: Context) -> int:
    if context.attempt < attempt:
        raise Flaky(f"attempt {context.attempt}")
    return context.attempt


@app.task(retry_on=(Flaky,))
async def picky(kind: str) -> None:
    raise Flaky(kind) if kind == "flaky" else Hopeless(kind)


@app.task(dead_on=(Hopeless,))
def gives_up(kind: str) -> None:
    raise Flaky(kind) if kind == "flaky" else Hopeless(kind)


@app.task
async def ends(how: str, context: Context) -> str:
    if context.attempt == 1:
        if how == "retry":
            raise Retry("not yet", after=0.05)
        if how == "release":
            raise Release(after=0.05)
        if how == "reject":
            raise Reject("never")
        if how == "exit":
            raise SystemExit(3)
    return f"attempt {context.attempt}"


@app.task
async def huge() -> str:
    return "x" * (2 << 20)


# What takes time, or does not end


@app.task
async def sleeps(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "slept"


@app.task
async def tidies_up(path: str) -> None:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        Path(path).write_text("tidy")
        raise


@app.task
def waits_in_thread(seconds: float, context: Context) -> str:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if context.cancelled:
            return "stopped early"
        time.sleep(0.01)
    return "to the end"


@app.task
def stubborn(seconds: float) -> str:
    time.sleep(seconds)
    return "to the end"


@app.task(mode="process")
def sleeps_in_process(seconds: float) -> str:
    time.sleep(seconds)
    return "slept"


@app.task
async def blocks(seconds: float) -> str:
    time.sleep(seconds)  # the loop stands still
    return "slept"


@app.task
async def holds_gil(seconds: float) -> str:
    ctypes.PyDLL(None).usleep(int(seconds * 1_000_000))
    return "slept"


@app.task
async def waits_for(path: str) -> str:
    while not Path(path).exists():
        await asyncio.sleep(0.01)
    return Path(path).read_text()


@app.task
async def progresses(path: str, context: Context) -> None:
    context.progress({"done": 40})
    while not Path(path).exists():
        await asyncio.sleep(0.01)


@app.task(mode="process")
def progresses_in_process(path: str, context: Context) -> None:
    context.progress({"done": 40})
    while not Path(path).exists():
        time.sleep(0.01)


# What ends its process


@app.task(mode="process", max_attempts=2)
def crashes(number: int) -> None:
    os.kill(os.getpid(), number)


@app.task(mode="process", max_attempts=2)
def segfaults() -> None:
    ctypes.string_at(0)


@app.task(mode="process", max_attempts=1)
def eats_memory(megabytes: int) -> None:
    kept = [os.urandom(1 << 20) for _ in range(megabytes)]
    time.sleep(30 if kept else 0)


@app.task(mode="process", max_attempts=1)
def exits(code: int) -> None:
    os._exit(code)


@app.task(max_attempts=1)
async def kills_worker() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
