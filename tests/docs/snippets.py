"""Runs the code of a guide as a reader would: section by section, each in a directory of its own.

    ```python               whose first line is `# name.py` is that file; `# test_name.py` is run by pytest
    ```python               without such a line is a piece of the section's script, which must end well
    ```python before        is of another library: it is only parsed
    ```sh                   commands: `tqx serve` and `tqx worker` run until the section ends, others to their
                            end; what `pip install` names must be an extra of this project
    ```sh unrun             commands of tqx that take too long: their options must exist
    ```ini, ```toml         a unit of systemd, and a configuration that the server must take

A section is what stands under one `##` heading. It has a server in memory; if it says `tqx serve`, a real
one. Where it has a script, and a module with an app, a worker of that module runs beside it. The usual
address in a script is replaced by the server's. Where `tqx serve` has options, the commands are run in their
order and the scripts behind them, and what is replaced is the port.
"""

import ast
import configparser
import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from pathlib import Path

from processes import Program
from tests.docs.tour import ROOT
from tests.shared.programs import free_port

from taskqueuex.cli import register
from taskqueuex.cli.app import run as tqx
from taskqueuex.node.config import load
from taskqueuex.testing import MemoryServer

__all__ = ["Section", "all_blocks", "run", "sections"]

TIMEOUT_S = 60
ADDRESS = "http://127.0.0.1:7470"

_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_KEPT = {"sh unrun": "unrun", "toml": "settings", "ini": "units"}
_FILE = re.compile(r"# (\w+\.py)\n")


@dataclass
class Section:
    """What is to be run of one section."""

    title: str
    files: dict[str, str] = field(default_factory=dict)
    scripts: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    unrun: list[str] = field(default_factory=list)
    settings: list[str] = field(default_factory=list)  # in TOML
    units: list[str] = field(default_factory=list)

    @property
    def serves(self) -> bool:
        """Whether it starts a server in its own way."""
        return any(each.startswith("tqx serve ") for each in self.commands)

    @property
    def modules(self) -> list[str]:
        """Those with an app, which a worker can be started for."""
        return [name[:-3] for name, code in self.files.items() if "= App(" in code]

    @property
    def tests(self) -> list[str]:
        """Files for pytest."""
        return [name for name in self.files if name.startswith("test_")]


def all_blocks(text: str) -> list[tuple[str, str]]:
    """All fenced blocks of a document: what stands behind the fence, and the content."""
    return _FENCE.findall(text)


def sections(text: str) -> list[Section]:
    """The sections that have something to run. Raises ValueError for a block that nothing can run."""
    found = []
    for part in re.split(r"^## ", text, flags=re.MULTILINE):
        section = Section(part.partition("\n")[0])
        for language, content in all_blocks(part):
            _add(section, language, content)
        if any(getattr(section, each.name) for each in fields(section)[1:]):
            found.append(section)
    return found


def _add(section: Section, language: str, content: str) -> None:
    if language == "python before":
        ast.parse(content)
    elif language == "sh":
        section.commands += content.replace("\\\n", "").splitlines()
    elif language in _KEPT:
        getattr(section, _KEPT[language]).append(content)
    elif language != "python":
        raise ValueError(f"{section.title}: a block of {language!r} cannot be run")
    elif named := _FILE.match(content):
        section.files[named[1]] = content
    else:
        section.scripts.append(content)


def run(section: Section, directory: Path) -> None:
    """Runs a section in an empty directory. Raises AssertionError with what was printed."""
    for name, code in section.files.items():
        (directory / name).write_text(code)
    _check(section, directory)
    with ExitStack() as stack:
        if section.serves:
            _run_in_order(section, directory, stack)
            return
        url = _server(section, directory, stack)
        if section.scripts:
            for module in section.modules:
                _start(["worker", module, "--name", f"of-{module}"], directory, url, stack)
            script = directory / "script.py"
            script.write_text("".join(section.scripts).replace(ADDRESS, url))
            _to_the_end([sys.executable, "script.py"], directory, url)
        for test in section.tests:
            _to_the_end([sys.executable, "-m", "pytest", "-q", "-W", "error", test], directory, url)
        for command in section.commands:
            if " > " in command:
                _to_the_end(["bash", "-ec", command], directory, url)
            else:
                _run_command(shlex.split(command), directory, url, stack)


def _server(section: Section, directory: Path, stack: ExitStack) -> str:
    if "tqx serve" not in section.commands:
        return stack.enter_context(MemoryServer()).url
    serve = Program("taskqueuex.cli", "serve", "--listen", "127.0.0.1:0", cwd=directory)
    stack.callback(_end, serve)
    return serve.wait_for(r"serving url=(\S+)")[1]


def _check(section: Section, directory: Path) -> None:
    register.nouns()
    for command in "".join(section.unrun).splitlines():
        assert tqx([*shlex.split(command)[1:], "--help"]) == 0, command
    for content in section.settings:
        (directory / "settings.toml").write_text(content)
        load(directory / "settings.toml", {}, {})
    for content in section.units:
        unit = configparser.RawConfigParser(strict=False)
        unit.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their case
        unit.read_string(content)
        program, *words = shlex.split(unit["Service"]["ExecStart"])
        assert program.endswith("/tqx") and tqx([*words, "--help"]) == 0, content


def _run_in_order(section: Section, directory: Path, stack: ExitStack) -> None:
    port = str(free_port())
    for command in section.commands:
        words = shlex.split(command.replace("7470", port))
        if words[:2] == ["tqx", "serve"]:
            serve = Program("taskqueuex.cli", *words[1:], cwd=directory)
            stack.callback(_end, serve)
            serve.wait_for(r"serving url=")
        else:
            _to_the_end(["bash", "-ec", command.replace("7470", port)], directory, "")
    if section.scripts:
        (directory / "script.py").write_text("".join(section.scripts).replace("7470", port))
        _to_the_end([sys.executable, "script.py"], directory, "")


def _run_command(command: list[str], directory: Path, url: str, stack: ExitStack) -> None:
    if command == ["tqx", "serve"]:
        return  # it runs already
    if command[:2] == ["pip", "install"]:
        _check_extras(command[2])
    elif command[:2] == ["tqx", "worker"]:
        _start(command[1:], directory, url, stack)
    elif command[0] == "tqx":
        _to_the_end([sys.executable, "-m", "taskqueuex.cli", *command[1:]], directory, url)
    else:
        raise ValueError(f"{command} cannot be run")


def _check_extras(requirement: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    name, _, extras = requirement.rstrip("]").partition("[")
    assert name == project["name"]
    assert set(filter(None, extras.split(","))) <= set(project["optional-dependencies"])


def _start(arguments: list[str], directory: Path, url: str, stack: ExitStack) -> None:
    worker = Program("taskqueuex.cli", *arguments, cwd=directory, env={"TQX_SERVER": url})
    stack.callback(_end, worker)
    worker.wait_for("worker ready")


def _end(program: Program) -> None:
    program.signal(signal.SIGTERM)
    code = program.wait()
    program.kill()
    assert code == 0, program.log


def _to_the_end(command: list[str], directory: Path, url: str) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    ended = subprocess.run(
        command,
        cwd=directory,
        env={**os.environ, "TQX_SERVER": url, "PATH": path},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert ended.returncode == 0, f"{command}:\n{ended.stdout}{ended.stderr}"
