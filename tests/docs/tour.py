"""Runs the commands of a document as a reader would, and compares what they print with what it shows.

A block fenced as `console` is a session in a terminal:

    $ a command               runs in one bash that lasts for the whole document, in an empty directory
    > its second line
    what it printed

A block fenced as `python` is a file, named in its first line. `make serve` (or `tqx serve`) stands for a
terminal of its own: a server is started there, on a free port. Its data directory stays, so that a second
`make serve` finds what the first one kept. Port 7470 in commands is replaced by the free one, and back again
in what they print.

Both texts are compared in a form that has forgotten what differs from run to run:

    ids                 <id 1>, <id 2>, ... in the order in which they first appear
    lease tokens        <lease 1>, <lease 2>, ... likewise
    times, dates        <time>
    durations, sizes    <number>: decimals with their unit, `N bytes`, `N ms`, `N records`, `pid N`
    spaces              one, since columns are as wide as what stands in them

    python -m tests.docs.tour README.md     replaces what the document shows by what was printed just now
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 60
PORT = 7470

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("TQX_")}


@dataclass
class Step:
    """A command, and what the document says that it prints."""

    command: str
    shown: str


def blocks(text: str, language: str) -> list[str]:
    """The contents of the fenced blocks of a language, in order."""
    return [content for found, content in _BLOCK.findall(text) if found == language]


def parts(text: str) -> list[tuple[str, str]]:
    """All fenced blocks with their languages, in order."""
    return _BLOCK.findall(text)


def languages(text: str) -> set[str]:
    """The languages that blocks of a document are fenced as."""
    return {found for found, _ in _BLOCK.findall(text)}


def steps(block: str) -> list[Step]:
    """The commands of a console block, each with the output below it."""
    found: list[Step] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append(Step(line[2:], ""))
        elif line.startswith("> ") and not found[-1].shown:
            found[-1].command += "\n" + line[2:]
        else:
            found[-1].shown += line + "\n"
    return found


_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("id", re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\b")),
    ("lease", re.compile(r"\b\d+-[0-9a-f]{16}\b")),
)
_FORGOTTEN: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d\.\d{3}Z"), "<time>"),
    (re.compile(r"\b1[789]\d{11}\b"), "<time>"),
    (re.compile(r"/\S+/(?=[\w.-]+( |$|:))"), ""),  # the directory that the reader happens to be in
    (re.compile(r"\b\d+\.\d+(s|ms|m|h)?(?![\w.])"), "<number>"),
    (re.compile(r"\b\d+ (bytes|ms|records)\b"), r"<number> \1"),
    (re.compile(r"\bpid \d+\b"), "pid <number>"),
    (re.compile(r"-{3,}"), "---"),
    (re.compile(r"[ \t]+"), " "),
    (re.compile(r" $", re.MULTILINE), ""),
)


class Normaliser:
    """Rewrites output into the form that is the same in every run; remembers ids and tokens it met."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    def __call__(self, text: str) -> str:
        for kind, pattern in _PATTERNS:
            text = pattern.sub(self._namer(kind), text)
        for forgotten, instead in _FORGOTTEN:
            text = forgotten.sub(instead, text)
        return text.strip()

    def _namer(self, kind: str) -> Callable[[re.Match[str]], str]:
        def name(match: re.Match[str]) -> str:
            found = match.group()
            if found not in self._names:
                self._counts[kind] = self._counts.get(kind, 0) + 1
                self._names[found] = f"<{kind} {self._counts[kind]}>"
            return self._names[found]

        return name


