"""The reference of `tqx`, out of the program itself: every command, argument, option and default."""

from __future__ import annotations

import types
from collections.abc import Iterator
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin

from site_text import code, table, words
from typer.main import get_command

from taskqueuex.cli import register
from taskqueuex.cli.app import app

__all__ = ["commands", "reference"]


def commands() -> Iterator[tuple[str, Any]]:
    """All commands with what they are called, `tqx queue list`; nouns before their verbs."""
    register.nouns()
    yield from _below("tqx", get_command(app))


def _below(path: str, group: Any) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if not command.hidden:
            yield f"{path} {name}", command
            if _is_group(command):
                yield from _below(f"{path} {name}", command)


def _is_group(command: Any) -> bool:
    return bool(getattr(command, "commands", None))


def reference() -> str:
    """The page below its introduction, in Markdown."""
    register.nouns()
    root = get_command(app)
    shared = {each.name: each for each in root.params if each.name != "version"}
    parts = [
        "## Options of every command\n",
        "They may stand before the name of the command or behind it. Commands that ask no server take none "
        "of the connection's; what a command takes is under its name.\n",
        _options(root.params),
        words(root.epilog or "") + "\n",
    ]
    for path, command in commands():
        depth = len(path.split())
        if depth == 2:
            parts.append(f"## {path}\n")
        else:
            parts.append(f"### {path}\n")
        parts.append(_command(path, command, shared))
    return "\n".join(parts)


def _command(path: str, command: Any, shared: dict[str, Any]) -> str:
    parts = [_sentences(command.help or "")]
    if _is_group(command):
        return "\n".join(parts)
    arguments = [each for each in command.params if each.param_type_name == "argument" and not each.hidden]
    options = [each for each in command.params if each.param_type_name == "option" and not each.hidden]
    common = [each for each in options if each.name in shared and each.help == shared[each.name].help]
    own = [each for each in options if each not in common]
    usage = [path, *("[OPTIONS]" for _ in options[:1]), *map(_place, arguments)]
    parts.append(f"```text\n{' '.join(usage)}\n```\n")
    if arguments:
        rows = [(code(_place(each)), _default(each), words(each.help or "")) for each in arguments]
        parts.append(table(("argument", "default", "meaning"), rows))
    if own:
        parts.append(_options(own))
    if common:
        listed = ", ".join(code(each.opts[0]) for each in common)
        parts.append(f"And [options of every command](#options-of-every-command): {listed}.\n")
    return "\n".join(parts)


def _sentences(text: str) -> str:
    paragraphs = [each for each in text.replace("\b", "").split("\n\n") if each.strip()]
    return "\n\n".join(words(each) for each in paragraphs) + "\n"


def _options(options: list[Any]) -> str:
    rows = [(_flags(each), _kind(each), _default(each), words(each.help or "")) for each in options]
    return table(("option", "value", "default", "meaning"), rows)


def _flags(option: Any) -> str:
    names = [code(name) for name in sorted(option.opts, key=len, reverse=True)]
    return ", ".join([*names, *map(code, option.secondary_opts)])


def _place(argument: Any) -> str:
    """An argument as a usage line shows it."""
    name = (argument.metavar or argument.name).upper().replace("_", "-")
    if argument.nargs == -1 or argument.multiple:
        name += "..."
    return name if argument.required else f"[{name}]"


def _kind(option: Any) -> str:
    if option.is_flag:
        return ""
    annotation = _without_none(option.type_descriptor.annotation)
    choices = _choices(annotation)
    if choices:
        kind = ", ".join(map(code, choices))
    elif option.metavar:
        kind = code(option.metavar)
    else:
        kind = code(getattr(annotation, "__name__", str(annotation)))
    bounds = _bounds(option)
    often = ", may be repeated" if option.multiple else ""
    return f"{kind}{bounds}{often}"


def _bounds(option: Any) -> str:
    if option.min is not None and option.max is not None:
        return f", {option.min} to {option.max}"
    if option.min is not None:
        return f", at least {option.min}"
    return "" if option.max is None else f", at most {option.max}"


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, types.UnionType):
        (annotation,) = [each for each in get_args(annotation) if each is not type(None)]
    if get_origin(annotation) in (list, tuple):
        annotation = get_args(annotation)[0]
    return annotation


def _choices(annotation: Any) -> list[str]:
    if get_origin(annotation) is Literal:
        return [str(each) for each in get_args(annotation)]
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [str(each.value) for each in annotation]
    return []


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    value = parameter.default
    if value is None or value is False or callable(value) or value in ("", (), []):
        return ""
    return code("on" if value is True else value)
