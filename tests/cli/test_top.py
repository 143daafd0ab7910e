"""`tqx top` in a terminal of its own against a real server, and its single frames."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest
from tests.shared.programs import free_port

from taskqueuex.cli.connection import Connection
from taskqueuex.cli.http import Client

LIMIT_S = 30.0
_SEQUENCE = re.compile(rb"\x1b(\[[0-9;?]*[A-Za-z]|\([A-Z])")


class Screen:
    """The program in a pseudo terminal: what it has drawn, and its keys."""

    def __init__(self, *command, size=(40, 200)):
        self.master, self.terminal = pty.openpty()
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        self.attributes = termios.tcgetattr(self.terminal)
        self.drawn = b""
        kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            [sys.executable, *command],
            stdin=self.terminal,
            stdout=self.terminal,
            stderr=self.terminal,
            env={**kept, "TERM": "xterm-256color"},
            start_new_session=True,
        )

    def wait_text(self, pattern):
        """Reads until something is drawn after this call that matches; returns it."""
        self.drawn = b""
        until_s = time.monotonic() + LIMIT_S
        while not (found := re.search(pattern, self.text, re.DOTALL)):
            assert select.select([self.master], [], [], max(0.0, until_s - time.monotonic()))[0], self.text
            self.drawn += os.read(self.master, 65_536)
        return found.group()

    @property
    def text(self):
        return _SEQUENCE.sub(b"", self.drawn).decode("utf-8", "replace")

    def press(self, keys):
        os.write(self.master, keys)

    def wait_end(self):
        """Reads until the program has ended; its exit code. The terminal must be as it was."""
        self.drawn = b""
        until_s = time.monotonic() + LIMIT_S
        while self.process.poll() is None or select.select([self.master], [], [], 0)[0]:
            assert time.monotonic() < until_s
            if select.select([self.master], [], [], 0.05)[0]:
                self.drawn += os.read(self.master, 65_536)
        assert termios.tcgetattr(self.terminal) == self.attributes
        assert b"\x1b[?1049l" in self.drawn and b"\x1b[?25h" in self.drawn  # screen and cursor are back
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.terminal)


@pytest.fixture
def screen(server):
    """Starts the program in a terminal of its own."""
    started = []

    def start(*words, at=server, program=("-m", "taskqueuex.cli"), **size):
        started.append(Screen(*program, "--server", at, "top", "--interval", "0.1", *words, **size))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture
def queue(request):
    return re.sub(r"[^a-z0-9]", "-", request.node.name.removeprefix("test_"))[:20]


def test_a_queue_is_paused_and_resumed_by_keys_and_the_terminal_is_given_back(server, screen, tqx, queue):
    tqx("enqueue", queue, "1")
    top = screen()
    top.wait_text(queue)
    assert termios.tcgetattr(top.terminal) != top.attributes
    names = [each["name"] for each in tqx.asked("queue", "list")["queues"]]
    top.press(b"j" * names.index(queue) + b"p")
    top.wait_text(f"{queue} is paused")
    assert tqx.asked("queue", "show", queue)["paused"]
    top.wait_text(rf"{queue}\s+paused")
    top.press(b"r")
    top.wait_text(f"{queue} goes on")
    assert not tqx.asked("queue", "show", queue)["paused"]
    top.press(b"q")
    assert top.wait_end() == 0


def test_dead_tasks_are_retried_after_the_question(serve, screen, tmp_path):
    with serve(tmp_path / "data") as url:
        client = Client(Connection(url))
        for _ in range(2):
            id = client.ask("enqueue", "orders", body={})["id"]
            client.ask("kill_task", id)
        top = screen(at=url)
        top.wait_text("dead letters by error: 1")
        top.press(b"R")
        top.wait_text("Retry the 2 dead tasks of orders")
        top.press(b"y")
        top.wait_text("are tried again")
        counts = client.ask("get_queue", "orders")["counts"]
        assert (counts["dead"], counts["ready"]) == (0, 2)
        top.wait_text("dead letters by error: 0")
        top.press(b"q")
        assert top.wait_end() == 0
        client.close()


def test_a_worker_is_made_quiet_by_keys(serve, screen, tmp_path):
    with serve(tmp_path / "data") as url:
        client = Client(Connection(url))
        client.ask("settle", body={"worker": {"name": "worker-1", "concurrency": 4, "queues": ["orders"]}})
        top = screen(at=url)
        top.wait_text("worker-1")
        top.press(b"\tQ")
        top.wait_text("worker-1 is asked to take no more tasks")
        # It learns it with its next call.
        answer = client.ask("settle", body={"worker": {"name": "worker-1"}})
        assert answer["control"]["quiet"] is True
        top.press(b"q")
        assert top.wait_end() == 0
        client.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_terminal_is_given_back_when_a_signal_ends_it(screen, number):
    top = screen()
    top.wait_text("queues: ")
    top.process.send_signal(number)
    assert top.wait_end() == 128 + number


def test_a_new_size_of_the_terminal_gets_a_new_frame(screen):
    top = screen("--interval", "3600", size=(40, 80))
    top.wait_text("queues: ")
    fcntl.ioctl(top.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 180, 0, 0))
    top.process.send_signal(signal.SIGWINCH)
    top.wait_text("discipline")  # there is room for all columns now
    top.press(b"q")
    assert top.wait_end() == 0


def test_it_says_that_the_server_is_gone_and_goes_on_when_it_is_back(serve, screen, tmp_path):
    with serve(tmp_path / "data") as url:
        client = Client(Connection(url))
        client.ask("enqueue", "orders", body={})
        client.close()
        top = screen(at=url)
        top.wait_text("orders")
    top.wait_text("no answer from .*; trying again")
    with serve(tmp_path / "data", url.removeprefix("http://")):
        top.wait_text(r"orders[^;]*\? help")
        top.press(b"q")
        assert top.wait_end() == 0


def test_it_waits_for_a_server_that_is_not_there_yet(screen):
    top = screen(at=f"http://127.0.0.1:{free_port()}")
    top.wait_text("waiting for http.*Connection refused; trying again")
    top.press(b"q")
    assert top.wait_end() == 0


# The view fails at the first frame that has a server in it.
_BROKEN = """
import sys
from taskqueuex.cli import top
from taskqueuex.cli.app import run

