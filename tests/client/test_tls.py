"""https:// in all shells, with certificates as real as any."""

import asyncio
import datetime
import os
import socket
import ssl
import subprocess

import pytest
import uvloop
from tests.client.secure import Certificates
from tests.client.servers import CLOSE, ENQUEUED, RealServer, ScriptedServer, answer, problem
from tests.client.shells import connecting

from taskqueuex.client import TLS, AsyncClient, Client, Credentials, RetryPolicy
from taskqueuex.errors import ConnectionFailed, Invalid, PayloadTooLarge, ProtocolError

FAST = RetryPolicy(base_s=0.001, cap_s=0.002)
ONCE = RetryPolicy(attempts_max=1)


@pytest.fixture(params=["sync", "async", "uvloop"])
def connect(request, certificates):
    with connecting(request.param, certificates) as make:
        yield make


@pytest.fixture
def shown():
    """Makes servers with a certificate that the test says."""
    made = []

    def make(context, *steps):
        made.append(ScriptedServer(*steps, tls=context))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture(scope="module")
def real(certificates, tmp_path_factory):
    """A server with TLS of its own, and one that asks for certificates: both by `wants_certificate`."""
    files = ["--tls-certificate", certificates.certificate, "--tls-key", certificates.key]
    wanting = [*files, "--tls-client-ca", certificates.ca]
    directory = tmp_path_factory.mktemp("real")
    servers = {
        each: RealServer(directory / str(each), *(wanting if each else files)) for each in (False, True)
    }
    for server in servers.values():
        server.start()
    yield servers
    for server in servers.values():
        server.stop()


@pytest.fixture(params=["front", "real"])
def reached(request, front, real, server):
    """The URL of a server over TLS: behind something that takes TLS off, or by itself."""
    return front(server.port).url if request.param == "front" else real[False].url


def test_connections_are_kept_and_speak_of_http_1_1(connect, front, server, queue):
    secured = front(server.port)
    client = connect(secured.url)
    for _ in range(5):
        client.enqueue(queue)
    assert secured.alpn == ["http/1.1"]


def test_a_task_goes_its_way(connect, reached, queue):
    client = connect(reached)
    id = client.enqueue(queue, payload={"any": "json"}).id
    (task,) = client.dequeue(queues=[queue], wait_ms=5_000).tasks
    assert client.ack(task.id, lease=task.lease).state == "completed" and task.id == id


def test_large_bodies_go_both_ways(connect, reached, queue):
    client = connect(reached)
    payloads = [str(each) * 500_000 for each in range(8)]
    client.enqueue_batch(queue, tasks=[{"payload": each} for each in payloads])
    tasks = client.dequeue(queues=[queue], max=8, wait_ms=5_000).tasks
    assert [bytes(each.payload).decode() for each in tasks] == [f'"{each}"' for each in payloads]


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_requests_are_pipelined_over_tls(run, reached, queue, certificates):
    async def enqueue_many():
        async with AsyncClient(reached, pool_size=1, tls=certificates.trust) as client:
            return await asyncio.gather(*(client.enqueue(queue, payload=each) for each in range(200)))

    assert len({each.id for each in run(enqueue_many())}) == 200


# Whom to trust


def test_a_server_of_an_unknown_authority_is_not_told_anything(connect, shown, tmp_path):
    server = shown(Certificates(tmp_path).context())
    with pytest.raises(ConnectionFailed, match="not trusted: unable to get local issuer") as error:
        connect(server.url, retry=FAST, token="secret").enqueue("q")
    assert error.value.outcome == "not_applied" and server.url in error.value.detail
    assert server.requests == [] and server.connections == 1, "it is of no use to ask again"


def test_a_server_of_another_name_is_not_trusted(connect, shown, certificates):
    server = shown(certificates.context("other.example.com"))
    with pytest.raises(ConnectionFailed, match=r"not trusted: .*127\.0\.0\.1") as error:
        connect(server.url, retry=FAST).enqueue("q")
    assert error.value.outcome == "not_applied" and server.connections == 1


def test_a_certificate_that_has_expired_is_not_trusted(connect, shown, certificates):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    past = datetime.datetime(2001, 1, 1)
    certificates.authority.issue_cert("127.0.0.1", not_before=past, not_after=past).configure_cert(context)
    with pytest.raises(ConnectionFailed, match="not trusted: certificate has expired"):
        connect(shown(context).url, retry=FAST).enqueue("q")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1:DeprecationWarning")  # that is the point
