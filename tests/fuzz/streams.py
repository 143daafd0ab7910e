"""Streams of requests: whole ones whose answers are known, and those that are broken in any way."""

from dataclasses import dataclass

from hypothesis import strategies as st

__all__ = ["CUTS", "ORDERS", "Asked", "broken_streams", "pipelines"]

ID = "01890a5d-ac96-774b-bcce-b302099a8057"

CUTS = st.lists(st.integers(0, 100_000), max_size=12)
ORDERS = st.lists(st.integers(0, 63), min_size=1, max_size=24)


@dataclass(frozen=True)
class Asked:
    """A request, and what is to be known of its answer."""

    raw: bytes
    status: int
    echo: tuple[str, str] | None  # the command and its target
    expects: bool
    closes: bool


_TARGETS = [
    # method, path, body, status, command, target
    ("POST", "/v1/queues/{n}/tasks", b'{"payload":{"x":[1,2.5,"\\u00e9"]}}', 200, "enqueue", "{n}"),
    ("POST", "/v1/queues/{n}/tasks", b"", 400, "", ""),
    ("POST", "/v1/queues/{n}/tasks", b'{"prioritty":1}', 422, "", ""),
    ("POST", "/v1/queues/{n}/tasks", b'{"payload":', 400, "", ""),
    ("POST", "/v1/queues/{n}/dequeue", b"{}", 200, "dequeue_queue", "{n}"),
    ("POST", f"/v1/tasks/{ID}/ack", b'{"lease":"1-00000000000000ab"}', 200, "ack", ID),
    ("GET", "/v1/queues/{n}", b"", 200, "get_queue", "{n}"),
    ("GET", "/v1/tasks?queue={n}&limit=3", b"", 200, "list_tasks", ""),
    ("GET", "/v1/tasks?limit=x", b"", 422, "", ""),
    ("GET", "/nothing/{n}", b"", 404, "", ""),
    ("PUT", "/v1/queues/{n}/tasks", b"{}", 405, "", ""),
    ("HEAD", "/v1/queues/{n}", b"", 405, "", ""),
    ("DELETE", "/v1/queues/{n}?force=true", b"", 200, "delete_queue", "{n}"),
]
_HEADERS = [
    "Accept: */*",
    "X-Empty:",
    "Idempotency-Key: k",
    "Request-Timeout-Ms: 500",
    "Content-Type: application/json",
    "Connection: keep-alive",
    "Cookie: a=b",
]


def _chunked(body: bytes, sizes: list[int], extension: bytes) -> bytes:
    found, start = b"", 0
    for size in [*sizes, len(body)]:
        piece = body[start : start + size]
        start += len(piece)
        if piece:
            found += b"%x%b\r\n%b\r\n" % (len(piece), extension, piece)
    return found + b"0\r\n\r\n"


@st.composite
def _requests(draw: st.DrawFn) -> Asked:
    method, path, body, status, command, target = draw(st.sampled_from(_TARGETS))
    name = draw(st.sampled_from(["q", "orders.eu", "A_1"]))
    headers = draw(st.lists(st.sampled_from(_HEADERS), max_size=3, unique=True))
    if "Idempotency-Key: k" in headers and command in ("dequeue_queue", "ack", "delete_queue", "get_queue"):
        headers.remove("Idempotency-Key: k")  # where it may be refused
    closes = draw(st.integers(0, 9)) == 0 and "Connection: keep-alive" not in headers
    expects = bool(body) and draw(st.integers(0, 3)) == 0
    lines = [f"{method} {path.format(n=name)} HTTP/1.1", "Host: test", *headers]
    lines += ["Connection: close"] * closes + ["Expect: 100-continue"] * expects
    content = body
    if body and draw(st.booleans()):
        lines.append("Transfer-Encoding: chunked")
        extension = draw(st.sampled_from([b"", b";a=b"]))
        content = _chunked(body, draw(st.lists(st.integers(1, 9), max_size=4)), extension)
    elif body:
        lines.append(f"Content-Length: {len(body)}")
    closes = closes or (expects and status in (404, 405))  # its body is not waited for
    raw = ("\r\n".join(lines) + "\r\n\r\n").encode() + content
    echo = (command, target.format(n=name)) if command else None
    return Asked(raw, status, echo, expects, closes)


pipelines = st.lists(_requests(), min_size=1, max_size=24)

_PIECES = [
    b"GET ", b"POST ", b"PUT ", b"HEAD ", b"OPTIONS ", b"CONNECT ", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"get ", b"/healthz", b"/v1/stats", b"/v1/queues/q/tasks", b"*", b"http://h/healthz", b"/%00",
    b"/v1/queues/%2e%2e/tasks", b"?a=b", b"?limit=1&limit=2", b"#", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n",
    b" HTTP/2.0\r\n", b" HTTP/1.1\n", b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b"\0", b"\xff",
    b"Host: a\r\n", b"Host : a\r\n", b"Host: a\r\nHost: b\r\n", b"Content-Length: 2\r\n",
    b"Content-Length: 0\r\n", b"Content-Length: -1\r\n", b"Content-Length: +2\r\n",
    b"Content-Length: 2, 2\r\n", b"Content-Length: 99999999999999999999\r\n",
    b"Content-Length: 2000\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n", b"Transfer-Encoding: xchunked\r\n",
    b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
    b"Expect: 100-continue\r\n", b"Idempotency-Key: k\r\n", b"Authorization: Bearer x\r\n",
    b" folded\r\n", b"X: " + b"y" * 300 + b"\r\n", b"{}", b"2\r\n{}\r\n", b"0\r\n\r\n",
    b"0\r\nX: y\r\n\r\n", b"2;ext\r\n{}\r\n", b"0x2\r\n{}\r\n", b"2 \r\n{}\r\n", b"ffffffffffffffff\r\n",
    b"g\r\n", b'{"payload":1}', b"x" * 3_000, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
    b'POST /v1/queues/q/tasks HTTP/1.1\r\nHost: a\r\nContent-Length: 13\r\n\r\n{"payload":1}',
    b"POST /v1/queues/q/tasks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST /v1/queues/q/tasks HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n",
]  # fmt: skip
_MUTATIONS = st.lists(
    st.tuples(
        st.sampled_from("ird"),
        st.integers(0, 4_000),
        st.sampled_from(b'\0\t\n\r :%/;,0129aZ\x7f\x80\xff{}"\\'),
    ),
    max_size=3,
)


def _mutated(stream: bytes, mutations: list[tuple[str, int, int]]) -> bytes:
    for kind, place, byte in mutations:
        at = place % (len(stream) + 1)
        if kind == "i":
            stream = stream[:at] + bytes([byte]) + stream[at:]
        elif kind == "r":
            stream = stream[:at] + bytes([byte]) + stream[at + 1 :]
        else:
            stream = stream[:at] + stream[at + 1 :]
    return stream


_WHOLE = _requests().map(lambda asked: asked.raw)
_PARTS = st.one_of(st.sampled_from(_PIECES), st.sampled_from(_PIECES), _WHOLE, st.binary(max_size=6))
broken_streams = st.builds(_mutated, st.lists(_PARTS, min_size=1, max_size=14).map(b"".join), _MUTATIONS)
