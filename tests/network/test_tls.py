"""TLS: real certificates, clients with and without their own, new ones while connections go on."""

import asyncio
import socket
import ssl
import subprocess
from contextlib import closing
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from wires import TIMEOUT_S, Running, request_bytes

from taskqueuex.commands.consume import DequeueReply
from taskqueuex.network import NetworkConfig, TlsError
from taskqueuex.network.tls import server_context


@pytest.fixture(scope="session")
def authority():
    return trustme.CA()


@pytest.fixture
def files(authority, tmp_path):
    """A certificate for localhost and 127.0.0.1, its key, and the CA of both sides, as files."""
    return write(authority, tmp_path)


def write(authority, directory, name="localhost"):
    made = authority.issue_cert(name, "127.0.0.1")
    chain = b"".join(blob.bytes() for blob in made.cert_chain_pems)
    (directory / "certificate.pem").write_bytes(chain)
    made.private_key_pem.write_to_path(directory / "key.pem")
    authority.cert_pem.write_to_path(directory / "ca.pem")
    return {
        "tls_certificate": str(directory / "certificate.pem"),
        "tls_key": str(directory / "key.pem"),
    }


@pytest.fixture
def serve_tls(files):
    started = []

    def start(listen=("tls:127.0.0.1:0",), **settings):
        running = Running(NetworkConfig(listen=listen, **{**files, **settings}))
        started.append(running)
        return running

    yield start
    for running in started:
        running.stop()


