"""Certificates for development: a server's that signs itself, and clients' of an authority of their own.

Needs the package cryptography, of the extra `tls`.
"""

import datetime
import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from taskqueuex.cli.failures import CONFLICT, USAGE, Failure

__all__ = ["CA_NAME", "Pair", "authority_in", "client_pair", "self_signed", "write"]

CA_NAME: Final = "client-ca"
_CLOCKS_DIFFER: Final = datetime.timedelta(minutes=5)
_AUTHORITY_DAYS: Final = 3_650
_PREFIX: Final = "tqx:"  # of a scope, among the organizational units of a certificate's subject


class Pair:
    """A certificate and its key."""

    __slots__ = ("certificate", "key")

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.certificate = certificate
        self.key = key


def self_signed(hosts: Sequence[str], days: int) -> Pair:
    """For a server that is reached by these names and addresses. Raises Failure."""
    subject = _subject(hosts[0], ())
    names = x509.SubjectAlternativeName([_name(each) for each in hosts])
    return _make(subject, days, ExtendedKeyUsageOID.SERVER_AUTH, None, [names])


def client_pair(name: str, scopes: Sequence[str], days: int, authority: Pair) -> Pair:
    """For a client that goes by a name, and has these scopes. Raises Failure."""
    return _make(_subject(name, scopes), days, ExtendedKeyUsageOID.CLIENT_AUTH, authority, [])


def authority_in(directory: Path) -> Pair:
    """The authority whose files are in a directory; made where there are none. Raises Failure."""
    certificate, key = (directory / f"{CA_NAME}{each}" for each in (".pem", "-key.pem"))
    if not certificate.exists() and not key.exists():
        made = _make(_subject("TaskQueueX development clients", ()), _AUTHORITY_DAYS, None, None, [])
        write(made, certificate, key, force=False)
        return made
    try:
        loaded = serialization.load_pem_private_key(key.read_bytes(), None)
        signer = x509.load_pem_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError, TypeError) as error:
        raise Failure(f"{certificate} and {key} cannot be used: {error}") from error
    if not isinstance(loaded, ec.EllipticCurvePrivateKey) or loaded.public_key() != signer.public_key():
        raise Failure(f"{key} is not the key of {certificate}")
    return Pair(signer, loaded)


def write(pair: Pair, certificate: Path, key: Path, *, force: bool) -> None:
    """Writes both files, the key for this user alone. What is there is kept, unless `force`.

    Raises Failure.
    """
    held = [str(each) for each in (certificate, key) if each.exists()]
    if held and not force:
        raise Failure(f"{' and '.join(held)}: there already; --force writes over it", CONFLICT)
    private = pair.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        certificate.parent.mkdir(parents=True, exist_ok=True)
        _write_file(key, private, 0o600)
        _write_file(certificate, pair.certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    except OSError as error:
        raise Failure(f"{error.filename}: cannot be written: {error.strerror}") from error


def _write_file(path: Path, content: bytes, mode: int) -> None:
    """As a whole or not at all: under another name first, with no more rights than it shall have."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise


def _make(
    subject: x509.Name,
    days: int,
    usage: x509.ObjectIdentifier | None,
    signer: Pair | None,
    extensions: Sequence[x509.SubjectAlternativeName],
) -> Pair:
    """Without a usage it is an authority; without a signer it signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    by = key if signer is None else signer.key
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if signer is None else signer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_DIFFER)
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(
            x509.BasicConstraints(ca=usage is None, path_length=0 if usage is None else None), True
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), False)
    )
    if usage is None:
        builder = builder.add_extension(_signing(), True)
    else:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), False)
    for each in extensions:
        builder = builder.add_extension(each, False)
    return Pair(builder.sign(by, hashes.SHA256()), key)


def _signing() -> x509.KeyUsage:
    others = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment")
    unused = dict.fromkeys((*others, "key_agreement", "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(key_cert_sign=True, crl_sign=True, **unused)


def _subject(name: str, scopes: Sequence[str]) -> x509.Name:
    try:
        units = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, _PREFIX + each) for each in scopes]
        return x509.Name([*units, x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    except ValueError as error:
        raise Failure(f"{name!r} is no name for a certificate: {error}", USAGE) from error


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError as error:
        raise Failure(f"--host: {host!r} is neither a name nor an address", USAGE) from error
