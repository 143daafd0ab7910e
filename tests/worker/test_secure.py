"""A worker and all its processes, over TLS, to a server that asks who calls."""

import asyncio
import signal
import ssl
import subprocess
import sys
import uuid

import msgspec
import pytest
from processes import Program, until

from taskqueuex import TLS, App, Client
from taskqueuex.errors import Invalid
from taskqueuex.worker.config import WorkerConfig
from taskqueuex.worker.worker import Worker


def tqx(*words):
    command = [sys.executable, "-m", "taskqueuex.cli", *map(str, words)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The directory of certificates, and the token of a store that is not served yet."""
    directory = tmp_path_factory.mktemp("secure")
    tqx("tls", "self-signed", "--out", directory)
    tqx("tls", "client", "fleet", "--scope", "admin", "--out", directory)
    shown = tqx("token", "create", "boss", "--scope", "admin", "--data", directory / "data")
    (directory / "token").write_text(shown.splitlines()[-1])
    return directory


@pytest.fixture(scope="module")
def server(files):
    """It knows callers by their tokens."""
    pair = ["--tls-certificate", files / "certificate.pem", "--tls-key", files / "key.pem"]
    started = Program(
        "taskqueuex.cli",
        "serve",
        "--data",
        str(files / "data"),
        "--listen",
        "tls:127.0.0.1:0",
        *map(str, pair),
    )
    started.url = started.wait_for(r"serving url=(\S+)")[1]
    yield started
    started.kill()


@pytest.fixture
def client(server, files):
    token = (files / "token").read_text()
    with Client(server.url, token=token, tls=TLS(ca=files / "certificate.pem")) as made:
        yield made


def options(server, files):
    return ["--server", server.url, "--token-file", files / "token", "--ca", files / "certificate.pem"], {}


def environment(server, files):
    token = {"TQX_SERVER": server.url, "TQX_TOKEN_FILE": files / "token", "TQX_CA": files / "certificate.pem"}
    return [], {name: str(value) for name, value in token.items()}


@pytest.mark.parametrize("given", [options, environment])
def test_leases_are_kept_and_children_enqueue(given, server, files, client, tmp_path):
    queue = f"q-{uuid.uuid4().hex[:10]}"
    words, env = given(server, files)
    started = [
        "taskqueuex.cli",
        "worker",
        "secure_app",
        "--queues",
        queue,
        "--processes",
        "1",
        "--lease",
        "1",
    ]
    worker = Program(*started, *map(str, words), env=env)
    try:
        worker.wait_for("worker ready")
        file = tmp_path / "enough"
        held = client.enqueue(queue, name="secure_app.held", payload={"until": str(file)}).id
        first = until(lambda: client.get_task(held).lease_expires_at, "a lease")
        until(
            lambda: client.get_task(held).lease_expires_at > first + 1_000, "a heartbeat of another process"
        )
        file.touch()
        view = client.get_task(held, wait_ms=20_000)
        assert (view.state, view.attempt) == ("completed", 1)
        parent = client.enqueue(queue, name="secure_app.forks", payload={"queue": queue}).id
        child = msgspec.json.decode(client.get_task(parent, wait_ms=20_000).result)
        assert bytes(client.get_task(child, wait_ms=20_000).result) == b"2"
        token = (files / "token").read_text()
        assert token not in worker.log
        assert all(token not in line for line in command_lines(worker.pid))
    finally:
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0, worker.log
        worker.kill()


def command_lines(pid):
    """Of a process and its children, as `ps` shows them."""
    ended = subprocess.run(
        ["ps", "-o", "args=", "--pid", str(pid), "--ppid", str(pid)], capture_output=True, text=True
    )
    assert len(ended.stdout.splitlines()) >= 3, "the worker, its heart and a child"
    return ended.stdout.splitlines()


def test_a_worker_by_certificate(server, files, tmp_path):
    data, names = (
        tmp_path / "data",
        {"certificate": "certificate.pem", "key": "key.pem", "client-ca": "client-ca.pem"},
    )
    serve = ["serve", "--data", data, "--listen", "tls:127.0.0.1:0"]
    for option, name in names.items():
        serve += [f"--tls-{option}", files / name]
    served = Program("taskqueuex.cli", *map(str, serve), env={"TQX_AUTH_REQUIRED": "true"})
    url = served.wait_for(r"serving url=(\S+)")[1]
    shows = {"ca": files / "certificate.pem", "cert": files / "fleet.pem", "key": files / "fleet-key.pem"}
    env = {"TQX_SERVER": url, **{f"TQX_{name}".upper(): str(path) for name, path in shows.items()}}
    worker = Program("taskqueuex.cli", "worker", "secure_app", "--processes", "1", env=env)
    try:
        worker.wait_for("worker ready")
        tls = TLS(ca=shows["ca"], certificate=shows["cert"], key=shows["key"])
        with Client(url, tls=tls) as client:
            parent = client.enqueue("default", name="secure_app.forks", payload={"queue": "default"}).id
            child = msgspec.json.decode(client.get_task(parent, wait_ms=20_000).result)
            assert bytes(client.get_task(child, wait_ms=20_000).result) == b"2"
    finally:
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0, worker.log
        worker.kill()
        served.kill()


def test_a_worker_that_is_not_let_in_says_so_and_can_be_stopped(server, files):
    words = ["--server", server.url, "--token", "tqx_nobody_secret", "--ca", str(files / "certificate.pem")]
    worker = Program("taskqueuex.cli", "worker", "secure_app", *words)
    try:
        worker.wait_for("ERROR .*the server does not let this worker in")
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0
        assert "secret" not in worker.log
    finally:
        worker.kill()


def test_an_app_looks_in_the_environment_and_what_it_is_given_wins(server, files, monkeypatch, tmp_path):
    _, env = environment(server, files)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    with App() as app:
        assert app.client.enqueue("looked-up").state == "ready"
    with App(token="of-nobody") as app:
        assert app.credentials()[0] == "of-nobody"
    mine = TLS(ca=files / "certificate.pem", verify=False)
    with App(tls=mine) as app:
        assert app.credentials()[1] is mine
    monkeypatch.setenv("TQX_TOKEN_FILE", str(tmp_path / "none"))
    with App() as app, pytest.raises(Invalid, match="token_file: "):
        _ = app.client


def test_an_app_with_a_server_of_its_own_shows_it_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("TQX_TOKEN", "for-another-server")
    with App(f"embedded:{tmp_path}") as app:
        assert app.client.enqueue("q").state == "ready"
        assert app.credentials() == (None, None)


def test_a_context_cannot_be_handed_to_the_processes_of_a_worker():
    async def work():
        await Worker(App("https://127.0.0.1:1", tls=ssl.create_default_context()), WorkerConfig()).run()

    with pytest.raises(Invalid, match=r"tls: must be TLS\(\.\.\.\) in a worker"):
        asyncio.run(work())
