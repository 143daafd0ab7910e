"""The reader of responses: the same responses whatever the pieces, and a refusal of what is ambiguous."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueuex.client import wire
from taskqueuex.client.wire import ResponseReader
from taskqueuex.errors import ProtocolError

HEAD = b"HTTP/1.1 200 OK\r\n"


def shown(responses):
    return [(each.status, each.headers, each.body, each.keep_alive) for each in responses]


def chunked(body: bytes, size: int) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    lines = b"".join(b"%x;a=b\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + lines + b"0\r\nDigest: x\r\n\r\n"


def plain(body: bytes, status: int = 200, extra: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d Fine\r\n%bContent-Length: %d\r\n\r\n%b" % (status, extra, len(body), body)


RESPONSES = st.one_of(
    st.builds(plain, st.binary(max_size=60), st.sampled_from([200, 201, 404, 503])),
    st.builds(chunked, st.binary(max_size=60), st.integers(1, 20)),
    st.just(b"HTTP/1.1 204 No Content\r\n\r\n"),
    st.just(b"HTTP/1.1 100 Continue\r\n\r\n" + plain(b"{}")),
)


@given(st.lists(RESPONSES, min_size=1, max_size=4), st.lists(st.integers(0, 1_000), max_size=12))
def test_any_split_of_the_bytes_gives_the_same_responses(parts, cuts):
    data = b"".join(parts)
    whole = shown(ResponseReader().receive(data))
    assert len(whole) == len(parts)
    reader, found, start = ResponseReader(), [], 0
    for cut in [*sorted(each % (len(data) + 1) for each in cuts), len(data)]:
        found += reader.receive(data[start:cut])
        start = cut
    assert shown(found) == whole
    assert reader.idle and reader.end() is None


@given(st.lists(st.one_of(RESPONSES, st.binary(max_size=40)), max_size=4), st.lists(st.integers(0, 500)))
def test_garbage_is_refused_or_awaited_in_any_split_alike(parts, cuts):
    data = b"".join(parts)

    def play(pieces):
        reader, found = ResponseReader(), []
        try:
            for piece in pieces:
                found += reader.receive(piece)
        except ProtocolError:
            return "refused", None
        return "fine", (shown(found), reader.idle)

    places = [0, *sorted(each % (len(data) + 1) for each in cuts), len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(places)]
    assert play(pieces) == play([data])


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/2 200 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        HEAD + b"A: b\r\n folded\r\nContent-Length: 0\r\n\r\n",
        HEAD + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
        HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        HEAD + b"Content-Length: 1, 1\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 99999999999\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
        HEAD + b"Bad Name: x\r\nContent-Length: 0\r\n\r\n",
        HEAD + b"A: b\nContent-Length: 0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * 400,
        HEAD + b"A: " + b"x" * wire.HEAD_BYTES_MAX + b"\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ],
)
def test_what_is_ambiguous_or_too_long_is_refused(data):
    with pytest.raises(ProtocolError):
        ResponseReader().receive(data)


def test_a_body_without_a_length_ends_with_the_connection():
    reader = ResponseReader()
    assert reader.receive(HEAD + b"\r\nabc") == []
    response = reader.end()
    assert response is not None and (response.body, response.keep_alive) == (b"abc", False)


def test_a_response_that_is_cut_off_is_not_one():
    reader = ResponseReader()
    reader.receive(HEAD + b"Content-Length: 4\r\n\r\nabc")
    with pytest.raises(ProtocolError):
        reader.end()


@pytest.mark.parametrize(
    ("head", "lasts"),
    [(b"HTTP/1.1 200 OK\r\nConnection: close\r\n", False), (b"HTTP/1.0 200 OK\r\n", False), (HEAD, True)],
)
def test_whether_the_connection_lasts_is_read_from_the_head(head, lasts):
    (response,) = ResponseReader().receive(head + b"Content-Length: 0\r\n\r\n")
    assert response.keep_alive is lasts
