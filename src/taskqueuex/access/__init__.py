"""Who calls, and what that one may do: tokens, web sessions, refused attempts, limits of tokens.

Sans I/O: the clock and random bytes come from outside, rows are loaded and written by whoever has the
store. May import commands, model, errors, clock. Nothing here waits, and nothing here knows a socket.
"""

from taskqueuex.access.audit import AUDIT_KEY_BYTES, Auditor, audit_key, entry_of
from taskqueuex.access.guard import Access
from taskqueuex.access.principals import LOCAL, NOBODY, Visitor, WebPrincipal
from taskqueuex.access.tokens import Tokens, make_token

__all__ = [
    "AUDIT_KEY_BYTES",
    "LOCAL",
    "NOBODY",
    "Access",
    "Auditor",
    "Tokens",
    "Visitor",
    "WebPrincipal",
    "audit_key",
    "entry_of",
    "make_token",
]
