"""deploy/README.md: what it tells to do can be done.

Commands that need an engine, a cluster or a machine of one's own are run as far as they go without: files
are installed below a directory, kubectl makes what it would send, tqx asks a server by its socket.
"""

import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from deployed import DEPLOY, ROOT, Certificates, run

README = (DEPLOY / "README.md").read_text()
COMMANDS = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]
SERVICES = yaml.safe_load((DEPLOY / "docker/compose.yaml").read_text())["services"]
# What changes the machine, or is run by the tests beside this one.
ELSEWHERE = {
    "python3 -m venv /opt/taskqueuex",
    "/opt/taskqueuex/bin/pip install --constraint constraints.txt '.[tls,encryption]'",
    "systemd-sysusers",
    "sysctl --system",
    "systemctl daemon-reload",
    "systemctl enable --now taskqueuex",
    "docker compose build taskqueuex",
    "haproxy -c -f /etc/haproxy/haproxy.cfg",
    "nginx -t",
    "caddy validate --config /etc/caddy/Caddyfile",
    "promtool check config /etc/prometheus/prometheus.yml",
    "kubectl rollout status statefulset/taskqueuex",
}


def those(first: str) -> list[str]:
    """The commands that begin with a word, or words."""
    return [each for each in COMMANDS if each.startswith(first + " ")]


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert len(links) > 10
    for link in links:
        assert (DEPLOY / link).exists(), link


def test_every_file_is_told_of_or_belongs_to_one_that_is() -> None:
    for path in DEPLOY.iterdir():
        assert path.name == "README.md" or f"]({path.name})" in README, path


def test_every_command_is_one_that_some_test_runs() -> None:
    kinds = ("install", "docker compose", "kubectl", "tqx", "/opt/taskqueuex/bin/tqx", "promtool test rules")
    kinds += ("export", "mkdir", "openssl", "chmod")
    for command in COMMANDS:
        assert command in ELSEWHERE or command.startswith(tuple(kind + " " for kind in kinds)), command
    assert set(COMMANDS) >= ELSEWHERE


def test_files_are_installed_where_they_are_looked_for(certificates: Certificates, tmp_path: Path) -> None:
    for name, made in (
        ("certificate", certificates.certificate),
        ("key", certificates.key),
        ("ca", certificates.ca),
    ):
        (tmp_path / f"{name}.pem").write_bytes(made.read_bytes())
    (tmp_path / "taskqueuex.token").write_text("a token\n")
    os.symlink(DEPLOY, tmp_path / "deploy")
    for command in those("install"):
        mine = re.sub(r" -([og]) \w+", "", command).replace(" /etc/", f" {tmp_path}/etc/")
        run(*shlex.split(mine), cwd=tmp_path)
    installed = {str(path.relative_to(tmp_path)) for path in tmp_path.glob("etc/**/*") if path.is_file()}
    unit = (DEPLOY / "systemd/taskqueuex.service").read_text()
    (config,) = re.findall(r"--config /(\S+)", unit)
    looked_for = {config, *re.findall(r'^\w+ = "/(etc/\S+)"', (tmp_path / config).read_text(), re.MULTILINE)}
    assert looked_for <= installed
    assert run("promtool", "check", "config", tmp_path / "etc/prometheus/prometheus.yml")


def test_promtool_s_tests_of_the_rules_are_run_as_it_says() -> None:
    (command,) = those("promtool test rules")
    assert "SUCCESS" in run(*shlex.split(command), cwd=ROOT)


@pytest.fixture
def shell(serve: Callable[..., Any], tmp_path: Path) -> Callable[[str], str]:
    """Runs a command where there is a server that asks for no token on its socket."""
    socket = f"unix:{tmp_path}/tqx.sock"
    serve("--listen", socket)

    def told(command: str) -> str:
        command = re.sub(r"^.*?\btqx (--server \S+ |--token-file \S+ )*", f"tqx --server {socket} ", command)
        return run("bash", "-c", f"set -e; {command}", cwd=tmp_path)

    return told


