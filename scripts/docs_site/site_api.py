"""The reference of the HTTP interface, out of the OpenAPI document: a page an area, one for the types.

An area is a tag of the document, which is the scope that its operations need.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from site_text import code, table, words

from taskqueuex import __version__
from taskqueuex.commands.openapi import document

__all__ = ["Reference"]

_TITLES = {
    "produce": "Produce",
    "consume": "Consume",
    "read": "Read",
    "operate": "Operate",
    "admin": "Administer",
    "any": "Any caller",
    "public": "Without credentials",
}
_FIELDS = ("field", "type", "default", "meaning")


class Reference:
    """The pages, in Markdown. Links between them are those of files in one directory."""

    def __init__(self) -> None:
        self.document = document(__version__)
        self.types = self.document["components"]["schemas"]

    @property
    def areas(self) -> list[str]:
        """The tags that have operations, in the document's order."""
        used = {tag for _, _, operation in self.operations() for tag in operation["tags"]}
        named = [tag["name"] for tag in self.document["tags"]]
        return [*(name for name in named if name in used), *sorted(used - set(named))]

    @staticmethod
    def title(area: str) -> str:
        """What the navigation calls an area."""
        return _TITLES.get(area, area.capitalize())

    def operations(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Method, path and description of all."""
        for path, methods in self.document["paths"].items():
            for method, operation in methods.items():
                yield method.upper(), path, operation

    def overview(self, directory: str) -> str:
        """All operations in tables with links into the pages, and the errors that any may answer."""
        parts = []
        about = {tag["name"]: tag.get("description", "") for tag in self.document["tags"]}
        for area in self.areas:
            parts.append(f"### {self.title(area)}\n\n{words(about.get(area, ''))}.\n")
            rows = [
                (
                    f"[{code(f'{method} {path}')}]({directory}/{area}.md#{operation['operationId']})",
                    words(operation["summary"]),
                )
                for method, path, operation in self.operations()
                if area in operation["tags"]
            ]
            parts.append(table(("operation", ""), rows))
        parts.append(f"## Errors\n\nThe body of each is a [Problem]({directory}/types.md#problem).\n")
        responses = self.document["components"]["responses"]
        parts.append(
            table(
                ("status", "meaning"),
                [(code(status), words(each["description"])) for status, each in responses.items()],
            )
        )
        return "\n".join(parts)

    def page(self, area: str) -> str:
        """One area: each of its operations."""
        about = {tag["name"]: tag.get("description", "") for tag in self.document["tags"]}
        parts = [f"# {self.title(area)}\n", f"{words(about.get(area, ''))}.\n"]
        if area not in ("public", "any"):
            parts.append(f"Where the server asks for tokens, these need the scope {code(area)}.\n")
        for method, path, operation in self.operations():
            if area in operation["tags"]:
                parts.append(self._operation(method, path, operation))
        return "\n".join(parts)

    def types_page(self) -> str:
        """All structs that requests and answers are made of."""
        parts = ["# Types\n", "What requests and answers are made of, by name.\n"]
        for name, schema in sorted(self.types.items()):
            parts.append(f"## {name} {{#{name.lower()}}}\n")
            parts.append(self._described(schema))
        return "\n".join(parts)

    def _operation(self, method: str, path: str, operation: dict[str, Any]) -> str:
        parts = [
            f"## {operation['summary']} {{#{operation['operationId']}}}\n",
            f'<p class="tqx-call"><span class="tqx-{method.lower()}">{method}</span> {code(path)} '
            f'<span class="tqx-id">{operation["operationId"]}</span></p>\n',
        ]
        if operation.get("description"):
            parts.append(words(operation["description"]) + "\n")
        parameters = [self._whole(each) for each in operation["parameters"]]
        if parameters:
            rows = [self._parameter(each) for each in parameters]
            parts += ["**Parameters**\n", table(("name", "in", "type", "default", "meaning"), rows)]
        body = operation.get("requestBody")
        if body:
            parts.append("**Body**" + ("\n" if body.get("required") else ", which may be left out\n"))
            for kind, content in body["content"].items():
                parts.append(self._content(kind, content))
        parts += self._answers(operation)
        return "\n".join(parts)

    def _answers(self, operation: dict[str, Any]) -> list[str]:
        parts: list[str] = []
        errors = []
        alike: dict[str, list[tuple[str, str]]] = {}  # content: statuses with their meaning
        for status, response in operation["responses"].items():
            if status >= "400":
                errors.append((code(status), words(self._whole(response)["description"])))
                continue
            response = self._whole(response)
            content = "\n".join(
                self._content(kind, each) for kind, each in response.get("content", {}).items()
            )
            heads = "".join(
                f"{code(name)}: {words(head.get('description', ''))}; {self._type(head['schema'])}\n\n"
                for name, head in response.get("headers", {}).items()
            )
            alike.setdefault(heads + content, []).append((status, response["description"]))
        for content, statuses in alike.items():
            named = " or ".join(f"{code(status)} {words(meaning)}" for status, meaning in statuses)
            parts += [f"**Answer** {named}\n", content]
        rows = "\n".join(f"    | {status} | {meaning} |" for status, meaning in errors)
        parts.append(f'??? note "Errors"\n\n    | status | meaning |\n    | --- | --- |\n{rows}\n')
        return parts

    def _content(self, kind: str, content: dict[str, Any]) -> str:
        schema = content.get("schema", {})
        named = f"{code(kind)}" if kind != "application/json" else ""
        if "$ref" not in schema:
            return f"{named} {self._type(schema)}\n".lstrip()
        name = schema["$ref"].rpartition("/")[2]
        return f"{named} {self._link(name)}: {self._described(self.types[name])}".lstrip()

    def _described(self, schema: dict[str, Any]) -> str:
        text = words(schema.get("description", ""))
        if "properties" not in schema:
            return f"{text} {self._type(schema)}\n".lstrip()
        if not schema["properties"]:
            return f"{text} It has no fields.\n".lstrip()
        required = set(schema.get("required", ()))
        rows = [
            (code(name), self._type(field), _default(field, name in required), self._meaning(field))
            for name, field in schema["properties"].items()
        ]
        return f"{text}\n\n{table(_FIELDS, rows)}"

    def _parameter(self, parameter: dict[str, Any]) -> tuple[str, ...]:
        schema = parameter["schema"]
        texts = [words(parameter.get("description", "")).rstrip("."), self._meaning(schema)]
        meaning = "; ".join(filter(None, texts))
        default = _default(schema, parameter.get("required", False))
        return (code(parameter["name"]), parameter["in"], self._type(schema), default, meaning)

    def _whole(self, part: dict[str, Any]) -> dict[str, Any]:
        """What a reference refers to."""
        while "$ref" in part:
            found: Any = self.document
            for step in part["$ref"].removeprefix("#/").split("/"):
                found = found[step]
            part = found
        return part

    @staticmethod
    def _link(name: str) -> str:
        return f"[{code(name)}](types.md#{name.lower()})"

    def _type(self, schema: dict[str, Any]) -> str:
        if "$ref" in schema:
            return self._link(schema["$ref"].rpartition("/")[2])
        if "anyOf" in schema or "oneOf" in schema:
            kinds = [self._type(each) for each in schema.get("anyOf") or schema["oneOf"]]
            return " or ".join(dict.fromkeys(kinds))
        if "enum" in schema:
            return " or ".join(code(_json(each)) for each in schema["enum"])
        if "const" in schema:
            return code(_json(schema["const"]))
        kind = schema.get("type")
        if isinstance(kind, list):
            return " or ".join(kind)
        if kind == "array":
            items = schema.get("items")
            return f"array of {self._type(items)}" if isinstance(items, dict) else "array"
        if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
            return f"object of {self._type(schema['additionalProperties'])}"
        return kind or "any JSON"

    def _meaning(self, schema: dict[str, Any]) -> str:
        """Description and bounds, also of the only choice that is not null."""
        found = []
        for each in (schema, *schema.get("anyOf", ()), *schema.get("oneOf", ())):
            if each.get("description"):
                found.append(words(each["description"]).rstrip("."))
            found += _bounds(each)
            if isinstance(each.get("items"), dict):
                found += [f"each: {bound}" for bound in _bounds(each["items"])]
        return "; ".join(dict.fromkeys(found))


def _bounds(schema: dict[str, Any]) -> list[str]:
    found = []
    if str(schema.get("description", "")).endswith("bytes"):  # a bound of its own, below that of characters
        schema = {key: value for key, value in schema.items() if key != "maxLength"}
    for low, high, what in (
        ("minimum", "maximum", ""),
        ("exclusiveMinimum", "exclusiveMaximum", ", both excluded"),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " items"),
        ("minProperties", "maxProperties", " entries"),
    ):
        least, most = schema.get(low), schema.get(high)
        if least is not None and most is not None:
            found.append(f"{least:,} to {most:,}{what}")
        elif least is not None:
            found.append(f"more than {least:,}" if "exclusive" in low else f"at least {least:,}{what}")
        elif most is not None:
            found.append(f"less than {most:,}" if "exclusive" in high else f"at most {most:,}{what}")
    if "pattern" in schema:
        found.append(f"matches {code(schema['pattern'])}")
    return found


def _json(value: object) -> str:
    return json.dumps(value)


def _default(schema: dict[str, Any], required: bool) -> str:
    if required:
        return "required"
    if schema.get("default") is None:
        return ""
    return code(_json(schema["default"]))
