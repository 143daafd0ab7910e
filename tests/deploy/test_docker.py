"""deploy/docker: the Dockerfile's own commands build a server that runs, and compose takes the composition.

There is no engine where the tests run. So the stages are played in directories: what the file of ignored
names leaves is the context, and the RUN commands are those of the Dockerfile with its paths moved.
"""

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from deployed import DEPLOY, ROOT, Certificates, fails, made_token, replaced, run
from tests.shared.programs import Program, environment, free_port

from taskqueuex.node.config import load

DOCKER = DEPLOY / "docker"
DOCKERFILE = DOCKER / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, each with its arguments on one line."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines))
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def arguments(name: str) -> list[str]:
    return [rest for each, rest in instructions() if each == name]


def test_hadolint_finds_nothing_wrong(tmp_path: Path) -> None:
    assert run("hadolint", DOCKERFILE) == ""
    worse = tmp_path / "Dockerfile"
    worse.write_text(DOCKERFILE.read_text().replace('CMD ["tqx", "serve"', 'CMD ["tqx serve"\nCMD ["tqx"'))
    fails("hadolint", worse)


def test_the_server_is_not_root_and_ends_in_order() -> None:
    assert arguments("USER") == ["10001:10001"]
    assert arguments("STOPSIGNAL") == ["SIGTERM"]
    names = [name for name, _ in instructions()]
    assert names.index("USER") < names.index("CMD")
    assert names.count("FROM") == 2


def test_the_user_has_a_number_and_no_login(built: Path) -> None:
    (line,) = (built / "etc/passwd").read_text().splitlines()
    assert line == "taskqueuex:x:10001:10001::/var/lib/taskqueuex:/usr/sbin/nologin"
    for place in ("var/lib/taskqueuex", "run/taskqueuex"):
        assert (built / place).stat().st_mode & 0o777 == 0o700


