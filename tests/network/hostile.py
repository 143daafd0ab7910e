"""Requests that are wrong, odd or meant to do harm, and what each is answered.

docs/http.md has the table made from this (`python -m tests.docs.hostile`).
"""

from dataclasses import dataclass

__all__ = ["CASES", "Case"]

ENQUEUE = "/v1/queues/q/tasks"
CHUNKED = "Transfer-Encoding: chunked"


@dataclass(frozen=True)
class Case:
    """What is sent, and the answer: its status and code, and whether the connection goes on."""

    about: str
    title: str
    sent: bytes
    status: int
    code: str = ""
    goes_on: bool = False


def request(line: str, *headers: str, body: bytes = b"", host: bool = True) -> bytes:
    lines = [line, *(["Host: t"] if host else []), *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def enqueue(body: bytes) -> bytes:
    return request(f"POST {ENQUEUE} HTTP/1.1", f"Content-Length: {len(body)}", body=body)


def post(*headers: str, body: bytes = b"") -> bytes:
    return request(f"POST {ENQUEUE} HTTP/1.1", *headers, body=body)


def get(target: str) -> bytes:
    return request(f"GET {target} HTTP/1.1")


def _framing(title: str, sent: bytes) -> Case:
    return Case("framing", title, sent, 400, "bad_request")


def _line(
    title: str, sent: bytes, status: int = 400, code: str = "bad_request", goes_on: bool = False
) -> Case:
    return Case("request line", title, sent, status, code, goes_on)


def _head(title: str, sent: bytes, status: int = 400, code: str = "bad_request") -> Case:
    return Case("head", title, sent, status, code)


def _json(title: str, body: bytes, status: int = 400, code: str = "invalid_json") -> Case:
    return Case("JSON", title, enqueue(body), status, code, goes_on=True)


_SMUGGLED = b"0\r\n\r\nGET /v1/stats HTTP/1.1\r\nHost: t\r\n\r\n"

_ALL = (
    # Two programs must never disagree about where a request ends.
    _framing("Content-Length, then Transfer-Encoding", post("Content-Length: 5", CHUNKED, body=_SMUGGLED)),
    _framing("Transfer-Encoding, then Content-Length", post(CHUNKED, "Content-Length: 5", body=_SMUGGLED)),
    _framing("Content-Length twice, different", post("Content-Length: 2", "Content-Length: 44", body=b"{}")),
    _framing("Content-Length twice, the same", post("Content-Length: 2", "Content-Length: 2", body=b"{}")),
    _framing("Content-Length as a list", post("Content-Length: 2, 2", body=b"{}")),
    _framing("Content-Length with a sign", post("Content-Length: +2", body=b"{}")),
    _framing("Content-Length below zero", post("Content-Length: -2", body=b"{}")),
    _framing("Content-Length in hexadecimal", post("Content-Length: 0x2", body=b"{}")),
    _framing("Content-Length of two words", post("Content-Length: 2 2", body=b"{}")),
    _framing("Content-Length empty", post("Content-Length: ", body=b"{}")),
    _framing("Content-Length beyond 64 bits", post(f"Content-Length: {1 << 70}")),
    _framing("Transfer-Encoding: gzip, chunked", post("Transfer-Encoding: gzip, chunked", body=_SMUGGLED)),
    _framing("Transfer-Encoding: chunked, gzip", post("Transfer-Encoding: chunked, gzip", body=_SMUGGLED)),
    _framing("Transfer-Encoding: xchunked", post("Transfer-Encoding: xchunked", body=_SMUGGLED)),
    _framing("Transfer-Encoding: identity", post("Transfer-Encoding: identity", body=_SMUGGLED)),
    _framing("Transfer-Encoding twice", post(CHUNKED, CHUNKED, body=_SMUGGLED)),
    _framing(
        "Transfer-Encoding behind a vertical tab", post("Transfer-Encoding: \x0bchunked", body=_SMUGGLED)
    ),
    _framing("Transfer-Encoding in HTTP/1.0", request(f"POST {ENQUEUE} HTTP/1.0", CHUNKED, body=_SMUGGLED)),
    _framing("a chunk's size that is no number", post(CHUNKED, body=b"zz\r\n{}\r\n0\r\n\r\n")),
    _framing("a chunk's size with a sign", post(CHUNKED, body=b"+2\r\n{}\r\n0\r\n\r\n")),
    _framing("a chunk's size with 0x", post(CHUNKED, body=b"0x2\r\n{}\r\n0\r\n\r\n")),
    _framing("a chunk's size beyond 64 bits", post(CHUNKED, body=b"f" * 17 + b"\r\n{}\r\n0\r\n\r\n")),
    _framing("a space behind a chunk's size", post(CHUNKED, body=b"2 \r\n{}\r\n0\r\n\r\n")),
    _framing("a chunk longer than its size", post(CHUNKED, body=b"2\r\n{}}\r\n0\r\n\r\n")),
    _framing("a chunk's line ended by LF alone", post(CHUNKED, body=b"2\n{}\r\n0\r\n\r\n")),
    _framing("a chunk ended by LF alone", post(CHUNKED, body=b"2\r\n{}\n0\r\n\r\n")),
    _framing("NUL in a chunk extension", post(CHUNKED, body=b"2;a=\0\r\n{}\r\n0\r\n\r\n")),
    _framing("LF in a chunk extension", post(CHUNKED, body=b"2;a\n{}\r\n0\r\n\r\n")),
    _framing("Content-Length as a trailer", post(CHUNKED, body=b"2\r\n{}\r\n0\r\nContent-Length: 9\r\n\r\n")),
    _framing(
        "chunk extensions of 100 kB", post(CHUNKED, body=b"2;" + b"a" * 100_000 + b"\r\n{}\r\n0\r\n\r\n")
    ),
    _framing("a million chunks of one byte", post(CHUNKED, body=b"1\r\nx\r\n" * 1_000_000)),
    Case("framing", "chunk extensions", post(CHUNKED, body=b"2;a=b\r\n{}\r\n0\r\n\r\n"), 200, "", True),
    Case("framing", "a trailer", post(CHUNKED, body=b"2\r\n{}\r\n0\r\nX-Sum: 1\r\n\r\n"), 200, "", True),
    Case(
        "framing",
        "trailers over 16 KiB",
        post(CHUNKED, body=b"2\r\n{}\r\n0\r\n" + b"X: " + b"a" * 20_000 + b"\r\n\r\n"),
        431,
        "headers_too_large",
    ),
    # The head.
    _head("a header folded over two lines", post("X: a\r\n b")),
    _head("Content-Length on a folded line", post("Content-Length:\r\n 2", body=b"{}")),
    _head("lines ended by LF alone", f"POST {ENQUEUE} HTTP/1.1\nHost: t\n\n".encode()),
    _head("one header ended by LF alone", post("X: a\nY: b")),
    _head("CR within a header", post("X: a\rY: b")),
    _head("a space before the colon", post("Content-Length : 2", body=b"{}")),
    _head("a header without a colon", post("Content-Length")),
    _head("a header without a name", post(": 2")),
    _head("NUL in a value", post("X: a\0b")),
    _head("NUL in a name", post("X\0: ab")),
    _head("a control character in a value", post("X: a\x01b")),
    _head("a space before the first header", b"GET / HTTP/1.1\r\n Host: t\r\n\r\n"),
    _head("no Host", request("GET /healthz HTTP/1.1", host=False)),
    _head("Host twice", request("GET /healthz HTTP/1.1", "Host: evil")),
    _head("Host with a space", request("GET /healthz HTTP/1.1", "Host: a b", host=False)),
    _head("Host with a path", request("GET /healthz HTTP/1.1", "Host: a/b", host=False)),
    _head("Host with a user", request("GET /healthz HTTP/1.1", "Host: a@b", host=False)),
    _head("Authorization twice", request("GET /healthz HTTP/1.1", "Authorization: a", "Authorization: b")),
    _head("Idempotency-Key twice", post("Idempotency-Key: a", "Idempotency-Key: b")),
    _head("101 headers", post(*[f"X-{n}: 1" for n in range(101)]), 431, "headers_too_large"),
    _head("a header of 17 KiB", post("X: " + "a" * 17_000), 431, "headers_too_large"),
    _head(
        "a head that never ends", b"GET /healthz HTTP/1.1\r\n" + b"X: a\r\n" * 3_000, 431, "headers_too_large"
    ),
    Case(
        "head",
        "Expect of something else",
        post("Expect: 200-maybe", "Content-Length: 2", body=b"{}"),
        200,
        "",
        True,
    ),
    Case(
        "head",
        "Upgrade: websocket",
        request("GET /healthz HTTP/1.1", "Connection: upgrade", "Upgrade: websocket"),
        200,
        "",
        True,
    ),
    Case(
        "head",
        "Upgrade: h2c",
        request(
            "GET /healthz HTTP/1.1",
            "Connection: Upgrade, HTTP2-Settings",
            "Upgrade: h2c",
            "HTTP2-Settings: AAMAAABkAAQAAP__",
        ),
        200,
        "",
        True,
    ),
    _head("Upgrade with a body", post("Connection: upgrade", "Upgrade: x", "Content-Length: 2", body=b"{}")),
    Case("head", "an announced body of 17 MB", post("Content-Length: 17000000"), 413, "payload_too_large"),
    # The request line.
    _line("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    _line("TLS on the plain port", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64)),
    _line(
        "a PROXY header where none is expected",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + get("/healthz"),
        405,
        "method_not_allowed",
    ),
    _line("bytes that are no text", bytes(range(128, 256)), 405, "method_not_allowed"),
    _line("HTTP/0.9", b"GET /healthz\r\n\r\n"),
    _line("HTTP/2.0 in words", request("GET /healthz HTTP/2.0")),
    _line("HTTP/1.2", request("GET /healthz HTTP/1.2")),
    _line("a version in lower case", request("GET /healthz http/1.1")),
    _line("a method in lower case", request("get /healthz HTTP/1.1"), 405, "method_not_allowed"),
    _line("an unknown method", request("BREW /healthz HTTP/1.1"), 405, "method_not_allowed"),
    _line("TRACE", request("TRACE /healthz HTTP/1.1"), 405, "method_not_allowed", True),
    _line("CONNECT", request("CONNECT t:80 HTTP/1.1"), 404, "not_found", True),
    _line("OPTIONS *", request("OPTIONS * HTTP/1.1"), 404, "not_found", True),
    _line("NUL in the target", request("GET /v1/que\0ues HTTP/1.1")),
    _line("bytes above ASCII in the target", request("GET /v1/qu\xe9ues HTTP/1.1")),
    _line("CR in the target", request("GET /v1/que\rues HTTP/1.1")),
    _line("a target of 9 kB", get("/" + "a" * 9_000), 414, "uri_too_long"),
    _line("a target without a slash", request("GET v1 HTTP/1.1")),
    _line("absolute form", get("http://elsewhere:1/healthz"), 200, "", True),
    _line("absolute form of another scheme", get("ftp://t/healthz"), 404, "not_found", True),
    _line("%00 in a queue's name", get("/v1/queues/a%00b"), 422, "invalid", True),
    _line("%2e%2e in a path", get("/v1/queues/x/%2e%2e/%2e%2e/stats"), 404, "not_found", True),
    _line("/../ in a path", get("/v1/queues/../stats"), 404, "not_found", True),
    _line("%2f in a queue's name", get("/v1/queues/a%2Fb"), 422, "invalid", True),
    _line("% with no number", get("/v1/queues/a%zz"), 422, "invalid", True),
    _line("bad UTF-8 in a queue's name", get("/v1/queues/%ff%fe"), 422, "invalid", True),
    _line("bad UTF-8 in a query", get("/v1/tasks?name=%ff"), 422, "invalid", True),
    _line("a parameter twice", get("/v1/tasks?limit=1&limit=2"), 422, "invalid", True),
    _line(
        "a thousand parameters",
        get("/v1/tasks?" + "&".join(f"a{n}=1" for n in range(1_000))),
        422,
        "invalid",
        True,
    ),
    _line("a line feed at the end of a queue's name", get("/v1/queues/q%0A"), 422, "invalid", True),
    # JSON.
    _json("no body", b""),
    _json("depth of 100,000 in a payload", b'{"payload":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    _json("depth of 100,000 at the top", b"[" * 100_000),
    _json("objects 100,000 deep", b'{"a":' * 100_000),
    _json("NaN", b'{"payload":NaN}'),
    _json("Infinity", b'{"payload":-Infinity}'),
    _json("a comment", b'{"payload":1}//x'),
    _json("a trailing comma", b'{"payload":1,}'),
    _json("single quotes", b"{'payload':1}"),
    _json("two values", b"{}{}"),
    _json("a byte order mark", b"\xef\xbb\xbf{}"),
    _json("UTF-16", '{"payload":1}'.encode("utf-16")),
    _json("bad UTF-8 in a payload", b'{"payload":"\xff"}'),
    _json("overlong UTF-8", b'{"payload":"\xc0\xaf"}'),
    _json("a surrogate in UTF-8", b'{"payload":"\xed\xa0\x80"}'),
    _json("a lone surrogate escaped in a name", b'{"name":"\\ud800"}'),
    _json("a control character in a string", b'{"name":"a\nb"}'),
    _json("NUL in a string", b'{"name":"a\0b"}'),
    _json("an escape that there is not", b'{"name":"\\x41"}'),
    _json("a leading zero", b'{"priority":01}'),
    _json("a plus sign", b'{"priority":+1}'),
    _json("a million digits for a priority", b'{"priority":' + b"9" * 1_000_000 + b"}", 422, "invalid"),
    _json("an exponent beyond all", b'{"priority":1e999999999}', 422, "invalid"),
    _json("a fraction for an integer", b'{"priority":1.5}', 422, "invalid"),
    _json("true for a number", b'{"priority":true}', 422, "invalid"),
    _json("an unknown field", b'{"prioritty":1}', 422, "invalid"),
    _json("an array for an object", b"[]", 422, "invalid"),
    _json("a million digits in a payload", b'{"payload":' + b"9" * 1_000_000 + b"}", 200, ""),
    _json("a key twice in a payload", b'{"payload":{"a":1,"a":2}}', 200, ""),
    _json("NUL escaped in a payload", b'{"payload":"\\u0000"}', 200, ""),
)

CASES = {f"{case.about}: {case.title}": case for case in _ALL}
assert len(CASES) == len(_ALL)
