"""What a program shows to servers, and which it trusts, as its user says by options and the environment."""

import functools
import ipaddress
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from taskqueuex.client.tls import TLS
from taskqueuex.errors import Invalid

__all__ = ["Credentials", "check_clear_text", "is_secure"]

_log = logging.getLogger("taskqueuex.client")

_TOKEN_BYTES_MAX: Final = 4 << 10


@dataclass(frozen=True, slots=True)
class Credentials:
    """A token, and what TLS connections are made with; what is None is not given."""

    token: str | None = field(default=None, repr=False)  # it is not to be seen in logs
    tls: TLS | None = None

    @classmethod
    def of(
        cls,
        environ: Mapping[str, str],
        servers: str | Sequence[str],
        *,
        token: str | None = None,
        token_file: str | None = None,
        ca: str | None = None,
        certificate: str | None = None,
        key: str | None = None,
    ) -> "Credentials":
        """What options say, and the environment where they say nothing.

        The variables are TQX_TOKEN, TQX_TOKEN_FILE (which is read here, once), TQX_CA, TQX_CERT and TQX_KEY;
        the last three are not looked at where neither a server is `https://` nor an option asks for TLS.
        Raises Invalid, which names the option.
        """
        if token is None and token_file is None:
            token, token_file = environ.get("TQX_TOKEN") or None, environ.get("TQX_TOKEN_FILE") or None
        if token is not None and token_file is not None:
            raise Invalid.field("token_file", "excludes a token that is given as well")
        secure = any(map(is_secure, [servers] if isinstance(servers, str) else servers))
        if secure or ca or certificate or key:
            ca = ca or environ.get("TQX_CA") or None
            certificate = certificate or environ.get("TQX_CERT") or None
            key = key or environ.get("TQX_KEY") or None
        tls = None if ca is certificate is key is None else TLS(ca, certificate, key)
        return cls(_read_token(token_file) if token_file is not None else token, tls)


def _read_token(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            token = file.read(_TOKEN_BYTES_MAX).strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not ASCII text"
        raise Invalid.field("token_file", f"{path}: {reason}") from None
    if len(token.split()) != 1:
        raise Invalid.field("token_file", f"{path}: must hold one token, and nothing else")
    return token


def is_secure(url: str) -> bool:
    """Whether an address asks for TLS."""
    return url.lower().startswith("https://")


def check_clear_text(url: str, host: str) -> None:
    """Warns, once, of a token that goes through a network in clear text: one that is private by other means
    may do without TLS."""
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = host == "localhost" or host.endswith(".localhost")
    if not is_loopback:
        _warn_of_clear_text(url)


@functools.lru_cache(maxsize=256)  # once each
def _warn_of_clear_text(url: str) -> None:
    _log.warning("the token goes to %s in clear text, where all on the way can read it: use https://", url)
