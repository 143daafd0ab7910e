"""The edge of a real process: what it refuses to start as, and what it takes anew while it runs."""

import http.client
import json
import os
import resource
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import trustme

TIMEOUT_S = 30


def tqx(*arguments, **more):
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TQX_")}
    return subprocess.run(
        [sys.executable, "-m", "taskqueuex.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        env=environ,
        check=False,
        **more,
    )


class Serving:
    """A server process; `said` waits for a line of its log."""

    def __init__(self, *arguments: str) -> None:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("TQX_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "taskqueuex.cli", "serve", *arguments],
            stderr=subprocess.PIPE,
            text=True,
            env=environ,
        )

    def said(self, what: str) -> str:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if what in line:
                return line
        raise AssertionError(f"it ended without saying {what!r}")

    def port(self) -> int:
        return int(self.said("serving").rpartition(" data=")[0].rpartition(":")[2])

    def end(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=TIMEOUT_S)


@pytest.fixture
def serve():
    started: list[Serving] = []

    def start(*arguments: str) -> Serving:
        started.append(Serving(*arguments))
        return started[-1]

    yield start
    for each in started:
        each.end()


@pytest.fixture
def authority():
    return trustme.CA()


def write_certificate(authority, directory: Path) -> list[str]:
    made = authority.issue_cert("localhost", "127.0.0.1")
    made.private_key_and_cert_chain_pem.write_to_path(directory / "server.pem")
    authority.cert_pem.write_to_path(directory / "ca.pem")
    return ["--tls-certificate", str(directory / "server.pem")]


def ask(port: int, authority, path: str = "/v1/stats", token: str = "", certificate=None) -> int:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if certificate is not None:
        certificate.configure_cert(context)
    connection = http.client.HTTPSConnection("localhost", port, timeout=TIMEOUT_S, context=context)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_server_open_to_a_network_is_refused_and_told_what_it_lacks(tmp_path, authority):
    data = str(tmp_path / "data")
    refused = tqx("serve", "--data", data, "--listen", "0.0.0.0:0")
    assert refused.returncode == 1
    assert "no TLS" in refused.stderr
    assert "no credentials" in refused.stderr
    refused = tqx(
        "serve", "--data", data, "--listen", "tls:0.0.0.0:0", *write_certificate(authority, tmp_path)
    )
    assert refused.returncode == 1
    assert "no TLS" not in refused.stderr
    assert "tqx token create" in refused.stderr


def test_with_tls_and_a_token_it_starts_and_asks_for_the_token(tmp_path, authority, serve):
    data = str(tmp_path / "data")
    made = tqx("token", "create", "first", "--scope", "admin", "--data", data, "-o", "json")
    assert made.returncode == 0, made.stderr
    token = json.loads(made.stdout)["token"]
    server = serve("--data", data, "--listen", "tls:0.0.0.0:0", *write_certificate(authority, tmp_path))
    port = server.port()
    assert ask(port, authority) == 401
    assert ask(port, authority, token=token) == 200
    assert ask(port, authority, "/healthz") == 200


def test_insecure_is_said_and_so_it_is(tmp_path, serve):
    server = serve("--data", str(tmp_path / "data"), "--listen", "0.0.0.0:0", "--insecure")
    connection = http.client.HTTPConnection("127.0.0.1", server.port(), timeout=TIMEOUT_S)
    connection.request("GET", "/v1/stats")
    assert connection.getresponse().status == 200
    connection.close()


def test_a_certificate_that_cannot_be_used_is_told_at_the_start(tmp_path):
    (tmp_path / "server.pem").write_text("nothing of a certificate")
    refused = tqx(
        *("serve", "--data", str(tmp_path / "data"), "--listen", "tls:127.0.0.1:0"),
        *("--tls-certificate", str(tmp_path / "server.pem")),
    )
    assert refused.returncode == 1
    assert "network.tls_certificate" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_sighup_takes_the_new_certificate_and_a_bad_one_changes_nothing(tmp_path, authority, serve):
    files = write_certificate(authority, tmp_path)
    server = serve("--data", str(tmp_path / "data"), "--listen", "tls:127.0.0.1:0", *files)
    port = server.port()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    open_before = http.client.HTTPSConnection("localhost", port, timeout=TIMEOUT_S, context=context)
    open_before.request("GET", "/healthz")
    assert open_before.getresponse().read()

    another = trustme.CA()
    write_certificate(another, tmp_path)
    server.process.send_signal(signal.SIGHUP)
    server.said("reloaded")
    assert ask(port, another, "/healthz") == 200
    with pytest.raises(ssl.SSLCertVerificationError):
        ask(port, authority, "/healthz")
    open_before.request("GET", "/healthz")
    assert open_before.getresponse().status == 200
    open_before.close()

    (tmp_path / "server.pem").write_text("nothing of a certificate")
    server.process.send_signal(signal.SIGHUP)
    server.said("not reloaded: network.tls_certificate")
    assert ask(port, another, "/healthz") == 200


def test_a_clients_certificate_carries_its_scopes(tmp_path, authority, serve):
    files = write_certificate(authority, tmp_path)
    server = serve(
        *("--data", str(tmp_path / "data"), "--listen", "tls:127.0.0.1:0", *files),
        *("--tls-client-ca", str(tmp_path / "ca.pem")),
    )
    port = server.port()
    reader = authority.issue_cert("w@example.org", common_name="w", organization_unit_name="tqx:read")
    nobody = authority.issue_cert("n@example.org", common_name="n")
    assert ask(port, authority, certificate=reader) == 200
    assert ask(port, authority, "/v1/tokens", certificate=reader) == 403
    assert ask(port, authority, certificate=nobody) == 401
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
        ask(port, authority)


def test_ten_thousand_connections_at_once_are_all_served(tmp_path, serve):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard == resource.RLIM_INFINITY or hard > 11_000, "ulimit -Hn must allow the connections"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 11_000), hard))
    server = serve("--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0")
    port = server.port()
    request = b"GET /healthz HTTP/1.1\r\nHost: t\r\n\r\n"
    connections = []
    try:
        for number in range(10_000):
            connection = socket.socket()
            connection.bind((f"127.0.3.{1 + number % 50}", 0))
            connection.setblocking(False)
            connection.connect_ex(("127.0.0.1", port))
            connections.append(connection)
        for connection in connections:
            connection.settimeout(TIMEOUT_S)
            connection.sendall(request)
        assert all(connection.recv(4_096).startswith(b"HTTP/1.1 200") for connection in connections)
        for connection in connections:  # and they stay
            connection.sendall(request)
        assert all(connection.recv(4_096).startswith(b"HTTP/1.1 200") for connection in connections)
    finally:
        for connection in connections:
            connection.close()
