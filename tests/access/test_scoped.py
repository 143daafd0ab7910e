"""What a caller with patterns sees and changes where a call is about more than one queue."""

import pytest


@pytest.fixture
def filled(admin):
    """Tasks in two queues, dead ones, schedules, and workflows within and across them."""
    ids = {}
    for queue in ("a.1", "b.1"):
        ids[queue] = admin.good("POST", f"/v1/queues/{queue}/tasks", {"name": "n"})["id"]
        dead = admin.good("POST", f"/v1/queues/{queue}/tasks", {})["id"]
        admin.good("POST", f"/v1/tasks/{dead}/kill")
        admin.good("PUT", f"/v1/schedules/of-{queue}", {"queue": queue, "cron": "@yearly"})
    for name, queues in (("a", ["a.1"]), ("b", ["b.1"]), ("both", ["a.1", "b.1"])):
        tasks = [{"ref": str(index), "queue": queue} for index, queue in enumerate(queues)]
        ids[name] = admin.good("POST", "/v1/workflows", {"name": name, "tasks": tasks})["id"]
    return ids


def test_lists_leave_out_what_belongs_to_other_queues(filled, as_holder):
    holder = as_holder("read:a.*")
    assert [each["name"] for each in holder.good("GET", "/v1/queues")["queues"]] == ["a.1"]
    assert {each["queue"] for each in holder.good("GET", "/v1/tasks")["tasks"]} == {"a.1"}
    assert {each["queue"] for each in holder.good("GET", "/v1/tasks?state=dead")["tasks"]} == {"a.1"}
    assert {each["queue"] for each in holder.good("GET", "/v1/tasks?name=n")["tasks"]} == {"a.1"}
    both = f"{filled['a.1']},{filled['b.1']}"
    assert [each["id"] for each in holder.good("GET", f"/v1/tasks?id={both}")["tasks"]] == [filled["a.1"]]
    assert [each["queue"] for each in holder.good("GET", "/v1/dead/groups")["groups"]] == ["a.1"]
    assert [each["name"] for each in holder.good("GET", "/v1/schedules")["schedules"]] == ["of-a.1"]
    for path in ("/v1/tasks?queue=b.1", "/v1/dead/groups?queue=b.1"):
        assert holder.call("GET", path).status == 403


def test_pages_go_on_behind_what_is_left_out(filled, admin, as_holder):
    for queue in ("b.0", "b.2", "a.2"):
        admin.good("PUT", f"/v1/schedules/of-{queue}", {"queue": queue, "cron": "@yearly"})
    holder = as_holder("read:a.*")
    page = holder.good("GET", "/v1/schedules?limit=1")
    assert [each["name"] for each in page["schedules"]] == ["of-a.1"]
    page = holder.good("GET", f"/v1/schedules?limit=1&cursor={page['cursor']}")
    assert [each["name"] for each in page["schedules"]] == ["of-a.2"]


def test_workflows_show_the_tasks_that_may_be_seen(filled, as_holder):
    holder = as_holder("read:a.*")
    listed = holder.good("GET", "/v1/workflows")["workflows"]
    assert {each["name"]: each["counts"] for each in listed} == {"a": {"ready": 1}, "both": {"ready": 1}}
    shown = holder.good("GET", f"/v1/workflows/{filled['both']}")
    assert shown["counts"] == {"ready": 1}
    assert [each["queue"] for each in shown["tasks"]] == ["a.1"]
    assert holder.call("GET", f"/v1/workflows/{filled['b']}").status == 404


def test_a_bulk_leaves_other_queues_as_they_are(filled, admin, as_holder):
    holder = as_holder("operate:a.*")
    assert holder.call("POST", "/v1/bulk", {"action": "kill", "filter": {"queue": "b.1"}}).status == 403
    both = [filled["a.1"], filled["b.1"]]
    counted = holder.good("POST", "/v1/bulk", {"action": "kill", "filter": {"id": both}, "dry_run": True})
    assert counted == {"matched": 1, "changed": 0}
    killed = holder.good("POST", "/v1/bulk", {"action": "kill", "filter": {"id": both}})
    assert killed == {"matched": 1, "changed": 1}
    assert admin.good("GET", f"/v1/tasks/{filled['b.1']}")["state"] == "ready"
    cancelled = holder.good("POST", f"/v1/workflows/{filled['both']}/cancel")
    assert cancelled == {"matched": 1, "changed": 1}
    assert holder.good("POST", f"/v1/workflows/{filled['b']}/cancel") == {"matched": 0, "changed": 0}
    everything = holder.good("POST", "/v1/bulk", {"action": "delete", "filter": {"after": 0}})
    assert everything["changed"] > 0
    counts = admin.good("GET", "/v1/queues/b.1")["counts"]
    assert (counts["ready"], counts["dead"], counts["cancelled"]) == (3, 1, 0)