def test_versions_before_1_2_are_refused(connect, shown, certificates):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.load_cert_chain(certificates.certificate, certificates.key)
    context.options &= ~(ssl.OP_NO_TLSv1 | ssl.OP_NO_TLSv1_1)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    server = shown(context)
    with pytest.raises(ConnectionFailed, match="refuses TLS of this version") as error:
        connect(server.url, retry=FAST).enqueue("q")
    assert error.value.outcome == "not_applied" and server.connections == 1


def test_who_asks_for_it_trusts_anybody(connect, shown, tmp_path):
    server = shown(Certificates(tmp_path).context("other.example.com"))
    assert connect(server.url, tls=TLS(verify=False)).enqueue("q").state == "ready"


def test_a_context_is_used_as_it_is(connect, shown, certificates):
    context = ssl.create_default_context(cafile=certificates.ca)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert connect(shown(certificates.context()).url, tls=context).enqueue("q").state == "ready"


def test_a_server_that_is_trusted_stands_in_for_one_that_is_not(connect, shown, certificates, tmp_path):
    wrong, right = shown(Certificates(tmp_path).context()), shown(certificates.context())
    client = connect([wrong.url, right.url])
    assert client.enqueue("q").state == "ready" and client.enqueue("q").state == "ready"
    assert len(right.requests) == 2


# Certificates of clients


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_without_the_certificate_that_is_wanted_is_told(connect, shown, certificates, version):
    context = certificates.context(wants_certificate=True)
    context.maximum_version = version
    server = shown(context)
    with pytest.raises(ConnectionFailed, match="client certificate") as error:
        connect(server.url, retry=FAST).enqueue("q")
    assert error.value.outcome == "not_applied" and server.requests == []
    assert server.connections == 1, "it is of no use to ask again"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_certificate_of_another_authority_is_told(connect, shown, certificates, version, tmp_path):
    context = certificates.context(wants_certificate=True)
    context.maximum_version = version
    other = Certificates(tmp_path).of_client()
    mine = TLS(ca=certificates.ca, certificate=other.certificate, key=other.key)
    with pytest.raises(ConnectionFailed, match="does not trust who signed the client certificate") as error:
        connect(shown(context).url, tls=mine, retry=FAST).enqueue("q")
    assert error.value.outcome == "not_applied"


def test_a_client_shows_its_certificate(connect, front, server, queue, certificates):
    secured = front(server.port, wants_certificate=True)
    client = connect(secured.url, tls=certificates.of_client("prices", organization_unit_name="desk"))
    client.enqueue(queue)
    (certificate,) = secured.certificates
    assert ((("organizationalUnitName", "desk"),)) in certificate["subject"]


def test_a_server_that_asks_for_certificates(connect, real, queue, certificates):
    url = real[True].url
    client = connect(url, tls=certificates.of_client("desk", organization_unit_name="tqx:admin"))
    assert client.enqueue(queue).state == "ready"
    with pytest.raises(ConnectionFailed) as error:
        connect(url, retry=ONCE).enqueue(queue)
    assert url in error.value.detail and "client certificate" in error.value.detail
    assert len(client.list_tasks(queue=queue).tasks) == 1


# Ports that speak something else


def test_https_to_a_plain_port_says_so(connect, server):
    with pytest.raises(ConnectionFailed, match="does not speak TLS: is it http://") as error:
        connect(f"https://127.0.0.1:{server.port}", retry=FAST).enqueue("q")
    assert error.value.outcome == "not_applied"


def test_http_to_a_port_that_complains_in_tls_says_so(connect, scripted):
    server = scripted((b"\x15\x03\x03\x00\x02\x02\x46", CLOSE))
    with pytest.raises(ProtocolError, match="speaks TLS: is it https://"):
        connect(server.url, retry=FAST).enqueue("q")


def test_http_to_the_tls_port_of_a_server_fails(connect, real):
    with pytest.raises((ConnectionFailed, ProtocolError), match=r"127\.0\.0\.1"):
        connect(real[False].url.replace("https", "http"), retry=ONCE).enqueue("q")


def test_http_to_a_tls_port_fails(connect, shown, certificates):
    server = shown(certificates.context())
    with pytest.raises((ConnectionFailed, ProtocolError), match=r"127\.0\.0\.1"):
        connect(f"http://127.0.0.1:{server.port}", retry=ONCE).enqueue("q")
    assert server.requests == []


