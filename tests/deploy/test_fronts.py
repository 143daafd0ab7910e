"""deploy/haproxy, deploy/nginx, deploy/caddy: each is right for its program, and work goes through it.

The files are used as they are but for addresses, ports and places of certificates.
"""

import contextlib
import json
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from deployed import DEPLOY, Caller, Certificates, fails, made_token, replaced, run, until
from tests.shared.programs import Program, environment, free_port

CLIENT = "127.0.0.9"  # an address of loopback that no program has by itself
BALANCER = "127.0.0.1"


@dataclass
class Front:
    """A front that runs, with a server behind it."""

    port: int
    token: str
    ca: Path
    direct: int  # the server's own port, which expects neither TLS nor PROXY

    def caller(self, source: str = "") -> Caller:
        return Caller(self.port, self.ca, self.token, source)


class Backend:
    """A server as the head of a front's file asks for it."""

    def __init__(self, certificates: Certificates, directory: Path) -> None:
        self.plain, self.proxied = free_port(), free_port()
        listen = [
            f"127.0.0.1:{self.plain}",
            f"proxy+tls:127.0.0.1:{self.proxied}",
            f"unix:{directory}/tqx.sock",
        ]
        config = directory / "taskqueuex.toml"
        config.write_text(
            f"""
            [network]
            listen = {json.dumps(listen)}
            proxy_from = ["{BALANCER}/32"]
            tls_certificate = "{certificates.certificate}"
            tls_key = "{certificates.key}"
            [storage]
            data = "{directory}/data"
            [auth]
            required = true
            """
        )
        self._command = ["tqx", "serve", "--config", str(config)]
        self.serve()
        scopes = [f"--scope={each}" for each in ("admin", "produce", "consume", "read", "payload", "operate")]
        self.token = made_token(listen[-1], "all", *scopes)

    def serve(self) -> None:
        """From now on, on what there was before."""
        self.program = Program(self._command)
        self.program.wait_for("serving")