class Terminals:
    """One shell, and the server in its own terminal; a context manager that ends both."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self._port = int(listener.getsockname()[1])
        self._server: subprocess.Popen[bytes] | None = None
        environment = {
            **_ENVIRONMENT,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "TQX_SERVER": f"http://127.0.0.1:{self._port}",
            "LC_ALL": "C.UTF-8",
            "COLUMNS": "110",
        }
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=directory,
            env=environment,
            start_new_session=True,
        )

    def __enter__(self) -> Terminals:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._shell.pid, signal.SIGKILL)  # what runs in the background of it, too
        self._shell.communicate()
        if self._server is not None and self._server.poll() is None:
            self._server.send_signal(signal.SIGTERM)
            self._server.wait(TIMEOUT_S)

    def run(self, command: str) -> str:
        """What a command prints, on both streams, as if the port were the usual one."""
        if command in ("make serve", "tqx serve"):
            printed = self._serve(command)
        else:
            printed = self._run_in_shell(command.replace(str(PORT), str(self._port)))
        return printed.replace(f"127.0.0.1:{self._port}", f"127.0.0.1:{PORT}")

    def _run_in_shell(self, command: str) -> str:
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        end = f"--end of {id(command)}--"
        self._shell.stdin.write(f"{command}\nprintf '\\n%s\\n' '{end}'\n")
        self._shell.stdin.flush()
        lines = []
        for line in self._shell.stdout:
            if line.rstrip("\n") == end:
                return "".join(lines)
            lines.append(line)
        raise RuntimeError(f"the shell ended in {command!r}: {''.join(lines)}")

    def write(self, block: str) -> None:
        """Makes the file that a block of Python is, by the name in its first line: `# shop.py`."""
        name = block.partition("\n")[0].removeprefix("# ")
        assert re.fullmatch(r"\w+\.py", name), f"the first line of a block of Python names its file: {name}"
        (self._directory / name).write_text(block.replace(str(PORT), str(self._port)))

    def _serve(self, given: str) -> str:
        """Starts what `make serve` would start, and returns what it printed until it was ready."""
        if self._server is not None:
            self._server.wait(TIMEOUT_S)  # the document has just ended it
        planned = subprocess.run(
            ["make", "--dry-run", "--no-print-directory", "serve"],
            cwd=ROOT, capture_output=True, text=True, check=True, env={**_ENVIRONMENT, "MAKEFLAGS": ""},
        ).stdout.splitlines()[-1]  # fmt: skip
        assert planned.split() == [".venv/bin/tqx", "serve"], planned
        command = [sys.executable, "-m", "taskqueuex.cli", "serve", "--listen", f"127.0.0.1:{self._port}"]
        log = self._directory / "serve.log"
        with log.open("wb") as output:
            self._server = subprocess.Popen(
                command, cwd=self._directory, stdout=output, stderr=output, env=_ENVIRONMENT
            )
        deadline = time.monotonic() + TIMEOUT_S
        while not self._is_ready():
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server does not serve: {log.read_text()}")
            time.sleep(0.02)  # another process has no other way to tell
        return f"{planned.strip()}\n{log.read_text()}" if given == "make serve" else log.read_text()

    def _is_ready(self) -> bool:
        try:
            self.get("/readyz")
        except OSError:  # which urllib's errors are
            return False
        return True

    def get(self, path: str) -> str:
        """What the server answers; raises OSError when that is no success."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=TIMEOUT_S) as answer:
            return str(answer.read().decode())


def rewrite(document: Path) -> None:
    """Runs a document and puts what was printed into it."""
    text = document.read_text()
    with tempfile.TemporaryDirectory() as directory, Terminals(Path(directory)) as terminals:
        here = f"{Path(directory).resolve()}/"

        def fresh(match: re.Match[str]) -> str:
            if match.group(1) == "python":
                terminals.write(match.group(2))
            if match.group(1) != "console":
                return match.group()
            lines = []
            for step in steps(match.group(2)):
                lines.append("$ " + step.command.replace("\n", "\n> "))
                printed = terminals.run(step.command).replace(here, "/home/ada/taskqueuex/")
                lines += [line.rstrip() for line in printed.strip("\n").splitlines()]
            return "```console\n" + "\n".join(lines) + "\n```"

        text = _BLOCK.sub(fresh, text)
    document.write_text(text)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        rewrite(Path(name))
