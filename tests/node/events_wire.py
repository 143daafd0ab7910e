"""Calls and streams of events, with nothing of the package between."""

import http.client
import json
from typing import Any, NamedTuple, Self

TIMEOUT_S = 30


def call(
    url: str, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=TIMEOUT_S)
    try:
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, {"Content-Type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def good(url: str, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
    status, answer = call(url, method, path, body, headers)
    assert status < 300, (status, answer)
    return answer


class Event(NamedTuple):
    name: str
    id: str
    data: Any


class Stream:
    """A stream of events that is open when this is made."""

    def __init__(self, url: str, query: str = "", token: str = "", last_event_id: str = "") -> None:
        self._connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=TIMEOUT_S)
        headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._connection.request("GET", f"/v1/events{query}", None, headers)
        self._answer = self._connection.getresponse()
        assert self._answer.status == 200, self._answer.read()
        self._last = ""

    def _blocks(self) -> Any:
        fields: dict[str, str] = {}
        while line := self._answer.readline().decode():
            name, _, value = line.rstrip("\n").partition(": ")
            if name and name != ":":
                fields[name] = value
            elif not name:
                yield fields
                fields = {}

    def next(self) -> Event:
        """The next event; notices count, ids alone do not."""
        for fields in self._blocks():
            self._last = fields.get("id", self._last)
            if "data" in fields:
                return Event(fields.get("event", "message"), fields.get("id", ""), json.loads(fields["data"]))
        raise EOFError("the stream has ended")

    def place(self) -> str:
        """Where one would resume that has heard nothing: the id that came first."""
        for fields in self._blocks():
            if "id" in fields:
                return fields["id"]
        raise EOFError("the stream has ended")

    def rest(self) -> list[Event]:
        """All events up to the end of the stream."""
        events = []
        while True:
            try:
                events.append(self.next())
            except EOFError:
                return events

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._answer.close()
        self._connection.close()
