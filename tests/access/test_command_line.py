"""`tqx token` and `tqx audit`, against a server and on the store of one that does not run."""

import json
from pathlib import Path

import pytest

from taskqueuex.cli.app import run
from taskqueuex.model.access import TokenRecord
from taskqueuex.storage.directory import DataDirectory


@pytest.fixture
def tqx(capsys, monkeypatch):
    """Runs a command: what it wrote on standard output, or on standard error where it fails."""

    def call(*words, code=0):
        capsys.readouterr()
        ended = run(list(words))
        told = capsys.readouterr()
        assert ended == code, told
        call.noted = told.err
        return told.err if code else told.out

    return call


@pytest.fixture
def data(tmp_path):
    return str(tmp_path / "data")


def test_the_first_token_is_made_before_the_first_start(tqx, data, start, connect):
    token = tqx("token", "create", "root", "--scope", "admin", "--data", data).strip()
    assert token.startswith("tqx_") and "\n" not in token
    assert "not shown again" in tqx.noted and token not in tqx.noted
    server = start()
    assert connect(url=server.url).call("GET", "/v1/queues").status == 401
    wire = connect(token, server.url)
    (entry,) = wire.good("GET", "/v1/audit")["entries"]
    assert (entry["command"], entry["who"]["kind"], entry["status"]) == ("create_token", "local", 201)
    told = tqx("token", "list", "--data", data, code=1)
    assert "another process" in told and "without --data" in told


def test_a_token_that_was_lost_is_replaced_and_revoked_while_the_server_is_down(tqx, data, start, connect):
    lost = tqx("token", "create", "root", "--scope", "admin", "--data", data).strip()
    made = json.loads(tqx("-o", "json", "token", "create", "new", "--scope", "admin", "--data", data))
    assert tqx("token", "revoke", lost.split("_")[1], "--data", data).strip().endswith("is revoked")
    assert made["id"] in tqx("token", "list", "--data", data)
    server = start()
    assert connect(lost, server.url).call("GET", "/v1/tokens").status == 401
    assert connect(made["token"], server.url).call("GET", "/v1/tokens").status == 200


def test_a_backup_has_the_tokens_of_its_time(tqx, data, start, connect, tmp_path):
    root = tqx("token", "create", "root", "--scope", "admin", "--data", data).strip()
    later = tqx("token", "create", "later", "--scope", "read", "--data", data).strip()
    server = start()
    wire = connect(root, server.url)
    wire.good("POST", "/v1/admin/backup", {"path": str(tmp_path / "copy")})
    wire.good("DELETE", f"/v1/tokens/{later.split('_')[1]}")
    server.end()
    tqx("restore", str(tmp_path / "copy"), "--data", str(tmp_path / "restored"))
    assert later.split("_")[1] in tqx("token", "list", "--data", str(tmp_path / "restored"))
    assert later.split("_")[1] not in tqx("token", "list", "--data", data)
    assert tqx("storage", "check", "--data", data).endswith("0 problems\n")


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (["create", "t", "--scope", "read"], "the first token must have admin", 4),
        (["create", "t", "--scope", "write"], "'write' is not a scope", 2),
        (["create", "t", "--scope", "admin", "--expires", "soon"], "--expires", 2),
        (["create", "t", "--scope", "admin", "--expires", "0d"], "expires_in_ms", 2),
        (["create", "t", "--scope", "admin", "--rate", "fast"], "--rate", 2),
        (["create", "", "--scope", "admin"], "name", 2),
        (["create", "t"], "scope", 2),
        (["list"], "has no store", 1),
        (["revoke", "x"], "has no store", 1),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_made(tqx, data, words, said, code):
    assert said in tqx("token", *words, "--data", data, code=code)
    assert "admin" not in words or not Path(data).exists(), "it was refused before a store was made"


def test_options_become_the_limits_of_a_token(tqx, data):
    tqx("token", "create", "root", "--scope", "admin", "--data", data)
    words = ["--scope", "produce:a.*", "--scope", "read", "--expires", "30d", "--rate", "2.5/s"]
    words += ["--tasks-rate", "100/s,500", "--tasks-per-day", "7", "--data", data]
    made = json.loads(tqx("-o", "json", "token", "create", "shop", *words))
    assert made["expires_at"] == made["created_at"] + 30 * 86_400_000
    listed = json.loads(tqx("-o", "json", "token", "list", "--data", data))["tokens"]
    shop = next(each for each in listed if each["id"] == made["id"])
    assert shop["scopes"] == ["produce:a.*", "read"]
    assert shop["rate_limit"] == {"per_second": 2.5, "burst": 2}
    assert shop["tasks_rate_limit"] == {"per_second": 100.0, "burst": 500}
    assert "2.5 requests/s, 100 tasks/s, 7 tasks/day" in tqx("token", "list", "--data", data)


def test_a_server_is_asked_with_a_token(tqx, server, admin, monkeypatch):
    monkeypatch.setenv("TQX_SERVER", server.url)
    monkeypatch.setenv("TQX_TOKEN", admin.token)
    token = tqx("token", "create", "ops", "--scope", "operate:a.*").strip()
    admin.good("PUT", "/v1/queues/a.1", {"max_tasks": 3})
    shown = tqx("audit")
    assert "put_queue" in shown and "max_tasks" in shown and "root" in shown and "201" in shown
    assert "put_queue" not in tqx("audit", "--command", "create_token")
    (entry,) = json.loads(tqx("-o", "json", "audit", "--limit", "1"))["entries"]
    assert entry["command"] == "put_queue"
    monkeypatch.setenv("TQX_TOKEN", token)
    assert "forbidden" in tqx("token", "list", code=1)
    monkeypatch.setenv("TQX_TOKEN", admin.token)
    assert "is revoked" in tqx("token", "revoke", token.split("_")[1])
    monkeypatch.setenv("TQX_TOKEN", token)
    assert "unauthenticated" in tqx("token", "list", code=1)


def test_a_store_of_before_there_were_tokens_opens(tmp_path):
    """Its keys are those of a store of now, without the rows of tokens and of the audit."""
    directory = DataDirectory(tmp_path / "data")
    storage = directory.open()
    batch = storage.new_batch()
    batch.put_meta("next_number", b"5")
    storage.write(batch)
    storage.close()
    again = directory.open()
    assert again.load_tokens() == [] and again.scan_audit(b"", b"", 10) == []
    batch = again.new_batch()
    batch.put_token(TokenRecord("aaaaaaaaaa", "root", ("admin",), bytes(32), 1))
    again.write(batch)
    assert again.get_meta("next_number") == b"5" and len(again.load_tokens()) == 1
    again.close()
    directory.close()
