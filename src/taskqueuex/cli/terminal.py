"""What a command has in hand: the server, and the way its user wants to read answers."""

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from taskqueuex.cli.connection import Connection
from taskqueuex.cli.failures import USAGE, Failure
from taskqueuex.cli.http import Client

__all__ = ["NOT_SHOWN", "Terminal", "age", "at", "console", "printable"]

NOT_SHOWN = "(not shown: needs the scope payload)"
"""Where the answer has no payload or no result: that is not to know, rather than null."""

_WIDE = 250  # columns where nobody looks: tables in files and pipes are not folded


class Terminal:
    """Handed to every command that talks to the server."""

    def __init__(self, connection: Connection, output: str) -> None:
        self.connection = connection
        self._client: Client | None = None
        self.is_json = output == "json"

    @property
    def client(self) -> Client:
        """The connection, made at the first call."""
        if self._client is None:
            self._client = Client(self.connection)
        return self._client

    def close(self) -> None:
        """Closes the connection, if there is one."""
        if self._client is not None:
            self._client.close()

    def json(self, answer: bytes | Any) -> None:
        """An answer as JSON: the server's bytes, indented, or a value."""
        raw = answer if isinstance(answer, bytes) else msgspec.json.encode(answer)
        sys.stdout.write(msgspec.json.format(raw, indent=2).decode() + "\n")

    def line(self, text: str) -> None:
        """A line of the result."""
        sys.stdout.write(printable(text) + "\n")

    def note(self, text: str) -> None:
        """A remark beside the result, on standard error."""
        sys.stderr.write(printable(text) + "\n")

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Rows under column heads."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in columns:
            table.add_column(name, no_wrap=name in ("id", "state"), overflow="fold")
        for row in rows:
            table.add_row(*(Text(_cell(value)) for value in row))
        console().print(table)

    def reasons(self, reasons: Iterable[Mapping[str, Any]], indent: str = "") -> None:
        """Prints those of a `why`."""
        for reason in reasons:
            until = f" (until {at(reason['until'])})" if reason.get("until") else ""
            self.line(f"{indent}{reason['code']}: {reason['detail']}{until}")

    def facts(self, values: Mapping[str, Any]) -> None:
        """One thing, a fact a line; what is not there is left out."""
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in values.items():
            if value is not None and value != [] and value != {}:
                table.add_row(Text(name), Text(_fact(name, value)))
        console().print(table)

    def confirm(self, question: str, yes: bool) -> None:
        """Asks before something that cannot be undone; raises Failure where nobody can answer."""
        if yes:
            return
        if not sys.stdin.isatty():
            raise Failure(f"{question} Say --yes to do it without being asked.", USAGE)
        if not typer.confirm(question, err=True):
            raise Failure("left as it was")


def console() -> Console:
    """Standard output as it is now."""
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else _WIDE, highlight=False)


def printable(text: str) -> str:
    """Text of others, without what could steer the terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.1f}"
    return printable(value if isinstance(value, str) else msgspec.json.encode(value).decode())


def _fact(name: str, value: Any) -> str:
    if name.endswith("_at") and isinstance(value, int):
        return at(value)
    return _cell(value)


def at(milliseconds: int | None) -> str:
    """A time as UTC text."""
    if not milliseconds:
        return "-"
    seconds, rest = divmod(milliseconds, 1_000)
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds)) + f".{rest:03d}Z"


def age(milliseconds: int | None) -> str:
    """A duration in its two largest units."""
    if milliseconds is None:
        return "-"
    seconds = milliseconds / 1_000
    for unit, size, smaller, below in (("d", 86_400, "h", 3_600), ("h", 3_600, "m", 60), ("m", 60, "s", 1)):
        if seconds >= size:
            return f"{int(seconds // size)}{unit} {int(seconds % size // below)}{smaller}"
    return f"{seconds:.1f}s"
