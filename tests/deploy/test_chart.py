"""The Helm chart, rendered by Helm's own engine, held against Kubernetes' schemas. No cluster."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from coe import __version__, composition
from coe.settings import Settings

helm = pytest.importorskip("helm_python", reason="helm-python-sdk is not installed")
kubernetes = pytest.importorskip(
    "kubernetes_validate", reason="kubernetes-validate is not installed"
)

CHART = Path(__file__).parents[2] / "deploy" / "kubernetes" / "coe"
# The oldest and the newest Kubernetes that the chart is held against.
VERSIONS = ("1.27", "1.35")
THE_CHARTS_OWN = {"config", "host", "port", "state_dir", "cache_dir"}
FULL: dict[str, Any] = {
    "replicas": 3,
    "state": {"persistent": False},
    "secretName": "keys",
    "imagePullSecrets": [{"name": "registry"}],
    "image": {"digest": "sha256:" + "0" * 64},
    "settings": {"max_body_bytes": 8388608, "drain_s": 42.5, "admin": "off"},
    "podAnnotations": {"team": "a"},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "vllm": {
        "enabled": True,
        "args": ["--max-model-len", "4096"],
        "secretName": "hub",
        "storageClass": "fast",
        "nodeSelector": {"gpu": "yes"},
    },
}
CASES = {"default": {}, "full": FULL, "open": {"networkPolicy": {"enabled": False}}}

Manifest = dict[str, Any]


def rendered(values: dict[str, Any]) -> Iterator[Manifest]:
    with helm.Chart.load(CHART) as chart:
        for name, text in chart.render(values=values, name="prod", namespace="ai").items():
            if name.endswith(".yaml"):
                yield from (each for each in YAML(typ="safe").load_all(text) if each)


def one(values: dict[str, Any], kind: str, name: str = "prod-coe") -> Manifest:
    found = [
        each
        for each in rendered(values)
        if (each["kind"], each["metadata"]["name"]) == (kind, name)
    ]
    assert len(found) == 1
    return found[0]


def gateway(values: dict[str, Any]) -> Manifest:
    pod: Manifest = one(values, "Deployment")["spec"]["template"]["spec"]
    return pod


def environment(values: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in gateway(values)["containers"][0]["env"]}


def test_helm_lints_it() -> None:
    report = helm.lint(CHART, strict=True)
    worse_than_a_hint = [each for each in report["messages"] if each["severity"] > 1]
    assert (report["errors"], worse_than_a_hint) == ([], [])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", CASES)
def test_kubernetes_takes_every_manifest(case: str, version: str) -> None:
    kinds = set()
    for manifest in rendered(CASES[case]):
        kinds.add(manifest["kind"])
        if manifest["kind"] != "ServiceMonitor":  # the operator's; its schema is in no package
            kubernetes.validate(manifest, version, strict=True)
    assert {"ConfigMap", "Deployment", "Service"} <= kinds


def test_the_schemas_refuse_what_is_wrong() -> None:
    manifest = copy.deepcopy(one({}, "Deployment"))
    manifest["spec"]["template"]["spec"]["containers"][0]["readOnlyRootFilesystem"] = True
    with pytest.raises(kubernetes.ValidationError):
        kubernetes.validate(manifest, VERSIONS[0], strict=True)


@pytest.mark.parametrize("case", CASES)
def test_the_gateway_is_confined(case: str) -> None:
    pod = gateway(CASES[case])
    (container,) = pod["containers"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"memory"} <= container["resources"]["limits"].keys()


def test_the_image_is_the_one_that_the_dockerfile_builds() -> None:
    dockerfile = (CHART.parents[1] / "Dockerfile").read_text(encoding="utf-8")
    pod = gateway({})
    assert pod["containers"][0]["image"] == f"coe:{__version__}"
    assert (
        f"USER {pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"
        in dockerfile
    )
    (port,) = pod["containers"][0]["ports"]
    assert f"EXPOSE {port['containerPort']}" in dockerfile
    mounts = {each["mountPath"] for each in pod["containers"][0]["volumeMounts"]}
    folders = {value for name, value in environment({}).items() if name.endswith("_DIR")}
    assert folders | {"/tmp", "/etc/coe"} == mounts
    assert all(folder in dockerfile for folder in mounts)


def test_a_digest_is_used_instead_of_the_tag() -> None:
    assert gateway(FULL)["containers"][0]["image"] == f"coe@sha256:{'0' * 64}"


def test_settings_become_the_gateways_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(FULL).items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert (settings.max_body_bytes, settings.drain_s, settings.admin) == (8388608, 42.5, "off")
    assert settings.log_level == "info"


def test_the_schema_of_the_values_names_every_setting() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    names = set(schema["properties"]["settings"]["properties"])
    assert names == Settings.model_fields.keys() - THE_CHARTS_OWN


def test_the_schema_of_the_values_names_every_value() -> None:
    values = YAML(typ="safe").load((CHART / "values.yaml").read_text(encoding="utf-8"))
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))["properties"]
    assert values.keys() == schema.keys() - {"global"}
    for name, value in values.items():
        if name != "settings" and not schema[name].get("additionalProperties", True):
            assert value.keys() == schema[name]["properties"].keys()


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"replica": 2}, "replica"),
        ({"settings": {"drain": 5}}, "drain"),
        ({"settings": {"state_dir": "/x"}}, "state_dir"),
        ({"image": {"digest": "latest"}}, "digest"),
        ({"vllm": {"image": "vllm/vllm-openai"}}, "image"),
        ({"replicas": 2}, "state.persistent"),
    ],
)
def test_what_is_wrong_is_refused_by_name(values: dict[str, Any], named: str) -> None:
    with helm.Chart.load(CHART) as chart, pytest.raises(helm.HelmError, match=re.escape(named)):
        chart.validate_schema(values)
        chart.render(values=values, name="prod")


def test_the_composition_is_served_as_it_stands_and_a_change_rolls_the_pods(tmp_path: Path) -> None:
    shipped = one({}, "ConfigMap")["data"]["experts.yaml"]
    file = tmp_path / "experts.yaml"
    file.write_text(shipped, encoding="utf-8")
    assert composition.load(file).experts.keys() == {"general"}

    def checksum(values: dict[str, Any]) -> str:
        template = one(values, "Deployment")["spec"]["template"]
        return str(template["metadata"]["annotations"]["checksum/composition"])

    other = shipped + "# another\n"
    assert checksum({}) != checksum({"composition": other})
    assert checksum({"composition": other}) == hashlib.sha256(other.encode()).hexdigest()


@pytest.mark.parametrize("drain_s", [0, 20, 42.5])
def test_a_pod_has_time_to_drain(drain_s: float) -> None:
    pod = gateway({"settings": {"drain_s": drain_s}})
    slept_s = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] >= drain_s + slept_s + 5


def test_the_volume_has_one_writer_and_stays() -> None:
    assert one({}, "Deployment")["spec"]["strategy"] == {"type": "Recreate"}
    claim = one({}, "PersistentVolumeClaim")
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert not [each for each in rendered({}) if each["kind"] == "PodDisruptionBudget"]


def test_several_replicas_are_replaced_one_by_one() -> None:
    strategy = one(FULL, "Deployment")["spec"]["strategy"]
    assert strategy["rollingUpdate"]["maxUnavailable"] == 0
    assert one(FULL, "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1


@pytest.mark.parametrize("case", CASES)
def test_selectors_find_their_pods_and_nobody_elses(case: str) -> None:
    manifests = list(rendered(CASES[case]))
    pods = {
        each["metadata"]["name"]: each["spec"]["template"]["metadata"]["labels"].items()
        for each in manifests
        if each["kind"] == "Deployment"
    }
    for manifest in manifests:
        kind, spec = manifest["kind"], manifest.get("spec", {})
        if kind == "Service":
            selector = spec["selector"]
        elif kind == "NetworkPolicy":
            selector = spec["podSelector"]["matchLabels"]
        elif kind in {"Deployment", "PodDisruptionBudget"}:
            selector = spec["selector"]["matchLabels"]
        else:
            continue
        chosen = {name for name, labels in pods.items() if selector.items() <= labels}
        assert chosen == {manifest["metadata"]["name"]}


def test_without_clients_nobody_is_let_in() -> None:
    closed = {"networkPolicy": {"clients": [], "scrapers": [], "backends": []}}
    spec = one(closed, "NetworkPolicy")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["ingress"] == []
    assert [rule for rule in spec["egress"] if "to" in rule] == []


def test_sec_12_the_metadata_addresses_of_clouds_are_out_of_reach() -> None:
    (rule,) = [each for each in one({}, "NetworkPolicy")["spec"]["egress"] if "to" in each]
    left_out = {address for peer in rule["to"] for address in peer["ipBlock"]["except"]}
    assert {"169.254.0.0/16", "168.63.129.16/32", "fd00:ec2::254/128"} <= left_out


def test_the_backend_answers_the_gateway_alone() -> None:
    spec = one(FULL, "NetworkPolicy", "prod-coe-vllm")["spec"]
    (peer,) = spec["ingress"][0]["from"]
    labels = one(FULL, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert peer["podSelector"]["matchLabels"].items() <= labels.items()
    container = one(FULL, "Deployment", "prod-coe-vllm")["spec"]["template"]["spec"]["containers"][
        0
    ]
    assert re.search(r":v\d+\.\d+\.\d+$", container["image"])
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert container["args"][-2:] == ["--max-model-len", "4096"]


def test_prometheus_is_sent_to_the_metrics() -> None:
    (endpoint,) = one(FULL, "ServiceMonitor")["spec"]["endpoints"]
    ports = {each["name"] for each in one(FULL, "Service")["spec"]["ports"]}
    assert endpoint["path"] == "/metrics"
    assert endpoint["port"] in ports