def client_context(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.set_alpn_protocols(["http/1.1"])
    return context


def connect(running, context, index=0):
    plain = socket.create_connection(running.server.addresses[index], timeout=TIMEOUT_S)
    try:
        return context.wrap_socket(plain, server_hostname="localhost")
    except BaseException:
        plain.close()
        raise


def get_nothing(running, context):
    """Whether there is no connection, or no answer: in TLS 1.3 a client learns it with its first read."""
    try:
        with closing(connect(running, context)) as connection:
            connection.sendall(request_bytes("GET", "/healthz"))
            return connection.recv(1) == b""
    except (ssl.SSLError, ConnectionError):
        return True


def ask(connection, method="GET", path="/healthz", body=None):
    """The status of the answer to one request."""
    connection.sendall(request_bytes(method, path, body))
    return int(connection.recv(65_536).split()[1])


def test_requests_are_answered_through_tls_and_the_connection_goes_on(serve_tls, authority):
    with closing(connect(serve_tls(), client_context(authority))) as connection:
        assert [ask(connection) for _ in range(3)] == [200, 200, 200]
        assert ask(connection, "POST", "/v1/queues/q/tasks", {"payload": "x" * 500_000}) == 200
        assert connection.version() == "TLSv1.3"
        assert connection.selected_alpn_protocol() == "http/1.1"


def test_plain_and_tls_are_served_side_by_side(serve_tls, authority):
    running = serve_tls(listen=("127.0.0.1:0", "tls:127.0.0.1:0"))
    assert [url.partition(":")[0] for url in running.server.urls] == ["http", "https"]
    assert running.connect().request("GET", "/healthz").status == 200
    with closing(connect(running, client_context(authority), 1)) as connection:
        assert ask(connection) == 200


def test_tls_1_2_is_spoken_with_forward_secrecy(serve_tls, authority):
    context = client_context(authority)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with closing(connect(serve_tls(), context)) as connection:
        assert connection.version() == "TLSv1.2"
        assert ask(connection) == 200
        name, _, bits = connection.cipher()
        assert name.startswith("ECDHE-")
        assert "GCM" in name or "CHACHA20" in name
        assert bits >= 128


@pytest.mark.filterwarnings("ignore:.*TLSv1.*is deprecated:DeprecationWarning")
@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1"])
def test_older_versions_are_not(serve_tls, authority, version):
    context = client_context(authority)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        connect(serve_tls(), context)


@pytest.mark.parametrize("cipher", ["AES128-SHA", "ECDHE-RSA-AES128-SHA", "AES128-GCM-SHA256"])
def test_ciphers_without_forward_secrecy_or_authentication_are_refused(serve_tls, authority, cipher):
    context = client_context(authority)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(cipher)
    with pytest.raises(ssl.SSLError):
        connect(serve_tls(), context).close()


def test_a_client_needs_a_certificate_where_one_is_asked_for(serve_tls, authority, tmp_path):
    running = serve_tls(tls_client_ca=str(tmp_path / "ca.pem"))
    running.app.holds = True
    context = client_context(authority)
    authority.issue_cert("worker-1@example.org", common_name="worker-1").configure_cert(context)
    with closing(connect(running, context)) as connection:
        connection.sendall(request_bytes("GET", "/v1/stats"))
        peer = running.app.next_call().sink.peer
        assert peer.tls
        assert (
            dict(pair for entry in peer.certificate["subject"] for pair in entry)["commonName"] == "worker-1"
        )


def revoke(authority, certificates, file, days=1):
    """The authority's list, with these on it; it was made two days ago and is good until `days` from now."""
    now = datetime.now(UTC)
    signer = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    made = x509.CertificateRevocationListBuilder(
        issuer_name=signer.subject,
        last_update=now - timedelta(days=2),
        next_update=now + timedelta(days=days),
    )
    for each in certificates:
        serial = x509.load_pem_x509_certificate(each.cert_chain_pems[0].bytes()).serial_number
        entry = x509.RevokedCertificateBuilder(serial, now - timedelta(days=2)).build()
        made = made.add_revoked_certificate(entry)
    key = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
    file.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return str(file)


def test_a_revoked_certificate_is_no_good_once_the_list_was_read(serve_tls, authority, tmp_path):
    lists = revoke(authority, [], tmp_path / "revoked.pem")
    running = serve_tls(tls_client_ca=str(tmp_path / "ca.pem"), tls_client_crl=lists)
    good, bad = (authority.issue_cert(f"worker-{number}@example.org") for number in (1, 2))
    contexts = [client_context(authority) for _ in range(2)]
    for context, certificate in zip(contexts, (good, bad), strict=True):
        certificate.configure_cert(context)
        with closing(connect(running, context)) as connection:
            assert ask(connection) == 200
    revoke(authority, [bad], tmp_path / "revoked.pem")
    running.app.on_loop(running.server.reload_tls)
    with closing(connect(running, contexts[0])) as connection:
        assert ask(connection) == 200
    assert get_nothing(running, contexts[1])


def test_a_list_that_is_out_of_date_lets_nobody_in(serve_tls, authority, tmp_path):
    lists = revoke(authority, [], tmp_path / "revoked.pem", days=-1)
    running = serve_tls(tls_client_ca=str(tmp_path / "ca.pem"), tls_client_crl=lists)
    context = client_context(authority)
    authority.issue_cert("worker-1@example.org").configure_cert(context)
    assert get_nothing(running, context)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (None, "without tls_client_ca"),
        ("nothing.pem", "No such file"),
        ("key.pem", "holds no list"),
        ("ca.pem", "holds certificates"),
    ],
)
def test_a_list_of_revoked_certificates_that_is_none_is_refused(files, tmp_path, name, says):
    settings = {"tls_client_ca": str(tmp_path / "ca.pem")} if name else {}
    config = NetworkConfig(**files, **settings, tls_client_crl=str(tmp_path / (name or "key.pem")))
    with pytest.raises(TlsError, match=rf"network\.tls_client_crl: .*{says}"):
        server_context(config)


@pytest.mark.parametrize("which", ["none", "another authority's"])
def test_a_client_without_a_good_certificate_gets_no_answer(serve_tls, authority, tmp_path, which):
    running = serve_tls(tls_client_ca=str(tmp_path / "ca.pem"))
    context = client_context(authority)
    if which != "none":
        trustme.CA().issue_cert("worker-1@example.org").configure_cert(context)
    assert get_nothing(running, context)
    assert running.metrics.connections_total == 0


