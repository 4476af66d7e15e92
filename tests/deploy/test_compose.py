"""The compose file and the composition that it serves to begin with."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from coe import __version__, composition
from coe.settings import Settings

FILE = Path(__file__).parents[2] / "deploy" / "compose.yaml"
DOCUMENT: dict[str, Any] = YAML(typ="safe").load(FILE.read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = DOCUMENT["services"]
GATEWAY = SERVICES["coe"]


def seconds(text: str) -> float:
    assert text.endswith("s")
    return float(text[:-1])


def test_every_image_has_a_tag_of_a_release() -> None:
    assert GATEWAY["image"] == f"coe:{__version__}"
    assert all(re.search(r":v?\d+\.\d+\.\d+$", each["image"]) for each in SERVICES.values())


def test_the_gateway_is_confined() -> None:
    assert GATEWAY["read_only"] is True
    assert GATEWAY["cap_drop"] == ["ALL"]
    assert GATEWAY["security_opt"] == ["no-new-privileges:true"]
    assert GATEWAY["ports"] == ["127.0.0.1:8088:8088"]
    assert not {"privileged", "network_mode", "pid", "user"} & GATEWAY.keys()


def test_backends_publish_no_port_and_stay_behind_their_profile() -> None:
    backends = {name: each for name, each in SERVICES.items() if name != "coe"}
    assert set(backends) == {"ollama", "vllm"}
    for name, service in backends.items():
        assert service["profiles"] == [name]
        assert "ports" not in service


def test_every_setting_exists_and_every_volume_is_declared() -> None:
    named = {name for name in GATEWAY["environment"] if name.startswith("COE_")}
    assert named <= {f"COE_{name.upper()}" for name in Settings.model_fields}
    mounts = [mount for each in SERVICES.values() for mount in each["volumes"]]
    named_volumes = {mount.split(":")[0] for mount in mounts if mount[0] not in "./$"}
    assert named_volumes == set(DOCUMENT["volumes"])


def test_it_is_not_killed_while_requests_may_still_finish() -> None:
    drain_s = float(GATEWAY["environment"]["COE_DRAIN_S"])
    assert seconds(GATEWAY["stop_grace_period"]) > drain_s


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
