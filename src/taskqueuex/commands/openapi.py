"""The OpenAPI 3.1 document, made from the command table, so that it cannot disagree with it."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import msgspec

from taskqueuex.commands.events import EVENT_ID
from taskqueuex.commands.limits import QueueName, TaskId, WorkerName
from taskqueuex.commands.problem import Problem
from taskqueuex.commands.table import COMMANDS, Command
from taskqueuex.errors import TaskQueueError

__all__ = ["document"]

_REF = "#/components/schemas/{name}"
_TAGS = {
    "produce": "Put work in",
    "consume": "Take work out and settle it",
    "read": "Look",
    "operate": "Steer",
    "admin": "The server itself",
    "any": "Whose calls these are",
    "public": "What needs no credentials",
}
_TARGETS = {
    "queue": ("queue", QueueName, "The name of a queue"),
    "task": ("id", TaskId, "The id of a task"),
    "workflow": ("id", TaskId, "The id of a workflow"),
    "schedule": ("name", QueueName, "The name of a schedule"),
    "worker": ("name", WorkerName, "The name of a worker"),
    "token": ("id", str, "The id of a token"),
}
# What any call can be answered, whatever it asks for.
_ALWAYS = (400, 408, 413, 414, 415, 422, 431, 500, 503)
_WITH_CREDENTIALS = (401, 403, 429)  # and where credentials may be asked for


def document(version: str) -> dict[str, Any]:
    """The document. `version` is the server's."""
    schemas = _Schemas(COMMANDS.values())
    paths: dict[str, dict[str, Any]] = {}
    for command in COMMANDS.values():
        paths.setdefault(command.path, {})[command.method.lower()] = _operation(command, schemas)
    described = {
        "openapi": "3.1.0",
        "info": {
            "title": "TaskQueueX",
            "version": version,
            "summary": "A durable task queue: put tasks in, take them out, nothing acknowledged is lost.",
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "parameters": _HEADERS,
            "securitySchemes": _SECURITY_SCHEMES,
            "responses": {str(status): _problem_response(status) for status in _problem_statuses()},
        },
    }
    # There and back, so that what is in it is what JSON knows (a tuple among the defaults is not).
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(described))
    return plain


_DESCRIPTION = """\
Durations are integers that end in `_ms`; times are Unix milliseconds and end in `_at`. `payload`, `result`
and `progress` are any JSON value, kept byte for byte. Unknown fields are refused (422). A 2xx is sent only
after the change is committed, at the level that the header `Durability` of the answer names. Every error
is `application/problem+json` and says by `outcome` whether the request may have changed anything."""

_SECURITY_SCHEMES: dict[str, Any] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token: `tqx token create`. A server without tokens asks for none.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "tqx_session",
        "description": "A web session: POST /v1/session. Changes need the header X-CSRF-Token as well.",
    },
}

_HEADERS: dict[str, Any] = {
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "A repeat with the same body gets the first answer again; another body is refused.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    },
    "LastEventId": {
        "name": "Last-Event-ID",
        "in": "header",
        "description": "Goes on behind this event; as the parameter `after`, and before it.",
        "schema": {"type": "string", "pattern": f"^{EVENT_ID}$"},
    },
    "RequestTimeoutMs": {
        "name": "Request-Timeout-Ms",
        "in": "header",
        "description": "The caller waits so long: work whose caller has gone is not started.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 86_400_000},
    },
}


class _Schemas:
    """The schemas of all structs of the table, and how to refer to them."""

    def __init__(self, commands: Iterable[Command]) -> None:
        types: list[Any] = [Problem]
        for command in commands:
            types += [
                each for each in (command.body, command.query, *command.replies.values()) if each is not None
            ]
        unique = list({repr(each): each for each in types}.values())
        found, components = msgspec.json.schema_components(unique, ref_template=_REF)
        self._found = {repr(each): schema for each, schema in zip(unique, found, strict=True)}
        self.components = components

    def of(self, kind: Any) -> dict[str, Any]:
        """The schema of a type of the table."""
        return self._found[repr(kind)]

    def properties(self, struct: Any) -> dict[str, Any]:
        """The schemas of the fields of a struct."""
        name: str = self.of(struct)["$ref"].rpartition("/")[2]
        properties: dict[str, Any] = self.components[name]["properties"]
        return properties


