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
THE_CHARTS_OWN = {
    *("config", "host", "port", "metrics_listen", "state_dir", "cache_dir"),
    *("redis_url", "replica_url", "replica_secret"),
}
FULL: dict[str, Any] = {
    "replicas": 3,
    "state": {"persistent": False},
    "redis": {"enabled": True, "secretName": "coe-redis", "storageClass": "fast"},
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
        "models": {
            "qwen": {"model": "Qwen/Qwen3-0.6B"},
            "coder": {"model": "org/coder", "args": ["--enable-lora"], "gpus": 2},
        },
        "args": ["--max-model-len", "4096"],
        "secretName": "hub",
        "storageClass": "fast",
        "nodeSelector": {"gpu": "yes"},
    },
}
# Several replicas on a Redis that is somebody else's.
SHARED: dict[str, Any] = {
    "replicas": 2,
    "state": {"persistent": False},
    "redis": {"secretName": "our-redis"},
    "serviceMonitor": {"enabled": True},
}
CASES = {
    "default": {},
    "full": FULL,
    "shared": SHARED,
    "open": {**FULL, "networkPolicy": {"enabled": False}},
}
PODS = {"Deployment", "StatefulSet"}

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
    return {
        each["name"]: each["value"]
        for each in gateway(values)["containers"][0]["env"]
        if "value" in each
    }


