"""The session under streams that are whole, broken, cut anywhere, and answered in any order."""

from typing import Any

import msgspec
import pytest
from budget import cases_of, fuzz
from driven import PIPELINE_MAX, Driven, answers_of, split
from hypothesis import strategies as st
from streams import CUTS, ORDERS, Asked, broken_streams, pipelines

_SMALL: Any = {
    "request_line_bytes_max": 256,
    "head_bytes_max": 1_024,
    "headers_max": 12,
    "body_bytes_max": 1_024,
}


@pytest.fixture
def driven():
    made = Driven()
    yield made
    made.close()


@pytest.fixture
def bounded():
    """With limits that examples reach."""
    made = Driven(**_SMALL)
    yield made
    made.close()


def check_pipeline(driven: Driven, example: Any) -> None:
    """Each request is answered once and in order, whatever the pieces, and whenever calls are answered."""
    rows, times, cuts, order = example
    asked = [Asked(*row) for row in rows] * times  # some are longer than what is parsed at once
    output = driven.run(split(b"".join(each.raw for each in asked), cuts), order)
    answers, behind = answers_of(output)
    closing = [place for place, each in enumerate(asked) if each.closes]
    asked = asked[: closing[0] + 1] if closing else asked
    assert [each.status for each in answers] == [each.status for each in asked]
    for answer, each in zip(answers, asked, strict=True):
        assert answer.closes == each.closes
        if each.echo is not None:
            echo = msgspec.json.decode(answer.body)
            assert (echo["name"], echo["target"]) == each.echo
    # No 100 comes behind the answer of the request that asked for it.
    for place in range(len(asked) + 1):
        later = sum(each.continues for each in answers[place:]) + behind
        assert later <= sum(each.expects for each in asked[place:])
    assert driven.submitted_max <= PIPELINE_MAX


def check_overload(driven: Driven, example: Any) -> None:
    """While there is more to do than can be done, each request still is answered once and in order: as usual,
    or with 503 where it is of a kind that is sent away."""
    rows, cuts, order, moods = example
    asked = [Asked(*row) for row in rows]
    pieces = split(b"".join(each.raw for each in asked), cuts)
    answers, _ = answers_of(driven.run(pieces, order, moods=moods))
    assert len(answers) == len(asked) or answers[-1].closes
    assert not any(each.closes for each in answers[:-1])
    for answer, each in zip(answers, asked, strict=False):
        if answer.status == 503:
            assert each.status not in (404, 405) and (each.echo or "?")[0] not in ("ack", "delete_queue")
            assert answer.closes in (each.closes, each.expects)  # its body was not waited for
            continue
        assert (answer.status, answer.closes) == (each.status, each.closes)
        if each.echo is not None:
            echo = msgspec.json.decode(answer.body)
            assert (echo["name"], echo["target"]) == each.echo
    assert driven.submitted_max <= PIPELINE_MAX
    driven.run(pieces, order, moods=moods, eof=True)  # a client that goes meanwhile


def check_broken(driven: Driven, example: Any) -> None:
    """Nothing is answered behind what closes; and neither pieces nor the order of answers change anything."""
    stream, cuts, order = example
    whole = _essence(driven.run([stream]))
    assert [status for status, _, _ in whole if status >= 500] == []
    assert not any(closes for _, closes, _ in whole[:-1])
    assert _essence(driven.run(split(stream, cuts), order)) == whole
    start = stream[:600]
    assert _essence(driven.run([bytes([each]) for each in start])) == _essence(driven.run([start]))
    ended = _essence(driven.run(split(stream, cuts), order, eof=True))
    assert [each[0] for each in ended] == [each[0] for each in whole[: len(ended)]]
    assert driven.submitted_max <= PIPELINE_MAX


# What breaks a stream. Where it is broken in two ways, the pieces say which is seen first.
_BREAKING = {400, 413, 414, 431}


def _essence(output: bytes) -> list[tuple[int, bool, Any]]:
    """Status, whether it closes, and what it says: of errors the code, since details may tell of pieces."""
    found = []
    for answer in answers_of(output)[0]:
        said = msgspec.json.decode(answer.body) if answer.body else None
        if answer.closes and answer.status in _BREAKING:
            found.append((400, True, None))
        else:
            found.append(
                (answer.status, answer.closes, said["code"] if said and answer.status >= 400 else said)
            )
    return found


def _row(asked: Asked) -> tuple[Any, ...]:
    return (asked.raw, asked.status, asked.echo, asked.expects, asked.closes)


def test_pipelines(driven):
    rows = pipelines.map(lambda each: [_row(asked) for asked in each])
    times = st.sampled_from([1, 1, 1, 1, 1, 1, 1, 40])
    strategy = st.tuples(rows, times, CUTS, st.one_of(st.just([]), ORDERS))
    assert fuzz("pipeline", 0.15, strategy, lambda example: check_pipeline(driven, example)) > 0


def test_overload(driven):
    rows = pipelines.map(lambda each: [_row(asked) for asked in each])
    moods = st.lists(st.integers(0, 7), min_size=1, max_size=12)
    strategy = st.tuples(rows, CUTS, ORDERS, moods)
    assert fuzz("overload", 0.15, strategy, lambda example: check_overload(driven, example)) > 0


def test_broken_streams(bounded):
    strategy = st.tuples(broken_streams, CUTS, ORDERS)
    assert fuzz("broken", 0.3, strategy, lambda example: check_broken(bounded, example)) > 0


def test_what_failed_once(driven, bounded):
    for example in cases_of("pipeline"):
        check_pipeline(driven, example)
    for example in cases_of("overload"):
        check_overload(driven, example)
    for example in cases_of("broken"):
        check_broken(bounded, example)


def test_a_flood_that_nobody_answers_is_not_read(driven):
    request = b"GET /v1/queues/q HTTP/1.1\r\nHost: a\r\n\r\n"
    output = driven.run([request * 50] * 20, [0])
    answers, _ = answers_of(output)
    assert len(answers) == 1_000 and driven.submitted_max == PIPELINE_MAX


def test_a_property_that_does_not_hold_is_found(tmp_path, monkeypatch):
    """The fuzzer itself: what fails is found, made small, and kept."""
    monkeypatch.setattr("budget.CASES", tmp_path)

    def check(example: list[int]) -> None:
        assert sum(example) < 50

    with pytest.raises(AssertionError):
        fuzz("self", 0.02, st.lists(st.integers(0, 100)), check)
    assert [sum(each) for each in cases_of("self")] == [50]