def _operation(command: Command, schemas: _Schemas) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": command.name,
        "summary": command.summary,
        "tags": [command.scope],
        "parameters": _parameters(command, schemas),
        "responses": _responses(command, schemas),
    }
    operation["security"] = [] if command.scope == "public" else [{"bearer": []}, {"session": []}, {}]
    if command.body is not None:
        operation["requestBody"] = {
            "required": command.body_required,
            "content": {"application/json": {"schema": schemas.of(command.body)}},
        }
    return operation


def _parameters(command: Command, schemas: _Schemas) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = []
    if command.target != "none":
        name, kind, text = _TARGETS[command.target]
        schema = msgspec.json.schema(kind)
        schema.pop("description", None)
        parameters.append(
            {"name": name, "in": "path", "required": True, "description": text, "schema": schema}
        )
    if command.query is not None:
        parameters += [
            {"name": name, "in": "query", "schema": _of_query(schema)}
            for name, schema in schemas.properties(command.query).items()
        ]
    if command.idempotent_key:
        parameters.append({"$ref": "#/components/parameters/IdempotencyKey"})
    if command.streams:
        parameters.append({"$ref": "#/components/parameters/LastEventId"})
    parameters.append({"$ref": "#/components/parameters/RequestTimeoutMs"})
    return parameters


def _of_query(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter is absent rather than null."""
    choices = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
    if len(choices) == 1:
        return dict(choices[0])
    if isinstance(schema.get("enum"), list):
        return {**schema, "enum": [each for each in schema["enum"] if each is not None]}
    return {key: value for key, value in schema.items() if not (key == "default" and value is None)}


def _responses(command: Command, schemas: _Schemas) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, kind in command.replies.items():
        responses[str(status)] = _success(command, status, kind, schemas)
    statuses = {*command.errors, *_ALWAYS}
    if command.target != "none":
        statuses.add(404)
    if command.scope != "public":
        statuses.update(_WITH_CREDENTIALS)
    for status in sorted(statuses):
        responses[str(status)] = {"$ref": f"#/components/responses/{status}"}
    return responses


def _success(command: Command, status: int, kind: Any, schemas: _Schemas) -> dict[str, Any]:
    response: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if kind is None:
        response["content"] = {"text/plain": {"schema": {"type": "string"}}}
    elif command.streams:
        response["content"] = {"text/event-stream": {"schema": schemas.of(kind)}}
    else:
        response["content"] = {"application/json": {"schema": schemas.of(kind)}}
    if command.kind == "engine":
        response["headers"] = {
            "Durability": {
                "description": "What the answer was released after",
                "schema": {"type": "string", "enum": ["durable", "relaxed", "memory"]},
            }
        }
    return response


def _error_classes(base: type[TaskQueueError] = TaskQueueError) -> list[type[TaskQueueError]]:
    return [base, *(each for child in base.__subclasses__() for each in _error_classes(child))]


def _problem_statuses() -> list[int]:
    return sorted({each.status for each in _error_classes()} - {0})  # 0: what clients alone raise


def _problem_response(status: int) -> dict[str, Any]:
    codes = sorted({each.code for each in _error_classes() if each.status == status})
    response: dict[str, Any] = {
        "description": f"{HTTPStatus(status).phrase}; code: {' or '.join(codes)}",
        "content": {"application/problem+json": {"schema": {"$ref": _REF.format(name="Problem")}}},
    }
    if status in (429, 503):
        response["headers"] = {
            "Retry-After": {"description": "Seconds to wait", "schema": {"type": "integer", "minimum": 1}}
        }
    return response
