"""`tqx top`: the server, its queues and its workers, live in a full screen.

Two threads: this one has the terminal; the other has the connection to the server, asks it every interval and
makes the calls that keys ask for. It leaves what it hears in a queue and writes a byte into a pipe, which
wakes the first one, as do keys and signals. The terminal is left as it was found whatever happens.
"""

import contextlib
import os
import queue
import selectors
import signal
import socket
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.console import Console
from rich.live import Live

from taskqueuex.cli.app import app, asks_server
from taskqueuex.cli.connection import Connection
from taskqueuex.cli.failures import USAGE, Failure, Unreachable
from taskqueuex.cli.http import Client
from taskqueuex.cli.terminal import Terminal, console
from taskqueuex.cli.top_model import Call, Snapshot, State, keys_of, on_key, on_lost, on_snapshot, on_told
from taskqueuex.cli.top_view import draw
from taskqueuex.commands.admin import StatsReply, WorkerList
from taskqueuex.commands.queues import QueueList
from taskqueuex.commands.tasks import DeadGroup, DeadGroups

__all__ = ["top"]

_TIMEOUT_S: Final = 5.0  # of a call: a screen must not stand still for longer
_DEAD_EVERY_S: Final = 5.0  # dead letters are counted by a scan: not every second
_DEAD_GROUPS: Final = 50
_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Change = Callable[[State], State]


@asks_server(app, "top")
def top(
    tqx: Terminal,
    interval: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, max=3_600, help="Between two looks at the server.")
    ] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Print one frame and exit.")] = False,
) -> None:
    """Watch the server, its queues, workers and dead letters, and steer them by keys; ? shows these.

    Latencies are those since the server started, rates those of the last 10 s.
    """
    if once:
        _print_once(tqx)
        return
    if tqx.is_json:
        raise Failure("--output json: only with --once", USAGE)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Failure("this needs a terminal; --once prints one frame", USAGE)
    number = _Screen(tqx.client, interval).run()
    if number is not None:
        raise typer.Exit(128 + number)


def _print_once(tqx: Terminal) -> None:
    source = _Source(tqx.client)
    snapshot = source.look()
    if tqx.is_json:
        parts = ("stats", "queues", "workers", "dead")
        tqx.json({name: getattr(snapshot, name) for name in parts})
        return
    screen = console()
    state = on_snapshot(State(tqx.client.url), snapshot)
    screen.print(draw(state, screen.width, None))


