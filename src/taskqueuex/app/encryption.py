"""Payloads, results and errors that the server cannot read: AES-256-GCM (NIST SP 800-38D), keys by name.

What is encrypted is a JSON object `{"$aes": [key's name, nonce, ciphertext]}`, the latter two in base64.
The task's name is authenticated with a payload, and the task's id with its result, so that one cannot be
put in the place of another. Nonces are 96 random bits: rotate a key before 2**32 messages.
"""

import base64
import os
from collections.abc import Mapping

import msgspec

__all__ = ["DecryptionError", "KeyRing"]

_NONCE_BYTES = 12


class DecryptionError(ValueError):
    """Content that none of the keys opens, or that is not what it says it is."""


class _Sealed(msgspec.Struct, rename={"parts": "$aes"}, forbid_unknown_fields=True):
    parts: tuple[str, str, str]


_decode = msgspec.json.Decoder(_Sealed).decode


class KeyRing:
    """The keys of an app: `current` encrypts, all of them decrypt.

    To rotate: add the new key everywhere, make it `current`, and take the old one away when nothing
    that it encrypted is left. Needs the extra `taskqueuex[encryption]`.
    """

    def __init__(self, keys: Mapping[str, bytes], current: str | None = None) -> None:
        """`keys`: 32 bytes each, by a name of your own. Without `current` the last one encrypts."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # an extra

        if not keys:
            raise ValueError("keys: at least one is needed")
        for name, key in keys.items():
            if len(key) != 32:
                raise ValueError(f"keys[{name!r}]: must be 32 bytes, not {len(key)}")
        self._current = list(keys)[-1] if current is None else current
        if self._current not in keys:
            raise ValueError(f"current: there is no key {current!r}")
        self._keys = {name: AESGCM(key) for name, key in keys.items()}

    @staticmethod
    def new_key() -> bytes:
        """A random key."""
        return os.urandom(32)

    def encrypt(self, content: bytes, subject: str) -> bytes:
        """JSON that holds the content, bound to its subject."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._keys[self._current].encrypt(nonce, content, subject.encode())
        parts = (self._current, _text(nonce), _text(sealed))
        return msgspec.json.encode(_Sealed(parts))

    def decrypt(self, sealed: bytes | msgspec.Raw, subject: str) -> bytes:
        """The content. Raises DecryptionError."""
        from cryptography.exceptions import InvalidTag

        try:
            name, nonce, content = _decode(sealed).parts
        except msgspec.MsgspecError as error:
            raise DecryptionError("is not encrypted") from error
        key = self._keys.get(name)
        if key is None:
            raise DecryptionError(f"is encrypted with a key that is not here: {name!r}")
        try:
            return key.decrypt(base64.b64decode(nonce), base64.b64decode(content), subject.encode())
        except (InvalidTag, ValueError) as error:
            raise DecryptionError(f"cannot be decrypted with key {name!r}: it was changed") from error


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
