"""Writes the client's builders and methods from the command table: `python scripts/generate_client.py`.

`requests.py` has a builder per row, `sync_methods.py` and `async_methods.py` a method over each. A test
compares the files with what this would write.
"""

import inspect
import subprocess
import sys
import textwrap
import types
import typing
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from taskqueuex.client.request import Operation
from taskqueuex.commands import COMMANDS, Command

ROOT = Path(__file__).resolve().parent.parent / "src/taskqueuex/client"
NOTE = "Written by scripts/generate_client.py from the command table; do not edit."

# A row whose answers differ by status: the parameter that chooses, and the status of each value.
CHOICES = {"enqueue_batch": ("partial", {False: 201, True: 200})}
# A row whose answer is a page: the iterator over all pages, and the field of a page that has the items.
PAGES = {
    "list_tasks": ("iterate_tasks", "tasks"),
    "list_workflows": ("iterate_workflows", "workflows"),
    "get_workflow": ("iterate_workflow_tasks", "tasks"),
    "list_schedules": ("iterate_schedules", "schedules"),
    "list_audit": ("iterate_audit", "entries"),
}


class Parameter(NamedTuple):
    """A keyword argument, as text. `passed` is what the struct is given for it."""

    name: str
    annotation: str
    default: str | None
    passed: str

    @property
    def declared(self) -> str:
        return f"{self.name}: {self.annotation}" + ("" if self.default is None else f" = {self.default}")


def render(kind: Any, *, accepts: bool) -> str:
    """A type as text. `accepts`: of an argument, which may be wider than what the struct says."""
    if kind is Any or (accepts and kind is msgspec.Raw):
        return "Any"
    if kind is type(None):
        return "None"
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Union or origin is types.UnionType:
        parts = list(dict.fromkeys(render(each, accepts=accepts) for each in arguments))
        if "Any" in parts:
            return "Any"
        return " | ".join(sorted(parts, key=lambda part: part in ("None", "UnsetType")))
    if origin is typing.Literal:
        return f"Literal[{', '.join(quoted(each) for each in arguments)}]"
    if origin in (list, dict):
        names = {list: "Sequence", dict: "Mapping"} if accepts else {list: "list", dict: "dict"}
        return f"{names[origin]}[{', '.join(render(each, accepts=accepts) for each in arguments)}]"
    if kind is msgspec.UnsetType:
        return "UnsetType"
    if kind.__module__ == "builtins":
        return str(kind.__name__)
    name = f"{kind.__module__.rpartition('.')[2]}.{kind.__name__}"
    return f"{name} | Mapping[str, Any]" if accepts else name


