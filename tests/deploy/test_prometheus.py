"""deploy/prometheus and deploy/grafana: what they ask for is what a server exposes to a Prometheus that runs,
promtool takes them, and each alert fires for what it is for.
"""

import json
import re
import shutil
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from deployed import DEPLOY, Caller, Certificates, fails, made_token, replaced, run, until
from expressions import OF_PROMETHEUS, OF_THE_SCRAPE, asked, without_bound
from prometheus_client.parser import text_string_to_metric_families
from tests.shared.programs import Program, environment, free_port

PROMETHEUS = DEPLOY / "prometheus"
DASHBOARD = json.loads((DEPLOY / "grafana/taskqueuex.json").read_text())
RULES = [
    rule
    for group in yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
TESTS = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())["tests"]


@pytest.fixture
def directory(certificates: Certificates, tmp_path: Path) -> Path:
    """The files with what has to be beside them."""
    path = tmp_path / "prometheus"
    shutil.copytree(PROMETHEUS, path)
    shutil.copy(certificates.ca, path / "ca.pem")
    (path / "taskqueuex.token").write_text("a token\n")
    return path


def test_promtool_finds_nothing_wrong(directory: Path) -> None:
    check = ("promtool", "check", "config", "prometheus.yml")
    assert f"{len(RULES)} rules found" in run(*check, cwd=directory)
    (directory / "taskqueuex.token").unlink()
    fails(*check, cwd=directory)


def meta(kind: str, names: dict[str, str]) -> dict[str, str]:
    """Labels or annotations of a pod, as Prometheus discovers them."""
    return {f"__meta_kubernetes_pod_{kind}_{re.sub('[^a-z]', '_', name)}": names[name] for name in names}


def test_the_pod_of_the_server_is_found_and_no_other(directory: Path) -> None:
    """Debian builds Prometheus without the discovery of Kubernetes: here is what that would find."""
    config = yaml.safe_load((directory / "kubernetes.yml").read_text())
    (job,) = config["scrape_configs"]
    assert job.pop("kubernetes_sd_configs") == [{"role": "pod"}]
    job["static_configs"] = []
    for number, manifest in enumerate(yaml.safe_load_all(run("kubectl", "kustomize", DEPLOY / "kubernetes"))):
        if "template" in manifest.get("spec", {}):
            pod = manifest["spec"]["template"]["metadata"]
            labels = meta("label", pod["labels"]) | meta("annotation", pod.get("annotations", {}))
            labels |= {"__meta_kubernetes_pod_ip": f"10.1.2.{number}", "__meta_kubernetes_namespace": "work"}
            labels |= {"__meta_kubernetes_pod_name": f"{manifest['metadata']['name']}-0"}
            job["static_configs"].append({"targets": [f"10.1.2.{number}"], "labels": labels})
    assert len(job["static_configs"]) == 2
    (directory / "kubernetes.yml").write_text(yaml.safe_dump(config))
    assert f"{len(RULES)} rules found" in run("promtool", "check", "config", "kubernetes.yml", cwd=directory)
    discover = ("promtool", "check", "service-discovery", "--timeout=2s", "kubernetes.yml", "taskqueuex")
    kept = [each["labels"] for each in json.loads(run(*discover, cwd=directory)) if each["labels"]]
    (server,) = kept
    assert (server["instance"], server["job"]) == ("work/taskqueuex-0", "taskqueuex")
    assert (server["__scheme__"], server["__metrics_path__"]) == ("https", "/metrics")
    assert server["__address__"].endswith(":7470")


def test_every_alert_fires_for_what_it_is_for_and_not_before(directory: Path) -> None:
    run("promtool", "test", "rules", "alerts_test.yml", cwd=directory)
    assert [test["name"] for test in TESTS] == [rule["alert"] for rule in RULES]
    for rule, test in zip(RULES, TESTS, strict=True):
        checks = test["promql_expr_test"]
        assert all(f'alertname="{rule["alert"]}"' in check["expr"] for check in checks)
        assert [len(check["exp_samples"]) for check in checks] == [0, 1], rule["alert"]


def test_an_alert_that_never_fires_is_found(directory: Path) -> None:
    for rule, told in _tested_with(directory, lambda rule: {"expr": f"({rule['expr']}) and vector(0) > 1"}):
        assert told, rule


def test_an_alert_that_always_fires_is_found(directory: Path) -> None:
    for rule, told in _tested_with(directory, lambda rule: {"expr": without_bound(rule["expr"])}):
        assert told or rule == "TaskQueueXAbsent", rule


