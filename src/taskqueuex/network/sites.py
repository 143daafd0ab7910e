"""Changes that a browser asks for on behalf of another site's page are refused.

A browser sends them without asking anyone, and with what this machine or its user is trusted for: a server
on loopback without tokens, a client certificate. It says for whom in headers that no page can set:
Sec-Fetch-Site (W3C, Fetch Metadata Request Headers), or, in an old one, Origin (RFC 6454).
Programs send neither.
"""

import re
from typing import Final

from taskqueuex.errors import Forbidden

__all__ = ["check_name", "check_site"]

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


# localhost, and addresses: names that no foreign DNS can point here. A port may follow.
_LOCAL_NAME: Final = re.compile(
    rb"(?:localhost|[a-z0-9.-]+\.localhost|[0-9.]+|\[[0-9a-f:.]+\])(?::[0-9]*)?", re.IGNORECASE
).fullmatch


def check_name(host: bytes) -> None:
    """Raises Forbidden where a browser calls a server that asks for no credentials by a name of the DNS.

    A page could be given such a name for this address, and would be of the same site then (DNS rebinding).
    """
    if not _LOCAL_NAME(host):
        raise Forbidden("Host: without tokens a browser reaches this server by its address, or as localhost")
