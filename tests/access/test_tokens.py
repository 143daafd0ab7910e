"""Tokens: made, shown once, revoked, expired; what the server keeps of them."""

import hmac
import signal

import pytest
from access_wire import token_of

from taskqueuex.access.tokens import Tokens, make_token
from taskqueuex.commands.access import CreateToken
from taskqueuex.storage import memory_storage


def test_a_server_asks_for_no_credentials_until_there_is_a_token(connect):
    other = connect()
    assert other.call("GET", "/v1/queues", Authorization="Bearer whatever").status == 200
    token_of(other, "admin")
    assert other.call("GET", "/v1/queues").status == 401
    for path in ("/healthz", "/readyz", "/openapi.json"):
        assert other.call("GET", path).status == 200


def test_the_first_token_must_have_admin(connect):
    wire = connect()
    reply = wire.call("POST", "/v1/tokens", {"name": "t", "scopes": ["produce", "read"]})
    assert (reply.status, reply.code) == (409, "conflict")
    assert wire.call("GET", "/v1/tokens").json == {"tokens": []}


def test_the_last_token_with_admin_goes_last(admin, new_token):
    (root,) = admin.good("GET", "/v1/tokens")["tokens"]
    other = new_token("read")["id"]
    assert admin.call("DELETE", f"/v1/tokens/{root['id']}").status == 409
    admin.good("DELETE", f"/v1/tokens/{other}")
    admin.good("DELETE", f"/v1/tokens/{root['id']}")
    admin.token = None
    assert admin.call("GET", "/v1/tokens").json == {"tokens": []}, "and the server is open again"


def test_a_token_is_listed_as_it_was_made_but_for_its_secret(admin, new_token, server):
    made = new_token(
        "produce:orders.*",
        "read",
        name="shop",
        expires_in_ms=60_000,
        rate_limit={"per_second": 2.5},
        tasks_rate_limit={"per_second": 10, "burst": 50},
        tasks_per_day=1_000,
    )
    assert made["token"].startswith(f"tqx_{made['id']}_") and len(made["token"]) == 4 + 11 + 43
    reply = admin.call("GET", "/v1/tokens")
    shown = next(each for each in reply.json["tokens"] if each["id"] == made["id"])
    assert shown == {
        "id": made["id"],
        "name": "shop",
        "scopes": ["produce:orders.*", "read"],
        "created_at": made["created_at"],
        "expires_at": made["created_at"] + 60_000,
        "last_used_at": None,
        "rate_limit": {"per_second": 2.5, "burst": 2},
        "tasks_rate_limit": {"per_second": 10.0, "burst": 50},
        "tasks_per_day": 1_000,
    }
    assert made["token"].encode() not in reply.body


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"scopes": []}, "scopes"),
        ({"scopes": ["write"]}, "scopes[0]"),
        ({"scopes": ["read", "admin:orders"]}, "scopes[1]"),
        ({"scopes": ["read:"]}, "scopes[0]"),
        ({"scopes": ["read:a b"]}, "scopes[0]"),
        ({"scopes": ["read\n"]}, "scopes[0]"),
        ({"name": ""}, "name"),
        ({"expires_in_ms": 0}, "expires_in_ms"),
        ({"expires_at": 1}, "expires_at"),
        ({"expires_at": 4_000_000_000_000, "expires_in_ms": 1}, "expires_at"),
        ({"rate_limit": {"per_second": 0}}, "rate_limit.per_second"),
        ({"tasks_per_day": 0}, "tasks_per_day"),
        ({"secret": "x"}, "secret"),
    ],
)
def test_a_token_that_cannot_be_is_refused_with_its_field(admin, fields, field):
    reply = admin.call("POST", "/v1/tokens", {"name": "t", "scopes": ["read"], **fields})
    assert reply.status == 422
    assert [each["field"] for each in reply.json["errors"]] == [field]
    assert len(admin.good("GET", "/v1/tokens")["tokens"]) == 1


def test_an_idempotency_key_is_refused_since_it_would_keep_the_secret(admin):
    reply = admin.call("POST", "/v1/tokens", {"name": "t", "scopes": ["read"]}, Idempotency_Key="k")
    assert reply.status == 422
    assert len(admin.good("GET", "/v1/tokens")["tokens"]) == 1


def test_a_revoked_token_is_refused_on_a_connection_that_is_open(admin, new_token, connect):
    made = new_token("produce")
    holder = connect(made["token"])
    holder.good("POST", "/v1/queues/q/tasks", {})
    assert admin.good("DELETE", f"/v1/tokens/{made['id']}") == {"deleted": True}
    assert holder.call("POST", "/v1/queues/q/tasks", {}).status == 401
    assert admin.good("GET", "/v1/queues/q")["counts"]["ready"] == 1
    assert admin.call("DELETE", f"/v1/tokens/{made['id']}").status == 404


