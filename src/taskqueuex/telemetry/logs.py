"""Structured logs: one line an event, as readable text or as JSON.

Callers use the standard `logging` module and hand facts over as `extra={...}`, not inside the message:
the text format shows them as key=value, the JSON format as fields of their own. Logging is a side effect
of the shell around the engine; the engine itself never logs.
"""

from __future__ import annotations

import logging
import os
import sys
from datetime import UTC, datetime
from typing import IO, Any, Literal

import msgspec

_STANDARD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_COLOURS = {logging.DEBUG: 2, logging.INFO: 32, logging.WARNING: 33, logging.ERROR: 31, logging.CRITICAL: 41}
_RESERVED_FIELDS = frozenset({"at", "level", "logger", "message", "exception"})


def _extra_fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD_ATTRIBUTES}


def _time(record: logging.LogRecord) -> str:
    """Return the record's time as RFC 3339, UTC, milliseconds."""
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _exception_text(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts = []
    if record.exc_info:
        parts.append(formatter.formatException(record.exc_info))
    if record.stack_info:
        parts.append(formatter.formatStack(record.stack_info))
    return "\n".join(parts)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `at`, `level`, `logger`, `message`, `exception` and the extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its newline. A field that JSON cannot hold is written as its `repr`."""
        fields: dict[str, Any] = {
            "at": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name, value in _extra_fields(record).items():
            # An extra named like one of our own fields would replace it: keep both.
            fields[f"extra_{name}" if name in _RESERVED_FIELDS else name] = value
        exception = _exception_text(self, record)
        if exception:
            fields["exception"] = exception
        try:
            line = msgspec.json.encode(fields, enc_hook=repr)
        except (TypeError, ValueError, RecursionError):
            # Mappings with odd keys, text with lone surrogates: a log line is better than an error.
            line = msgspec.json.encode({name: ascii(value) for name, value in fields.items()})
        return line.decode("utf-8")


class TextFormatter(logging.Formatter):
    """One readable line: time, level, logger, message, then key=value; tracebacks follow below it.

    `coloured`: the level in a colour of its own, for terminals.
    """

    def __init__(self, *, coloured: bool = False) -> None:
        super().__init__()
        self._coloured = coloured

    def format(self, record: logging.LogRecord) -> str:
        """Return the text, without its last newline."""
        level = f"{record.levelname:<7}"
        if self._coloured:
            level = f"\x1b[{_COLOURS.get(record.levelno, 0)}m{level}\x1b[0m"
        head = f"{_time(record)} {level} {record.name}: {_one_line(record.getMessage())}"
        extras = "".join(f" {name}={_shown(value)}" for name, value in _extra_fields(record).items())
        exception = _exception_text(self, record)
        return f"{head}{extras}\n{exception}" if exception else head + extras


def _one_line(text: str) -> str:
    # A newline in a message, perhaps from a client, must not forge a second log line.
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _shown(value: object) -> str:
    text = str(value)
    needs_quotes = not text or any(c in ' "=' or not c.isprintable() for c in text)
    return msgspec.json.encode(_one_line(text)).decode() if needs_quotes else text


def configure(
    level: str | int = "INFO",
    format: Literal["text", "json"] = "text",
    stream: IO[str] | None = None,
) -> logging.Handler:
    """Send all logs of the process to one stream, replacing the handlers that are there.

    Args:
        level: the lowest level written, by name (any case) or number.
        format: `text` for people (coloured on a terminal, unless NO_COLOR is set), `json` for collectors.
        stream: where to write; standard error when None.

    Returns:
        The handler now installed on the root logger.

    Raises:
        ValueError: an unknown level or format.
    """
    if format not in ("text", "json"):
        raise ValueError(f"the log format is text or json, not {format!r}")
    stream = stream if stream is not None else sys.stderr
    handler = logging.StreamHandler(stream)
    coloured = stream.isatty() and not os.environ.get("NO_COLOR")
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter(coloured=coloured))
    root = logging.getLogger()
    root.setLevel(level.upper() if isinstance(level, str) else level)
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    return handler