def test_a_queue_is_emptied_and_forgotten_by_who_may_operate_it(admin, as_holder):
    admin.good("POST", "/v1/queues/a.1/tasks/batch", {"tasks": [{}] * 5})
    holder = as_holder("operate:a.*")
    assert holder.good("POST", "/v1/queues/a.1/purge")["changed"] == 5
    admin.good("POST", "/v1/queues/a.1/tasks", {})
    assert holder.good("DELETE", "/v1/queues/a.1?force=true")["matched"] == 6
    assert admin.call("GET", "/v1/queues/a.1").status == 404


def test_the_items_of_a_settle_are_refused_each_in_its_place(admin, as_holder):
    for queue in ("a", "b"):
        admin.good("POST", f"/v1/queues/{queue}/tasks", {})
    one, two = admin.good("POST", "/v1/dequeue", {"queues": ["a", "b"], "max": 2})["tasks"]
    holder = as_holder("consume:a")
    items = [{"id": task["id"], "lease": task["lease"]} for task in (two, one)]
    refused, done = holder.good("POST", "/v1/settle", {"ack": items})["ack"]
    assert (refused["status"], refused["code"]) == (403, "forbidden")
    assert done == {"state": "completed"}
    assert holder.call("POST", "/v1/settle", {"dequeue": {"queues": {"a": 1, "b": 1}}}).status == 403
    assert admin.good("GET", f"/v1/tasks/{two['id']}")["state"] == "running"


def test_a_dequeue_names_the_first_queue_that_is_not_allowed(as_holder):
    reply = as_holder("consume:a").call("POST", "/v1/dequeue", {"queues": ["a", "c", "b"]})
    assert reply.status == 403 and "'c'" in reply.json["detail"]


def test_a_workflow_needs_the_queue_of_each_task(as_holder):
    tasks = [{"ref": "x", "queue": "a"}, {"ref": "y", "queue": "b"}]
    assert as_holder("produce:a").call("POST", "/v1/workflows", {"tasks": tasks}).status == 403
    assert as_holder("produce:a", "produce:b").call("POST", "/v1/workflows", {"tasks": tasks}).status == 201


def test_a_schedule_is_moved_by_who_may_operate_both_queues(admin, as_holder):
    admin.good("PUT", "/v1/schedules/s", {"queue": "b", "cron": "@yearly"})
    moved = ("PUT", "/v1/schedules/s", {"queue": "a", "cron": "@yearly"})
    assert as_holder("operate:a").call(*moved).status == 403
    assert as_holder("operate:b").call(*moved).status == 403
    assert as_holder("operate:a", "operate:b").call(*moved).status == 200
    assert as_holder("operate:b").call("POST", "/v1/schedules/s/trigger").status == 403
    assert as_holder("operate:a").call("POST", "/v1/schedules/s/trigger").status == 201


# Parents


@pytest.fixture
def parent(admin):
    """A task of queue b that has completed with a result."""
    id = admin.good("POST", "/v1/queues/b/tasks", {})["id"]
    (task,) = admin.good("POST", "/v1/queues/b/dequeue", {})["tasks"]
    admin.good("POST", f"/v1/tasks/{id}/ack", {"lease": task["lease"], "result": "the secret of b"})
    return id


def child_of(parent, **fields):
    return {"depends_on": [parent], **fields}


@pytest.mark.parametrize(
    ("scopes", "with_parents", "status"),
    [
        (["produce:a"], None, 403),
        (["produce:a"], False, 403),
        (["produce:a", "produce:b"], None, 201),
        (["produce:a", "produce:b"], True, 403),
        (["produce:a", "payload:b"], False, 403),
        (["produce:a", "produce:b", "payload:b"], True, 403),
        (["produce:a", "read:b"], None, 201),
        (["produce:a", "read:b"], True, 403),
        (["produce:a", "read:b", "payload:other"], True, 403),
        (["produce:a", "read:b", "payload:b"], True, 201),
    ],
)
def test_a_parent_is_one_that_may_be_read_or_put_in(admin, as_holder, parent, scopes, with_parents, status):
    holder = as_holder(*scopes)
    body = child_of(parent) if with_parents is None else child_of(parent, with_parents=with_parents)
    for path, sent in (
        ("/v1/queues/a/tasks", body),
        ("/v1/queues/a/tasks/batch", {"tasks": [body]}),
        ("/v1/workflows", {"tasks": [{"ref": "x", "queue": "a", **body}]}),
    ):
        reply = holder.call("POST", path, sent)
        assert reply.status == status, (path, reply)
    assert admin.call("GET", "/v1/queues/a").status == (200 if status == 201 else 404), (
        "nothing is left behind"
    )