def test_a_poll_that_waits_gets_no_task_once_its_token_is_revoked(admin, new_token, connect):
    made = new_token("consume")
    holder, marker = connect(made["token"]), connect(made["token"])
    holder.send("POST", "/v1/queues/q/dequeue", {"wait_ms": 60_000})
    while not admin.good("GET", "/v1/stats")["waiters"]:
        marker.call("POST", "/v1/queues/q/dequeue", {})
    admin.good("DELETE", f"/v1/tokens/{made['id']}")
    admin.good("POST", "/v1/queues/q/tasks", {})
    assert holder.receive().status == 401
    assert admin.good("GET", "/v1/queues/q")["counts"]["ready"] == 1


def test_a_poll_that_waits_gets_no_task_once_its_token_has_expired(server, admin, new_token, connect):
    made = new_token("consume", expires_in_ms=10_000)
    holder, marker = connect(made["token"]), new_token("read")
    holder.send("POST", "/v1/queues/q/dequeue", {"wait_ms": 60_000})
    while not admin.good("GET", "/v1/stats")["waiters"]:
        pass
    server.clock.advance(11)
    now_ms = server.clock.now_ms()
    connect(marker["token"]).good("GET", "/v1/queues")
    while not any(
        (each["last_used_at"] or 0) >= now_ms
        for each in admin.good("GET", "/v1/tokens")["tokens"]
        if each["id"] == marker["id"]
    ):
        pass  # until the second's look at all tokens
    admin.good("POST", "/v1/queues/q/tasks", {})
    assert holder.receive().status == 401
    assert admin.good("GET", "/v1/queues/q")["counts"]["ready"] == 1


def test_a_token_expires(server, new_token, connect):
    holder = connect(new_token("read", expires_in_ms=60_000)["token"])
    assert holder.call("GET", "/v1/queues").status == 200
    server.clock.advance(59)
    assert holder.call("GET", "/v1/queues").status == 200
    server.clock.advance(1)
    assert holder.call("GET", "/v1/queues").status == 401


@pytest.mark.parametrize(
    "header",
    [
        "Basic dXNlcjpwYXNz",
        "Bearer",
        "Bearer ",
        "Bearer tqx_abcdefghij_wrong",
        "Bearer \xff\xfe",
        "Token {token}",
        "Bearer {token}x",
        "Bearer  {token}",
        "Bearer {token} {token}",
        " ",
    ],
)
def test_other_credentials_are_refused_and_not_told_apart(admin, connect, header):
    wire = connect()
    reply = wire.call("GET", "/v1/queues", Authorization=header.replace("{token}", admin.token))
    assert reply.status == 401
    assert reply.json["detail"] == "These credentials are not known"


def test_the_name_of_the_scheme_may_be_in_any_case(admin, connect):
    assert connect().call("GET", "/v1/queues", Authorization=f"bearer {admin.token}").status == 200


def test_when_a_token_was_used_is_noted(server, admin, new_token, connect):
    made = new_token("read")
    connect(made["token"]).good("GET", "/v1/queues")
    seen = None
    while seen is None:  # it is looked at once a second
        seen = next(
            each["last_used_at"]
            for each in admin.good("GET", "/v1/tokens")["tokens"]
            if each["id"] == made["id"]
        )
    assert seen >= made["created_at"]


def test_digests_are_compared_in_constant_time(monkeypatch):
    compared = []

    def noted(left, right):
        compared.append((left, right))
        return hmac.compare_digest(left, right)

    class Watched:
        compare_digest = staticmethod(noted)

    monkeypatch.setattr("taskqueuex.access.tokens.hmac", Watched)
    tokens = Tokens()
    record, token = make_token(CreateToken(name="t", scopes=["read"]), 1, lambda count: bytes(range(count)))
    tokens.add(record, 0)
    assert tokens.find(token.encode()) is not None
    assert compared == [(record.digest, record.digest)]


def test_a_digest_that_only_hashes_alike_is_no_token(monkeypatch):
    tokens = Tokens()
    record, token = make_token(CreateToken(name="t", scopes=["read"]), 1, lambda count: bytes(range(count)))
    tokens.add(record, 0)
    record.digest = bytes(32)  # the entry is found, and what it has is another
    assert tokens.find(token.encode()) is None


def test_the_principal_of_a_token_that_is_still_there_survives_a_reload():
    tokens, storage = Tokens(), memory_storage()
    record, token = make_token(CreateToken(name="t", scopes=["admin"]), 1, lambda count: bytes(range(count)))
    batch = storage.new_batch()
    batch.put_token(record)
    storage.write(batch)
    tokens.load(storage.load_tokens(), 0)
    before = tokens.find(token.encode())
    tokens.load(storage.load_tokens(), 0)
    assert tokens.find(token.encode()) is before
    tokens.load([], 0)
    assert tokens.find(token.encode()) is None
    assert before.restricted and not before.has("admin"), "whoever holds it may do nothing any more"


