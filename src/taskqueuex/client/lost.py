"""How a connection tells that there is no answer."""

from taskqueuex.errors import ClientError, ConnectionFailed, Outcome, ProtocolError

__all__ = ["Lost", "broken", "closed", "garbled", "not_connected"]


class Lost(Exception):
    """The sending of a request ended without an answer, for the reason `error`.

    `was_reused`: not a byte came back from a connection that had served before, so that the server most
    likely had closed it.
    """

    def __init__(self, error: ClientError, was_reused: bool = False) -> None:
        super().__init__(error)
        self.error = error
        self.was_reused = was_reused


def not_connected(url: str, error: Exception | str) -> Lost:
    """Nothing was sent."""
    return Lost(ConnectionFailed(f"no connection to {url}: {_reason(error)}", outcome="not_applied"))


def broken(url: str, error: Exception | str, was_reused: bool, outcome: Outcome = "unknown") -> Lost:
    """The connection ended before the answer was complete."""
    return Lost(ConnectionFailed(f"no answer from {url}: {_reason(error)}", outcome=outcome), was_reused)


def garbled(url: str, error: ProtocolError) -> Lost:
    """What came is no answer."""
    return Lost(ProtocolError(f"{url}: {error.detail}", outcome="unknown"))


def closed() -> ClientError:
    """The client was closed before the call."""
    return ClientError("the client is closed")


def _reason(error: Exception | str) -> str:
    if isinstance(error, str):
        return error
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