draw = top.draw
top.draw = lambda state, *size: draw(state, *size) if state.snapshot is None else 1 // 0
sys.exit(run(sys.argv[1:]))
"""


def test_an_error_of_the_program_leaves_the_terminal_in_order_and_is_told(screen):
    top = screen(program=("-c", _BROKEN))
    assert top.wait_end() == 1
    assert top.drawn.index(b"\x1b[?1049l") < top.drawn.index(b"ZeroDivisionError")


# One frame


def test_one_frame_goes_into_a_pipe(tqx, queue):
    tqx("enqueue", queue, "1")
    shown = tqx("top", "--once")
    assert shown.startswith("TaskQueueX ") and "\x1b" not in shown
    assert re.search(rf"^{re.escape(queue)} +fifo +1 ", shown, re.MULTILINE)


def test_one_frame_as_json(tqx, queue):
    tqx("enqueue", queue, "1")
    answer = tqx.asked("top", "--once")
    assert set(answer) == {"stats", "queues", "workers", "dead"}
    assert [each["counts"]["ready"] for each in answer["queues"] if each["name"] == queue] == [1]


def test_what_is_no_terminal_is_refused(tqx):
    assert "--once" in tqx("top", code=2)
    assert "--once" in tqx("--output", "json", "top", code=2)


def test_one_frame_of_a_server_that_is_not_there(tqx):
    assert "no answer from" in tqx("--server", f"http://127.0.0.1:{free_port()}", "top", "--once", code=5)