def test_a_server_that_accepts_and_says_nothing_costs_the_time_to_connect(connect):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(ConnectionFailed, match="it took too long") as error:
            connect(f"https://127.0.0.1:{port}", connect_timeout_s=0.1, retry=ONCE).enqueue("q")
    assert error.value.outcome == "not_applied"


# Streams that end


def test_an_answer_before_the_body_was_sent_is_heard(connect, front, scripted):
    refusal = problem(413, "payload_too_large", "Connection: close")
    server = scripted((refusal, CLOSE))
    with pytest.raises(PayloadTooLarge):
        connect(front(server.port).url, retry=ONCE).enqueue("q", payload="x" * 400_000)


def test_an_answer_without_a_length_is_not_believed(connect, shown, certificates):
    head = b"HTTP/1.1 201 Created\r\n\r\n"
    server = shown(certificates.context(), (head + ENQUEUED, CLOSE))
    with pytest.raises(ProtocolError, match="no length") as error:
        connect(server.url, retry=ONCE).enqueue("q")
    assert error.value.outcome == "unknown"


def test_a_connection_that_was_closed_in_order_while_idle_costs_nothing(connect, front, scripted):
    server = scripted((answer(), CLOSE), (answer(), CLOSE))
    client = connect(front(server.port).url, retry=ONCE)
    for _ in range(3):
        client.enqueue("q")
    assert len(set(server.keys())) == 3


def test_the_child_of_a_fork_has_connections_of_its_own(shown, certificates):
    server = shown(certificates.context())
    with Client(server.url, tls=certificates.trust) as client:
        client.enqueue("q")
        child = os.fork()
        if child == 0:
            try:
                client.enqueue("q")
            except BaseException:
                os._exit(1)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        client.enqueue("q")
    assert server.connections == 2 and len(server.requests) == 3


# What is given


def test_options_of_tls_that_cannot_be_used_are_named(certificates, tmp_path):
    other = Certificates(tmp_path)
    nowhere, junk, locked = tmp_path / "none.pem", tmp_path / "junk.pem", tmp_path / "locked.pem"
    junk.write_text("no certificate")
    command = ["openssl", "ec", "-aes128", "-passout", "pass:x", "-in", other.key, "-out", str(locked)]
    subprocess.run(command, check=True, capture_output=True)
    wrong = [
        (TLS(ca=nowhere), "ca", "No such file"),
        (TLS(ca=junk), "ca", "there is no certificate in it"),
        (TLS(ca=tmp_path), "ca", "Is a directory"),
        (TLS(key=other.key), "key", "without a certificate"),
        (TLS(certificate=nowhere), "certificate", "No such file"),
        (TLS(certificate=nowhere, key=other.key), "certificate", "No such file"),
        (TLS(certificate=other.certificate, key=nowhere), "key", "No such file"),
        (TLS(certificate=other.certificate), "certificate", "no PEM file with what is needed"),
        (TLS(certificate=other.certificate, key=certificates.key), "key", "not the key of the certificate"),
        (TLS(certificate=other.certificate, key=locked), "key", "without a passphrase"),
    ]
    for tls, field, reason in wrong:
        with pytest.raises(Invalid, match=reason) as error:
            Client("https://127.0.0.1:1", tls=tls)
        assert error.value.errors[0].field == field, error.value


def test_tls_for_a_server_without_it_is_refused():
    with pytest.raises(Invalid, match="no server is https://"):
        Client("http://127.0.0.1:1", tls=TLS())


def test_a_token_does_not_show():
    found = Credentials.of({"TQX_TOKEN": "secret"}, "http://127.0.0.1:1")
    assert found.token == "secret" and "secret" not in repr(found)


def test_options_survive_being_written_down(tmp_path):
    tls = TLS(ca=tmp_path / "ca.pem", certificate="c", verify=False)
    assert TLS(**tls.to_builtins()) == TLS(ca=str(tmp_path / "ca.pem"), certificate="c", verify=False)


@pytest.mark.parametrize(
    ("url", "warns"),
    [
        ("http://tasks.example.com:7470", True),
        ("http://192.0.2.1", True),
        ("http://127.0.0.7:1", False),
        ("http://[::1]:1", False),
        ("http://localhost", False),
        ("https://tasks.example.com", False),
        ("unix:/tmp/none.sock", False),
    ],
)
def test_a_token_in_clear_text_is_warned_of_once(caplog, url, warns):
    for _ in range(2):
        Client(url, token="secret").close()
    Client(url).close()
    assert [each.name for each in caplog.records] == ["taskqueuex.client"] * warns
    assert "secret" not in caplog.text
