"""tqx over TLS, with tokens and certificates; and the certificates that it makes."""

import builtins
import json
import stat
import subprocess
import sys

import pytest

from taskqueuex import TLS
from taskqueuex.cli.app import run
from taskqueuex.client import AsyncClient, Client
from taskqueuex.errors import Invalid, Unauthenticated


def openssl(*words):
    return subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def tell(capsys):
    """Runs a command; what it wrote. `failing` for those that fail: the code and the error."""

    def call(*words):
        capsys.readouterr()
        code = run([str(each) for each in words])
        told = capsys.readouterr()
        assert code == 0, told
        return told.out

    def failing(*words):
        capsys.readouterr()
        code = run([str(each) for each in words])
        return code, capsys.readouterr().err

    call.failing = failing
    return call


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The directory of a server's certificate and of two clients'."""
    directory = tmp_path_factory.mktemp("made")
    assert run(["tls", "self-signed", "--out", str(directory)]) == 0
    for name, scope in (("prices", "produce:prices.*"), ("boss", "admin")):
        assert run(["tls", "client", name, "--scope", scope, "--scope", "read", "--out", str(directory)]) == 0
    return directory


@pytest.fixture(scope="module")
def secured(made, serve, tmp_path_factory):
    """A server with TLS and a token of all scopes: its URL, and the file of the token."""
    data, file = tmp_path_factory.mktemp("data"), made / "token"
    command = [sys.executable, "-m", "taskqueuex.cli", "token", "create", "boss", "--scope", "admin"]
    shown = subprocess.run([*command, "--data", str(data)], capture_output=True, text=True, check=True)
    file.write_text(shown.stdout.splitlines()[-1] + "\n")
    with serve(data, *_with_tls(made)) as url:
        yield url, str(file)


def _with_tls(made):
    files = ["--tls-certificate", str(made / "certificate.pem"), "--tls-key", str(made / "key.pem")]
    return ["tls:127.0.0.1:0", *files]


@pytest.fixture
def shown(secured, made, monkeypatch):
    """What a user of the server has in the environment."""
    url, file = secured
    monkeypatch.setenv("TQX_SERVER", url)
    monkeypatch.setenv("TQX_TOKEN_FILE", file)
    monkeypatch.setenv("TQX_CA", str(made / "certificate.pem"))
    return monkeypatch


# Certificates


def test_a_certificate_for_development_is_one_as_openssl_sees_it(made):
    certificate = made / "certificate.pem"
    assert openssl("verify", "-x509_strict", "-CAfile", certificate, certificate).endswith("OK\n")
    text = openssl("x509", "-in", certificate, "-noout", "-text")
    assert "DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1" in text
    assert "CA:FALSE" in text and "TLS Web Server Authentication" in text
    openssl("x509", "-in", certificate, "-noout", "-checkend", 29 * 86_400)
    assert stat.S_IMODE((made / "key.pem").stat().st_mode) == 0o600


def test_hosts_and_days_are_those_given(tell, tmp_path):
    told = tell(
        "tls",
        "self-signed",
        "--host",
        "tasks.example.com",
        "--host",
        "192.0.2.7",
        "--days",
        2,
        "--out",
        tmp_path,
    )
    assert "https://tasks.example.com:7470" in told
    text = openssl("x509", "-in", tmp_path / "certificate.pem", "-noout", "-text")
    assert "DNS:tasks.example.com, IP Address:192.0.2.7" in text and "localhost" not in text
    with pytest.raises(subprocess.CalledProcessError):
        openssl("x509", "-in", tmp_path / "certificate.pem", "-noout", "-checkend", 3 * 86_400)


def test_files_that_are_there_are_kept_unless_told_otherwise(tell, tmp_path):
    tell("tls", "self-signed", "--out", tmp_path)
    before = [each.read_bytes() for each in sorted(tmp_path.iterdir())]
    assert len(before) == 2
    code, error = tell.failing("tls", "self-signed", "--out", tmp_path)
    assert code == 4 and "--force" in error
    assert [each.read_bytes() for each in sorted(tmp_path.iterdir())] == before
    tell("tls", "self-signed", "--out", tmp_path, "--force")
    assert [each.read_bytes() for each in sorted(tmp_path.iterdir())] != before


def test_a_client_certificate_carries_its_scopes_and_is_signed(made):
    certificate, authority = made / "prices.pem", made / "client-ca.pem"
    verify = ["verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", authority, certificate]
    assert openssl(*verify).endswith("OK\n")
    subject = openssl("x509", "-in", certificate, "-noout", "-subject")
    assert "OU = tqx:produce:prices.*, OU = tqx:read, CN = prices" in subject
    for each in ("prices-key.pem", "client-ca-key.pem"):
        assert stat.S_IMODE((made / each).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["self-signed", "--host", "münchen"], "neither a name nor an address"),
        (["self-signed", "--days", "0"], "--days"),
        (["client", "../up", "--scope", "read"], "NAME"),
        (["client", "client-ca", "--scope", "read"], "NAME"),
        (["client", "x", "--scope", "everything"], "is not a scope"),
    ],
)
def test_certificates_that_cannot_be_are_not_made(tell, tmp_path, words, message):
    code, error = tell.failing("tls", *words, "--out", tmp_path)
    assert code == 2 and message in error
    assert list(tmp_path.iterdir()) == []


def test_an_authority_that_cannot_be_used_is_told(tell, tmp_path):
    (tmp_path / "client-ca.pem").write_text("none")
    code, error = tell.failing("tls", "client", "x", "--scope", "read", "--out", tmp_path)
    assert code == 1 and "cannot be used" in error


def test_without_cryptography_it_says_what_to_install(tell, tmp_path, monkeypatch):
    original = builtins.__import__

    def without(name, *rest):
        if name.startswith("cryptography"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return original(name, *rest)

    monkeypatch.delitem(sys.modules, "taskqueuex.cli.certificates", raising=False)
    monkeypatch.delattr("taskqueuex.cli.certificates", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    code, error = tell.failing("tls", "self-signed", "--out", tmp_path)
    assert code == 2 and "pip install 'taskqueuex[tls]'" in error


# Connections


def test_commands_find_token_and_certificate_in_the_environment(shown, tell):
    id = json.loads(tell("-o", "json", "enqueue", "q", "1"))["id"]
    assert json.loads(tell("-o", "json", "task", "show", id))["payload"] == 1
    assert "queues" in json.loads(tell("-o", "json", "top", "--once"))


def test_options_may_stand_before_and_behind_the_command(secured, made, tell):
    url, file = secured
    given = ["--server", url, "--ca", made / "certificate.pem"]
    tell(*given, "--token-file", file, "queue", "list")
    tell("queue", "list", *given, "--token-file", file)
    with open(file) as content:
        token = content.read().strip()
    tell(*given, "--token-file", "/none", "queue", "list", "--token", token)


def test_a_load_goes_over_tls_with_its_token(shown, tell):
    told = json.loads(
        tell(
            "-o",
            "json",
            "bench",
            "--duration",
            "0.2",
            "--connections",
            "2",
            "--queue",
            "load",
            "--operation",
            "pair",
        )
    )
    assert told["operations"] > 0 and told["errors"] == {}


def test_who_is_not_known_is_told_how_to_be(shown, tell):
    shown.delenv("TQX_TOKEN_FILE")
    code, error = tell.failing("queue", "list")
    assert code == 1 and "[unauthenticated] (see --token-file)" in error
    code, error = tell.failing("queue", "list", "--token", "tqx_wrong_secret")
    assert code == 1 and "unauthenticated" in error and "secret" not in error


def test_a_server_that_is_not_trusted_is_not_asked(shown, tell):
    shown.delenv("TQX_CA")
    code, error = tell.failing("queue", "list")
    assert code == 5 and "its certificate is not trusted" in error
    code, error = tell.failing("bench", "--queue", "load")
    assert code == 5 and "its certificate is not trusted" in error


def test_the_scheme_that_is_wrong_is_told(secured, server, tell):
    url, _ = secured
    code, error = tell.failing("--server", url.replace("https", "http"), "queue", "list")
    assert code in (1, 2, 5) and "Traceback" not in error and error.startswith("tqx: ")
    code, error = tell.failing("--server", server.replace("http", "https"), "queue", "list")
    assert code == 5 and "is it http://?" in error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--token", "a", "--token-file", "b"], "--token-file: excludes a token"),
        (["--token-file", "/none"], "--token-file: /none: No such file"),
        (["--token", "a\nb"], "--token: must be visible ASCII"),
        (["--server", "https://127.0.0.1:1", "--ca", "/none"], "ca: /none: No such file"),
        (["--server", "https://127.0.0.1:1", "--key", "/none"], "key: is of no use without a certificate"),
        (["--server", "http://127.0.0.1:1", "--ca", "/none"], "for a server of https://"),
    ],
)
def test_options_that_cannot_be_used_are_named(tell, words, message):
    code, error = tell.failing("queue", "list", *words)
    assert code == 2 and message in error


@pytest.mark.parametrize("content", ["", "  \n", "one two", "ä"])
def test_a_file_without_one_token_is_refused(tell, tmp_path, content):
    (tmp_path / "token").write_text(content)
    code, error = tell.failing("queue", "list", "--token-file", tmp_path / "token")
    assert code == 2 and "--token-file: " in error


def test_clients_are_known_by_their_certificates(made, serve, tmp_path, tell, monkeypatch):
    monkeypatch.setenv("TQX_CA", str(made / "certificate.pem"))
    options = [*_with_tls(made), "--tls-client-ca", str(made / "client-ca.pem")]
    with serve(tmp_path / "data", *options) as url:
        monkeypatch.setenv("TQX_SERVER", url)
        as_boss = ["--cert", made / "boss.pem", "--key", made / "boss-key.pem"]
        as_prices = ["--cert", made / "prices.pem", "--key", made / "prices-key.pem"]
        tell("token", "create", "root", "--scope", "admin", *as_boss)  # now credentials are needed
        tell("enqueue", "prices.eu", "1", *as_prices)
        code, error = tell.failing("enqueue", "orders", "1", *as_prices)
        assert code == 1 and "[forbidden]" in error
        code, error = tell.failing("queue", "list")
        assert code == 5 and url in error and "does it want a client certificate" in error
        assert "enqueue" in tell("audit", *as_boss) or "create_token" in tell("audit", *as_boss)


def test_a_library_client_needs_to_be_told(secured, made):
    url, file = secured
    with open(file) as content:
        token = content.read().strip()
    tls = TLS(ca=made / "certificate.pem")
    with Client(url, token=token, tls=tls) as client:
        client.enqueue("q")
    with Client(url, tls=tls) as client, pytest.raises(Unauthenticated) as error:
        client.enqueue("q")
    assert error.value.outcome == "not_applied"
    with pytest.raises(Invalid):
        AsyncClient(url, token="line\nbreak", tls=tls)


def test_a_token_in_clear_text_is_warned_of(tell, caplog):
    code, _ = tell.failing("--server", "http://nobody.invalid:1", "queue", "list", "--token", "secret")
    assert code == 5
    (record,) = [each for each in caplog.records if each.name == "taskqueuex.client"]
    assert "clear text" in record.message and "secret" not in caplog.text
