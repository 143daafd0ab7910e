"""Every command by every kind of caller, over a real socket.

What is expected is written down here once more, by hand, and not taken from the command table.
"""

import pytest
from access_wire import Wire, token_of

from taskqueuex.commands import COMMANDS
from taskqueuex.testing import MemoryServer

QUEUE = "orders.a"
SCOPES = ("produce", "consume", "read", "payload", "operate")
# How a scope is needed. queue: for the queue at hand; rows: for any, others are left out; all: without a
# pattern; admin; known: any credentials; public: none.
ACCESS = {
    "enqueue": ("produce", "queue"),
    "enqueue_batch": ("produce", "queue"),
    "create_workflow": ("produce", "queue"),
    "dequeue": ("consume", "queue"),
    "dequeue_queue": ("consume", "queue"),
    "ack": ("consume", "queue"),
    "fail": ("consume", "queue"),
    "release": ("consume", "queue"),
    "heartbeat": ("consume", "queue"),
    "settle": ("consume", "queue"),
    "get_task": ("read", "queue"),
    "list_tasks": ("read", "queue"),
    "task_history": ("read", "queue"),
    "task_why": ("read", "queue"),
    "edit_task": ("operate", "queue"),
    "cancel_task": ("operate", "queue"),
    "retry_task": ("operate", "queue"),
    "kill_task": ("operate", "queue"),
    "unblock_task": ("operate", "queue"),
    "delete_task": ("operate", "queue"),
    "bulk": ("operate", "queue"),
    "list_workflows": ("read", "rows"),
    "get_workflow": ("read", "rows"),
    "cancel_workflow": ("operate", "rows"),
    "dead_groups": ("read", "queue"),
    "put_queue": ("operate", "queue"),
    "get_queue": ("read", "queue"),
    "queue_why": ("read", "queue"),
    "queue_groups": ("read", "queue"),
    "list_queues": ("read", "rows"),
    "delete_queue": ("operate", "queue"),
    "pause_queue": ("operate", "queue"),
    "resume_queue": ("operate", "queue"),
    "purge_queue": ("operate", "queue"),
    "put_schedule": ("operate", "queue"),
    "get_schedule": ("read", "queue"),
    "list_schedules": ("read", "rows"),
    "delete_schedule": ("operate", "queue"),
    "pause_schedule": ("operate", "queue"),
    "resume_schedule": ("operate", "queue"),
    "trigger_schedule": ("operate", "queue"),
    "stats": ("read", "all"),
    "list_workers": ("read", "all"),
    "quiet_worker": ("operate", "all"),
    "resume_worker": ("operate", "all"),
    "stop_worker": ("operate", "all"),
    "metrics_history": ("read", "all"),
    "metrics": ("read", "all"),
    "healthz": ("", "public"),
    "readyz": ("", "public"),
    "openapi": ("", "public"),
    "backup": ("", "admin"),
    "drain": ("", "admin"),
    "create_token": ("", "admin"),
    "list_tokens": ("", "admin"),
    "delete_token": ("", "admin"),
    "sign_in": ("", "public"),
    "get_session": ("", "known"),
    "sign_out": ("", "known"),
    "list_audit": ("", "admin"),
    "events": ("read", "queue"),
}
LEASE = {"lease": "none"}
BODIES = {
    "enqueue": {},
    "enqueue_batch": {"tasks": [{}]},
    "create_workflow": {"tasks": [{"ref": "a", "queue": QUEUE}]},
    "dequeue": {"queues": [QUEUE]},
    "ack": LEASE,
    "fail": {**LEASE, "error": {"type": "E"}},
    "release": LEASE,
    "heartbeat": LEASE,
    "settle": {"dequeue": {"queues": {QUEUE: 1}}},
    "edit_task": {"priority": 1},
    "bulk": {"action": "cancel", "filter": {"queue": QUEUE, "tag": "nothing"}},
    "put_schedule": {"queue": QUEUE, "cron": "0 0 1 1 *"},
    "backup": {"path": "relative"},
    "create_token": {"name": "another", "scopes": ["read"]},
}
QUERIES = {
    "list_tasks": f"?queue={QUEUE}",
    "dead_groups": f"?queue={QUEUE}",
    "events": f"?queue={QUEUE}&follow=false",
}
CALLERS = [
    (scope, flavour, scope + suffix)
    for scope in SCOPES
    for flavour, suffix in (("plain", ""), ("matching", ":orders.*"), ("foreign", ":other.*"))
]


