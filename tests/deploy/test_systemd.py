"""deploy/systemd: the units are right and tight, and the server runs within what they leave it."""

import re
import signal
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from deployed import DEPLOY, Caller, Certificates, fails, made_token, replaced, run
from tests.shared.programs import TIMEOUT_S, Program, environment, free_port

from taskqueuex.cli.doctor import examine
from taskqueuex.node.config import load

SYSTEMD = DEPLOY / "systemd"
UNITS = ("taskqueuex.service", "taskqueuex-worker@.service")
EXPOSURE_MAX = 15  # of 100, as `systemd-analyze security` counts
CONFINED = Path(__file__).with_name("confined.py")
APP = """
from taskqueuex import App

app = App()


@app.task(queue="sums")
def add(a: int, b: int) -> int:
    return a + b


@app.task(queue="sums", mode="process")
def multiply(a: int, b: int) -> int:
    return a * b
"""


def installed(unit: str, directory: Path) -> Path:
    """The unit, with the program where it is here."""
    tqx = run("sh", "-c", "command -v tqx").strip()
    text = re.sub(r"/opt/[\w%]+/bin/tqx", tqx, (SYSTEMD / unit).read_text())
    path = directory / unit
    path.write_text(text.replace("WorkingDirectory=/opt/%i", f"WorkingDirectory={directory}"))
    return path


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_nothing_wrong_with_a_unit(tmp_path: Path, unit: str) -> None:
    path = installed(unit, tmp_path)
    instance = path if "@" not in unit else path.with_name(unit.replace("@", "@shop"))
    assert run("systemd-analyze", "verify", instance) == ""
    path.write_text(path.read_text().replace("Restart=always", "Restart=sometimes"))
    assert "sometimes" in run("systemd-analyze", "verify", instance)


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_leaves_little_to_attack(tmp_path: Path, unit: str) -> None:
    path = installed(unit, tmp_path)
    check = ("systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE_MAX}")
    run(*check, path)
    path.write_text(re.sub(r"^(SystemCallFilter|Private|Protect).*\n", "", path.read_text(), flags=re.M))
    fails(*check, path)


def allowed_calls(unit: str) -> list[str]:
    """The system calls that a unit's filters leave, as systemd reads them: the first line says what is
    allowed, the others add, or with ~ take away."""
    allowed: set[str] = set()
    for line in settings_of(unit, "SystemCallFilter"):
        names: set[str] = set()
        for each in line.removeprefix("~").split():
            names |= members(each) if each.startswith("@") else {each}
        allowed = allowed - names if line.startswith("~") else allowed | names
    return sorted(allowed)


def members(group: str) -> set[str]:
    found: set[str] = set()
    for line in run("systemd-analyze", "syscall-filter", "--no-pager", group).splitlines():
        name = line.strip()
        if name.startswith("@") and name != group:
            found |= members(name)
        elif line.startswith(" ") and name and not name.startswith("#"):
            found.add(name)
    assert found, group
    return found