def secrets(values: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Return the variables of the gateway that come from Secrets."""
    return {
        each["name"]: each["valueFrom"]["secretKeyRef"]
        for each in gateway(values)["containers"][0]["env"]
        if "secretKeyRef" in each.get("valueFrom", {})
    }


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
    ports = [str(each["containerPort"]) for each in pod["containers"][0]["ports"]]
    assert f"EXPOSE {' '.join(ports)}" in dockerfile
    mounts = {each["mountPath"] for each in pod["containers"][0]["volumeMounts"]}
    folders = {value for name, value in environment({}).items() if name.endswith("_DIR")}
    assert "COE_CONFIG=/etc/coe/experts.yaml" in dockerfile  # for `coe keys` in the pod
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
        ({"vllm": {"models": {"a": {"gpus": 2}}}}, "model"),
        ({"vllm": {"models": {"A_b": {"model": "x"}}}}, "A_b"),
        ({"settings": {"redis_url": "redis://:secret@x"}}, "redis_url"),
        ({"replicas": 2, "redis": {"secretName": "r"}}, "state.persistent"),
        ({"replicas": 2, "state": {"persistent": False}}, "redis.secretName"),
        ({"redis": {"enabled": True}}, "kubectl create secret generic coe-redis"),
    ],
)
def test_what_is_wrong_is_refused_by_name(values: dict[str, Any], named: str) -> None:
    with helm.Chart.load(CHART) as chart, pytest.raises(helm.HelmError, match=re.escape(named)):
        chart.validate_schema(values)
        chart.render(values=values, name="prod", namespace="ai")


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


@pytest.mark.parametrize("notice_s", [0, 5, 7.5])
@pytest.mark.parametrize("drain_s", [0, 20, 42.5])
def test_rel_06_a_pod_has_time_to_be_left_and_to_drain(drain_s: float, notice_s: float) -> None:
    pod = gateway({"settings": {"drain_s": drain_s, "drain_notice_s": notice_s}})
    assert pod["terminationGracePeriodSeconds"] >= drain_s + notice_s + 5


def test_rel_06_a_pod_that_stops_is_told_so_before_it_closes() -> None:
    assert float(environment({})["COE_DRAIN_NOTICE_S"]) >= 5
    assert "lifecycle" not in gateway({})["containers"][0]


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
        if each["kind"] in PODS
    }
    for manifest in manifests:
        kind, spec = manifest["kind"], manifest.get("spec", {})
        if kind == "Service":
            selector = spec["selector"]
        elif kind == "NetworkPolicy":
            selector = spec["podSelector"]["matchLabels"]
        elif kind in {*PODS, "PodDisruptionBudget"}:
            selector = spec["selector"]["matchLabels"]
        else:
            continue
        chosen = {name for name, labels in pods.items() if selector.items() <= labels}
        name = manifest["metadata"]["name"]
        theirs = {each for each in pods if each.startswith("prod-coe-vllm-")}
        assert chosen == (theirs if name == "prod-coe-vllm" else {name.removesuffix("-metrics")})


def test_without_clients_nobody_is_let_in() -> None:
    closed: dict[str, Any] = {"networkPolicy": {"clients": [], "scrapers": [], "backends": []}}
    spec = one(closed, "NetworkPolicy")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["ingress"] == []
    assert [rule for rule in spec["egress"] if "to" in rule] == []


def test_sec_12_the_metadata_addresses_of_clouds_are_out_of_reach() -> None:
    (rule,) = [each for each in one({}, "NetworkPolicy")["spec"]["egress"] if "to" in each]
    left_out = {address for peer in rule["to"] for address in peer["ipBlock"]["except"]}
    assert {"169.254.0.0/16", "168.63.129.16/32", "fd00:ec2::254/128"} <= left_out


def labels_of(values: dict[str, Any], kind: str, name: str) -> dict[str, str]:
    found: dict[str, str] = one(values, kind, name)["spec"]["template"]["metadata"]["labels"]
    return found


def reaches(rules: list[dict[str, Any]], key: str, labels: dict[str, str]) -> set[int]:
    """Return the ports at which rules connect pods with these labels."""
    return {
        port["port"]
        for rule in rules
        for peer in rule.get(key, ())
        if peer.get("podSelector", {}).get("matchLabels", {"": ""}).items() <= labels.items()
        for port in rule["ports"]
    }


@pytest.mark.parametrize("model", ["qwen", "coder"])
def test_a_model_answers_the_gateway_alone(model: str) -> None:
    gateways = labels_of(FULL, "Deployment", "prod-coe")
    theirs = labels_of(FULL, "Deployment", f"prod-coe-vllm-{model}")
    spec = one(FULL, "NetworkPolicy", "prod-coe-vllm")["spec"]

    assert reaches(spec["ingress"], "from", gateways) == {8000}
    assert reaches(spec["ingress"], "from", theirs) == set()
    assert reaches(one(FULL, "NetworkPolicy")["spec"]["egress"], "to", theirs) == {8000}
    assert one(FULL, "Service", f"prod-coe-vllm-{model}")["spec"]["selector"].items() <= (
        theirs.items()
    )


def test_each_model_is_as_its_entry_says_and_else_as_all_of_them() -> None:
    pods = {
        name: one(FULL, "Deployment", f"prod-coe-vllm-{name}")["spec"]["template"]["spec"]
        for name in ("qwen", "coder")
    }
    (qwen,), (coder,) = (pods[name]["containers"] for name in pods)

    assert re.search(r":v\d+\.\d+\.\d+$", qwen["image"])
    assert qwen["args"] == [
        *("--model", "Qwen/Qwen3-0.6B", "--served-model-name", "qwen"),
        *("--max-model-len", "4096"),
    ]
    assert coder["args"][-1:] == ["--enable-lora"]
    assert [each["resources"]["limits"]["nvidia.com/gpu"] for each in (qwen, coder)] == [1, 2]
    assert all(pod["nodeSelector"] == {"gpu": "yes"} for pod in pods.values())
    told = {each["name"]: each["value"] for each in qwen["env"]}
    assert told == {"VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0", "VLLM_NO_USAGE_STATS": "1"}


def test_sec_12_what_a_backend_fetches_is_nothing_inside() -> None:
    rules = one(FULL, "NetworkPolicy", "prod-coe-vllm")["spec"]["egress"]
    blocks = [peer["ipBlock"] for rule in rules for peer in rule.get("to", ())]
    left_out = {address for block in blocks for address in block["except"]}

    assert {"169.254.0.0/16", "168.63.129.16/32", "10.0.0.0/8", "fc00::/7"} <= left_out


def test_replicas_share_the_charts_redis_which_has_a_password_and_stays() -> None:
    (container,) = one(FULL, "StatefulSet", "prod-coe-redis")["spec"]["template"]["spec"][
        "containers"
    ]
    password = {"name": "coe-redis", "key": "password"}

    assert environment(FULL)["COE_REDIS_URL"] == (
        "redis://:$(REDIS_PASSWORD)@prod-coe-redis:6379/0"
    )
    assert secrets(FULL)["REDIS_PASSWORD"] == password
    assert "COE_REDIS_URL" not in secrets(FULL)
    (told,) = container["env"]
    assert told["valueFrom"]["secretKeyRef"] == password
    arguments = container["args"]
    assert arguments[arguments.index("--requirepass") + 1] == f"$({told['name']})"
    assert arguments[arguments.index("--appendonly") + 1] == "yes"
    assert arguments[arguments.index("--maxmemory-policy") + 1] == "noeviction"
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    (claim,) = one(FULL, "StatefulSet", "prod-coe-redis")["spec"]["volumeClaimTemplates"]
    assert {claim["metadata"]["name"]} == {each["name"] for each in container["volumeMounts"]}


def test_the_charts_redis_answers_the_gateways_alone() -> None:
    gateways = labels_of(FULL, "Deployment", "prod-coe")
    redis = labels_of(FULL, "StatefulSet", "prod-coe-redis")
    spec = one(FULL, "NetworkPolicy", "prod-coe-redis")["spec"]

    assert reaches(spec["ingress"], "from", gateways) == {6379}
    assert len(spec["ingress"]) == 1
    assert spec["egress"] == []
    assert reaches(one(FULL, "NetworkPolicy")["spec"]["egress"], "to", redis) == {6379}


def test_replicas_share_a_redis_of_ones_own_whose_address_is_a_secret() -> None:
    assert secrets(SHARED)["COE_REDIS_URL"] == {"name": "our-redis", "key": "url"}
    assert not [each for each in rendered(SHARED) if "redis" in each["metadata"]["name"]]


@pytest.mark.parametrize("values", [FULL, SHARED])
def test_replicas_know_each_other_by_a_secret_and_an_address(values: dict[str, Any]) -> None:
    (container,) = gateway(values)["containers"]
    names = [each["name"] for each in container["env"]]

    assert environment(values)["COE_REPLICA_URL"] == "http://$(POD_IP):8088"
    assert names.index("POD_IP") < names.index("COE_REPLICA_URL")  # or it would stay as it stands
    assert secrets(values)["COE_REPLICA_SECRET"] == {
        "name": values["redis"]["secretName"],
        "key": "replicas",
        "optional": True,
    }
    assert "COE_REPLICA_URL" not in environment({})


def test_replicas_reach_each_other_and_one_alone_has_nobody() -> None:
    gateways = labels_of(SHARED, "Deployment", "prod-coe")
    several, alone = (one(values, "NetworkPolicy")["spec"] for values in (SHARED, {}))

    assert reaches(several["ingress"], "from", gateways) == {8088}
    assert reaches(several["egress"], "to", gateways) == {8088}
    assert reaches(alone["ingress"], "from", gateways) == set()
    assert "topologySpreadConstraints" in gateway(SHARED)
    assert "topologySpreadConstraints" not in gateway({})


def test_sec_18_metrics_have_a_port_that_clients_do_not_reach() -> None:
    port = int(environment({})["COE_METRICS_LISTEN"].rpartition(":")[2])
    ports = {each["name"]: each["containerPort"] for each in gateway({})["containers"][0]["ports"]}
    clients, scrapers = one({}, "NetworkPolicy")["spec"]["ingress"]

    assert ports == {"http": 8088, "metrics": port}
    assert [each["port"] for each in clients["ports"]] == [8088]
    assert [each["port"] for each in scrapers["ports"]] == [port]
    assert {each["targetPort"] for each in one({}, "Service")["spec"]["ports"]} == {"http"}
    wide = {"service": {"type": "LoadBalancer"}}
    assert one(wide, "Service", "prod-coe-metrics")["spec"]["clusterIP"] == "None"


@pytest.mark.parametrize("values", [FULL, SHARED])
def test_prometheus_is_sent_to_the_metrics_of_every_replica(values: dict[str, Any]) -> None:
    spec = one(values, "ServiceMonitor")["spec"]
    (endpoint,) = spec["endpoints"]
    services = [each for each in rendered(values) if each["kind"] == "Service"]
    (found,) = [
        each
        for each in services
        if spec["selector"]["matchLabels"].items() <= each["metadata"]["labels"].items()
    ]

    assert endpoint["path"] == "/metrics"
    assert found["metadata"]["name"] == "prod-coe-metrics"
    assert [each["name"] for each in found["spec"]["ports"]] == [endpoint["port"]]


def notes(values: dict[str, Any]) -> str:
    with helm.Chart.load(CHART) as chart:
        shown = chart.render(values=values, name="prod", namespace="ai")
    return next(str(text) for name, text in shown.items() if name.endswith("NOTES.txt"))


def test_it_says_how_to_get_a_first_key() -> None:
    command = "kubectl exec --namespace ai deploy/prod-coe -- coe keys add NAME"

    assert command in notes({})
    assert "WARNING" not in notes({})
    unsafe = {"settings": {"unsafe_open": "anyone-who-reaches-this-address-may-use-it"}}
    assert "WARNING" in notes(unsafe)
    assert command not in notes(unsafe)


def test_it_says_where_the_models_are() -> None:
    assert "http://prod-coe-vllm-coder:8000, model coder" in notes(FULL)
