"""How long keys are kept, and how many."""

from hashlib import blake2b

import msgspec

from taskqueuex.commands import COMMANDS
from taskqueuex.commands.call import Call
from taskqueuex.commands.principal import Principal
from taskqueuex.storage import memory_storage
from taskqueuex.writer import IdempotencyKeys
from taskqueuex.writer.idempotency import KEPT_MS

HOUR_MS = 3_600_000


def call(key, body=b"{}", queue="q", name="enqueue"):
    made = Call(COMMANDS[name], queue, None, None, None, 0)
    made.key, made.raw = key, body
    return made


class Keys:
    """Keys on a store, one batch a key."""

    def __init__(self, most, now_ms=1_700_000_000_000):
        self.storage, self.most, self.now_ms = memory_storage(), most, now_ms
        self.open()

    def open(self):
        self.keys = IdempotencyKeys(self.storage, self.most, self.now_ms)

    def keep(self, key):
        batch = self.storage.new_batch()
        made = call(key)
        answer = msgspec.json.encode({"id": key})
        self.keys.keep(batch, IdempotencyKeys.hash_of(made), made, 201, answer, self.now_ms)
        self.storage.write(batch)
        self.keys.on_batch()
        self.keys.on_written()

    def kept(self, key):
        made = call(key)
        return self.keys.find(IdempotencyKeys.hash_of(made), made) is not None


def test_a_key_is_kept_for_a_day_and_then_forgotten_over_restarts_too():
    keys = Keys(1_000)
    keys.keep("first")
    for hour in range(1, 60):
        keys.now_ms += HOUR_MS
        keys.keep(f"hour {hour}")
        if hour % 5 == 0:
            keys.open()
        if hour * HOUR_MS < KEPT_MS:
            assert keys.kept("first"), hour
        assert keys.kept(f"hour {max(1, hour - 23)}")
    assert not keys.kept("first") and not keys.kept("hour 20")


def test_beyond_the_number_that_is_kept_the_oldest_go_first():
    keys = Keys(80)
    for n in range(400):
        keys.keep(f"k{n}")
        assert keys.kept(f"k{max(0, n - 60)}")
    assert not any(keys.kept(f"k{n}") for n in range(300))
    assert all(keys.kept(f"k{n}") for n in range(340, 400))


def test_a_key_is_of_one_operation_on_one_subject():
    hashes = {
        IdempotencyKeys.hash_of(made)
        for made in (call("k"), call("k", queue="r"), call("k", name="purge_queue"), call("l"))
    }
    assert len(hashes) == 4
    assert IdempotencyKeys.hash_of(call("k", b"other")) in hashes, "the body is compared, not looked up"


def test_a_key_can_be_found_while_its_batch_grows_is_under_way_and_is_written():
    storage = memory_storage()
    keys = IdempotencyKeys(storage, 100, 0)
    made = call("k")
    key_hash = IdempotencyKeys.hash_of(made)
    batch = storage.new_batch()
    keys.keep(batch, key_hash, made, 201, b"1", 0)
    assert keys.find(key_hash, made).body == b"1"
    keys.on_batch()
    assert keys.find(key_hash, made).body == b"1"
    storage.write(batch)
    keys.on_written()
    assert keys.find(key_hash, made).body == b"1"


def test_a_key_of_a_caller_without_credentials_is_kept_where_it_always_was():
    made = Call(COMMANDS["enqueue"], "q", None, None, None, 0)
    made.key = "k"
    assert IdempotencyKeys.hash_of(made) == blake2b(b"enqueue\0q\0k", digest_size=16).digest()
    anyones = IdempotencyKeys.hash_of(made)
    made.principal = Principal("i", "n", "token", ["admin"])
    assert IdempotencyKeys.hash_of(made) != anyones


def test_a_key_is_shared_by_certificates_of_one_name_where_no_answer_shows_what_only_some_may_see():
    def hash_of(name, kind, *scopes):
        made = call("k", name=name)
        made.principal = Principal("cn:ops", "ops", kind, scopes)
        return IdempotencyKeys.hash_of(made)

    seeing, blind = ("operate", "payload"), ("operate",)
    for name in ("put_schedule", "pause_schedule", "resume_schedule"):
        assert hash_of(name, "certificate", *seeing) != hash_of(name, "certificate", *blind)
        assert hash_of(name, "certificate", *seeing) == hash_of(name, "certificate", *reversed(seeing))
    assert hash_of("enqueue", "certificate", *seeing) == hash_of("enqueue", "certificate", *blind)
    assert hash_of("put_schedule", "token", *seeing) == hash_of("put_schedule", "token", *blind)
