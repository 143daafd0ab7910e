"""The stream of events, over real sockets."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from events_wire import Stream, call, good

from taskqueuex.testing import MemoryServer


@pytest.fixture
def server() -> Iterator[MemoryServer]:
    with MemoryServer() as made:
        yield made


def enqueue(url: str, queue: str = "q", **fields: Any) -> str:
    return good(url, "POST", f"/v1/queues/{queue}/tasks", fields)["id"]


def take(url: str, queue: str = "q", **fields: Any) -> Any:
    return good(url, "POST", f"/v1/queues/{queue}/dequeue", {"worker": "w", **fields})["tasks"]


def test_a_task_is_told_from_its_beginning_to_its_end(server):
    with Stream(server.url, "?kind=task") as stream:
        task = enqueue(server.url, name="job", max_attempts=2)
        for _ in range(2):
            [leased] = take(server.url)
            good(
                server.url,
                "POST",
                f"/v1/tasks/{task}/fail",
                {
                    "lease": leased["lease"],
                    "error": {"type": "ValueError", "message": "seven"},
                    "delay_ms": 0,
                },
            )
            server.clock.advance(1)
        good(server.url, "POST", f"/v1/tasks/{task}/retry")
        [leased] = take(server.url)
        good(server.url, "POST", f"/v1/tasks/{task}/ack", {"lease": leased["lease"]})
        told = [stream.next()]
        while told[-1].data["state"] != "completed":
            told.append(stream.next())
    assert all(each.name == "task" and each.data["id"] == task for each in told)
    assert all(each.data["queue"] == "q" and each.data["name"] == "job" for each in told)
    attempt = ["ready", "running"]
    states = [each.data["state"] for each in told]
    assert states == [*attempt, "retrying", *attempt, "dead", *attempt, "completed"]
    assert told[1].data["worker"] == "w" and told[1].data["attempt"] == 1
    assert told[2].data["detail"] == "ValueError: seven"
    assert told[5].data["detail"]
    assert len({each.id for each in told}) == len(told)


def test_what_happens_to_queues_and_workers_is_told(server):
    with Stream(server.url, "?kind=queue,worker") as stream:
        good(server.url, "PUT", "/v1/queues/a", {})
        good(server.url, "PUT", "/v1/queues/a", {"max_tasks": 5, "lease_ms": 9_000})
        good(server.url, "POST", "/v1/queues/a/pause")
        good(server.url, "POST", "/v1/queues/a/pause")
        good(server.url, "POST", "/v1/queues/a/resume")
        take(server.url, "a", worker="w1")
        good(server.url, "POST", "/v1/workers/w1/quiet")
        good(server.url, "POST", "/v1/workers/w1/stop")
        good(server.url, "POST", "/v1/queues/a/purge")
        good(server.url, "DELETE", "/v1/queues/a")
        told = [stream.next().data for _ in range(9)]
    assert [(each["kind"], each["change"]) for each in told] == [
        ("queue", "created"),
        ("queue", "changed"),
        ("queue", "paused"),
        ("queue", "resumed"),
        ("worker", "came"),
        ("worker", "quieted"),
        ("worker", "stopped"),
        ("queue", "purged"),
        ("queue", "deleted"),
    ]
    assert told[1]["detail"] == "max_tasks, lease_ms" or set(told[1]["detail"].split(", ")) == {
        "max_tasks",
        "lease_ms",
    }
    assert told[4]["worker"] == "w1" and told[8]["queue"] == "a"


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("queue=a", {"a1", "a2"}),
        ("name=n1", {"a1", "b1"}),
        ("state=scheduled", {"b2"}),
        ("queue=a&name=n2", {"a2"}),
        ("queue=a&state=scheduled", set()),
    ],
)
def test_filters(server, query, wanted):
    with Stream(server.url, f"?{query}") as stream:
        ids = {
            "a1": enqueue(server.url, "a", name="n1"),
            "a2": enqueue(server.url, "a", name="n2"),
            "b1": enqueue(server.url, "b", name="n1"),
            "b2": enqueue(server.url, "b", name="n2", delay_ms=60_000),
        }
        good(server.url, "PUT", "/v1/queues/a", {"max_tasks": 99})
        last = enqueue(server.url, "a", name="n1")
        good(server.url, "POST", f"/v1/tasks/{ids['b2']}/cancel")
    with Stream(server.url, f"?{query}&since=0&follow=false") as stream:
        told = [each.data for each in stream.rest() if each.name == "task"]
    assert {name for name, id in ids.items() if id in {each["id"] for each in told}} == wanted
    assert (last in {each["id"] for each in told}) == ("state" not in query and "n2" not in query)


def test_the_events_of_tasks_that_are_named(server):
    first, _, third = (enqueue(server.url) for _ in range(3))
    with Stream(server.url, f"?id={first},{third}&since=0&follow=false") as stream:
        told = [each.data["id"] for each in stream.rest() if each.name == "task"]
    assert told == [first, third]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("kind=tasks", "kind"),
        ("id=x", "id"),
        ("state=done", "state"),
        ("after=1", "after"),
        ("since=1&after=1-1-1", "since"),
        ("rate=-1", "rate"),
        ("other=1", "other"),
        ("follow=perhaps", "follow"),
    ],
)
def test_what_is_wrong_is_named(server, query, field):
    status, answer = call(server.url, "GET", f"/v1/events?{query}")
    assert status == 422 and answer["errors"][0]["field"] == field


def test_an_id_that_is_none_is_refused(server):
    status, answer = call(server.url, "GET", "/v1/events", None, {"Last-Event-ID": "x"})
    assert status == 422 and answer["errors"][0]["field"] == "Last-Event-ID"


def test_who_comes_back_misses_nothing_and_hears_nothing_twice(server):
    count = 400
    ids: list[str] = []

    def produce() -> None:
        ids.extend(enqueue(server.url) for _ in range(count))

    producer = threading.Thread(target=produce)
    heard: list[str] = []
    with Stream(server.url, "?kind=task") as stream:
        last = stream.place()
    producer.start()
    while len(heard) < count:
        with Stream(server.url, "?kind=task", last_event_id=last) as stream:
            for _ in range(min(37, count - len(heard))):
                event = stream.next()
                heard.append(event.data["id"])
                last = event.id
    producer.join()
    assert heard == ids


def test_a_page_is_read_from_the_store_while_more_happens(server):
    good(server.url, "POST", "/v1/queues/q/tasks/batch", {"tasks": [{}] * 900})
    before = [enqueue(server.url) for _ in range(150)]  # rows of several pages
    with Stream(server.url, "?since=0&kind=task") as stream:
        after = [enqueue(server.url) for _ in range(50)]
        told = [stream.next().data["id"] for _ in range(900 + 200)]
    assert told[900:] == before + after


def test_a_large_batch_is_one_event_of_its_queue(server):
    with Stream(server.url) as stream:
        good(server.url, "POST", "/v1/queues/q/tasks/batch", {"tasks": [{}] * 1_500})
        created, filled = stream.next().data, stream.next().data
    assert (created["change"], filled["change"], filled["detail"]) == ("created", "filled", "1500")


def test_a_rate_is_kept_and_what_was_left_out_is_told(server):
    with Stream(server.url, "?kind=task&rate=5") as stream:
        for _ in range(30):
            enqueue(server.url)
        events = []
        skipped = 0
        while len(events) + skipped < 30:
            event = stream.next()
            if event.name == "skipped":
                skipped += event.data["count"]
            else:
                events.append(event)
        assert skipped >= 10 and len(events) + skipped == 30


def test_the_figures_of_the_server_come_every_second(server):
    with Stream(server.url, "?stats=true&kind=server") as stream:
        enqueue(server.url)
        first, second = stream.next(), stream.next()
    assert first.name == second.name == "stats"
    assert second.data["uptime_ms"] > first.data["uptime_ms"] and second.data["counts"]["ready"] == 1


def test_who_reads_too_slowly_is_told_and_the_server_goes_on(server):
    host, _, port = server.url.removeprefix("http://").partition(":")
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    slow.settimeout(30)
    slow.connect((host, int(port)))
    slow.sendall(b"GET /v1/events HTTP/1.1\r\nHost: t\r\n\r\n")
    name = "n" * 250
    for _ in range(40):
        good(server.url, "POST", "/v1/queues/q/tasks/batch", {"tasks": [{"name": name}] * 900})
    received = b""
    while piece := slow.recv(1 << 16):
        received += piece
    slow.close()
    assert received.endswith(b'event: end\ndata: {"reason":"this client reads too slowly"}\n\n')
    assert good(server.url, "GET", "/v1/stats")["counts"]["ready"] == 36_000


def test_a_stream_has_its_connection_to_itself(server):
    host, _, port = server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), 30) as wire:
        poll = b'POST /v1/queues/q/dequeue HTTP/1.1\r\nHost: t\r\nContent-Length: 16\r\n\r\n{"wait_ms": 300}'
        wire.sendall(poll + b"GET /v1/events HTTP/1.1\r\nHost: t\r\n\r\n")
        received = b""
        while b"itself" not in received:
            piece = wire.recv(1 << 16)
            assert piece, received
            received += piece
        assert received.count(b"HTTP/1.1 200") == 1 and received.count(b"HTTP/1.1 400") == 1
    with socket.create_connection((host, int(port)), 30) as wire:
        wire.sendall(b"GET /v1/events HTTP/1.1\r\nHost: t\r\n\r\nGET /healthz HTTP/1.1\r\nHost: t\r\n\r\n")
        received = b""
        while b"retry: 1000" not in received:
            received += wire.recv(1 << 16)
        enqueue(server.url)
        while b'"state":"ready"' not in received:
            received += wire.recv(1 << 16)
        assert b"Connection: close" in received and received.count(b"HTTP/1.1") == 1


def test_a_client_that_ends_its_side_has_gone(server):
    host, _, port = server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), 30) as wire:
        wire.sendall(b"GET /v1/events HTTP/1.1\r\nHost: t\r\n\r\n")
        while b"retry" not in wire.recv(1 << 16):
            pass
        wire.shutdown(socket.SHUT_WR)
        while wire.recv(1 << 16):
            pass


def token(url: str, admin: str | None, *scopes: str) -> dict[str, Any]:
    headers = {} if admin is None else {"Authorization": f"Bearer {admin}"}
    return good(url, "POST", "/v1/tokens", {"name": "t", "scopes": list(scopes)}, headers)


def test_a_reader_of_some_queues_hears_of_those_alone(server):
    admin = token(server.url, None, "admin")["token"]
    some = token(server.url, admin, "read:orders.*")["token"]
    as_admin = {"Authorization": f"Bearer {admin}"}
    with Stream(server.url, token=some) as stream, Stream(server.url, token=admin) as all_of_them:
        for queue in ("other", "orders.a", "other", "orders.b"):
            good(server.url, "POST", f"/v1/queues/{queue}/tasks", {}, as_admin)
        told = [stream.next().data for _ in range(4)]
        assert [each["queue"] for each in told] == ["orders.a", "orders.a", "orders.b", "orders.b"]
        assert {all_of_them.next().data["queue"] for _ in range(7)} == {"other", "orders.a", "orders.b"}
    read = {"Authorization": f"Bearer {some}"}
    assert call(server.url, "GET", "/v1/events?queue=other", None, read)[0] == 403
    assert call(server.url, "GET", "/v1/events?stats=true", None, read)[0] == 403
    with Stream(server.url, "?since=0&follow=false", token=some) as stream:
        assert all(each.data.get("queue", "orders.").startswith("orders.") for each in stream.rest())


def test_a_token_that_is_revoked_hears_no_more(server):
    admin = token(server.url, None, "admin")["token"]
    made = token(server.url, admin, "read")
    with Stream(server.url, token=made["token"]) as stream:
        headers = {"Authorization": f"Bearer {admin}"}
        good(server.url, "DELETE", f"/v1/tokens/{made['id']}", None, headers)
        good(server.url, "POST", "/v1/queues/q/tasks", {}, headers)
        last = stream.rest()[-1]
    assert last.name == "end" and "revoked" in last.data["reason"]


def test_streams_end_with_the_server(server):
    with Stream(server.url) as stream:
        enqueue(server.url)
        stopping = threading.Thread(target=server.close)
        begun = time.monotonic()
        stopping.start()
        told = stream.rest()
        stopping.join()
    assert told[-1].name == "end" and told[-2].data["change"] == "stopping"
    assert time.monotonic() - begun < 60, "it does not wait for who follows"


def test_the_answer_is_one_that_proxies_pass_on(server):
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)
    connection.request("GET", "/v1/events?follow=false")
    answer = connection.getresponse()
    assert answer.status == 200 and answer.headers["Content-Type"] == "text/event-stream"
    assert answer.headers["Cache-Control"] == "no-store" and answer.headers["X-Accel-Buffering"] == "no"
    text = answer.read().decode()
    assert text.startswith("retry: 1000\n\n")
    for block in text.split("\n\n")[1:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        assert set(fields) <= {"id", "event", "data"} and json.loads(fields["data"])


def test_overload_and_its_end_are_told(server):
    guard = server._node._node._memory
    limit_bytes = guard.limit_bytes
    with Stream(server.url, "?kind=server") as stream:
        guard.limit_bytes = 1
        assert stream.next().data["change"] == "overloaded"
        guard.limit_bytes = limit_bytes
        assert stream.next().data["change"] == "calm"
