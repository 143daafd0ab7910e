"""The heartbeat process: keeps leases alive for as long as what runs their tasks does.

It is a process of its own, so that a task that blocks the event loop, or holds the GIL in a C call,
keeps its lease. It is tied to the processes that it beats for: where the worker, or the child that runs
a task, has died or was stopped (SIGSTOP), the lease is left to expire. A task that merely hangs is ended
by its `timeout_ms`.

    python -m taskqueuex.worker.heart FD      with one JSON line of Settings on standard input
"""

import contextlib
import logging
import select
import socket
import sys
import time
from typing import Any

import msgspec

from taskqueuex.client import TLS, Client, RetryPolicy
from taskqueuex.commands.consume import HeartbeatItem, SettleReply, WorkerInfo
from taskqueuex.errors import Gone, NotFound, TaskQueueError
from taskqueuex.worker.frames import (
    Beat,
    Cancelled,
    Control,
    FrameReader,
    Held,
    Lost,
    Progress,
    Ready,
    Settled,
    ToHeart,
    frame,
)
from taskqueuex.worker.liveness import die_with_parent, start_time
from taskqueuex.worker.spawn import leave_signals_to_worker

__all__ = ["Heart", "Settings", "main"]

_log = logging.getLogger("taskqueuex.worker.heart")

BEAT_MAX = 1_000  # heartbeats in one call
EVERY_MAX_S = 2.0  # so that a cancelled task learns of it soon
EVERY_MIN_S = 0.05
CALL_TIMEOUT_S = 5.0


class _Answer(msgspec.Struct):
    """What a heartbeat was answered: of its reply and of a problem, what matters here."""

    cancel: bool = False
    code: str = ""


_decode_answer = msgspec.json.Decoder(_Answer).decode


class Settings(msgspec.Struct):
    """What the heart is told at its start."""

    servers: list[str]
    token: str | None
    tls: dict[str, Any] | None  # the fields of TLS
    worker: WorkerInfo
    parent: int


class _Entry:
    """A lease, and when its next heartbeat is due."""

    __slots__ = ("born", "due", "every_s", "extend_ms", "held", "progress", "stopped_at")

    def __init__(self, held: Held, born: int | None, now: float) -> None:
        self.held = held
        # A third of the lease; clocks may differ, so what they say is not relied on when it is long.
        self.every_s = min(EVERY_MAX_S, max(EVERY_MIN_S, held.lease_s / 3))
        self.stopped_at: float | None = None  # since when its process does not live
        self.born = born  # when its process was started: another one may get the same pid
        self.due = now + self.every_s
        self.extend_ms: int | None = None
        self.progress: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class Heart:
    """The leases, and what is to be sent for them. No I/O but /proc."""

    def __init__(self, settings: Settings) -> None:
        self._parent = settings.parent
        self._parent_born = start_time(settings.parent)
        self._entries: dict[str, _Entry] = {}  # by lease

    def on_message(self, message: ToHeart, now: float) -> None:
        """The worker says something."""
        if isinstance(message, Beat):
            born = {pid: start_time(pid) for pid in {held.pid for held in message.held}}
            for held in message.held:
                self._entries[held.lease] = _Entry(held, born[held.pid], now)
            return
        if isinstance(message, Settled):
            for lease in message.leases:
                self._entries.pop(lease, None)
            return
        entry = self._entries.get(message.lease)
        if entry is not None:
            entry.due = now
            if isinstance(message, Progress):
                entry.progress = message.progress
            else:
                entry.extend_ms = message.extend_ms

    def next_due(self) -> float | None:
        """When the next heartbeat is due."""
        return min((entry.due for entry in self._entries.values()), default=None)

    def due(self, now: float) -> list[HeartbeatItem]:
        """The heartbeats that are due, of tasks whose processes live."""
        if start_time(self._parent) != self._parent_born:
            return []
        items: list[HeartbeatItem] = []
        # What is due soon goes along, so that the beats of many tasks fall together.
        for entry in [each for each in self._entries.values() if each.due <= now + each.every_s / 4]:
            if len(items) == BEAT_MAX:
                break
            held = entry.held
            entry.due = now + entry.every_s
            if entry.born is None or start_time(held.pid) != entry.born:
                entry.stopped_at = entry.stopped_at or now
                continue
            entry.stopped_at = None
            items.append(
                HeartbeatItem(
                    id=held.id, lease=held.lease, extend_ms=entry.extend_ms, progress=entry.progress
                )
            )
            entry.extend_ms, entry.progress = None, msgspec.UNSET
        return items

    def doubtful(self, now: float) -> list[Held]:
        """Leases whose process has stood still for so long that they may be over. Each is asked about once
        in that time."""
        found = []
        for entry in self._entries.values():
            if entry.stopped_at is not None and now - entry.stopped_at > max(
                entry.held.lease_s, entry.every_s
            ):
                entry.stopped_at = now
                found.append(entry.held)
        return found

    def forget(self, lease: str) -> None:
        """It holds no longer."""
        self._entries.pop(lease, None)

    def on_reply(self, items: list[HeartbeatItem], reply: SettleReply) -> list[Control | Cancelled | Lost]:
        """What the worker has to know of an answer."""
        cancelled: list[str] = []
        lost: list[str] = []
        for item, raw in zip(items, reply.heartbeat, strict=True):
            answer = _decode_answer(raw)
            if answer.code:
                lost.append(item.lease)
                self._entries.pop(item.lease, None)
            elif answer.cancel:
                cancelled.append(item.lease)
        messages: list[Control | Cancelled | Lost] = []
        if cancelled:
            messages.append(Cancelled(cancelled))
        if lost:
            messages.append(Lost(lost))
        if reply.control is not None:
            messages.append(Control(reply.control.quiet, reply.control.stop))
        return messages


