"""What the server cannot read, and what becomes of it when keys change."""

import urllib.request

import pytest

from taskqueuex import App, Context, DecryptionError, KeyRing, TaskFailed, chord
from taskqueuex.testing import MemoryServer, assert_enqueued

OLD, NEW = KeyRing.new_key(), KeyRing.new_key()


@pytest.fixture(scope="module")
def server():
    with MemoryServer() as started:
        yield started


def declared(app):
    @app.task(name="shop.charge", max_attempts=1)
    async def charge(card: str, amount: float) -> str:
        if amount < 0:
            raise ValueError(f"card {card} was refused")
        return f"charged {card}"

    @app.task(name="shop.join")
    async def join(parts: list[str]) -> str:
        return " and ".join(parts)

    return charge, join


def test_neither_payload_nor_result_nor_error_can_be_read_on_the_server(server):
    with App(server.url, encryption=KeyRing({"old": OLD}), default_queue="secret") as app:
        charge, _ = declared(app)
        handle, refused = charge.enqueue("4242-4242", 1.0), charge.enqueue("4242-4242", -1.0)
        app.run_until_idle()
        assert handle.result(5) == "charged 4242-4242"
        with pytest.raises(TaskFailed, match="card 4242-4242 was refused") as raised:
            refused.result(5)
        assert 'raise ValueError(f"card {card} was refused")' in raised.value.traceback
        assert_enqueued(charge, card="4242-4242", amount=1.0, count=1)
        for each in (handle, refused):
            with urllib.request.urlopen(f"{server.url}/v1/tasks/{each.id}") as answer:
                raw = answer.read()
            assert b"4242" not in raw and b"refused" not in raw, raw
        assert refused.view().errors[0].message == "encrypted"


def test_results_flow_between_tasks_encrypted(server):
    with App(server.url, encryption=KeyRing({"k": OLD}), default_queue="flow") as app:
        charge, join = declared(app)
        handle = chord([charge.s("1", 1.0), charge.s("2", 1.0)], join.s()).enqueue()
        app.run_until_idle()
        assert handle.result(5) == "charged 1 and charged 2"


def test_keys_are_rotated(server):
    with App(server.url, encryption=KeyRing({"old": OLD}), default_queue="rotate") as before:
        old = declared(before)[0].enqueue("1", 1.0)
    with App(server.url, encryption=KeyRing({"old": OLD, "new": NEW}), default_queue="rotate") as during:
        new = declared(during)[0].enqueue("2", 1.0)
        during.run_until_idle()
        assert [during.tasks["shop.charge"].handle(each.id).result(5) for each in (old, new)] == [
            "charged 1",
            "charged 2",
        ]
    with App(server.url, encryption=KeyRing({"new": NEW}), default_queue="rotate") as after:
        charge = declared(after)[0]
        assert charge.handle(new.id).result(5) == "charged 2"
        # The worker that answered the old one had the new key as well, so that its result is of that.
        assert charge.handle(old.id).result(5) == "charged 1"


@pytest.mark.parametrize(
    ("keys", "message"),
    [({"other": NEW}, "a key that is not here: 'k'"), ({"k": NEW}, "cannot be decrypted with key 'k'")],
)
def test_a_worker_without_the_key_says_so_and_the_task_is_dead(server, keys, message):
    with App(server.url, encryption=KeyRing({"k": OLD}), default_queue="nokey") as producer:
        handle = declared(producer)[0].enqueue("1", 1.0)
    with App(server.url, encryption=KeyRing(keys), default_queue="nokey") as worker:
        charge, _ = declared(worker)
        worker.run_until_idle()
        with pytest.raises(TaskFailed, match=message) as raised:
            charge.handle(handle.id).result(5)
        assert raised.value.type == "InvalidPayload"


def test_a_payload_in_clear_is_refused_by_an_app_that_encrypts(server):
    with App(server.url, encryption=KeyRing({"k": OLD}), default_queue="clear") as app:
        charge, _ = declared(app)
        forged = app.client.enqueue("clear", payload={"card": "1", "amount": 1}, name="shop.charge")
        app.run_until_idle()
        with pytest.raises(TaskFailed, match="is not encrypted"):
            charge.handle(forged.id).result(5)


def test_a_sealed_payload_does_not_fit_another_task(server):
    ring = KeyRing({"k": OLD})
    sealed = ring.encrypt(b"{}", "shop.charge")
    assert ring.decrypt(sealed, "shop.charge") == b"{}"
    with pytest.raises(DecryptionError):
        ring.decrypt(sealed, "shop.refund")


def test_progress_is_encrypted_too(server):
    with App(server.url, encryption=KeyRing({"k": OLD}), default_queue="progress") as app:

        @app.task
        async def task(context: Context) -> None:
            context.progress({"card": "4242"})

        handle = task.enqueue()
        app.run_until_idle()
        assert b"4242" not in bytes(handle.view().progress)


@pytest.mark.parametrize(
    ("keys", "current", "message"),
    [
        ({}, None, "keys: at least one"),
        ({"a": b"short"}, None, "must be 32 bytes"),
        ({"a": OLD}, "b", "current"),
    ],
)
def test_a_ring_that_makes_no_sense_is_refused(keys, current, message):
    with pytest.raises(ValueError, match=message):
        KeyRing(keys, current)