@pytest.mark.parametrize("section", ["systemd", "Docker", "Kubernetes"])
def test_the_tokens_of_a_new_server_are_made_as_it_says(
    section: str, shell: Callable[[str], str], tmp_path: Path
) -> None:
    (tmp_path / "deploy/docker/secrets").mkdir(parents=True)
    text = README.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    commands = [each for each in COMMANDS if " token create " in each and each in text]
    assert commands
    for command in commands:
        shell(command)
        file = tmp_path / command.split(">")[1].strip()
        assert len(file.read_text().split()) == 1, command


def test_what_is_asked_of_the_server_is_answered(shell: Callable[[str], str]) -> None:
    commands = [each for each in COMMANDS if each.endswith(" tqx workers list")]
    assert len(commands) == 2
    for command in commands:
        shell(command)


def test_the_doctor_is_asked_as_it_says(tmp_path: Path) -> None:
    (command,) = (each for each in COMMANDS if " doctor " in each)
    options = set(re.findall(r"--\w+", command))
    assert options and all(option in run("tqx", "doctor", "--help") for option in options)


def test_the_secrets_of_the_composition_are_made_as_it_says(tmp_path: Path) -> None:
    (tmp_path / "deploy/docker").mkdir(parents=True)
    begin, end = COMMANDS.index("export COMPOSE_FILE=deploy/docker/compose.yaml"), "docker compose"
    script = []
    for command in COMMANDS[begin:]:
        if command.startswith(end):
            break
        script.append(command)
    run("bash", "-ec", "\n".join(script), cwd=tmp_path)
    directory = tmp_path / "deploy/docker/secrets"
    assert directory.stat().st_mode & 0o777 == 0o700
    made = {path.name for path in directory.iterdir()}
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in directory.iterdir())
    told = {Path(command.split(">")[1].strip()).name for command in COMMANDS if "> deploy/docker" in command}
    secrets = yaml.safe_load((DEPLOY / "docker/compose.yaml").read_text())["secrets"]
    assert {Path(each["file"]).name for each in secrets.values()} <= made | told


def test_compose_has_the_services_and_the_options(tmp_path: Path) -> None:
    for command in those("docker compose"):
        words = shlex.split(command.partition(">")[0])[2:]
        profiles = [words.pop(1), words.pop(0)] if words[0] == "--profile" else ["monitoring"]
        assert any(profiles[0] in each.get("profiles", ()) for each in SERVICES.values())
        name, *rest = words
        ours = rest[: rest.index("tqx")] if "tqx" in rest else rest
        told = run("docker-compose", name, "--help")
        for word in ours:
            assert word in SERVICES or re.search(rf"(?<![\w-]){re.escape(word)}\b", told), (command, word)


def test_kubectl_makes_what_the_manifests_ask_for(certificates: Certificates, tmp_path: Path) -> None:
    (tmp_path / "certificate.pem").write_bytes(certificates.certificate.read_bytes())
    (tmp_path / "key.pem").write_bytes(certificates.key.read_bytes())
    (tmp_path / "worker.token").write_text("a token\n")
    examples = {
        each["metadata"]["name"]: each
        for each in yaml.safe_load_all((DEPLOY / "kubernetes/secrets.example.yaml").read_text())
    }
    for command in those("kubectl create secret"):
        made = yaml.safe_load(run(*shlex.split(command), "--dry-run=client", "-o", "yaml", cwd=tmp_path))
        example = examples.pop(made["metadata"]["name"])
        assert (
            made["type"] == example.get("type", "Opaque") if "type" in made else example["type"] == "Opaque"
        )
        assert set(made["data"]) == set(example["stringData"])
    assert not examples
    (apply,) = those("kubectl apply -k")
    manifests = list(yaml.safe_load_all(run("kubectl", "kustomize", apply.split()[-1], cwd=ROOT)))
    names = {f"{each['kind'].lower()}/{each['metadata']['name']}" for each in manifests}
    (status,) = those("kubectl rollout status")
    assert status.split()[-1] in names
    for command in those("kubectl exec"):
        assert command.split()[2] == "taskqueuex-0"
