"""When a certificate ends. Python's ssl shows that of a peer's only, so its DER is walked here."""

import re
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

__all__ = ["not_after"]

_FIRST: Final = re.compile("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_VERSION: Final = 0xA0  # the tag of a field that is left out in certificates of version 1
_UTC_TIME: Final = 0x17  # with a year of two digits


def not_after(file: str) -> float:
    """The Unix time until which the first certificate of a PEM file holds (RFC 5280, 4.1).

    Raises OSError, ValueError.
    """
    found = _FIRST.search(Path(file).read_text(encoding="ascii", errors="replace"))
    if found is None:
        raise ValueError(f"{file}: there is no certificate")
    der = ssl.PEM_cert_to_DER_cert(found[0])
    try:
        _, certificate, _ = _field(der, 0)
        _, at, _ = _field(der, certificate)  # what is signed
        if der[at] == _VERSION:
            _, _, at = _field(der, at)
        for _ in ("serial number", "algorithm", "issuer"):
            _, _, at = _field(der, at)
        _, at, _ = _field(der, at)  # validity
        _, _, at = _field(der, at)  # from when
        tag, start, end = _field(der, at)
    except IndexError:
        raise ValueError(f"{file}: the certificate cannot be read") from None
    text = der[start:end].decode("ascii")
    if tag == _UTC_TIME:
        text = ("19" if text >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _field(der: bytes, at: int) -> tuple[int, int, int]:
    """The tag of the field that begins there, where its content begins, and where it ends."""
    length, start = der[at + 1], at + 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(der[at + 2 : start], "big")
    return der[at], start, start + length
