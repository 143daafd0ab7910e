"""Refused attempts, by address: counted, and limited where somebody tries again and again."""

import ipaddress
import logging
from collections import Counter, OrderedDict

from taskqueuex.errors import RateLimited, TaskQueueError, Unauthenticated

__all__ = ["ATTEMPTS_MAX", "Attempts"]

_log = logging.getLogger("taskqueuex.access")

ATTEMPTS_MAX = 20  # a minute, of an address
WINDOW_MS = 60_000
ADDRESSES_MAX = 10_000


class _Window:
    """The minute that began with the first attempt of an address."""

    __slots__ = ("count", "since_ms")

    def __init__(self, since_ms: int) -> None:
        self.since_ms = since_ms
        self.count = 0


class Attempts:
    """Good credentials are never asked about here: an address that is limited can still sign in."""

    def __init__(self) -> None:
        self.refused: Counter[str] = Counter()  # by reason
        self._windows: OrderedDict[str, _Window] = OrderedDict()

    def missing(self) -> Unauthenticated:
        """No credentials at all: no attempt, and no secret to guess."""
        self.refused["missing"] += 1
        return Unauthenticated("Send a token: Authorization: Bearer tqx_...")

    def refuse(self, address: str, reason: str, token_id: str, now_ms: int) -> TaskQueueError:
        """What is to be answered to credentials that are not good."""
        window = self._window(_network(address), now_ms)
        window.count += 1
        if window.count > ATTEMPTS_MAX:
            self.refused["limited"] += 1
            left_s = (window.since_ms + WINDOW_MS - now_ms) / 1_000
            return RateLimited("Too many attempts with credentials that are not known", retry_after_s=left_s)
        self.refused[reason] += 1
        _log.warning(
            "credentials refused", extra={"address": address, "reason": reason, "token": token_id or None}
        )
        return Unauthenticated("These credentials are not known")

    def _window(self, network: str, now_ms: int) -> _Window:
        window = self._windows.get(network)
        if window is None:
            window = self._windows[network] = _Window(now_ms)
            if len(self._windows) > ADDRESSES_MAX:
                self._report(*self._windows.popitem(last=False))
        elif now_ms - window.since_ms >= WINDOW_MS:
            self._report(network, window)
            window.since_ms, window.count = now_ms, 0
            self._windows.move_to_end(network)
        return window

    def tidy(self, now_ms: int) -> None:
        """Forgets, and reports in sum, those whose minute is over. They stand in the order of it."""
        while self._windows:
            network, window = next(iter(self._windows.items()))
            if now_ms - window.since_ms < WINDOW_MS:
                return
            self._report(network, self._windows.pop(network))

    def _report(self, network: str, window: _Window) -> None:
        if window.count > ATTEMPTS_MAX:
            _log.warning(
                "more attempts were refused",
                extra={"address": network, "attempts": window.count - ATTEMPTS_MAX},
            )


def _network(address: str) -> str:
    """What one attacker has: an address of IPv4, or the 64 bits that a site has in IPv6."""
    if ":" not in address:
        return address
    try:
        found = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False))