def _tested_with(
    directory: Path, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> Iterator[tuple[str, bool]]:
    """Each alert, and whether its tests find what was changed in it."""
    changed = [{**rule, **change(rule)} for rule in RULES]
    (directory / "alerts.yml").write_text(yaml.safe_dump({"groups": [{"name": "changed", "rules": changed}]}))
    told = fails("promtool", "test", "rules", "alerts_test.yml", cwd=directory)
    failed = set(re.findall(r'alertname=\\"(\w+)\\"', told))
    for rule in RULES:
        yield rule["alert"], rule["alert"] in failed


def test_every_alert_says_what_it_is_and_what_to_do() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert len(rule["annotations"]["summary"]) > 20
        assert len(rule["annotations"]["description"]) > 60


@dataclass
class Watched:
    """A server that has done a bit of everything, and what it takes to look at it."""

    port: int
    ca: Path
    token: str


@pytest.fixture
def watched(serve: Callable[..., Any], certificates: Certificates, tmp_path: Path) -> Watched:
    port, socket = free_port(), f"unix:{tmp_path}/tqx.sock"
    tls = ("--tls-certificate", certificates.certificate, "--tls-key", certificates.key)
    listen = ("--listen", f"tls:127.0.0.1:{port}", "--listen", socket)
    serve(*listen, *tls, env=environment(TQX_AUTH_REQUIRED="true"))
    all_of_them = [f"--scope={each}" for each in ("produce", "consume", "operate", "admin")]
    caller = Caller(port, certificates.ca, made_token(socket, "all", *all_of_them))
    work(caller)
    caller.good("POST", "/v1/admin/backup", {"path": str(tmp_path / "backup")})
    caller.close()
    for bad in ("", "tqx_no_token"):
        stranger = Caller(port, certificates.ca, bad)
        assert stranger.call("GET", "/v1/queues").status == 401
        stranger.close()
    (create,) = re.findall(r"tqx .*token create (prometheus .*?) *>", (DEPLOY / "README.md").read_text())[:1]
    return Watched(port, certificates.ca, made_token(socket, *create.split()))


def work(caller: Caller) -> None:
    """Tasks in every way that ends."""
    caller.good("PUT", "/v1/queues/mail", {"max_attempts": 1, "max_tasks": 1_000, "max_running": 100})
    caller.good("POST", "/v1/queues/mail/tasks/batch", {"tasks": [{"payload": n} for n in range(50)]})
    caller.good("POST", "/v1/queues/mail/tasks", {"payload": 1, "delay_ms": 60_000})
    tasks = caller.good("POST", "/v1/queues/mail/dequeue", {"max": 40, "worker": "w"})["tasks"]
    for number, task in enumerate(tasks):
        verb = "fail" if number % 4 == 0 else "ack"
        caller.good("POST", f"/v1/tasks/{task['id']}/{verb}", {"lease": task["lease"]})
    assert caller.call("GET", "/v1/queues/none").status == 404


@pytest.fixture
def exposed(watched: Watched) -> dict[str, dict[str, set[str]]]:
    """The samples of /metrics: by name the labels, with the values that were seen."""
    caller = Caller(watched.port, watched.ca, watched.token)
    text = caller.call("GET", "/metrics").body.decode()
    caller.close()
    found: dict[str, dict[str, set[str]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return found


def expressions() -> list[str]:
    """Of all alerts and the whole dashboard."""
    return [rule["expr"] for rule in RULES] + [filled(each) for each in queries()]


def queries() -> list[str]:
    texts = [target["expr"] for panel in panels() for target in panel.get("targets", ())]
    return texts + [each["expr"] for each in DASHBOARD["annotations"]["list"]]


def filled(query: str) -> str:
    """A query with the variables that Grafana puts into it."""
    for name, value in (("$__rate_interval", "5m"), ("$instance", ".*"), ("$queue", ".*")):
        query = query.replace(name, value)
    assert "$" not in query, query
    return query


def panels() -> list[dict[str, Any]]:
    return list(DASHBOARD["panels"])


def test_what_is_asked_for_is_what_the_server_exposes(exposed: dict[str, dict[str, set[str]]]) -> None:
    assert len(exposed) > 50
    for expression in expressions():
        for each in asked(expression):
            if each.name in OF_PROMETHEUS:
                continue
            assert each.name in exposed, expression
            seen = exposed[each.name]
            for label, values in each.labels.items():
                assert label in OF_THE_SCRAPE or label in seen, (expression, label)
                # 5xx are none of a server that is well; all other values are there from the beginning.
                assert label in OF_THE_SCRAPE or values - {"5xx"} <= seen[label], (expression, label)


def test_a_name_a_label_and_a_value_that_are_not_there_are_noticed() -> None:
    (one, two) = asked('sum by (queue) (rate(a_total{state="ready"}[5m])) / on (instance) b{x=~"u|v"}')
    assert (one.name, one.labels) == ("a_total", {"queue": set(), "state": {"ready"}})
    assert (two.name, two.labels) == ("b", {"instance": set(), "x": {"u", "v"}})


def test_variables_of_the_dashboard_are_asked_for_in_what_is_exposed(
    exposed: dict[str, dict[str, set[str]]],
) -> None:
    variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
    assert set(variables) == {"datasource", "instance", "queue"}
    for name in ("instance", "queue"):
        pattern = r"label_values\((\w+)(?:\{.*\})?, (\w+)\)"
        metric, label = re.fullmatch(pattern, variables[name]["query"]["query"]).groups()  # type: ignore[union-attr]
        assert label == name
        assert label in OF_THE_SCRAPE or label in exposed[metric]


def test_a_prometheus_that_runs_gets_all_of_it(
    watched: Watched, directory: Path, start: Callable[..., Program]
) -> None:
    (directory / "taskqueuex.token").write_text(watched.token + "\n")
    text = (PROMETHEUS / "prometheus.yml").read_text()
    places = {
        "taskqueuex:7470": f"localhost:{watched.port}",
        "scrape_interval: 15s": "scrape_interval: 1s",
        "scrape_timeout: 10s": "scrape_timeout: 1s",
        "evaluation_interval: 15s": "evaluation_interval: 1s",
    }
    (directory / "prometheus.yml").write_text(replaced(text, places))
    port = free_port()
    flags = (f"--web.listen-address=127.0.0.1:{port}", f"--storage.tsdb.path={directory}/data")
    start("prometheus", f"--config.file={directory}/prometheus.yml", *flags)

    def asked_of(path: str, **parameters: str) -> Any:
        url = f"http://127.0.0.1:{port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except OSError:
            return None  # not there yet

    def value(query: str) -> Any:
        found = asked_of("query", query=query)
        return found and found["result"]

    until(lambda: value('up{job="taskqueuex"} == 1'), "a scrape that succeeded")
    until(lambda: value("changes(taskqueuex_process_start_time_seconds[5m])"), "a second scrape")
    until(lambda: value("count_over_time(up[5m]) > 2"), "a third one")
    for query in queries():
        if "ALERTS" not in query and "changes(" not in query:
            assert value(filled(query)), f"nothing for {query}"

    def evaluated() -> list[dict[str, Any]]:
        groups = (asked_of("rules") or {"groups": []})["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return rules if rules and all(rule["health"] != "unknown" for rule in rules) else []

    rules = until(evaluated, "the evaluation of all rules")
    assert {rule["name"]: rule["health"] for rule in rules} == {rule["alert"]: "ok" for rule in RULES}
    firing = {rule["name"] for rule in rules if rule["alerts"]}
    assert not firing & {"TaskQueueXDown", "TaskQueueXAbsent", "TaskQueueXStorageFailed"}


def test_the_dashboard_has_a_row_for_each_question() -> None:
    rows = [panel["title"] for panel in panels() if panel["type"] == "row"]
    assert rows == [
        "Overview",
        "Queues: $queue",
        "Latency",
        "Commit and fsync",
        "HTTP",
        "Overload and edge",
        "Process and host",
        "Events",
    ]
    kinds = {panel["type"] for panel in panels()}
    assert kinds == {"row", "stat", "timeseries"}
    for panel in panels():
        references = [target["refId"] for target in panel.get("targets", ())]
        assert len(set(references)) == len(references)
        assert bool(references) == (panel["type"] != "row"), panel["title"]


def test_no_two_panels_have_one_id_or_one_place() -> None:
    assert len({panel["id"] for panel in panels()}) == len(panels())
    for panel in panels():
        place = panel["gridPos"]
        assert place["w"] > 0 and place["h"] > 0 and place["x"] >= 0
        assert place["x"] + place["w"] <= 24, panel["title"]
    for one, other in combinations(panels(), 2):
        a, b = one["gridPos"], other["gridPos"]
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        above = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or above, (one["title"], other["title"])


def test_every_panel_asks_the_data_source_that_is_chosen() -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    (variable,) = (each for each in DASHBOARD["templating"]["list"] if each["type"] == "datasource")
    assert (variable["name"], variable["query"]) == ("datasource", "prometheus")
    askers = [panel for panel in panels() if panel["type"] != "row"]
    askers += [target for panel in askers for target in panel["targets"]]
    askers += [each for each in DASHBOARD["templating"]["list"] if each["type"] == "query"]
    askers += DASHBOARD["annotations"]["list"]
    assert all(each["datasource"] == chosen for each in askers)


def test_grafana_is_told_where_the_dashboard_and_prometheus_are() -> None:
    provisioning = DEPLOY / "grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yaml").read_text())["datasources"]
    (provider,) = yaml.safe_load((provisioning / "dashboards/taskqueuex.yaml").read_text())["providers"]
    services = yaml.safe_load((DEPLOY / "docker/compose.yaml").read_text())["services"]
    assert source["type"] == "prometheus"
    assert urllib.parse.urlsplit(source["url"]).hostname in services
    mounted = [each.split(":")[1] for each in services["grafana"]["volumes"]]
    assert f"{provider['options']['path']}/taskqueuex.json" in mounted
