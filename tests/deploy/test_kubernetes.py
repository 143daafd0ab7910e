"""deploy/kubernetes: the manifests are right to the last field, and fit the server and each other."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from deployed import DEPLOY, Caller, Certificates, replaced, run
from kubernetes_validate import ValidationError, validate
from tests.shared.programs import environment, free_port

from taskqueuex.node.config import load
from taskqueuex.node.node import DRAIN_TIMEOUT_S

KUBERNETES = DEPLOY / "kubernetes"
VERSIONS = ("1.30", "1.32", "1.34", "1.37")


@pytest.fixture(scope="module")
def manifests() -> list[dict[str, Any]]:
    """What kubectl would apply."""
    return list(yaml.safe_load_all(run("kubectl", "kustomize", KUBERNETES)))


@pytest.fixture(scope="module")
def secrets() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((KUBERNETES / "secrets.example.yaml").read_text()))


def one(manifests: list[dict[str, Any]], kind: str, name: str = "taskqueuex") -> dict[str, Any]:
    found = [each for each in manifests if each["kind"] == kind and each["metadata"]["name"].startswith(name)]
    assert found, (kind, name)
    return found[0]


def pods(manifests: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for each in manifests:
        if "template" in each.get("spec", {}):
            yield each["spec"]["template"]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_field_is_one_of_kubernetes(
    manifests: list[dict[str, Any]], secrets: list[dict[str, Any]], version: str
) -> None:
    kinds = {"StatefulSet", "Service", "ConfigMap", "PodDisruptionBudget", "NetworkPolicy", "Deployment"}
    assert {each["kind"] for each in manifests} == kinds
    for each in manifests + secrets:
        validate(each, version, strict=True)


def test_a_field_that_is_not_one_is_found(manifests: list[dict[str, Any]]) -> None:
    server = one(manifests, "StatefulSet")
    with pytest.raises(ValidationError):
        validate({**server, "spec": {**server["spec"], "replica": 1}}, VERSIONS[-1], strict=True)


def test_nothing_names_a_namespace(manifests: list[dict[str, Any]], secrets: list[dict[str, Any]]) -> None:
    assert all("namespace" not in each["metadata"] for each in manifests + secrets)


def test_pods_are_as_restricted_as_the_standard_asks(manifests: list[dict[str, Any]]) -> None:
    for pod in pods(manifests):
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        assert all(not {"hostPath"} & set(volume) for volume in spec["volumes"])
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"requests", "limits"} <= set(container["resources"])


def test_selectors_select_the_pods(manifests: list[dict[str, Any]]) -> None:
    labels = {
        "StatefulSet": one(manifests, "StatefulSet")["spec"]["template"]["metadata"]["labels"],
        "Deployment": one(manifests, "Deployment")["spec"]["template"]["metadata"]["labels"],
    }

    def selected(selector: dict[str, str]) -> list[str]:
        return [kind for kind, found in labels.items() if selector.items() <= found.items()]

    assert selected(one(manifests, "Service")["spec"]["selector"]) == ["StatefulSet"]
    for kind in labels:
        assert selected(one(manifests, kind)["spec"]["selector"]["matchLabels"]) == [kind]
    budgets = [each for each in manifests if each["kind"] == "PodDisruptionBudget"]
    assert sorted(selected(each["spec"]["selector"]["matchLabels"])[0] for each in budgets) == sorted(labels)
    policy = one(manifests, "NetworkPolicy")["spec"]
    assert selected(policy["podSelector"]["matchLabels"]) == ["StatefulSet"]
    allowed = [
        each["podSelector"]["matchLabels"] for each in policy["ingress"][0]["from"] if "podSelector" in each
    ]
    assert [selected(each) for each in allowed] == [["Deployment"]]


def test_what_pods_mount_is_there(manifests: list[dict[str, Any]], secrets: list[dict[str, Any]]) -> None:
    server = one(manifests, "StatefulSet")["spec"]
    claims = {each["metadata"]["name"] for each in server["volumeClaimTemplates"]}
    config = one(manifests, "ConfigMap", "taskqueuex-config")["metadata"]["name"]
    keys = {each["metadata"]["name"]: set(each["stringData"]) for each in secrets}
    for pod in pods(manifests):
        spec = pod["spec"]
        names = {each["name"] for each in spec["volumes"]} | claims
        for container in spec["containers"]:
            assert {each["name"] for each in container["volumeMounts"]} <= names
        for volume in spec["volumes"]:
            if "secret" in volume:
                assert volume["secret"]["secretName"] in keys
            for source in volume.get("projected", {"sources": ()})["sources"]:
                if "configMap" in source:
                    assert source["configMap"]["name"] == config
                else:
                    items = {each["key"] for each in source["secret"]["items"]}
                    assert items <= keys[source["secret"]["name"]]


def test_the_configuration_fits_the_pod(manifests: list[dict[str, Any]], tmp_path: Path) -> None:
    (text,) = one(manifests, "ConfigMap")["data"].values()
    (tmp_path / "taskqueuex.toml").write_text(text)
    config = load(tmp_path / "taskqueuex.toml", {}, {})
    pod = one(manifests, "StatefulSet")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
    assert config.auth.required and not config.network.insecure
    assert mounts[str(Path(config.storage.data).parent)] == "data"
    sockets = [each.path for each in config.network.listeners() if each.path]
    assert [mounts[str(each.parent)] for each in sockets] == ["run"]
    ports = [each.port for each in config.network.listeners() if not each.path]
    assert ports == [each["containerPort"] for each in container["ports"]]
    annotations = one(manifests, "StatefulSet")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(ports[0])
    (service,) = one(manifests, "Service")["spec"]["ports"]
    assert service["targetPort"] == container["ports"][0]["name"]

    etc = {each["name"]: each for each in pod["volumes"]}[mounts["/etc/taskqueuex"]]["projected"]["sources"]
    items = [item for each in etc if "secret" in each for item in each["secret"]["items"]]
    files = {f"/etc/taskqueuex/{item['path']}" for item in items}
    assert files == {config.network.tls_certificate, config.network.tls_key}
    (name,) = one(manifests, "ConfigMap")["data"]
    assert container["args"] == ["tqx", "serve", "--config", f"/etc/taskqueuex/{name}"]


def test_there_is_time_to_end_in_order(manifests: list[dict[str, Any]]) -> None:
    pod = one(manifests, "StatefulSet")["spec"]["template"]["spec"]
    pause = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] >= pause + 2 * DRAIN_TIMEOUT_S
    pod = one(manifests, "Deployment")["spec"]["template"]["spec"]
    command = pod["containers"][0]["args"]
    assert pod["terminationGracePeriodSeconds"] > int(command[command.index("--grace") + 1])


def test_the_pod_s_command_serves_and_its_probes_succeed(
    manifests: list[dict[str, Any]],
    start: Callable[..., Any],
    certificates: Certificates,
    tmp_path: Path,
) -> None:
    (text,) = one(manifests, "ConfigMap")["data"].values()
    port = free_port()
    (tmp_path / "tls").mkdir()
    (tmp_path / "tls/tls.crt").write_bytes(certificates.certificate.read_bytes())
    (tmp_path / "tls/tls.key").write_bytes(certificates.key.read_bytes())
    places = {"0.0.0.0:7470": f"127.0.0.1:{port}", "/run/taskqueuex": str(tmp_path)}
    places |= {"/var/lib/taskqueuex": str(tmp_path), '"/etc/taskqueuex': f'"{tmp_path}'}
    (tmp_path / "taskqueuex.toml").write_text(replaced(text, places))
    (container,) = one(manifests, "StatefulSet")["spec"]["template"]["spec"]["containers"]
    server = start(*[each.replace("/etc/taskqueuex", str(tmp_path)) for each in container["args"]])
    server.wait_for("serving")
    caller = Caller(port, certificates.ca)
    for name, path in (("startup", "/readyz"), ("readiness", "/readyz"), ("liveness", "/healthz")):
        probe = container[f"{name}Probe"]["httpGet"]
        assert (probe["path"], probe["scheme"]) == (path, "HTTPS")
        assert caller.call("GET", path).status == 200
    assert caller.call("GET", "/v1/queues").status == 401
    caller.close()
    assert "up " in run("tqx", "--server", f"unix:{tmp_path}/tqx.sock", "stats")
    assert server.stop() == 0


def test_the_worker_s_options_are_those_that_there_are(manifests: list[dict[str, Any]]) -> None:
    pod = one(manifests, "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    told = run("tqx", "worker", "--help", env=environment(COLUMNS="200"))
    for option in re.findall(r"--[\w-]+", " ".join(container["args"])):
        assert f"{option} " in told
    for variable in container["env"]:
        assert variable["name"] in told or variable["name"] == "MALLOC_ARENA_MAX"
    (secret,) = (each["secret"]["secretName"] for each in pod["volumes"] if "secret" in each)
    assert secret == "taskqueuex-worker-shop"