@pytest.fixture(scope="module")
def backend(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """One for all fronts: each test has queues of its own."""
    found = Backend(certificates, tmp_path_factory.mktemp("backend"))
    yield found
    assert found.program.stop() == 0


def haproxy_file(certificates: Certificates, ports: tuple[int, int], server: int, directory: Path) -> Path:
    path = directory / "haproxy.cfg"
    places = {
        "maxconn 40000": "maxconn 400",  # as many descriptors as any machine gives
        "maxconn 20000": "maxconn 200",
        "bind :7470": f"bind 127.0.0.1:{ports[0]}",
        "bind :443": f"bind 127.0.0.1:{ports[1]}",
        "10.0.0.5:7471": f"127.0.0.1:{server}",
        "/etc/haproxy/taskqueuex-ca.pem": str(certificates.ca),
        "/etc/haproxy/tasks.example.com.pem": str(certificates.both),
    }
    path.write_text(replaced((DEPLOY / "haproxy/haproxy.cfg").read_text(), places))
    return path


def nginx_file(certificates: Certificates, port: int, server: int, directory: Path) -> Path:
    places = {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "server 127.0.0.1:7470": f"server 127.0.0.1:{server}",
        "/etc/nginx/tasks.example.com.pem": str(certificates.certificate),
        "/etc/nginx/tasks.example.com.key": str(certificates.key),
    }
    included = directory / "taskqueuex.conf"
    included.write_text(replaced((DEPLOY / "nginx/taskqueuex.conf").read_text(), places))
    temporary = "".join(
        f"    {kind}_temp_path {directory}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    path = directory / "nginx.conf"
    user = "user root root;\n" if os.geteuid() == 0 else ""  # the directory is of the tests' user alone
    path.write_text(
        f"{user}daemon off;\npid {directory}/nginx.pid;\nerror_log stderr notice;\n"
        f"events {{ worker_connections 512; }}\n"
        f"http {{\n    access_log off;\n{temporary}    include {included};\n}}\n"
    )
    return path


def caddy_file(certificates: Certificates, port: int, server: int, directory: Path) -> Path:
    path = directory / "Caddyfile"
    places = {
        "\n{\n": "\n{\n\tadmin off\n\tauto_https off\n",
        "tasks.example.com {\n": f"https://localhost:{port}, https://127.0.0.1:{port} {{\n"
        f"\tbind 127.0.0.1\n\ttls {certificates.certificate} {certificates.key}\n",
        "127.0.0.1:7470 {": f"127.0.0.1:{server} {{",
    }
    path.write_text(replaced((DEPLOY / "caddy/Caddyfile").read_text(), places))
    return path


def checks(file: Path) -> tuple[tuple[object, ...], ...]:
    """What each program has to check a file, and what it says about one that is not right."""
    return {
        "haproxy.cfg": (("haproxy", "-c", "-f", file), ("timeout client", "timeout clients")),
        "nginx.conf": (("nginx", "-e", "stderr", "-t", "-c", file), ("include", "included")),
        "Caddyfile": (
            ("caddy", "validate", "--adapter", "caddyfile", "--config", file),
            ("reverse_proxy", "reverse_proxies"),
        ),
    }[file.name]


@pytest.mark.parametrize("kind", ["haproxy", "nginx", "caddy"])
def test_the_program_finds_nothing_wrong(kind: str, certificates: Certificates, tmp_path: Path) -> None:
    ports = (free_port(), free_port())
    file = {
        "haproxy": lambda: haproxy_file(certificates, ports, 7470, tmp_path),
        "nginx": lambda: nginx_file(certificates, ports[0], 7470, tmp_path),
        "caddy": lambda: caddy_file(certificates, ports[0], 7470, tmp_path),
    }[kind]()
    command, (right, wrong) = checks(file)
    environ = environment(HOME=str(tmp_path), XDG_DATA_HOME=str(tmp_path))
    told = run(*command, env=environ)
    if kind == "caddy":  # which warns of what the tests' certificate is not
        assert run("caddy", "fmt", DEPLOY / "caddy/Caddyfile") == (DEPLOY / "caddy/Caddyfile").read_text()
    else:
        assert "warn" not in told.lower(), told
    file.write_text(file.read_text().replace(right, wrong))
    fails(*command, env=environ)


def answers(caller: Caller) -> bool:
    """Whether the server does, through its front: haproxy looks at it before it sends anything there."""
    try:
        return caller.call("GET", "/readyz").status == 200
    except OSError:
        return False
    finally:
        caller.close()


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def start_front(
    kind: str,
    start: Callable[..., Program],
    certificates: Certificates,
    server: tuple[int, int],
    directory: Path,
) -> int:
    """Starts a front for a server with these ports, a plain one and one that expects PROXY and TLS."""
    port, other = free_port(), free_port()
    command: tuple[object, ...]
    if kind.startswith("haproxy"):
        ports = (port, other) if kind == "haproxy, passed on" else (other, port)
        command = ("haproxy", "-W", "-db", "-f", haproxy_file(certificates, ports, server[1], directory))
    elif kind == "nginx":
        command = ("nginx", "-e", "stderr", "-c", nginx_file(certificates, port, server[0], directory))
    else:
        file = caddy_file(certificates, port, server[0], directory)
        command = ("caddy", "run", "--adapter", "caddyfile", "--config", file)
    program = start(*command, env=environment(HOME=str(directory), XDG_DATA_HOME=str(directory)))
    until(lambda: listening(port) or program.process.poll() is not None, "the front")
    assert program.process.poll() is None, program.log
    return port


KINDS = ("haproxy, passed on", "haproxy, ended here", "nginx", "caddy")


@pytest.fixture
def front(
    request: pytest.FixtureRequest,
    backend: Backend,
    start: Callable[..., Program],
    certificates: Certificates,
    tmp_path: Path,
) -> Front:
    ports = (backend.plain, backend.proxied)
    port = start_front(request.param, start, certificates, ports, tmp_path)
    found = Front(port, backend.token, certificates.ca, backend.plain)

    until(lambda: answers(found.caller()), "an answer through the front")
    return found


@pytest.mark.parametrize("front", KINDS, indirect=True)
def test_work_goes_through(front: Front) -> None:
    producer, consumer = front.caller(), front.caller()
    got: list[Any] = []
    body = {"wait_ms": 30_000, "worker": "w"}

    def poll() -> None:
        got.append(consumer.good("POST", "/v1/queues/jobs/dequeue", body))

    waiting = threading.Thread(target=poll)
    waiting.start()
    stats = Caller(front.direct, token=front.token)
    until(lambda: stats.good("GET", "/v1/stats")["waiters"] == 1, "the poll at the server")
    id = producer.good("POST", "/v1/queues/jobs/tasks", {"payload": {"deep": ["x" * 500_000]}})["id"]
    waiting.join(30)
    (task,) = got[0]["tasks"]
    assert task["id"] == id
    assert task["payload"] == {"deep": ["x" * 500_000]}
    consumer.good("POST", f"/v1/tasks/{id}/ack", {"lease": task["lease"], "result": 7})
    assert producer.good("GET", f"/v1/tasks/{id}?wait_ms=30000")["result"] == 7
    for each in (producer, consumer, stats):
        each.close()


@pytest.mark.parametrize("front", KINDS, indirect=True)
def test_the_server_s_refusals_come_through(front: Front) -> None:
    stranger = Caller(front.port, front.ca)
    assert stranger.call("GET", "/v1/queues").status == 401
    stranger.close()
    caller = front.caller()
    assert caller.call("GET", "/v1/queues/none").json["code"] == "not_found"
    assert caller.call("GET", "/metrics").status == 200
    caller.close()
    large = front.caller()
    with_large_body = None
    with contextlib.suppress(OSError):  # closed before all of it was sent, which is an answer, too
        with_large_body = large.call("POST", "/v1/queues/jobs/tasks", {"payload": "x" * (17 << 20)})
    assert with_large_body is None or with_large_body.status == 413
    large.close()


@pytest.mark.parametrize("front", KINDS, indirect=True)
def test_an_idempotency_key_goes_through(front: Front) -> None:
    caller, key = front.caller(), {"Idempotency-Key": f"key-of-{front.port}"}
    reply = caller.call("POST", "/v1/queues/once/tasks", {"payload": 1}, **key)
    again = caller.call("POST", "/v1/queues/once/tasks", {"payload": 1}, **key)
    assert reply.status == again.status == 201
    assert reply.json["id"] == again.json["id"]
    caller.close()


@pytest.mark.parametrize("front", [KINDS[1], KINDS[3]], indirect=True)
def test_clients_may_speak_http_2(front: Front) -> None:
    url = f"https://localhost:{front.port}/v1/queues/none"
    header = f"Authorization: Bearer {front.token}"
    told = run("curl", "-s", "--http2", "--cacert", front.ca, "-H", header, "-w", " %{http_version}", url)
    assert '"code":"not_found"' in told
    assert told.endswith("} 2")


@pytest.mark.parametrize("front", KINDS[:2], indirect=True)
def test_the_audit_has_the_client_s_address(front: Front) -> None:
    sources = {f"{front.port}-theirs": CLIENT, f"{front.port}-others": "127.0.0.10"}
    for queue, source in sources.items():
        caller = Caller(front.port, front.ca, front.token, source)
        caller.good("PUT", f"/v1/queues/{queue}", {"max_attempts": 3})
        caller.close()
    caller = front.caller()
    rows = caller.good("GET", "/v1/audit?limit=10")["entries"]
    caller.close()
    assert sources.items() <= {row["target"]: row["address"] for row in rows}.items()


def test_only_the_balancer_is_believed(backend: Backend) -> None:
    with socket.create_connection(("127.0.0.1", backend.proxied), source_address=(CLIENT, 0)) as stranger:
        stranger.settimeout(30)
        stranger.sendall(b"PROXY TCP4 203.0.113.7 10.0.0.1 4000 443\r\n\x16\x03\x01")
        with contextlib.suppress(ConnectionResetError):
            assert stranger.recv(1) == b""


@pytest.mark.parametrize("front", KINDS, indirect=True)
def test_a_server_that_was_away_is_found_again(front: Front, backend: Backend) -> None:
    caller = front.caller()
    id = caller.good("POST", "/v1/queues/kept/tasks", {"payload": 1})["id"]
    assert backend.program.stop() == 0
    until(lambda: not answers(front.caller()), "the end of answers")
    backend.serve()
    until(lambda: answers(front.caller()), "an answer of the server that is back")
    caller.close()
    again = front.caller()
    assert again.good("GET", f"/v1/tasks/{id}")["state"] == "ready"
    again.close()


class Stream:
    """Stands for the server: answers GET /v1/events with server-sent events, each when it is told to.

    It has both ports that fronts look for, a plain one and one that expects the PROXY protocol and TLS.
    """

    def __init__(self, certificates: Certificates) -> None:
        self.tell = threading.Semaphore(0)
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(certificates.certificate, certificates.key)
        self._listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        self.ports = tuple(listener.getsockname()[1] for listener in self._listeners)
        for number, listener in enumerate(self._listeners):
            threading.Thread(target=self._accept, args=(listener, number == 1), daemon=True).start()

    def _accept(self, listener: socket.socket, proxied: bool) -> None:
        with contextlib.suppress(OSError):  # it is closed
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=self._answer, args=(connection, proxied), daemon=True).start()

    def _answer(self, connection: socket.socket, proxied: bool) -> None:
        with connection, contextlib.suppress(OSError):  # what looks at its health goes when it likes
            connection.settimeout(60)
            if not proxied:
                self._serve(connection)
                return
            head = connection.recv(16, socket.MSG_WAITALL)
            assert head.startswith(b"\r\n\r\n\0\r\nQUIT\n")
            connection.recv(int.from_bytes(head[14:], "big"), socket.MSG_WAITALL)
            with self._context.wrap_socket(connection, server_side=True) as secure:
                self._serve(secure)

    def _serve(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as file:
            request = file.readline()
            while file.readline().strip():
                pass
        if b" /v1/events " not in request:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
            return
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head)
        for number in range(3):
            self.tell.acquire()
            event = f"data: {number}\n\n".encode()
            connection.sendall(f"{len(event):x}\r\n".encode() + event + b"\r\n")
        connection.sendall(b"0\r\n\r\n")

    def close(self) -> None:
        for listener in self._listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()


@pytest.fixture
def stream(certificates: Certificates) -> Iterator[Stream]:
    found = Stream(certificates)
    yield found
    found.close()


@pytest.mark.parametrize("kind", KINDS)
def test_events_come_one_by_one(
    kind: str, stream: Stream, start: Callable[..., Program], certificates: Certificates, tmp_path: Path
) -> None:
    port = start_front(kind, start, certificates, stream.ports, tmp_path)
    until(lambda: answers(Caller(port, certificates.ca)), "an answer through the front")
    context = ssl.create_default_context(cafile=str(certificates.ca))
    with (
        socket.create_connection(("localhost", port), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as client,
        client.makefile("rb") as file,
    ):
        client.sendall(f"GET /v1/events HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode())
        for number in range(3):
            stream.tell.release()
            while (line := file.readline()) and not line.startswith(b"data:"):
                pass
            assert line == f"data: {number}\n".encode()
