"""Changes that a browser asks for on behalf of another site's page are refused.

A browser sends them without asking anyone, and with what this machine or its user is trusted for: a server
on loopback without tokens, a client certificate. It says for whom in headers that no page can set:
Sec-Fetch-Site (W3C, Fetch Metadata Request Headers), or, in an old one, Origin (RFC 6454).
Programs send neither.
"""

from typing import Final

from taskqueuex.errors import Forbidden

__all__ = ["check_site"]

_OWN: Final = (b"same-origin", b"none")  # none: the user's own doing, as typing an address
_HARMLESS: Final = (b"GET", b"HEAD")  # they change nothing, and the answer is not shown to the page


def check_site(method: bytes, fetch_site: bytes, origin: bytes, host: bytes) -> None:
    """Raises Forbidden for a request of another site's page; empty bytes stand for absent headers."""
    if method in _HARMLESS:
        return
    if fetch_site:
        if fetch_site not in _OWN:
            raise Forbidden("Sec-Fetch-Site: a page of another site may change nothing here")
    elif origin and origin.partition(b"://")[2].lower() != host.lower():
        raise Forbidden("Origin: a page of another site may change nothing here")
