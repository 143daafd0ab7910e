"""Idempotency keys: the first answer to a request, kept with the change it made.

Keys live in segments, numbered upwards. A segment is closed when it is full or old; when the
youngest key of a segment is past KEPT_MS, or there are more keys than configured, the oldest
segment is dropped whole, which costs one range deletion. A lookup asks each live segment, newest
first: under a microsecond each, thanks to bloom filters.
"""

from hashlib import blake2b

import msgspec

from taskqueuex.commands.call import Call
from taskqueuex.errors import IdempotencyMismatch
from taskqueuex.model.rows import Batch
from taskqueuex.storage import Storage

__all__ = ["Answer", "IdempotencyKeys"]

KEPT_MS = 24 * 3_600_000
_SEGMENT_MS = 3 * 3_600_000
_META = "idempotent"


class Answer(msgspec.Struct, array_like=True, gc=False):
    """What a request with a key was answered."""

    fingerprint: bytes  # of the body
    status: int
    body: bytes


class _Segment(msgspec.Struct, array_like=True, gc=False):
    number: int
    count: int
    opened_at: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Answer).decode
_decode_segments = msgspec.msgpack.Decoder(list[_Segment]).decode


class IdempotencyKeys:
    """The keys of a node."""

    def __init__(self, storage: Storage, most: int, now_ms: int) -> None:
        self._storage = storage
        self._most = most
        stored = storage.get_meta(_META)
        self._segments: list[_Segment] = _decode_segments(stored) if stored else []
        self._growing: dict[bytes, Answer] = {}  # committed with the batch that grows
        self._written: dict[bytes, Answer] = {}  # with the one under way
        number = self._segments[-1].number + 1 if self._segments else 1
        self._segments.append(_Segment(number, 0, now_ms))
        self._announced = False

    @staticmethod
    def hash_of(call: Call) -> bytes:
        """What a key is kept under: it is scoped to the caller, the method and the path.

        Without credentials it is what it was before there were any, so that stored keys stay good. A token
        has the same scopes for ever; certificates of one name may differ in theirs, and an answer that shows
        payloads is no other's than theirs who have the same.
        """
        principal = call.principal
        scope = f"{call.command.name}\0{call.target}\0{call.key}"
        if principal.id:
            scope = f"\1{principal.id}\0{scope}"
            if call.command.payloads and principal.kind == "certificate":
                scope = f"\2{' '.join(sorted(principal.scopes))}\0{scope}"
        return blake2b(scope.encode(), digest_size=16).digest()

    def find(self, key_hash: bytes, call: Call) -> Answer | None:
        """The first answer to the same request; raises IdempotencyMismatch when the body was another."""
        answer = self._growing.get(key_hash) or self._written.get(key_hash)
        if answer is None:
            for segment in reversed(self._segments):
                value = self._storage.get_idempotent(segment.number, key_hash)
                if value is not None:
                    answer = _decode(value)
                    break
        if answer is not None and answer.fingerprint != _fingerprint(call):
            raise IdempotencyMismatch("Idempotency-Key: was used before with another body")
        return answer

    def keep(self, batch: Batch, key_hash: bytes, call: Call, status: int, body: bytes, now_ms: int) -> None:
        """Puts an answer into the batch of the change it is about."""
        answer = Answer(_fingerprint(call), status, body)
        self._rotate(batch, now_ms)
        segment = self._segments[-1]
        segment.count += 1
        batch.put_idempotent(segment.number, key_hash, _encode(answer))
        self._growing[key_hash] = answer

    def _rotate(self, batch: Batch, now_ms: int) -> None:
        newest = self._segments[-1]
        changed = not self._announced
        if newest.count >= max(1, self._most // 8) or now_ms - newest.opened_at >= _SEGMENT_MS:
            self._segments.append(_Segment(newest.number + 1, 0, now_ms))
            changed = True
        while len(self._segments) > 1 and self._oldest_may_go(now_ms):
            batch.drop_idempotent(self._segments.pop(0).number)
            changed = True
        if changed:
            self._announced = True
            batch.put_meta(_META, msgspec.msgpack.encode(self._segments))

    def _oldest_may_go(self, now_ms: int) -> bool:
        closed_at = self._segments[1].opened_at
        too_many = sum(segment.count for segment in self._segments) > self._most
        return too_many or now_ms - closed_at >= KEPT_MS

    def on_batch(self) -> None:
        """The batch that grew sets out."""
        self._written, self._growing = self._growing, {}

    def on_written(self) -> None:
        """It is readable."""
        self._written = {}


def _fingerprint(call: Call) -> bytes:
    return blake2b(call.raw, digest_size=16).digest()
