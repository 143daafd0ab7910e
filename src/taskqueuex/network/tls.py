"""The server's side of TLS: one context, made from files, and made anew when they change."""

import ssl
from pathlib import Path

from taskqueuex.network.config import NetworkConfig

__all__ = ["TlsError", "server_context"]

# For TLS 1.2: forward secrecy and authenticated encryption only. What 1.3 has is all of that kind.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


class TlsError(ValueError):
    """The certificate, the key or the clients' CA cannot be used; says which file and why."""


def server_context(config: NetworkConfig) -> ssl.SSLContext:
    """A context of TLS 1.2 and 1.3 for the files of the configuration, as they are now.

    Raises TlsError.
    """
    if config.tls_certificate is None:
        raise TlsError("network.tls_certificate: a TLS listener needs a certificate")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    # A client that ends without a close_notify has ended all the same; HTTP says how long a message is.
    context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
    _load_certificate(context, config.tls_certificate, config.tls_key)
    if config.tls_client_ca is not None:
        _load_clients(context, config.tls_client_ca)
    if config.tls_client_crl is not None:
        _load_revoked(context, config)
    return context


def _load_certificate(context: ssl.SSLContext, certificate: str, key: str | None) -> None:
    for name, file in (("tls_certificate", certificate), ("tls_key", key)):
        if file is not None:
            _check_readable(name, file)
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (ssl.SSLError, OSError, ValueError) as error:
        named = "tls_key" if key is not None else "tls_certificate"
        raise TlsError(
            f"network.{named}: {certificate} and its key cannot be used: {_reason(error)}"
        ) from None


def _load_clients(context: ssl.SSLContext, file: str) -> None:
    _check_readable("tls_client_ca", file)
    try:
        context.load_verify_locations(file)
    except (ssl.SSLError, OSError) as error:
        raise TlsError(f"network.tls_client_ca: {file} holds no certificate: {_reason(error)}") from None
    context.verify_mode = ssl.CERT_REQUIRED


def _load_revoked(context: ssl.SSLContext, config: NetworkConfig) -> None:
    file = config.tls_client_crl
    assert file is not None
    if config.tls_client_ca is None:
        raise TlsError("network.tls_client_crl: without tls_client_ca no certificate is asked for")
    _check_readable("tls_client_crl", file)
    try:
        context.load_verify_locations(file)
    except (ssl.SSLError, OSError) as error:
        raise TlsError(f"network.tls_client_crl: {file} holds no list: {_reason(error)}") from None
    if not context.cert_store_stats()["crl"]:
        raise TlsError(f"network.tls_client_crl: {file} holds certificates, and no list of revoked ones")
    # From here on OpenSSL lets nobody in whose authority has no list there, or one that is out of date.
    context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF


def _check_readable(name: str, file: str) -> None:
    try:
        with Path(file).open("rb"):
            pass
    except OSError as error:
        raise TlsError(f"network.{name}: {file}: {error.strerror or error}") from None


def _no_password() -> str:
    # Without it OpenSSL would ask on the terminal, and a server that starts by itself would hang.
    raise ValueError("the key is encrypted; the server needs one without a passphrase")


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return str(error)
