"""How a connection tells that there is no answer."""

import ssl

from taskqueuex.client.tls import UNHEARD, has_refused_us, is_lasting, reason_of
from taskqueuex.errors import ClientError, ConnectionFailed, Outcome, ProtocolError

__all__ = ["Lost", "broken", "closed", "garbled", "not_connected"]


class Lost(Exception):
    """The sending of a request ended without an answer, for the reason `error`.

    `was_reused`: not a byte came back from a connection that had served before, so that the server most
    likely had closed it. `is_lasting`: the same server would fail the same way again.
    """

    def __init__(self, error: ClientError, was_reused: bool = False, is_lasting: bool = False) -> None:
        super().__init__(error)
        self.error = error
        self.was_reused = was_reused
        self.is_lasting = is_lasting


def not_connected(url: str, error: Exception | str) -> Lost:
    """Nothing was sent."""
    failed = ConnectionFailed(f"no connection to {url}: {_reason(error)}", outcome="not_applied")
    return Lost(failed, is_lasting=isinstance(error, Exception) and is_lasting(error))


def broken(
    url: str,
    error: Exception | str,
    was_reused: bool,
    outcome: Outcome = "unknown",
    *,
    unheard_tls: bool = False,
) -> Lost:
    """The connection ended before the answer was complete. `unheard_tls`: over TLS, and nothing ever came."""
    if isinstance(error, Exception) and has_refused_us(error):
        return not_connected(url, error)  # it came late, but is of the handshake
    hint = UNHEARD if unheard_tls else ""
    return Lost(
        ConnectionFailed(f"no answer from {url}: {_reason(error)}{hint}", outcome=outcome), was_reused
    )


def garbled(url: str, error: ProtocolError) -> Lost:
    """What came is no answer."""
    return Lost(ProtocolError(f"{url}: {error.detail}", outcome="unknown"))


def closed() -> ClientError:
    """The client was closed before the call."""
    return ClientError("the client is closed")


def _reason(error: Exception | str) -> str:
    if isinstance(error, str):
        return error
    if isinstance(error, ssl.SSLError):
        return reason_of(error)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