@pytest.mark.parametrize("of_b", ["produce:b", "read:b"])
def test_the_queue_may_not_hand_results_over_either(admin, as_holder, parent, of_b):
    admin.good("PUT", "/v1/queues/a", {"with_parents": True})
    holder = as_holder("produce:a", of_b)
    assert holder.call("POST", "/v1/queues/a/tasks", child_of(parent)).status == 403
    holder.good("POST", "/v1/queues/a/tasks", child_of(parent, with_parents=False))


@pytest.mark.parametrize("of_b", ["produce:b", "read:b"])
def test_a_later_setting_of_the_queue_hands_nothing_over(admin, as_holder, parent, of_b):
    holder = as_holder("produce:a", of_b, "operate:a", "consume:a")
    holder.good("POST", "/v1/queues/a/tasks", child_of(parent))
    holder.good("POST", "/v1/workflows", {"tasks": [{"ref": "x", "queue": "a", **child_of(parent)}]})
    holder.good("PUT", "/v1/queues/a", {"with_parents": True})
    tasks = holder.good("POST", "/v1/queues/a/dequeue", {"max": 2})["tasks"]
    assert len(tasks) == 2 and all(not task.get("parents") for task in tasks)
    admin.good("POST", "/v1/queues/a/tasks", child_of(parent))
    (task,) = holder.good("POST", "/v1/queues/a/dequeue", {})["tasks"]
    assert task["parents"] == {parent: "the secret of b"}, "that of another, who sees the results of b, is"


def test_parents_of_the_same_workflow_are_looked_at_as_well(as_holder):
    tasks = [
        {"ref": "x", "queue": "b"},
        {"ref": "y", "queue": "a", "depends_on": ["x"], "with_parents": True},
    ]
    for scopes, status in (
        (["produce"], 403),
        (["produce", "read:b"], 403),
        (["produce", "read:b", "payload:b"], 201),
    ):
        assert as_holder(*scopes).call("POST", "/v1/workflows", {"tasks": tasks}).status == status


def test_an_item_of_a_partial_batch_is_refused_alone(admin, as_holder, parent):
    admin.good("PUT", "/v1/queues/a", {})
    body = {"tasks": [{}, child_of(parent)], "partial": True}
    first, second = as_holder("produce:a").good("POST", "/v1/queues/a/tasks/batch", body)["results"]
    assert first["state"] == "ready" and second["status"] == 403


def test_a_refusal_does_not_tell_the_queue_of_another_s_task_or_schedule(admin, as_holder):
    secret = "merger-with-acme"
    task = admin.good("POST", f"/v1/queues/{secret}/tasks", {})["id"]
    admin.good("PUT", "/v1/schedules/nightly", {"queue": secret, "every_ms": 60_000, "task": {}})
    holder = as_holder("read:mine", "operate:mine", "consume:mine", "produce:mine")
    asked = [
        ("GET", f"/v1/tasks/{task}", None),
        ("POST", f"/v1/tasks/{task}/ack", {"lease": "x"}),
        ("POST", f"/v1/tasks/{task}/cancel", None),
        ("POST", "/v1/settle", {"ack": [{"id": task, "lease": "x"}]}),
        ("POST", "/v1/queues/mine/tasks", {"depends_on": [task]}),
        ("POST", "/v1/queues/mine/tasks", {"depends_on": [task], "with_parents": True}),
        ("GET", "/v1/schedules/nightly", None),
        ("POST", "/v1/schedules/nightly/trigger", None),
        ("PUT", "/v1/schedules/nightly", {"queue": "mine", "every_ms": 60_000, "task": {}}),
    ]
    for method, path, body in asked:
        reply = holder.call(method, path, body)
        assert b"forbidden" in reply.body, (path, reply)
        assert secret.encode() not in reply.body, (path, reply)
