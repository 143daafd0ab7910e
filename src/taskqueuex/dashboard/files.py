"""The built files, read once, as answers that need no further thought."""

import gzip
import mimetypes
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from taskqueuex.commands.call import Page

__all__ = ["load_pages"]

STATIC: Final = Path(__file__).with_name("static")

_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
_HEADERS: Final = (
    ("Content-Security-Policy", _POLICY),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("Vary", "Accept-Encoding"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
)
_FOR_EVER: Final = (("Cache-Control", "public, max-age=31536000, immutable"),)  # the name has a hash of it
_ASK_AGAIN: Final = (("Cache-Control", "no-cache"),)
_TYPES: Final = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
_NOT_BUILT: Final = (
    b"<!doctype html><html lang=en><title>TaskQueueX</title>"
    b"<p>The web page is not built: <code>make dashboard</code> does that.</p>"
)
_SMALL_BYTES: Final = 512  # not worth compressing


def load_pages(directory: Path = STATIC) -> Mapping[str, tuple[Page, Page]]:
    """By path: the answer, and the one for who understands gzip. `/` is index.html.

    Where nothing was built, `/` says so.
    """
    pages: dict[str, tuple[Page, Page]] = {}
    for file in sorted(directory.rglob("*")) if directory.is_dir() else ():
        if file.is_file() and not file.name.startswith("."):
            path = "/" + file.relative_to(directory).as_posix()
            pages[path] = _page(path, file.read_bytes())
    pages["/"] = pages.pop("/index.html") if "/index.html" in pages else _page("/index.html", _NOT_BUILT)
    return MappingProxyType(pages)


def _page(path: str, content: bytes) -> tuple[Page, Page]:
    suffix = path[path.rfind(".") :]
    kind = _TYPES.get(suffix) or mimetypes.types_map.get(suffix, "application/octet-stream")
    if kind == "text/html":
        kind += "; charset=utf-8"
    headers = _HEADERS + (_FOR_EVER if path.startswith("/assets/") else _ASK_AGAIN)
    plain = Page(kind, content, headers)
    if len(content) < _SMALL_BYTES or kind.startswith(("image/png", "font/woff2")):
        return plain, plain
    compressed = gzip.compress(content, 9, mtime=0)
    return plain, Page(kind, compressed, (*headers, ("Content-Encoding", "gzip")))