def context(directory: Path) -> Path:
    """What the engine is sent: all is left out but what is named."""
    lines = (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    assert patterns[0] == "*"
    for name in (line[1:] for line in patterns if line.startswith("!")):
        to = directory / name
        to.parent.mkdir(parents=True, exist_ok=True)
        leave = shutil.ignore_patterns(*(line[3:] for line in patterns if line.startswith("**/")))
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, to, ignore=leave)
        else:
            shutil.copy(ROOT / name, to)
    return directory


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which both stages were played; it stands for the root of the image."""
    root = tmp_path_factory.mktemp("image")
    sent = context(root / "context")
    (root / "src").mkdir()
    for rest in arguments("COPY"):
        *sources, to = rest.split()
        for source in sources:
            target = root / ("src" if to == "./" else f"src/{to}" if not to.startswith("/") else to[1:])
            target.parent.mkdir(parents=True, exist_ok=True)
            if (sent / source).is_dir():
                shutil.copytree(sent / source, target)
            else:
                shutil.copy(sent / source, target)
    build, users, install = arguments("RUN")
    for name in ("passwd", "group", "shadow", "gshadow"):
        (root / "etc").mkdir(exist_ok=True)
        (root / "etc" / name).touch()
    below = {"groupadd ": f"groupadd --prefix {root} ", "useradd ": f"useradd --prefix {root} "}
    below |= {
        " --owner=10001 --group=10001": "",
        " /var/lib/taskqueuex /run": f" {root}/var/lib/taskqueuex {root}/run",
    }
    run("sh", "-ec", replaced(users, below))
    install = install.removeprefix("--mount=type=bind,from=build,source=/wheels,target=/wheels ")
    moved = {"--no-cache-dir ": ""}  # what was downloaded for the tests need not be again
    run("sh", "-ec", replaced(build, moved | {"/wheels": f"{root}/wheels"}), cwd=root / "src")
    places = moved | {"/wheels": f"{root}/wheels", "/opt/taskqueuex": f"{root}/opt"}
    run("sh", "-ec", replaced(install, places))
    return root


def test_the_image_s_command_serves_and_its_check_tells(
    built: Path, start: Callable[..., Program], tmp_path: Path
) -> None:
    config = replaced(
        (built / "etc/taskqueuex.toml").read_text(),
        {"/run/taskqueuex/": f"{tmp_path}/", "/var/lib/taskqueuex/": f"{tmp_path}/"},
    )
    (tmp_path / "taskqueuex.toml").write_text(config)
    places = {"/etc/taskqueuex.toml": str(tmp_path / "taskqueuex.toml"), "/run/taskqueuex/": f"{tmp_path}/"}
    path = environment(PATH=f"{built}/opt/bin:/usr/bin:/bin")
    command = moved(json.loads(arguments("CMD")[0]), places)
    check = moved(json.loads(arguments("HEALTHCHECK")[0].partition(" CMD ")[2]), places)

    assert "no answer" in fails(*check, env=path)
    server = start(*command, env=path)
    server.wait_for("serving")
    assert "up " in run(*check, env=path)
    assert run("sh", "-c", "command -v tqx", env=path).strip() == f"{built}/opt/bin/tqx"
    socket = f"unix:{tmp_path}/tqx.sock"
    assert run("tqx", "--server", socket, "token", "create", "first", "--scope", "admin", env=path)
    assert server.stop() == 0


def moved(command: list[str], places: dict[str, str]) -> list[str]:
    """A command with the paths that begin as given moved elsewhere; not all need be in it."""
    for old, new in places.items():
        command = [each.replace(old, new) for each in command]
    return command


@pytest.fixture(scope="module")
def composition() -> dict[str, Any]:
    """As compose itself understands the file, every profile in it."""
    file = DOCKER / "compose.yaml"
    return json.loads(run("docker-compose", "-f", file, "--profile", "*", "config", "--format", "json"))


def test_compose_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    worse = tmp_path / "compose.yaml"
    worse.write_text((DOCKER / "compose.yaml").read_text().replace("cap_drop", "cap_dropped"))
    fails("docker-compose", "-f", worse, "config")


def test_server_and_worker_run_without_the_monitoring(composition: dict[str, Any]) -> None:
    services = composition["services"]
    assert {name for name, each in services.items() if not each.get("profiles")} == {"taskqueuex", "worker"}
    assert {name for name in services if services[name].get("profiles") == ["monitoring"]} == {
        "prometheus",
        "grafana",
    }


def test_every_service_is_confined(composition: dict[str, Any]) -> None:
    for name, service in composition["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service.get("privileged"), name
        for port in service.get("ports", ()):
            assert port["host_ip"] == "127.0.0.1", name


def test_what_is_mounted_is_there(composition: dict[str, Any]) -> None:
    secrets = composition["secrets"]
    for name, service in composition["services"].items():
        binds = [each for each in service.get("volumes", ()) if each["type"] == "bind"]
        for bind in binds:
            assert Path(bind["source"]).exists(), bind
            assert bind["read_only"], bind
        for secret in service["secrets"]:
            assert secret["source"] in secrets, name
    assert all(Path(each["file"]).parent.name == "secrets" for each in secrets.values())
    assert "/secrets/" in (DOCKER / ".gitignore").read_text().splitlines()


def test_the_server_s_configuration_fits_its_service(composition: dict[str, Any]) -> None:
    service = composition["services"]["taskqueuex"]
    config = load(DOCKER / "compose.toml", {}, {})
    image = load(DOCKER / "image.toml", {}, {})
    mounted = {each["target"] for each in service["secrets"]}
    assert {config.network.tls_certificate, config.network.tls_key} <= mounted
    assert config.auth.required and image.auth.required
    assert not config.network.insecure
    places = [each["target"] for each in service["volumes"]] + [
        each.partition(":")[0] for each in service["tmpfs"]
    ]
    for each in (config, image):
        sockets = [str(listener.path.parent) for listener in each.network.listeners() if listener.path]
        assert sockets and set(sockets) <= set(places)
        assert str(Path(each.storage.data).parent) in places
    ports = [listener.port for listener in config.network.listeners() if listener.path is None]
    assert ports == [port["target"] for port in service["ports"]]
    assert [str(port) for port in ports] == arguments("EXPOSE")


def test_the_example_worker_runs_a_task_as_its_service_says(
    composition: dict[str, Any],
    serve: Callable[..., Any],
    start: Callable[..., Program],
    certificates: Certificates,
    tmp_path: Path,
) -> None:
    port, socket = free_port(), f"unix:{tmp_path}/tqx.sock"
    tls = ("--tls-certificate", certificates.certificate, "--tls-key", certificates.key)
    listen = ("--listen", f"tls:127.0.0.1:{port}", "--listen", socket)
    serve(*listen, *tls, env=environment(TQX_AUTH_REQUIRED="true"))
    told = (DEPLOY / "README.md").read_text()
    created = re.findall(r"docker compose exec .* tqx token create (.*) > .*?([\w.]+)$", told, re.MULTILINE)
    tokens = {file: made_token(socket, *shlex.split(create)) for create, file in created}
    (tmp_path / "worker.token").write_text(tokens["worker.token"] + "\n")
    shutil.copy(certificates.ca, tmp_path / "ca.pem")

    service = composition["services"]["worker"]
    places = {"https://taskqueuex:7470": f"https://localhost:{port}", "/run/secrets/": f"{tmp_path}/"}
    variables = service["environment"]
    environ = dict(zip(variables, moved(list(variables.values()), places), strict=True))
    (app,) = (each["source"] for each in service["volumes"] if each["target"] == service["working_dir"])
    clean = {"PYTHONDONTWRITEBYTECODE": "1"}  # in the image it cannot write there either
    start(*service["command"], cwd=app, env=environment(**environ, **clean))

    scopes = ("--scope", "produce:orders", "--scope", "read:orders", "--scope", "payload:orders")
    shop = made_token(socket, "shop", *scopes)
    del environ["TQX_TOKEN_FILE"]
    code = "import shop; print(shop.settle.enqueue(7, quantity=2.0).result(timeout=60))"
    result = run("python", "-c", code, cwd=app, env=environment(**environ, **clean, TQX_TOKEN=shop))
    assert result == "2.5\n"
