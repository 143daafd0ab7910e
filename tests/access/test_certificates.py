"""Client certificates and web sessions over real TLS."""

import http.client
import json
import ssl

import pytest
import trustme

from taskqueuex.network.config import NetworkConfig
from taskqueuex.node.config import AuthConfig, NodeConfig, StorageConfig
from taskqueuex.node.embedded import EmbeddedNode
from taskqueuex.storage.directory import MEMORY


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def port(authority, tmp_path_factory):
    """A server that asks every client for a certificate of the authority, and for credentials."""
    folder = tmp_path_factory.mktemp("tls")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    network = NetworkConfig(
        listen=("tls:127.0.0.1:0",),
        tls_certificate=str(folder / "server.pem"),
        tls_client_ca=str(folder / "ca.pem"),
    )
    node = EmbeddedNode(
        NodeConfig(network=network, storage=StorageConfig(data=MEMORY), auth=AuthConfig(required=True))
    )
    yield int(node.url.rpartition(":")[2])
    node.stop()


@pytest.fixture
def connect(authority, port, tmp_path):
    """Connections with a client certificate of a name and one unit; closed with the test."""
    made = []

    def wire(name, unit):
        issued = authority.issue_cert("client.test", common_name=name, organization_unit_name=unit)
        file = tmp_path / f"{name}.pem"
        issued.private_key_and_cert_chain_pem.write_to_path(file)
        context = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
        context.load_cert_chain(file)
        made.append(http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=context))

        def call(method, path, body=None, **headers):
            sent = {"Content-Type": "application/json"} if body is not None else {}
            made[-1].request(method, path, None if body is None else json.dumps(body), {**sent, **headers})
            reply = made[-1].getresponse()
            return reply.status, dict(reply.getheaders()), json.loads(reply.read())

        return call

    yield wire
    for each in made:
        each.close()


def test_the_subject_of_a_certificate_carries_a_scope(connect):
    call = connect("shop", "tqx:produce:orders.*")
    assert call("POST", "/v1/queues/orders.eu/tasks", {})[0] == 201
    assert call("POST", "/v1/queues/mail/tasks", {})[0] == 403
    assert call("GET", "/v1/queues/orders.eu")[0] == 403
    status, _, who = call("GET", "/v1/session")
    assert status == 200
    assert who["principal"] == {"id": "cn:shop", "name": "shop", "kind": "certificate"}
    assert who["scopes"] == ["produce:orders.*"]


@pytest.mark.parametrize("unit", ["Sales", "tqx:write"])
def test_a_certificate_without_a_good_scope_is_no_credential(connect, unit):
    assert connect("stranger", unit)("GET", "/v1/queues")[0] == 401


def test_the_cookie_of_a_session_under_tls_is_never_sent_without(connect):
    operator = connect("root", "tqx:admin")
    status, _, made = operator("POST", "/v1/tokens", {"name": "t", "scopes": ["admin"]})
    assert status == 201
    call = connect("browser", "Sales")
    status, headers, _ = call("POST", "/v1/session", {"token": made["token"]})
    assert status == 200 and headers["Set-Cookie"].endswith("; Path=/; HttpOnly; SameSite=Strict; Secure")
    cookie = headers["Set-Cookie"].partition(";")[0]
    assert call("GET", "/v1/session", Cookie=cookie)[2]["principal"]["kind"] == "token"
