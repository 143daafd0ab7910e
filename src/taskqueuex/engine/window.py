"""The hot window over a cold tail: the first keys of an ordered index in memory, the rest in storage.

The rule, on which everything rests: **every key below the border is in `hot`, none at or above it
is**. A refill reads storage from the border, after the batch that was growing when it was asked
has been written. What enters or leaves at or above the border between the question and the answer
is logged, and overrides the answer; an answer for a border that has moved meanwhile is dropped.
(STORAGE: without the log, fuzzing finds lost and revived keys at once.)

Keys are bytes and sort as the discipline serves. `hot` is a list with a moving head, so that
taking the first and adding a last cost no copying.
"""

from bisect import bisect_left, insort

from taskqueuex.model.reads import ReadRequest

__all__ = ["INFINITE", "Window"]

INFINITE = b"\xff" * 64  # above every key


class Window:
    """An ordered index of which only the beginning is in memory."""

    __slots__ = ("_head", "asked", "border", "cold", "hot", "log", "read", "touched", "width")

    def __init__(self, width: int, cold: int = 0, border: bytes = b"") -> None:
        self.width = width  # refilled below half of it, cut back to it above twice
        self.hot: list[bytes] = []  # ascending, from _head on
        self._head = 0
        self.border = border if cold else INFINITE
        self.cold = cold  # how many keys lie at or above the border
        self.asked: bytes | None = None  # the border when the refill under way was asked for
        self.log: dict[bytes, bool] = {}  # since then, at or above the border: entered or left
        self.read: ReadRequest | None = None  # that refill
        self.touched: set[bytes] = set()  # since then: ids whose rows changed, so that a read one is stale

    def __len__(self) -> int:
        """How many keys, hot and cold."""
        return len(self.hot) - self._head + self.cold

    @property
    def hot_count(self) -> int:
        """How many keys are in memory."""
        return len(self.hot) - self._head

    def first(self) -> bytes | None:
        """The first key in memory. None with `cold` left means: ask for a refill and wait."""
        return self.hot[self._head] if self._head < len(self.hot) else None

    def peek(self, count: int) -> list[bytes]:
        """Up to `count` first keys in memory."""
        return self.hot[self._head : self._head + count]

    def lower_bound(self) -> bytes:
        """No key lies below this."""
        first = self.first()
        return self.border if first is None else first

    def is_hot(self, key: bytes) -> bool:
        """On which side of the border a key lies."""
        return key < self.border

    def enter(self, key: bytes) -> list[bytes] | None:
        """Adds a key. Returns the keys that turned cold by it, if any did (`key` may be one)."""
        if key >= self.border:
            self.cold += 1
            if self.asked is not None:
                self.log[key] = True
            return None
        hot = self.hot
        if self._head == len(hot) or key > hot[-1]:
            hot.append(key)
        elif self._head and key < hot[self._head]:
            self._head -= 1
            hot[self._head] = key
        else:
            insort(hot, key, self._head)
        if len(hot) - self._head > 2 * self.width:
            return self.shrink()
        return None

    def shrink(self) -> list[bytes]:
        """Cuts the window back to its width; returns the keys that turned cold."""
        cut = self._head + self.width
        evicted = self.hot[cut:]
        if evicted:
            self.border = evicted[0]
            self.cold += len(evicted)
            del self.hot[cut:]
            self._trim()
        return evicted

    def leave(self, key: bytes) -> None:
        """Removes a key that is there."""
        if key >= self.border:
            self.cold -= 1
            if self.asked is not None:
                self.log[key] = False
            return
        if key == self.first():
            self._head += 1
            if self._head > 1_024 and self._head * 2 > len(self.hot):
                self._trim()
            return
        index = bisect_left(self.hot, key, self._head)
        assert index < len(self.hot) and self.hot[index] == key, "the key is not in its window"
        del self.hot[index]

    def _trim(self) -> None:
        del self.hot[: self._head]
        self._head = 0

    def drop(self, count: int) -> None:
        """Removes the first `count` keys, which are in memory."""
        self._head += count
        if self._head > 1_024 and self._head * 2 > len(self.hot):
            self._trim()

    def lower(self, key: bytes, count: int) -> list[bytes]:
        """`count` keys, the least of them `key`, are in storage that were not counted before.

        They are cold: the border comes down to the least. Returns the keys that turned cold by it.
        A refill under way did not see them: its answer will be dropped.
        """
        evicted: list[bytes] = []
        if key < self.border:
            cut = bisect_left(self.hot, key, self._head)
            evicted = self.hot[cut:]
            del self.hot[cut:]
            self._trim()
            self.border = key
            self.cold += len(evicted)
        self.cold += count
        self.withdraw()
        return evicted

    def close(self) -> None:
        """Makes every key cold: nothing is served from the window before its next refill."""
        self.cold = len(self)
        self.hot, self._head, self.border = [], 0, b""

    def wants_refill(self) -> bool:
        """Whether it is time to ask."""
        return self.cold > 0 and self.asked is None and len(self.hot) - self._head < self.width // 2

    def ask(self) -> bytes:
        """Starts a refill: read storage from the key returned, after the growing batch is written."""
        self.asked = self.border
        self.log = {}
        self.touched = set()
        return self.border

    def refill(self, keys: list[bytes], exhausted: bool, last: bytes | None = None) -> list[bytes]:
        """Takes the answer: keys in order, and whether the index ends with them.

        `last` is the last key that was read, where it is not among `keys`.
        Returns the keys that became hot; none where the border has moved since it was asked.
        """
        asked, log = self.asked, self.log
        self.asked, self.log, self.read = None, {}, None
        if asked is None or self.border != asked:
            return []
        border = INFINITE if exhausted else (last or keys[-1]) + b"\0"
        fresh = {key for key in keys if log.get(key, True)}
        fresh.update(key for key, entered in log.items() if entered and key < border)
        added = sorted(fresh)
        self.hot.extend(added)
        self.cold -= len(added)
        self.border = border
        assert not exhausted or self.cold == 0, "the count of cold keys drifted"
        return added

    def withdraw(self) -> None:
        """Forgets a refill under way: its answer will not come."""
        self.asked, self.log, self.read = None, {}, None