def settings_of(unit: str, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", (SYSTEMD / unit).read_text(), re.MULTILINE)


def confined(unit: str) -> tuple[object, ...]:
    """What stands before a command that is to run within the filters of a unit."""
    (deny,) = settings_of(unit, "MemoryDenyWriteExecute")
    (families,) = settings_of(unit, "RestrictAddressFamilies")
    return ("python", CONFINED, deny, ",".join(families.split()), ",".join(allowed_calls(unit)))


def test_the_filters_hold_what_they_are_for() -> None:
    within = confined(UNITS[0])
    fails(*within, "python", "-c", "import os; os.chown('/', 0, 0)")
    for code in (
        "import mmap; mmap.mmap(-1, 4096, prot=7)",
        "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    ):
        assert "PermissionError" in fails(*within, "python", "-c", code)
        run("python", "-c", code)


def program_of(unit: str, replacements: dict[str, str]) -> list[str]:
    """The command of a unit, with what systemd or the tests put into it."""
    (command,) = settings_of(unit, "ExecStart")
    return replaced(re.sub(r"/opt/[\w%]+/bin/tqx", "tqx", command), replacements).split()


def test_server_and_worker_do_their_work_within_the_filters(
    start: Callable[..., Program], certificates: Certificates, tmp_path: Path
) -> None:
    port = free_port()
    places = {
        "0.0.0.0:7470": f"127.0.0.1:{port}",
        "/run/taskqueuex": str(tmp_path),
        "/var/lib/taskqueuex": str(tmp_path),
        "/etc/taskqueuex/certificate.pem": str(certificates.certificate),
        "/etc/taskqueuex/key.pem": str(certificates.key),
    }
    config = tmp_path / "taskqueuex.toml"
    config.write_text(replaced((SYSTEMD / config.name).read_text(), places))
    serve = program_of(UNITS[0], {"/etc/taskqueuex.toml": str(config)})
    server = start(*confined(UNITS[0]), *serve)
    server.wait_for("serving")

    socket = f"unix:{tmp_path}/tqx.sock"
    every = [f"--scope={each}" for each in ("admin", "produce", "consume", "read", "payload")]
    token = made_token(socket, "all", *every)
    (tmp_path / "token").write_text(token + "\n")
    (tmp_path / "sums.py").write_text(APP)
    (credential,) = (each for each in settings_of(UNITS[1], "Environment") if each.startswith("TQX_TOKEN"))
    name, _, file = credential.partition("=")
    environ = environment(TQX_SERVER=f"https://localhost:{port}", TQX_CA=str(certificates.ca))
    environ[name] = file.replace("%d", str(tmp_path))
    work = program_of(UNITS[1], {"$APP": "sums:app", "$OPTIONS": "--concurrency 5 --queues sums"})
    worker = start(*confined(UNITS[1]), *work, cwd=tmp_path, env=environ)
    for task, answer in (("add", "5"), ("multiply", "6")):
        code = f"import sums; print(sums.{task}.enqueue(2, 3).result(timeout={TIMEOUT_S}))"
        assert run("python", "-c", code, cwd=tmp_path, env=environ) == answer + "\n"

    caller = Caller(port, certificates.ca, token)
    caller.good("POST", "/v1/queues/many/tasks/batch", {"tasks": [{"payload": "x" * 1000}] * 5_000})
    caller.good("POST", "/v1/admin/backup", {"path": str(tmp_path / "backup")})
    assert "taskqueuex_host_memory_available_bytes 0.0" not in caller.call("GET", "/metrics").body.decode()
    caller.close()
    server.process.send_signal(signal.SIGHUP)
    server.wait_for("reloaded")
    assert worker.stop() == 0
    assert server.stop() == 0
    assert "Error" not in server.log + worker.log


def test_the_example_of_a_configuration_is_one(tmp_path: Path) -> None:
    path = SYSTEMD / "taskqueuex.toml"
    config = load(path, {}, {})
    assert config.auth.required
    assert not config.network.insecure
    state, runtime = (settings_of(UNITS[0], f"{kind}Directory")[0] for kind in ("State", "Runtime"))
    assert Path(config.storage.data).is_relative_to(Path("/var/lib") / state)
    sockets = [each.path for each in config.network.listeners() if each.path is not None]
    assert sockets and all(each.is_relative_to(Path("/run") / runtime) for each in sockets)
    assert f"--config /etc/{path.name}" in (SYSTEMD / UNITS[0]).read_text()


def test_what_is_commented_out_in_it_is_right_too(tmp_path: Path) -> None:
    text = (SYSTEMD / "taskqueuex.toml").read_text()
    section, commented = "", []
    for line in text.splitlines():
        if line.startswith("["):
            section = line
        elif re.match(r"#\w+ = ", line):
            commented.append((section, line[1:]))
    assert len(commented) > 5
    for section, line in commented:
        path = tmp_path / "one.toml"
        path.write_text(f"{section}\n{line}\n")
        load(path, {}, {})
        assert tomllib.loads(path.read_text())


def test_the_kernel_s_settings_are_what_the_doctor_asks_for(tmp_path: Path) -> None:
    text = (SYSTEMD / "sysctl.d/60-taskqueuex.conf").read_text()
    settings = dict(re.findall(r"^([\w.]+) = (.*)$", text, re.MULTILINE))
    for name, value in settings.items():
        assert (Path("/proc/sys") / name.replace(".", "/")).exists(), name
        assert all(part.isdigit() for part in value.split())
    advice = " ".join(finding.advice for finding in examine(tmp_path)) + (
        (DEPLOY.parent / "docs/operations.md").read_text()
    )
    for name, value in settings.items():
        assert f"{name}={value}" in advice or f'{name}="{value}"' in advice, name


def test_systemd_makes_the_server_s_user(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    run("systemd-sysusers", f"--root={tmp_path}", SYSTEMD / "sysusers.d/taskqueuex.conf")
    line = (tmp_path / "etc/passwd").read_text()
    user = settings_of(UNITS[0], "User")[0]
    assert re.match(rf"^{user}:!?x?:\d+:\d+:.*:/var/lib/taskqueuex:/usr/sbin/nologin$", line.strip())