def test_tokens_survive_sigkill_and_their_secrets_are_nowhere(start, connect):
    server = start("--log-level", "debug")
    admin = connect(url=server.url)
    root = admin.good("POST", "/v1/tokens", {"name": "root", "scopes": ["admin"]})["token"]
    admin.token = root
    kept = admin.good("POST", "/v1/tokens", {"name": "kept", "scopes": ["produce"]})
    gone = admin.good("POST", "/v1/tokens", {"name": "gone", "scopes": ["produce"]})
    admin.good("DELETE", f"/v1/tokens/{gone['id']}")
    session = admin.call("POST", "/v1/session", {"token": root})
    cookie = session.headers["set-cookie"].partition(";")[0].partition("=")[2]
    told = [
        connect(kept["token"], server.url).call("GET", "/v1/queues").body,  # 403
        connect(gone["token"], server.url).call("GET", "/v1/queues").body,  # 401
        connect(gone["token"] + "x", server.url).call("GET", "/v1/queues").body,
        admin.call("GET", "/metrics").body,
        admin.call("GET", "/v1/audit").body,
        admin.call("GET", "/v1/stats").body,
    ]
    server.end(signal.SIGKILL)

    again = start()
    for token, status in ((root, 200), (kept["token"], 403), (gone["token"], 401)):
        assert connect(token, again.url).call("GET", "/v1/tokens").status == status
    again.end()
    stored = [file.read_bytes() for file in again.data.rglob("*") if file.is_file()]
    assert any(kept["id"].encode() in content for content in stored)
    secrets = [each["token"].split("_", 2)[2].encode() for each in (kept, gone)]
    for secret in (*secrets, root.split("_", 2)[2].encode(), cookie.encode()):
        assert not any(secret in content for content in (*stored, *told))
        assert secret.decode() not in server.log + again.log
    assert gone["id"] in server.log, "the id of what was refused is there"


def test_a_unix_socket_needs_no_credentials_and_may_everything(tmp_path, start, connect):
    path = tmp_path / "tqx.sock"
    server = start("--listen", f"unix:{path}")
    assert path.stat().st_mode & 0o777 == 0o600
    assert connect(url=f"unix:{path}").good("GET", "/v1/session")["principal"]["kind"] == "local"
    assert connect(url=server.url).good("GET", "/v1/session")["principal"]["kind"] == "anyone"
    made = connect(url=server.url).good("POST", "/v1/tokens", {"name": "root", "scopes": ["admin"]})
    assert connect(url=server.url).call("GET", "/v1/tokens").status == 401, "loopback needs them too"
    local = connect(url=f"unix:{path}")
    who = local.good("GET", "/v1/session")
    assert who["principal"] == {"id": "", "name": "local", "kind": "local"}
    assert local.good("DELETE", f"/v1/tokens/{made['id']}") == {"deleted": True}
    entry = local.good("GET", "/v1/audit")["entries"][0]
    assert (entry["who"]["kind"], entry["address"], entry["command"]) == ("local", "", "delete_token")


def test_credentials_can_be_required_without_a_token(tmp_path, start, connect):
    path = tmp_path / "tqx.sock"
    server = start("--listen", f"unix:{path}", env={"TQX_AUTH_REQUIRED": "true"})
    assert connect(url=server.url).call("POST", "/v1/queues/q/tasks", {}).status == 401
    assert connect(url=f"unix:{path}").call("POST", "/v1/queues/q/tasks", {}).status == 201


def test_an_idempotency_key_is_of_one_caller(as_holder):
    one, two = as_holder("produce"), as_holder("produce")
    first = one.call("POST", "/v1/queues/q/tasks", {}, Idempotency_Key="k")
    assert one.call("POST", "/v1/queues/q/tasks", {}, Idempotency_Key="k").body == first.body
    assert two.call("POST", "/v1/queues/q/tasks", {}, Idempotency_Key="k").json["id"] != first.json["id"]


def test_the_row_of_a_token_is_written_at_most_once_a_minute():
    tokens = Tokens()
    record, token = make_token(CreateToken(name="t", scopes=["read"]), 1, lambda count: bytes(range(count)))
    tokens.add(record, 0)
    assert tokens.used(100_000) == []
    written = []
    for second in range(100, 230):
        tokens.find(token.encode()).was_used = True
        written += [(second, each.last_used_at) for each in tokens.used(second * 1_000)]
    assert written == [(100, 100_000), (160, 160_000), (220, 220_000)]
    assert tokens.used(290_000) == [record] and record.last_used_at == 229_000
    assert tokens.used(400_000) == []


def test_a_token_that_is_revoked_while_it_is_used_does_not_come_back(start, connect):
    """Nothing writes its row behind the deletion."""
    server = start()
    admin = connect(url=server.url)
    admin.token = token_of(admin, "admin")["token"]
    gone = []
    for _ in range(30):
        made = token_of(admin, "read")
        holder = connect(made["token"], server.url)
        holder.good("GET", "/v1/queues")
        admin.good("DELETE", f"/v1/tokens/{made['id']}")
        gone.append(made["id"])
    server.end(signal.SIGKILL)
    left = connect(admin.token, start().url).good("GET", "/v1/tokens")["tokens"]
    assert len(left) == 1 and left[0]["id"] not in gone
