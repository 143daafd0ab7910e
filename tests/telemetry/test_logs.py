import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from taskqueuex.telemetry import configure


@pytest.fixture(autouse=True)
def _root_logger_put_back() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def lines_of(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


def test_a_json_line_holds_time_level_logger_message_and_extras() -> None:
    stream = io.StringIO()
    configure("info", "json", stream)
    logging.getLogger("taskqueuex.node").warning("disk %s", "slow", extra={"fsync_ms": 12.5, "path": b"x"})
    fields = json.loads(stream.getvalue())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", fields.pop("at"))
    assert fields == {
        "level": "warning",
        "logger": "taskqueuex.node",
        "message": "disk slow",
        "fsync_ms": 12.5,
        "path": "eA==",
    }


def test_an_exception_is_one_json_field() -> None:
    stream = io.StringIO()
    configure("info", "json", stream)
    try:
        raise KeyError("gone")
    except KeyError:
        logging.getLogger("x").exception("failed")
    [line] = lines_of(stream)
    assert json.loads(line)["exception"].endswith("KeyError: 'gone'")


def test_an_extra_that_json_cannot_hold_is_still_logged() -> None:
    stream = io.StringIO()
    configure("info", "json", stream)
    logging.getLogger("x").info("odd", extra={"thing": object, "at": 1, "text": "\ud800"})
    fields = json.loads(stream.getvalue())
    assert "object" in fields["thing"]


def test_an_extra_cannot_replace_a_field_of_ours() -> None:
    stream = io.StringIO()
    configure("info", "json", stream)
    logging.getLogger("x").info("m", extra={"level": "fake", "at": 1})
    fields = json.loads(stream.getvalue())
    assert (fields["level"], fields["extra_level"], fields["extra_at"]) == ("info", "fake", 1)


def test_a_text_line_is_readable_and_quotes_where_needed() -> None:
    stream = io.StringIO()
    configure("info", "text", stream)
    logging.getLogger("taskqueuex").info("listening", extra={"port": 7470, "why": "as asked", "none": ""})
    [line] = lines_of(stream)
    assert line.endswith('INFO    taskqueuex: listening port=7470 why="as asked" none=""')


def test_a_newline_in_a_message_cannot_forge_a_line() -> None:
    stream = io.StringIO()
    configure("info", "text", stream)
    logging.getLogger("x").info("queue a\nfake line", extra={"name_given": "b\nfake"})
    assert len(lines_of(stream)) == 1


def test_lower_levels_are_left_out_and_handlers_are_replaced() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure("INFO", "text", first)
    configure("error", "text", second)
    logging.getLogger("x").warning("quiet")
    logging.getLogger("x").error("loud")
    assert first.getvalue() == ""
    assert len(lines_of(second)) == 1


@pytest.mark.parametrize(("level", "format"), [("loud", "text"), ("info", "xml")])
def test_an_unknown_level_or_format_is_refused(level: str, format: str) -> None:
    with pytest.raises(ValueError):
        configure(level, format, io.StringIO())  # type: ignore[arg-type]
