"""What a client trusts and shows over TLS, and what went wrong with it in words. Reads certificate files."""

import os
import ssl
from dataclasses import dataclass, fields
from typing import Any, Final

from taskqueuex.errors import Invalid

__all__ = ["ALERTS", "TLS", "UNHEARD", "context_of", "has_refused_us", "is_lasting", "reason_of"]

# What an alert of the server says of our certificate. With TLS 1.3 it comes when the client believes that
# the handshake is over and has sent a request, which the server then never looks at.
ALERTS: Final = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it wants a client certificate",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "it refuses the handshake: no common settings, or no client certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not trust who signed the client certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it refuses the client certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the client certificate has expired, it says",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "the client certificate is revoked, it says",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it refuses the client certificate",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "it cannot use the client certificate",
    "TLSV1_ALERT_ACCESS_DENIED": "it refuses the client certificate",
    "TLSV1_ALERT_DECRYPT_ERROR": "it refuses the client certificate",
    "TLSV1_ALERT_PROTOCOL_VERSION": "it refuses TLS of this version",
    "NO_PROTOCOLS_AVAILABLE": "no version of TLS is allowed here",
}
# Some servers close instead, without an alert.
UNHEARD: Final = "; does it want a client certificate, or another one?"
_NOT_TLS: Final = frozenset(
    ("WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG")
)


@dataclass(frozen=True, slots=True)
class TLS:
    """How a client speaks TLS: 1.2 and newer, certificate and host name verified.

    Args:
        ca: a PEM file of the certificates that are trusted; None: those of the system.
        certificate: a PEM file with the client's own certificate and what signed it, for servers that ask
            for one.
        key: a PEM file with its private key; None: it is in `certificate`.
        verify: False trusts any server, so that whoever is on the way can read and change everything.
    """

    ca: str | os.PathLike[str] | None = None
    certificate: str | os.PathLike[str] | None = None
    key: str | os.PathLike[str] | None = None
    verify: bool = True

    def context(self) -> ssl.SSLContext:
        """What connections are made with. Raises Invalid, naming the file that cannot be used."""
        if self.key is not None and self.certificate is None:
            raise Invalid.field("key", "is of no use without a certificate")
        context = self._trusting()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate is not None:
            self._show(context, self.certificate)
        return context

    def to_builtins(self) -> dict[str, Any]:
        """The fields as JSON can hold them; `TLS(**...)` is the same again."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {
            name: os.fspath(value) if name != "verify" and value else value for name, value in values.items()
        }

    def _trusting(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self.ca)
        except (OSError, ValueError) as error:
            raise _unusable("ca", self.ca, error) from error

    def _show(self, context: ssl.SSLContext, certificate: str | os.PathLike[str]) -> None:
        try:
            # A passphrase cannot be asked for: without this, OpenSSL would, at the terminal.
            context.load_cert_chain(certificate, self.key, password=_no_passphrase)
        except (OSError, ValueError) as error:
            field = "certificate" if self.key is None else "key"
            if isinstance(error, FileNotFoundError | PermissionError) and not os.access(certificate, os.R_OK):
                field = "certificate"
            raise _unusable(field, getattr(self, field), error) from error


def _no_passphrase() -> str:
    raise ValueError("it is encrypted: a key without a passphrase is needed")


def _unusable(field: str, path: Any, error: Exception) -> Invalid:
    if isinstance(error, ssl.SSLError):
        reason = {
            "NO_CERTIFICATE_OR_CRL_FOUND": "there is no certificate in it",
            "KEY_VALUES_MISMATCH": "it is not the key of the certificate",
        }.get(error.reason or "", "it is no PEM file with what is needed")
    else:
        reason = getattr(error, "strerror", None) or str(error)
    return Invalid.field(field, f"{os.fspath(path) if path else 'the system'}: {reason}")


def context_of(tls: TLS | ssl.SSLContext | None) -> ssl.SSLContext:
    """The context of a client. One that is given is used as it is. Raises Invalid."""
    if isinstance(tls, ssl.SSLContext):
        return tls
    return (tls or TLS()).context()


def reason_of(error: ssl.SSLError) -> str:
    """What a failure of TLS means, for people."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    reason = error.reason or ""
    if reason in _NOT_TLS:
        return "it does not speak TLS: is it http://?"
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return "it closed the connection"
    return ALERTS.get(reason) or f"TLS failed: {reason.replace('_', ' ').lower() or error}"


def is_lasting(error: BaseException) -> bool:
    """Whether the same server would fail the same way again, at once."""
    if not isinstance(error, ssl.SSLError):
        return False
    return (
        isinstance(error, ssl.SSLCertVerificationError) or error.reason in _NOT_TLS or has_refused_us(error)
    )


def has_refused_us(error: BaseException) -> bool:
    """Whether the server refused the handshake, so that it did nothing of what was sent behind it."""
    return isinstance(error, ssl.SSLError) and error.reason in ALERTS
