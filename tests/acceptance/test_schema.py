"""The interface document against its server: generated requests, no 5xx, answers as described."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from openapi_spec_validator import validate
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from taskqueuex.commands import COMMANDS

CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance, status_code_conformance]
# One ends the server, one writes where it is told to, and with a token the server would ask for it.
LEFT_OUT = {"drain", "backup", "create_token"}
# What goes on has a test of its own, which knows where one answer of it ends (tests/node/test_events.py).
TRIED = [row for row in COMMANDS.values() if row.name not in LEFT_OUT and not row.streams]


@pytest.fixture(scope="module")
def schema(server):
    host, port = server.address
    return schemathesis.openapi.from_url(f"http://{host}:{port}/openapi.json")


def test_the_served_document_is_valid_and_names_every_route(api):
    document = api.good("GET", "/openapi.json")
    validate(document)
    described = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert described == {(row.method, row.path) for row in COMMANDS.values()}


def without_waiting(case):
    """A poll that waits a minute is right, and not what is asked here."""
    body = case.body if isinstance(case.body, dict) else {}
    for holder in (case.query, body, body.get("dequeue")):
        if isinstance(holder, dict) and isinstance(holder.get("wait_ms"), int):
            holder["wait_ms"] = min(holder["wait_ms"], 1)
    return case


@pytest.mark.parametrize("mode", GenerationMode, ids=lambda mode: mode.value)
@pytest.mark.parametrize("row", TRIED, ids=lambda row: row.name)
def test_generated_requests_are_answered_as_described(schema, row, mode):
    operation = schema[row.path][row.method]

    @settings(
        max_examples=15,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def answered(case):
        without_waiting(case).call_and_validate(checks=CHECKS)

    answered()
