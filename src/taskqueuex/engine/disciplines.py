"""The four orders, as keys: what sorts first is served first.

A key is 8 bytes of rank and 16 of id. Strictness is the index's: a discipline is nothing but the
rank it gives, so no code path can serve out of order.

    fifo         rank 0                    id          order of commit
    lifo         rank 0                    id inverted the reverse
    priority     rank 1000 - priority      id          higher first, fifo within a level
    round_robin  rank = turn               group hash  one key a group, see groups.py;
                 within a group like priority
"""

__all__ = ["id_of", "order_key"]

_ZERO = bytes(8)
_PRIORITY_RANKS = [rank.to_bytes(8, "big") for rank in range(2001)]
_ALL_ONES = (1 << 128) - 1


def _invert(task_id: bytes) -> bytes:
    return (int.from_bytes(task_id, "big") ^ _ALL_ONES).to_bytes(16, "big")


def order_key(discipline: str, task_id: bytes, priority: int) -> bytes:
    """The place of a task in its queue, or within its group."""
    if discipline == "fifo":
        return _ZERO + task_id
    if discipline == "lifo":
        return _ZERO + _invert(task_id)
    return _PRIORITY_RANKS[1000 - priority] + task_id


def id_of(discipline: str, key: bytes) -> bytes:
    """The id of the task whose place a key is."""
    if discipline == "lifo":
        return _invert(key[8:])
    return key[8:]
