"""The compose file and the composition that it serves to begin with."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from coe import __version__, composition
from coe.settings import Settings

FILE = Path(__file__).parents[2] / "deploy" / "compose.yaml"
DOCUMENT: dict[str, Any] = YAML(typ="safe").load(FILE.read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = DOCUMENT["services"]
GATEWAYS = {name: SERVICES[name] for name in ("coe", "coe-2")}
GATEWAY = SERVICES["coe"]


def seconds(text: str) -> float:
    assert text.endswith("s")
    return float(text[:-1])


def test_every_image_has_a_tag_of_a_release() -> None:
    assert {each["image"] for each in GATEWAYS.values()} == {f"coe:{__version__}"}
    assert all(re.search(r":v?\d+\.\d+\.\d+$", each["image"]) for each in SERVICES.values())


@pytest.mark.parametrize("gateway", GATEWAYS.values(), ids=GATEWAYS)
def test_the_gateway_is_confined(gateway: dict[str, Any]) -> None:
    assert gateway["read_only"] is True
    assert gateway["cap_drop"] == ["ALL"]
    assert gateway["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in gateway["ports"])
    assert not {"privileged", "network_mode", "pid", "user"} & gateway.keys()


def test_the_ports_are_those_of_the_image_and_no_two_are_the_same() -> None:
    ports = [port.split(":")[1:] for each in GATEWAYS.values() for port in each["ports"]]
    metrics = GATEWAY["environment"]["COE_METRICS_LISTEN"].rpartition(":")[2]

    assert {inside for _, inside in ports} == {"8088", metrics}
    assert len({outside for outside, _ in ports}) == len(ports)


def test_backends_publish_no_port_and_stay_behind_their_profile() -> None:
    others = {name: each for name, each in SERVICES.items() if name not in GATEWAYS}
    assert set(others) == {"ollama", "vllm", "redis"}
    for name, service in others.items():
        assert service["profiles"] == [{"redis": "replicas"}.get(name, name)]
        assert "ports" not in service


def test_a_second_gateway_shares_redis_and_no_file_with_the_first() -> None:
    first, second = GATEWAYS.values()

    assert "profiles" not in first
    assert second["profiles"] == SERVICES["redis"]["profiles"] == ["replicas"]
    assert {name: f"http://{name}:8088" for name in GATEWAYS} == {
        name: each["environment"]["COE_REPLICA_URL"] for name, each in GATEWAYS.items()
    }
    differ = set(first["environment"].items()) ^ set(second["environment"].items())
    assert {name for name, _ in differ} == {"COE_REPLICA_URL"}
    shared = {mount for mount in first["volumes"] if mount in second["volumes"]}
    assert all(mount.endswith("/etc/coe/experts.yaml:ro") for mount in shared)


def test_redis_has_the_password_that_the_gateways_know_and_forgets_nothing() -> None:
    # Empty where no password is given: then there is no Redis either.
    url = GATEWAY["environment"]["COE_REDIS_URL"]
    command = SERVICES["redis"]["command"]
    told = dict(pairwise(command))

    assert url == "${REDIS_PASSWORD:+redis://:${REDIS_PASSWORD}@redis:6379/0}"
    assert told["--requirepass"] == "${REDIS_PASSWORD:-}"
    assert (told["--appendonly"], told["--maxmemory-policy"]) == ("yes", "noeviction")


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
def test_redis_takes_its_command(tmp_path: Path) -> None:
    words = [word.replace("${REDIS_PASSWORD:-}", "secret") for word in SERVICES["redis"]["command"]]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words += ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        log = []
        for line in process.stdout:
            log.append(line)
            if "Ready to accept" in line:
                break
        with socket.create_connection(("127.0.0.1", port)) as knock:
            knock.sendall(b"PING\r\n")
            answer = knock.recv(64)
        process.terminate()
    assert answer.startswith(b"-NOAUTH"), log


def test_every_setting_exists_and_every_volume_is_declared() -> None:
    for gateway in GATEWAYS.values():
        named = {name for name in gateway["environment"] if name.startswith("COE_")}
        assert named <= {f"COE_{name.upper()}" for name in Settings.model_fields}
    mounts = [mount for each in SERVICES.values() for mount in each["volumes"]]
    named_volumes = {mount.split(":")[0] for mount in mounts if mount[0] not in "./$"}
    assert named_volumes == set(DOCUMENT["volumes"])


@pytest.mark.parametrize("gateway", GATEWAYS.values(), ids=GATEWAYS)
def test_it_is_not_killed_while_requests_may_still_finish(gateway: dict[str, Any]) -> None:
    drain_s = float(gateway["environment"]["COE_DRAIN_S"])
    assert seconds(gateway["stop_grace_period"]) > drain_s


@pytest.mark.parametrize(
    ("profile", "port", "model"), [("ollama", 11434, "llama3.2:3b"), ("vllm", 8000, "qwen")]
)
def test_the_composition_serves_either_profile(
    monkeypatch: pytest.MonkeyPatch, profile: str, port: int, model: str
) -> None:
    if profile == "ollama":
        defaults = dict(re.findall(r"\$\{(BACKEND_\w+):-([^}]+)\}", FILE.read_text("utf-8")))
        assert defaults == {"BACKEND_URL": f"http://{profile}:{port}", "BACKEND_MODEL": model}
    else:
        assert f"BACKEND_URL=http://{profile}:{port} BACKEND_MODEL={model}" in FILE.read_text()
        monkeypatch.setenv("BACKEND_URL", f"http://{profile}:{port}")
        monkeypatch.setenv("BACKEND_MODEL", model)
    served = composition.load(FILE.with_name("compose.experts.yaml"))
    assert served.experts["general"].model == model
    assert served.backends["server"].url == f"http://{profile}:{port}/v1"
