"""The request headers that mean something here, and how their values are read."""

import re
from typing import Final

from taskqueuex.commands.events import EVENT_ID
from taskqueuex.errors import Invalid, UnsupportedMediaType

__all__ = [
    "ACCEPT",
    "ACCEPT_ENCODING",
    "AUTHORIZATION",
    "CONNECTION",
    "CONTENT_LENGTH",
    "CONTENT_TYPE",
    "COOKIE",
    "CSRF_TOKEN",
    "EXPECT",
    "FETCH_SITE",
    "HOST",
    "IDEMPOTENCY_KEY",
    "IGNORED",
    "LAST_EVENT_ID",
    "ORIGIN",
    "REQUEST_TIMEOUT",
    "TRANSFER_ENCODING",
    "UPGRADE",
    "check_content_type",
    "header_code",
    "read_event_id",
    "read_idempotency_key",
    "read_timeout_ms",
]

IGNORED: Final = 0
CONNECTION: Final = 1
CONTENT_LENGTH: Final = 2
CONTENT_TYPE: Final = 3
EXPECT: Final = 4
IDEMPOTENCY_KEY: Final = 5
REQUEST_TIMEOUT: Final = 6
TRANSFER_ENCODING: Final = 7
UPGRADE: Final = 8
AUTHORIZATION: Final = 9
COOKIE: Final = 10
CSRF_TOKEN: Final = 11
HOST: Final = 12
ORIGIN: Final = 13
FETCH_SITE: Final = 14
LAST_EVENT_ID: Final = 15
ACCEPT_ENCODING: Final = 16
ACCEPT: Final = 17

_CODES = {
    b"accept-encoding": ACCEPT_ENCODING,
    b"accept": ACCEPT,
    b"authorization": AUTHORIZATION,
    b"connection": CONNECTION,
    b"content-length": CONTENT_LENGTH,
    b"content-type": CONTENT_TYPE,
    b"cookie": COOKIE,
    b"expect": EXPECT,
    b"host": HOST,
    b"idempotency-key": IDEMPOTENCY_KEY,
    b"last-event-id": LAST_EVENT_ID,
    b"origin": ORIGIN,
    b"request-timeout-ms": REQUEST_TIMEOUT,
    b"sec-fetch-site": FETCH_SITE,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"upgrade": UPGRADE,
    b"x-csrf-token": CSRF_TOKEN,
}
_CACHE_MAX = 512
_EVENT_ID = re.compile(EVENT_ID).fullmatch
_TIMEOUT_MS_MAX = 86_400_000

# Clients spell a name in one way for ever: a dictionary of the spellings seen spares `lower()`.
_seen: dict[bytes, int] = {}


def header_code(name: bytes) -> int:
    """Which header this is, whatever its case."""
    code = _seen.get(name)
    if code is None:
        code = _CODES.get(name.lower(), IGNORED)
        if len(_seen) >= _CACHE_MAX:
            _seen.clear()
        _seen[name] = code
    return code


def check_content_type(value: bytes) -> None:
    """Raises UnsupportedMediaType where a body is not said to be JSON."""
    if value.partition(b";")[0].strip().lower() != b"application/json":
        raise UnsupportedMediaType("The Content-Type of a body is application/json")


def read_event_id(value: bytes) -> str:
    """The id of an event; raises Invalid."""
    text = value.decode("latin-1")
    if not _EVENT_ID(text):
        raise Invalid.field("Last-Event-ID", f"{text[:64]!r} is not the id of an event")
    return text


def read_idempotency_key(value: bytes) -> str:
    """The key; raises Invalid where it is not 1 to 255 visible ASCII characters."""
    key = value.decode("latin-1").strip(" \t")
    if not 1 <= len(key) <= 255 or any(not "!" <= character <= "~" for character in key):
        raise Invalid.field("Idempotency-Key", "must be 1 to 255 visible ASCII characters")
    return key


def read_timeout_ms(value: bytes) -> int:
    """Request-Timeout-Ms as a number; raises Invalid where it is not 1 to 86,400,000."""
    text = value.strip()
    if not text.isdigit() or len(text) > 9 or not 1 <= int(text) <= _TIMEOUT_MS_MAX:
        raise Invalid.field("Request-Timeout-Ms", f"must be an integer from 1 to {_TIMEOUT_MS_MAX}")
    return int(text)
