"""Who calls, and what that one may do: tokens, web sessions, refused attempts, limits of tokens.

Sans I/O: the clock and random bytes come from outside, rows are loaded and written by whoever has the
store. May import commands, model, errors, clock. Nothing here waits, and nothing here knows a socket.
"""

from taskqueuex.access.audit import Auditor, entry_of
from taskqueuex.access.guard import Access
from taskqueuex.access.principals import LOCAL, NOBODY, Visitor, WebPrincipal
from taskqueuex.access.tokens import make_token

__all__ = ["LOCAL", "NOBODY", "Access", "Auditor", "Visitor", "WebPrincipal", "entry_of", "make_token"]