def test_new_certificates_are_taken_without_dropping_connections(serve_tls, authority, tmp_path, files):
    running = serve_tls()
    with closing(connect(running, client_context(authority))) as before:
        assert ask(before) == 200
        another = trustme.CA()
        write(another, tmp_path)
        running.app.on_loop(running.server.reload_tls)
        assert ask(before) == 200
        with closing(connect(running, client_context(another))) as after:
            assert ask(after) == 200
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(running, client_context(authority))
        assert ask(before) == 200


def test_a_certificate_that_cannot_be_used_leaves_the_old_one_in_force(serve_tls, authority, files, tmp_path):
    running = serve_tls()
    (tmp_path / "key.pem").write_text("nothing of a key")
    with pytest.raises(TlsError, match=r"network\.tls_key: .*cannot be used"):
        running.app.on_loop(running.server.reload_tls)
    with closing(connect(running, client_context(authority))) as connection:
        assert ask(connection) == 200


def test_plain_http_on_the_tls_port_is_closed_and_counted(serve_tls, authority):
    running = serve_tls()
    wire = running.connect()
    wire.send(b"GET /healthz HTTP/1.1\r\nHost: t\r\n\r\n")
    assert wire.is_closed()
    with closing(connect(running, client_context(authority))) as connection:
        assert ask(connection) == 200
    assert running.metrics.handshakes_failed_total == 1


def test_a_handshake_that_stops_is_ended(serve_tls):
    wire = serve_tls(handshake_timeout_s=1.0).connect()
    wire.send(b"\x16\x03\x01")
    assert wire.is_closed()


def test_handshakes_under_way_do_not_hold_up_the_end(serve_tls):
    running = serve_tls()
    wire = running.connect()
    wire.send(b"\x16\x03\x01")
    assert running.await_(running.server.drained(5.0))
    assert wire.is_closed()


def test_openssl_speaks_with_it(serve_tls, tmp_path):
    host, port = serve_tls().server.addresses[0]
    spoken = subprocess.run(
        [
            *("openssl", "s_client", "-connect", f"{host}:{port}", "-servername", "localhost"),
            *("-CAfile", str(tmp_path / "ca.pem"), "-verify_return_error", "-alpn", "http/1.1", "-quiet"),
        ],
        input=b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        capture_output=True,
        timeout=30,
        check=True,
    )
    assert spoken.stdout.startswith(b"HTTP/1.1 200 OK\r\n"), spoken
    refused = subprocess.run(
        ["openssl", "s_client", "-connect", f"{host}:{port}", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
        input=b"",
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert refused.returncode != 0
    assert b"error" in refused.stderr


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "network.tls_certificate: a TLS listener needs a certificate"),
        ({"tls_certificate": "/nowhere.pem"}, "network.tls_certificate: /nowhere.pem: No such file"),
        ({"tls_certificate": __file__}, "cannot be used: .*PEM"),
    ],
)
def test_what_is_wrong_with_the_files_is_said(settings, message):
    with pytest.raises(TlsError, match=message):
        server_context(NetworkConfig(**settings))


def test_a_key_with_a_passphrase_is_refused_and_not_asked_for(files, tmp_path):
    encrypted = tmp_path / "encrypted.pem"
    subprocess.run(
        ["openssl", "pkey", "-in", files["tls_key"], "-aes256", "-passout", "pass:x", "-out", encrypted],
        check=True,
        timeout=30,
    )
    with pytest.raises(TlsError, match="without a passphrase"):
        server_context(NetworkConfig(tls_certificate=files["tls_certificate"], tls_key=str(encrypted)))


def test_a_key_of_another_certificate_is_refused(files, authority, tmp_path):
    other = tmp_path / "other.pem"
    authority.issue_cert("localhost").private_key_pem.write_to_path(other)
    with pytest.raises(TlsError, match="mismatch"):
        server_context(NetworkConfig(tls_certificate=files["tls_certificate"], tls_key=str(other)))


def test_a_clients_ca_without_a_certificate_is_refused(files):
    with pytest.raises(TlsError, match=r"network\.tls_client_ca: .*holds no certificate"):
        server_context(NetworkConfig(**files, tls_client_ca=__file__))


