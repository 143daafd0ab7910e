"""Every transition of a task's state, and nothing else.

A task is born scheduled, blocked or ready, and ends once: completed, cancelled, expired or dead.
What waits (scheduled, blocked, ready, retrying) has rows in the order or due index; what runs has
a lease; what ended has a row in the retention index. Only an operator's retry leads back from an
end, and only from `dead`.

                     +---------- unblock, parents met -----------+
                     |                                           v
    (enqueue) --> blocked                                      ready --lease--> running --ack--> completed
        |            +--> scheduled <--edit--+                 ^  ^               |  |
        +--> scheduled ----------------------+------ due ------+  |               |  +--fail--> retrying
        +--> ready                                             |  +--release,     |               |
                                                               |     lease lost --+               |
                                                               +---------------- due -------------+
    any that waits --cancel, drop, purge, a parent's failure--> cancelled
    any that waits --ttl--> expired            running --too many failures, kill--> dead --retry--> ready
"""

from typing import Final

from taskqueuex.model.states import (
    BLOCKED,
    CANCELLED,
    COMPLETED,
    DEAD,
    EXPIRED,
    READY,
    RETRYING,
    RUNNING,
    SCHEDULED,
    STATES,
)

__all__ = ["NEXT", "TRANSITIONS"]

# (from, event, to)
TRANSITIONS: Final = (
    (BLOCKED, "parents met, or unblock: not due yet", SCHEDULED),
    (BLOCKED, "parents met, or unblock", READY),
    (BLOCKED, "cancel, delete, purge, a parent's failure", CANCELLED),
    (BLOCKED, "ttl", EXPIRED),
    (BLOCKED, "kill", DEAD),
    (SCHEDULED, "due", READY),
    (SCHEDULED, "edit of run_at, replace", SCHEDULED),
    (SCHEDULED, "cancel, delete, purge", CANCELLED),
    (SCHEDULED, "ttl", EXPIRED),
    (SCHEDULED, "kill", DEAD),
    (READY, "lease", RUNNING),
    (READY, "edit of run_at, replace", SCHEDULED),
    (READY, "edit, replace", READY),
    (READY, "cancel, delete, purge, drop_oldest", CANCELLED),
    (READY, "ttl", EXPIRED),
    (READY, "kill", DEAD),
    (RUNNING, "ack", COMPLETED),
    (RUNNING, "fail, or timeout: another attempt later", RETRYING),
    (RUNNING, "release, lease expired: another attempt now", READY),
    (RUNNING, "release with a delay", SCHEDULED),
    (RUNNING, "an end after cancel was asked for, or after its successor came", CANCELLED),
    (RUNNING, "another attempt would come after expires_at", EXPIRED),
    (RUNNING, "too many failures, not retryable, kill", DEAD),
    (RETRYING, "due", READY),
    (RETRYING, "edit of run_at, replace", RETRYING),
    (RETRYING, "edit of run_at to now", READY),
    (RETRYING, "replace with a delay", SCHEDULED),
    (RETRYING, "cancel, delete, purge", CANCELLED),
    (RETRYING, "ttl", EXPIRED),
    (RETRYING, "kill", DEAD),
    (DEAD, "retry", READY),
)

NEXT: Final = tuple(
    frozenset(after for before, _, after in TRANSITIONS if before == state) for state in range(STATES)
)
"""For each state, the states that may follow it."""

assert not (NEXT[COMPLETED] or NEXT[CANCELLED] or NEXT[EXPIRED])