def test_every_command_has_an_entry():
    assert list(ACCESS) == list(COMMANDS)


@pytest.fixture(scope="module")
def callers():
    """A server, a connection with admin, and one for each kind of holder."""
    with MemoryServer() as server:
        admin = Wire(server.url)
        admin.token = token_of(admin, "admin")["token"]
        made = {text: Wire(server.url, token_of(admin, text)["token"]) for _, _, text in CALLERS}
        nobody = Wire(server.url)
        yield admin, nobody, made
        for wire in (admin, nobody, *made.values()):
            wire.close()


def request_of(row, admin):
    """Method, path and body; what the path names is made anew, so that a call before has not ended it."""
    path = row.path.replace("{queue}", QUEUE)
    if row.target == "task":
        path = path.replace("{id}", admin.good("POST", f"/v1/queues/{QUEUE}/tasks", {})["id"])
    elif row.target == "workflow":
        made = admin.good("POST", "/v1/workflows", BODIES["create_workflow"])
        path = path.replace("{id}", made["id"])
    elif row.target == "token":
        path = path.replace("{id}", token_of(admin, "read")["id"])
    elif row.target == "schedule":
        admin.good("PUT", "/v1/schedules/s", BODIES["put_schedule"])
        path = path.replace("{name}", "s")
    else:
        path = path.replace("{name}", "nobody")
    if row.target == "queue":
        admin.good("PUT", f"/v1/queues/{QUEUE}", {})
    body = {"token": admin.token} if row.name == "sign_in" else BODIES.get(row.name)
    return row.method, path + QUERIES.get(row.name, ""), body


def may(name, scope, flavour):
    needed, how = ACCESS[name]
    if how in ("public", "known"):
        return True
    if how == "admin" or scope != needed:
        return False
    return {"queue": flavour != "foreign", "rows": True, "all": flavour == "plain"}[how]


@pytest.mark.parametrize("row", COMMANDS.values(), ids=lambda row: row.name)
def test_a_caller_may_what_its_scope_says_and_no_more(callers, row):
    admin, nobody, holders = callers
    reply = nobody.call(*request_of(row, admin))
    if ACCESS[row.name][1] == "public":
        assert reply.status == 200
    else:
        assert (reply.status, reply.code) == (401, "unauthenticated")
        assert reply.headers["www-authenticate"] == "Bearer"
    for scope, flavour, text in CALLERS:
        reply = holders[text].call(*request_of(row, admin))
        if may(row.name, scope, flavour):
            assert reply.status not in (401, 403), (text, reply)
        else:
            assert (reply.status, reply.code) == (403, "forbidden"), (text, reply)


@pytest.mark.parametrize("row", COMMANDS.values(), ids=lambda row: row.name)
def test_admin_may_everything(callers, row):
    if row.name == "drain":
        with MemoryServer() as server:
            wire = Wire(server.url)
            wire.token = token_of(wire, "admin")["token"]
            assert wire.call("POST", "/v1/admin/drain").status == 200
            wire.close()
        return
    reply = callers[0].call(*request_of(row, callers[0]))
    assert reply.status not in (401, 403) and reply.status < 500, reply


def test_the_scope_of_all_queues_is_that_of_each(callers):
    admin, _, holders = callers
    task = admin.good("POST", f"/v1/queues/{QUEUE}/tasks", {})["id"]
    assert holders["read"].call("GET", f"/v1/tasks/{task}").status == 200
    assert holders["read:orders.*"].call("GET", f"/v1/tasks/{task}").status == 200
    refused = holders["read:other.*"].call("GET", f"/v1/tasks/{task}")
    assert refused.status == 403
    assert QUEUE not in task and "payload" not in refused.json, "nothing else of it is told"