# -- answers that are read slowly, or not at all ----------------------------------------------------------


def ask_for_much(running, authority, **headers):
    """A connection whose answer is larger than all buffers, and its first bytes."""
    running.app.body = b'"' + b"x" * 20_000_000 + b'"'
    plain = socket.socket()
    plain.settimeout(TIMEOUT_S)
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    plain.connect(running.address)
    connection = client_context(authority).wrap_socket(plain, server_hostname="localhost")
    connection.sendall(request_bytes("POST", "/v1/queues/q/tasks", {}, **headers))
    running.app.next_call()
    return connection


@pytest.mark.parametrize("headers", [{}, {"Connection": "close"}])
def test_an_answer_that_is_read_slowly_is_read_to_its_end(serve_tls, authority, headers):
    running = serve_tls()
    with closing(ask_for_much(running, authority, **headers)) as connection:
        file = connection.makefile("rb")
        while file.readline() != b"\r\n":
            pass
        for _ in range(20):
            assert len(file.read(1_000_000)) == 1_000_000
            running.tick(30)
        assert file.read(2) == b'x"'
        file.close()


@pytest.mark.parametrize("headers", [{}, {"Connection": "close"}])
def test_who_does_not_read_is_cut_off(serve_tls, authority, headers):
    running = serve_tls()
    with closing(ask_for_much(running, authority, **headers)):
        running.tick(180)
        running.wait_for(lambda: running.metrics.connections == 0)
        assert running.metrics.deadlines_total == 1


def test_who_is_not_let_in_and_does_not_say_goodbye_is_gone_all_the_same(serve_tls, authority):
    running = serve_tls(max_connections=1, max_connections_per_address=9)
    running.app.holds = True
    with closing(connect(running, client_context(authority))) as one:
        one.sendall(request_bytes("POST", "/v1/queues/q/dequeue", {"wait_ms": 60_000}))
        running.app.next_call()
        with closing(connect(running, client_context(authority))) as other:
            running.wait_for(lambda: len(running.sessions()) == 2)
            running.wait_for(lambda: running.tick() or len(running.sessions()) == 1)
            assert running.metrics.connections == 1
            assert other.recv(12) == b"HTTP/1.1 503"


def test_a_task_is_not_given_to_a_connection_that_is_about_to_be_lost(serve_tls, authority):
    """TLS has lost it, and the session is told in the next turn of the loop: the writer may be between."""
    running = serve_tls()
    running.app.holds = True
    with closing(connect(running, client_context(authority))) as connection:
        connection.sendall(request_bytes("POST", "/v1/queues/q/dequeue", {"wait_ms": 60_000}))
        call = running.app.next_call()

        async def lose():
            call.sink._transport.abort()
            await asyncio.sleep(0)
            return call.sink.closed, call.sink.on_reply(call, 200, DequeueReply([msgspec.UNSET]), None)

        assert running.await_(lose()) == (False, False)


def silent(running, source):
    """A client that connects, and says nothing."""
    return running.connect(source=source)


def test_an_address_has_so_many_handshakes_under_way_and_no_more(serve_tls, authority, monkeypatch):
    monkeypatch.setattr("taskqueuex.network.listening._GREETING_PER_ADDRESS_MAX", 3)
    running = serve_tls()
    for _ in range(3):
        silent(running, "127.0.0.2")
    assert silent(running, "127.0.0.2").is_closed()
    assert running.metrics.connections_refused_total == 1
    with closing(connect(running, client_context(authority))) as connection:
        assert ask(connection) == 200


def test_a_handshake_that_takes_long_makes_room_for_others(serve_tls, authority, monkeypatch):
    monkeypatch.setattr("taskqueuex.network.listening._GREETING_MAX", 3)
    monkeypatch.setattr("taskqueuex.network.listening._GREETING_SLOW_S", 0.2)
    running = serve_tls()
    held = [silent(running, f"127.0.0.{number}") for number in range(2, 5)]
    with closing(connect(running, client_context(authority))) as connection:
        assert ask(connection) == 200
    assert held[0].is_closed()
