"""The generated files are those of the command table."""

import importlib.util
import inspect
from pathlib import Path

import pytest

from taskqueuex.client import AsyncClient, Client, requests
from taskqueuex.client.request import Operation
from taskqueuex.commands import COMMANDS

ROOT = Path(__file__).resolve().parents[2]


def test_the_files_are_what_the_script_writes_now():
    spec = importlib.util.spec_from_file_location("generate_client", ROOT / "scripts/generate_client.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    for path, text in script.files().items():
        assert path.read_text() == text, f"run: python scripts/generate_client.py ({path.name})"


@pytest.mark.parametrize("name", [name for name, row in COMMANDS.items() if not row.streams])
def test_each_row_is_a_method_of_both_clients_with_the_same_arguments(name):
    method, twin = getattr(Client, name), getattr(AsyncClient, name)
    assert list(inspect.signature(method).parameters)[1:] == list(
        inspect.signature(getattr(requests, name)).parameters
    )
    assert inspect.signature(method).parameters.keys() == inspect.signature(twin).parameters.keys()
    assert inspect.iscoroutinefunction(twin)


def test_what_is_repeated_after_an_unknown_outcome_is_safe_to_repeat():
    repeats = {name: Operation(name).repeat for name in COMMANDS}
    assert {name for name, repeat in repeats.items() if repeat == "never"} == {
        "dequeue", "dequeue_queue", "backup", "drain", "create_token", "delete_token", "sign_in", "sign_out",
    }  # fmt: skip
    always = {
        name for name, repeat in repeats.items() if repeat == "always" and COMMANDS[name].method != "GET"
    }
    assert always == {"ack", "fail", "release", "heartbeat", "settle", "put_queue", "put_schedule"}
    assert all(COMMANDS[name].idempotent_key for name, repeat in repeats.items() if repeat == "keyed")
