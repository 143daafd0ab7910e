"""Task ids: UUIDv7 (RFC 9562) that carry their slot and sort by sequence.

    48 bits  Unix milliseconds        never falls within a slot, whatever the clock does
     4 bits  version, 7
    12 bits  slot                     so that any node routes an id without a lookup
     2 bits  variant, binary 10
    22 bits  counter                  the sequence within a millisecond
    40 bits  random                   so that ids cannot be guessed

Inside the server an id is its 16 bytes, which sort as the sequence does; outside it is the
usual text of a UUID.
"""

from collections.abc import Callable

__all__ = [
    "SLOTS",
    "IdGenerator",
    "format_id",
    "id_time_ms",
    "parse_id",
    "reserved_range",
    "slot_of",
    "unpack_id",
]

SLOTS = 4096

_COUNTER_MAX = (1 << 22) - 1


def format_id(task_id: bytes) -> str:
    """The text of an id: 36 characters, lower case."""
    h = task_id.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def parse_id(text: str) -> bytes:
    """The 16 bytes of an id's text; raises ValueError where the text is not a UUIDv7."""
    if len(text) != 36 or text[8] != "-" or text[13] != "-" or text[18] != "-" or text[23] != "-":
        raise ValueError("not a task id")
    if text[14] != "7" or not text.isascii():
        raise ValueError("not a task id (version 7 expected)")
    task_id = bytes.fromhex(text.replace("-", ""))
    if len(task_id) != 16 or task_id[8] >> 6 != 2:
        raise ValueError("not a task id")
    return task_id


def unpack_id(text: str) -> bytes:
    """The 16 bytes of an id's text that is known to be one."""
    return bytes.fromhex(text.replace("-", ""))


def slot_of(task_id: bytes) -> int:
    """The slot that an id was made in, 0..4095."""
    return (task_id[6] & 0x0F) << 8 | task_id[7]


def id_time_ms(task_id: bytes) -> int:
    """The Unix milliseconds of an id."""
    return int.from_bytes(task_id[:6], "big")


class IdGenerator:
    """Makes ids that only grow within each slot.

    `random_bits(n)` is where randomness comes from, so that a test can replay a run.
    """

    __slots__ = ("_last", "_random_bits")

    def __init__(self, random_bits: Callable[[int], int]) -> None:
        self._random_bits = random_bits
        self._last: dict[int, tuple[int, int]] = {}  # slot -> (milliseconds, counter)

    def observe(self, task_id: bytes) -> None:
        """Take note of an id that exists, so that later ones are greater (recovery)."""
        counter = int.from_bytes(task_id[8:16], "big") >> 40 & _COUNTER_MAX
        seen = (id_time_ms(task_id), counter)
        slot = slot_of(task_id)
        if seen > self._last.get(slot, (0, 0)):
            self._last[slot] = seen

    def latest_ms(self) -> int:
        """The milliseconds of the greatest id of any slot: later than the clock's where that went back."""
        return max((ms for ms, _ in self._last.values()), default=0)

    def reserve(self, slot: int, count: int, now_ms: int) -> tuple[int, int]:
        """Sets ids aside: (milliseconds, first counter) of `count` consecutive ones, for `reserved`."""
        ms, counter = self._last.get(slot, (0, 0))
        if now_ms > ms:
            ms, counter = now_ms, 0
        if counter + count >= _COUNTER_MAX:
            ms, counter = ms + 1, 0
        self._last[slot] = (ms, counter + count)
        return ms, counter + 1

    def reserved(self, slot: int, ms: int, counter: int) -> bytes:
        """The id of a counter that was set aside."""
        return _compose(slot, ms, counter, self._random_bits(40))

    def next(self, slot: int, now_ms: int) -> bytes:
        """A new id of a slot, greater than every earlier one of it."""
        ms, counter = self._last.get(slot, (0, 0))
        if now_ms > ms:
            ms, counter = now_ms, 0
        elif counter < _COUNTER_MAX:
            counter += 1
        else:
            ms, counter = ms + 1, 0
        self._last[slot] = (ms, counter)
        return _compose(slot, ms, counter, self._random_bits(40))


def _compose(slot: int, ms: int, counter: int, tail: int) -> bytes:
    high = ms << 16 | 0x7000 | slot
    low = 0x8000000000000000 | counter << 40 | tail
    return (high << 64 | low).to_bytes(16, "big")


def reserved_range(slot: int, ms: int, counter: int, count: int) -> tuple[bytes, bytes]:
    """Every id that `reserve` set aside is at or above the first and below the second."""
    return _compose(slot, ms, counter, 0), _compose(slot, ms, counter + count, 0)