class _Source:
    """Asks the server. Raises Failure."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._dead: tuple[DeadGroup, ...] = ()
        self._dead_due_s = 0.0

    def look(self) -> Snapshot:
        """How the server is now; its dead letters may be some seconds old."""
        stats = self._ask("stats", StatsReply)
        queues = self._ask("list_queues", QueueList).queues
        workers = self._ask("list_workers", WorkerList).workers
        now_s = time.monotonic()
        if now_s >= self._dead_due_s:
            self._dead = tuple(self._ask("dead_groups", DeadGroups, limit=_DEAD_GROUPS).groups)
            self._dead_due_s = now_s + _DEAD_EVERY_S
        return Snapshot(stats, tuple(queues), tuple(workers), self._dead, now_s)

    def _ask(self, command: str, kind: type[Any], **query: Any) -> Any:
        answer = self._client.call(command, query=query)
        try:
            return msgspec.json.decode(answer, type=kind)
        except msgspec.MsgspecError as error:
            raise Failure(f"{self._client.url} is no server of this version: {error}") from error

    def do(self, call: Call) -> str:
        """Makes a call; what to say of it."""
        self._client.call(call.command, call.target, body=call.body)
        self._dead_due_s = 0.0
        return call.done


class _Poller(threading.Thread):
    """Owns the connection. `heard` holds what it heard, as changes of the state; `wake` tells of each."""

    def __init__(self, connection: Connection, interval_s: float, wake: Callable[[], None]) -> None:
        # Nobody waits for it at the end: it may be in a call, and has nothing that must be kept.
        super().__init__(name="tqx-top", daemon=True)
        self.heard: queue.SimpleQueue[Change] = queue.SimpleQueue()
        self.calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._client = Client(connection, _TIMEOUT_S)
        self._source = _Source(self._client)
        self._interval_s = interval_s
        self._wake = wake

    def run(self) -> None:
        try:
            with contextlib.closing(self._client):
                self._poll()
        except BaseException as error:
            self._hear(_raising(error))  # where the terminal is put in order first

    def _poll(self) -> None:
        """Until None comes instead of a call."""
        while True:
            self._hear(self._look())
            try:
                call = self.calls.get(timeout=self._interval_s)
            except queue.Empty:
                continue
            if call is None:
                return
            self._hear(self._do(call))

    def _hear(self, change: Change) -> None:
        self.heard.put(change)
        self._wake()

    def _look(self) -> Change:
        try:
            snapshot = self._source.look()
        except Failure as failure:
            reason = str(failure)
            return lambda state: on_lost(state, reason)
        return lambda state: on_snapshot(state, snapshot)

    def _do(self, call: Call) -> Change:
        try:
            told = self._source.do(call)
        except Unreachable as failure:
            told = f"{failure} (it may have been applied)"
        except Failure as failure:
            told = str(failure)
        return lambda state: on_told(state, told)


def _raising(error: BaseException) -> Change:
    def change(_: State) -> State:
        raise error

    return change


class _Screen:
    """The terminal, from the first frame to the last."""

    def __init__(self, client: Client, interval_s: float) -> None:
        self._client = client
        self._interval_s = interval_s
        self._ended_by: int | None = None
        # Sockets, not a pipe: the poller may still write when they are closed, and then only gets an error.
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)

    def run(self) -> int | None:
        """Shows frames until a key or a signal ends it; the signal's number, if it was one."""
        poller = _Poller(self._client.connection, self._interval_s, self._wake)
        try:
            with self._woken, self._waker, _unbuffered(sys.stdin.fileno()), self._signals():
                self._show(poller)
        except OSError:
            if self._ended_by != signal.SIGHUP:  # a terminal that has hung up takes no farewell
                raise
        return self._ended_by

    def _show(self, poller: _Poller) -> None:
        screen = Console(file=sys.stdout, highlight=False)
        live = Live(
            console=screen, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )
        with live:
            poller.start()
            try:
                self._loop(poller, live, screen)
            finally:
                poller.calls.put(None)

    def _loop(self, poller: _Poller, live: Live, screen: Console) -> None:
        state = State(self._client.url)
        with selectors.DefaultSelector() as selector:
            selector.register(sys.stdin, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while not state.ended and self._ended_by is None:
                live.update(draw(state, screen.width, screen.height), refresh=True)
                ready = [key.fileobj for key, _ in selector.select()]
                if self._woken in ready:
                    self._woken.recv(4_096)
                if sys.stdin in ready:
                    state = self._on_keys(state, poller)
                state = _on_heard(state, poller)

    def _on_keys(self, state: State, poller: _Poller) -> State:
        try:
            typed = os.read(sys.stdin.fileno(), 4_096)
        except OSError:
            typed = b""
        if not typed:
            self._ended_by = signal.SIGHUP  # the terminal has gone
        for key in keys_of(typed):
            state, call = on_key(state, key)
            if call is not None:
                poller.calls.put(call)
            if state.ended:
                break
        return state

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # it is full, so that it wakes anyway, or all is over
            self._waker.send(b"\0")

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if number in _ENDING:
            self._ended_by = number

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Ends in order on signals that end; a new size draws a new frame; Ctrl-Z is not heard."""
        wanted: dict[int, Any] = dict.fromkeys((*_ENDING, signal.SIGWINCH), self._on_signal)
        before = {
            number: signal.signal(number, handler)
            for number, handler in {**wanted, signal.SIGTSTP: signal.SIG_IGN}.items()
        }
        # The interpreter writes the byte itself: a handler may run only after the wait that it is to end.
        woken_before = signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(woken_before)
            for number, handler in before.items():
                signal.signal(number, handler)


def _on_heard(state: State, poller: _Poller) -> State:
    while True:
        try:
            change = poller.heard.get_nowait()
        except queue.Empty:
            return state
        state = change(state)


@contextlib.contextmanager
def _unbuffered(terminal: int) -> Iterator[None]:
    """Keys come one by one and are not echoed; afterwards the terminal is as before."""
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal)
        yield
    finally:
        with contextlib.suppress(termios.error):  # it has hung up
            termios.tcsetattr(terminal, termios.TCSANOW, before)
