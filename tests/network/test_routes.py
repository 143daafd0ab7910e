"""From a method and a path to a row of the table."""

import re
from urllib.parse import quote

import pytest

from taskqueuex.commands import COMMANDS
from taskqueuex.errors import Invalid, MethodNotAllowed, NotFound
from taskqueuex.network import Router, routes

ID = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.fixture(scope="module")
def router():
    return Router(COMMANDS.values(), dict.fromkeys(("engine", "query", "server"), lambda call: None))


@pytest.mark.parametrize("command", COMMANDS.values(), ids=lambda command: command.name)
def test_every_row_is_found_with_its_target(router, command):
    target = {
        "queue": "a.b_c-D9",
        "task": ID,
        "workflow": ID,
        "schedule": "s.1",
        "worker": "w 1",
        "token": "abcdefghij",
        "none": "",
    }[command.target]
    path = re.sub(r"\{.*?\}", quote(target), command.path).encode()
    for _ in range(2):  # the second time from the cache
        route, found = router.resolve(command.method.encode(), path)
        assert (route.command, found) == (command, target)


def test_the_parameter_is_percent_decoded(router):
    assert router.resolve(b"POST", b"/v1/queues/a%2Eb%41/tasks")[1] == "a.bA"
    assert router.resolve(b"GET", b"/v1/tasks/" + ID.replace("-", "%2D").encode())[1] == ID


def test_an_id_is_lowered(router):
    assert router.resolve(b"POST", b"/v1/tasks/" + ID.upper().encode() + b"/ack")[1] == ID


@pytest.mark.parametrize(
    "name", [b"a%20b", b"a%2Fb", b"%C3%A9", b"%00", b"a" * 129, b"a%0A", b"a~b", b"%", b"%zz"]
)
def test_a_malformed_queue_is_invalid_and_named(router, name):
    with pytest.raises(Invalid) as caught:
        router.resolve(b"POST", b"/v1/queues/" + name + b"/tasks")
    assert caught.value.errors[0].field == "queue"


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        ID[:-1],
        ID + "0",
        ID.replace("-7", "-4"),
        ID.replace("-b", "-c"),
        "g" + ID[1:],
        ID.replace("-", ""),
        ID[:-1] + "\N{ARABIC-INDIC DIGIT ONE}",
    ],
)
def test_a_malformed_id_is_invalid_and_named(router, text):
    with pytest.raises(Invalid) as caught:
        router.resolve(b"GET", b"/v1/tasks/" + quote(text).encode())
    assert caught.value.errors[0].field == "id"


@pytest.mark.parametrize(
    "path",
    [
        b"/",
        b"",
        b"/v1",
        b"/v1/",
        b"/v1/queues/",
        b"/v1/queues//tasks",
        b"/v1/queues/a/b",
        b"/v1/queues/a/tasks/",
        b"/v1/queue%73",
        b"*",
        b"/v1/tasks/x/y/z",
        b"/V1/queues",
        b"//v1/queues",
    ],
)
def test_an_unknown_path_is_not_found(router, path):
    with pytest.raises(NotFound):
        router.resolve(b"GET", path)


def test_another_method_is_refused_with_those_that_are_allowed(router):
    for method in (b"POST", b"HEAD", b"OPTIONS", b"BREW"):
        with pytest.raises(MethodNotAllowed) as caught:
            router.resolve(method, b"/v1/tasks/" + ID.encode())
        assert caught.value.allow == ("DELETE", "GET", "PATCH")


def test_the_absolute_form_is_understood(router):
    assert router.resolve(b"GET", b"http://host:1/v1/queues/q")[1] == "q"
    assert router.resolve(b"GET", b"HTTP://host/healthz")[0].command.name == "healthz"


def test_the_cache_of_paths_is_bounded(router):
    for number in range(routes._HOT_MAX + 10):
        router.resolve(b"GET", b"/v1/queues/q%d" % number)
    assert all(len(paths) <= routes._HOT_MAX for paths in router._hot.values())
