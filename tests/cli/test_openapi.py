"""The OpenAPI document: valid, and the same as the table."""

import pytest
from openapi_spec_validator import validate

from taskqueuex.commands import COMMANDS
from taskqueuex.commands.openapi import document


@pytest.fixture(scope="module")
def described():
    return document("1.2.3")


def test_the_document_is_valid_openapi_3_1(described):
    validate(described)
    assert described["openapi"] == "3.1.0" and described["info"]["version"] == "1.2.3"


@pytest.mark.parametrize("row", COMMANDS.values(), ids=lambda row: row.name)
def test_every_row_of_the_table_is_described(described, row):
    operation = described["paths"][row.path][row.method.lower()]
    assert operation["operationId"] == row.name
    assert ("requestBody" in operation) == (row.body is not None)
    assert set(operation["responses"]) >= {str(status) for status in (*row.replies, *row.errors)}
    names = {each.get("name") for each in operation["parameters"]}
    if row.target != "none":
        parameter = {"queue": "queue", "schedule": "name", "worker": "name"}.get(row.target, "id")
        assert parameter in names
    if row.query is not None:
        assert names >= set(row.query.__struct_fields__)
    keyed = {"$ref": "#/components/parameters/IdempotencyKey"} in operation["parameters"]
    assert keyed == row.idempotent_key


def test_nothing_is_described_that_is_not_in_the_table(described):
    operations = [each["operationId"] for path in described["paths"].values() for each in path.values()]
    assert sorted(operations) == sorted(COMMANDS)


def test_a_payload_is_any_json(described):
    schemas = described["components"]["schemas"]
    assert schemas["EnqueueTask"]["properties"]["payload"] == {}
    assert schemas["AckTask"]["properties"]["result"] == {}
    assert schemas["TaskView"]["properties"]["payload"] == {}


def test_unknown_fields_are_refused_by_the_schemas_of_requests_too(described):
    schemas = described["components"]["schemas"]
    for row in COMMANDS.values():
        if row.body is not None:
            assert schemas[row.body.__name__]["additionalProperties"] is False, row.name


def test_errors_are_problems(described):
    for response in described["components"]["responses"].values():
        schema = response["content"]["application/problem+json"]["schema"]
        assert schema == {"$ref": "#/components/schemas/Problem"}


@pytest.mark.parametrize("row", COMMANDS.values(), ids=lambda row: row.name)
def test_what_needs_credentials_says_which_and_what_without(described, row):
    operation = described["paths"][row.path][row.method.lower()]
    statuses = set(operation["responses"])
    if row.scope == "public":
        assert operation["security"] == [] and "403" not in statuses
    else:
        assert operation["security"] == [{"bearer": []}, {"session": []}, {}]
        assert statuses >= {"401", "403", "429"}
    assert set(described["components"]["securitySchemes"]) == {"bearer", "session"}