def quoted(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def parameters(struct: Any) -> list[Parameter]:
    """The fields of a struct as arguments; those that are required come first."""
    if struct is None:
        return []
    hints = typing.get_type_hints(struct)
    found = [parameter(field, hints[field.name]) for field in msgspec.structs.fields(struct)]
    return sorted(found, key=lambda each: each.default is not None)


def parameter(field: Any, kind: Any) -> Parameter:
    annotation, name = render(kind, accepts=True), field.name
    if "Raw" in str(kind) and annotation == "Any":
        default = "None" if field.default_factory is not msgspec.NODEFAULT else "UNSET"
        return Parameter(name, "Any", default, f'encode_value({name}, "{name}")')
    if field.default is not msgspec.NODEFAULT:
        default = "UNSET" if field.default is msgspec.UNSET else quoted(field.default)
        return Parameter(name, annotation, default, name)
    if field.default_factory is list:
        return Parameter(name, annotation, "()", f"list({name})")
    if field.default_factory is not msgspec.NODEFAULT:
        return Parameter(name, f"{annotation} | UnsetType", "UNSET", name)
    return Parameter(name, annotation, None, f"list({name})" if annotation.startswith("Sequence") else name)


def target_of(row: Command) -> str:
    return row.path.partition("{")[2].partition("}")[0]


def key_parameters(row: Command) -> list[Parameter]:
    if Operation(row.name).repeat != "keyed":
        return []
    return [Parameter("idempotency_key", "str | None", "None", "idempotency_key")]


def arguments_of(row: Command) -> list[Parameter]:
    return parameters(row.body or row.query) + key_parameters(row)


def signature(row: Command, given: list[Parameter], first: str) -> str:
    parts = [first] if first else []
    if target_of(row):
        parts.append(f"{target_of(row)}: str")
    if given:
        parts += ["*", *(each.declared for each in given)]
    return ", ".join(parts)


def reply_type(row: Command, status: int | None = None) -> str:
    kinds = [row.replies[status]] if status else list(row.replies.values())
    texts = dict.fromkeys("str" if kind is None else render(kind, accepts=False) for kind in kinds)
    return " | ".join(texts)


def docstring(row: Command, more: str = "") -> str:
    struct = row.body or row.query
    lines = [f"{row.summary}. {more}".strip()]
    if struct is not None and struct.__doc__:
        lines += ["", *textwrap.wrap(inspect.cleandoc(struct.__doc__).replace("\n", " "), 92)]
    lines += ["", f"{row.method} {row.path}"]
    return "\n".join(lines).replace("\\", "\\\\")


def indented(text: str, by: str = "    ") -> str:
    return textwrap.indent(text, by)


def definition(head: str, doc: str, body: str) -> str:
    # A blank line within a docstring has no blanks.
    return f"{head}\n{indented(f'{chr(34) * 3}{doc}{chr(10)}{chr(34) * 3}')}\n{indented(body)}\n"


def builder(row: Command) -> str:
    given = arguments_of(row)
    constant = f"_{row.name.upper()}"
    values = [constant, f"{constant}.path({target_of(row)})" if target_of(row) else f'"{row.path}"']
    struct = row.body or row.query
    if struct is not None:
        fields = ", ".join(f"{each.name}={each.passed}" for each in parameters(struct))
        values.append(f"{'body' if row.body else 'query'}=_{struct.__name__}({fields})")
    if any(each.name == "wait_ms" for each in given):
        values.append("wait_ms=wait_ms")
    if row.name == "settle":
        values.append("wait_ms=settle_wait_ms(dequeue, wait, bool(ack or fail or release or heartbeat))")
    if key_parameters(row):
        values.append("key=idempotency_key")
    head = f"def {row.name}({signature(row, given, '')}) -> Request[{reply_type(row)}]:"
    return definition(head, docstring(row), f"return Request({', '.join(values)})")


def requests_file() -> str:
    rows = [row for row in COMMANDS.values() if not row.streams]
    structs = {row.body or row.query for row in rows} - {None}
    names = sorted(structs, key=lambda each: each.__name__)
    parts = [
        f'"""A builder for every row of the command table.\n\n{NOTE}\n"""\n',
        imports(
            "from taskqueuex.client.request import Operation, Request, encode_value, settle_wait_ms\n",
            used_modules("".join(builder(row) for row in rows), names),
        ),
        f"__all__ = {sorted(row.name for row in rows)!r}\n",
        *(f'_{row.name.upper()} = Operation("{row.name}")' for row in rows),
        "\n# They are given more than they say: mappings for structs, values for JSON.",
        *(f"_{each.__name__}: Any = {each.__module__.rpartition('.')[2]}.{each.__name__}" for each in names),
        "",
        *(f"\n{builder(row)}" for row in rows),
    ]
    return "\n".join(parts)


def used_modules(text: str, structs: list[Any]) -> list[str]:
    named = {each.__module__.rpartition(".")[2] for each in structs}
    every = ("access", "admin", "consume", "produce", "queues", "schedules", "tasks")
    return [each for each in every if each in named or f"{each}." in text]


def imports(own: str, modules: list[str], more: str = "") -> str:
    return (
        "from collections.abc import AsyncIterator, Iterator, Mapping, Sequence\n"
        "from typing import Any, Literal, TypeVar, overload\n\n"
        f"from msgspec import UNSET, UnsetType\n\n{own}"
        f"from taskqueuex.commands import {', '.join(modules)}\n{more}"
    )


def call_of(row: Command, given: list[Parameter], what: str) -> str:
    values = [target_of(row)] if target_of(row) else []
    values += [f"{each.name}={each.name}" for each in given]
    return f"{what}({', '.join(values)})"


def method(row: Command, is_async: bool) -> str:
    given = arguments_of(row)
    prefix, wait = ("async def", "await ") if is_async else ("def", "")
    doc = docstring(row)
    text = ""
    if row.name in CHOICES:
        name, statuses = CHOICES[row.name]
        choices = [(f"Literal[{value}]", reply_type(row, status)) for value, status in statuses.items()]
        for index, (annotation, reply) in enumerate([*choices, ("bool", reply_type(row))]):
            default = "..." if index == 0 else None
            typed = [
                Parameter(name, annotation, default, name)
                if each.name == name
                else each._replace(default=each.default and "...")
                for each in given
            ]
            text += f"@overload\n{prefix} {row.name}({signature(row, typed, 'self')}) -> {reply}: ...\n\n"
    head = f"{prefix} {row.name}({signature(row, given, 'self')}) -> {reply_type(row)}:"
    body = f"return {wait}self.send({call_of(row, given, f'requests.{row.name}')})"
    return text + definition(head, doc, body)


def page_method(row: Command, is_async: bool) -> str:
    name, items = PAGES[row.name]
    given = [each for each in arguments_of(row) if each.name != "cursor"]
    page = next(iter(row.replies.values()))
    hint = typing.get_type_hints(page)[items]
    if type(None) in typing.get_args(hint):
        hint = next(each for each in typing.get_args(hint) if each is not type(None))
    item = render(typing.get_args(hint)[0], accepts=False)
    cursor = Parameter("cursor", "", "", "")
    call = call_of(row, [*given, cursor], f"self.{row.name}")
    kind, pages, loop = (
        ("AsyncIterator", "async_pages", "async for") if is_async else ("Iterator", "pages", "for")
    )
    head = f"{'async ' if is_async else ''}def {name}({signature(row, given, 'self')}) -> {kind}[{item}]:"
    body = f"{loop} page in {pages}(lambda cursor: {call}):\n"
    body += f"    for item in page.{items} or ():\n        yield item"
    if not is_async:
        body = f"for page in pages(lambda cursor: {call}):\n    yield from page.{items} or ()"
    return definition(head, docstring(row, "All pages, `limit` a call."), body)


def methods_file(is_async: bool) -> str:
    name = "AsyncMethods" if is_async else "SyncMethods"
    prefix, shell = ("async ", "AsyncClient") if is_async else ("", "Client")
    methods = [method(row, is_async) for row in COMMANDS.values() if not row.streams]
    methods += [page_method(COMMANDS[each], is_async) for each in PAGES]
    modules = used_modules("".join(methods), [])
    return "\n".join(
        [
            f'"""The methods of `{shell}`: one for every row of the command table.\n\n{NOTE}\n"""\n',
            imports(
                "from taskqueuex.client import requests\n"
                f"from taskqueuex.client.paging import {'async_pages' if is_async else 'pages'}\n"
                "from taskqueuex.client.request import Request\n",
                modules,
            ),
            f'__all__ = ["{name}"]\n',
            'T = TypeVar("T")\n\n',
            f"class {name}:",
            '    """Every operation of the API. All raise the errors of `taskqueuex.errors`."""\n',
            f"    {prefix}def send(self, request: Request[T]) -> T:",
            '        """Makes a call: what all methods do."""',
            "        raise NotImplementedError\n",
            *(indented(each) for each in methods),
        ]
    )


def formatted(text: str, name: str) -> str:
    """As ruff writes it, without the imports that are not used."""
    for command in (["check", "--fix", "--quiet", "--select", "I,F401"], ["format", "--quiet"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--stdin-filename", str(ROOT / name), "-"],
            input=text,
            text=True,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{name}: {done.stdout}{done.stderr}")
        text = done.stdout
    return text


def files() -> dict[Path, str]:
    """What the generated files have to be."""
    made = {
        "requests.py": requests_file(),
        "sync_methods.py": methods_file(False),
        "async_methods.py": methods_file(True),
    }
    return {ROOT / name: formatted(text, name) for name, text in made.items()}


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text)