def main(descriptor: int) -> int:
    """Beats until the worker closes its end, or dies."""
    settings = msgspec.json.decode(sys.stdin.buffer.readline(), type=Settings)
    leave_signals_to_worker()
    die_with_parent(settings.parent)
    heart = Heart(settings)
    reader: FrameReader[ToHeart] = FrameReader(ToHeart)
    client = Client(
        settings.servers,
        token=settings.token,
        tls=None if settings.tls is None else TLS(**settings.tls),
        timeout_s=CALL_TIMEOUT_S,
        retry=RetryPolicy(attempts_max=1),
    )
    connection = socket.socket(fileno=descriptor)
    connection.sendall(frame(Ready()))
    while True:
        due = heart.next_due()
        timeout_s = None if due is None else max(0.0, due - time.monotonic())
        if select.select([connection], [], [], timeout_s)[0]:
            data = connection.recv(1 << 16)
            if not data:
                return 0
            for message in reader.feed(data):
                heart.on_message(message, time.monotonic())
        items = heart.due(time.monotonic())
        if items:
            for each in _beat(client, heart, items, settings.worker):
                connection.sendall(frame(each))
        for held in heart.doubtful(time.monotonic()):
            if _is_lost(client, held):
                heart.forget(held.lease)
                connection.sendall(frame(Lost([held.lease])))


def _is_lost(client: Client, held: Held) -> bool:
    """Asks, and does not beat: a heartbeat would keep alive what is to end."""
    try:
        view = client.get_task(held.id)
    except (NotFound, Gone):
        return True
    except TaskQueueError:
        return False
    return view.state != "running" or view.attempt != held.attempt


def _beat(
    client: Client, heart: Heart, items: list[HeartbeatItem], worker: WorkerInfo
) -> list[Control | Cancelled | Lost]:
    try:
        reply = client.settle(heartbeat=items, worker=worker)
    except TaskQueueError as error:
        _log.warning("heartbeats were not taken", extra={"error": str(error)})
        return []
    return heart.on_reply(items, reply)


if __name__ == "__main__":
    with contextlib.suppress(ConnectionError, KeyboardInterrupt):
        sys.exit(main(int(sys.argv[1])))
