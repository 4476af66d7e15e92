"""From the file to the value that the gateway works with."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

import coe.composition
from coe.composition import Adapter, Composition, Cost, Expert, check, expand, load
from coe.types import Dial, Timeouts

Write = Callable[[str], Path]

SMALLEST = """\
version: 1
backends:
  ollama: http://127.0.0.1:11434          # a string is enough
experts:
  general: ollama/llama3.2:3b             # "backend/model" is enough
  coder:   ollama/qwen2.5-coder:7b
categories:
  code:
    description: Write, fix, explain or review program code
    utterances: ["why does this function crash", "write a bash script that renames files"]
    experts: [coder, general]             # ranked: first choice, then fallback
default: general
"""

FULL = """\
version: 1
server: {listen: "[::1]:9000"}
backends:
  gpu:
    type: vllm
    url: http://127.0.0.1:8001/v1/
    memory: 80GiB
    reserve: 8GiB
    concurrency: 48
    timeouts: {first_token: 20s}
    options: {max_batch: 4}
  cloud: https://api.example.com
experts:
  base:
    backend: gpu
    model: meta-llama/Llama-3.1-8B-Instruct
    context: 128k
    max_output: 8k
    memory: 17GiB
    capabilities: [chat, tools]
    skills: {general: 0.7}
    tags: open
    defaults: {temperature: 0.2}
    force: {user: coe}
    cost: {input: 0.10 USD/M, output: 0.40 USD/M}
    description: A model for everything
  legal:
    base: base
    adapter: {source: hf://acme/legal, revision: 2026-11-22, rank: 16}
    memory: 180MiB
    context: 32k
    status: canary
  frontier: cloud/vendor/big-model
categories:
  code:
    utterances: [c1, c2, c3]
    utterances_file: more/code.txt
    not_utterances: [dress code]
    negatives_file: more/not-code.txt
    keywords: {any: [traceback], regex: ["^\\\\s+at "]}
    threshold: 0.55
  law: [l1, l2, l3, l4, l5]
routing:
  routes:
    code: {experts: [frontier, base]}
    law: legal
  none: [base, frontier]
models: {coe/quick: }
default: base
timeouts: {connect: 2s, total: 5m}
fallbacks: {attempts: 2}
"""


@pytest.fixture
def full(write: Write) -> Composition:
    path = write(FULL)
    (path.parent / "more").mkdir()
    (path.parent / "more/code.txt").write_text("# more\n c4 \n\nc5\n", encoding="utf-8")
    (path.parent / "more/not-code.txt").write_text("postal code\n", encoding="utf-8")
    return load(path, {})


def test_the_smallest_file_loads(write: Write) -> None:
    path = write(SMALLEST)

    composition = load(path, {})

    assert composition.default == "general"
    assert composition.backends["ollama"].url == "http://127.0.0.1:11434/v1"
    assert composition.backends["ollama"].type == "openai"
    assert composition.experts["coder"].model == "qwen2.5-coder:7b"
    assert composition.routing.routes == {"code": ("coder", "general")}
    assert composition.routing.none == ("general",)
    assert composition.server.listen == "127.0.0.1:8088"
    assert list(composition.models) == ["coe/auto", "coe/cheap", "coe/best"]
    assert composition.folder == path.parent
    assert composition.source == path


def test_backends_are_typed(full: Composition) -> None:
    gpu, cloud = full.backends["gpu"], full.backends["cloud"]

    assert (gpu.memory, gpu.reserve, gpu.concurrency) == (80 * 2**30, 8 * 2**30, 48)
    assert (gpu.type, gpu.url) == ("vllm", "http://127.0.0.1:8001/v1")
    assert gpu.options == {"max_batch": 4}
    assert cloud.url == "https://api.example.com/v1"


def test_a_backend_keeps_the_limits_that_it_does_not_change(full: Composition) -> None:
    common = Timeouts(connect_s=2.0, first_token_s=60.0, idle_s=60.0, total_s=300.0)

    assert full.timeouts == common
    assert full.timeouts_of("cloud") == common
    assert full.timeouts_of("gpu") == dataclasses.replace(common, first_token_s=20.0)


def test_experts_are_typed(full: Composition) -> None:
    base = full.experts["base"]

    assert (base.context, base.max_output) == (128_000, 8_000)
    assert base.capabilities == frozenset({"chat", "tools"})
    assert base.tags == ("open",)
    assert base.cost == Cost(input=0.1, output=0.4, currency="USD")
    assert base.kind == "llm"
    assert full.experts["frontier"].model == "vendor/big-model"
    assert full.experts["frontier"].capabilities is None
    assert full.experts["frontier"].context is None


def test_an_expert_needs_no_more_than_its_place() -> None:
    expert = Expert(name="one", backend="here", model="m")

    assert (expert.skills, expert.defaults, expert.tags) == ({}, {}, ())
    assert expert.is_eligible
    assert expert.adapter_source is None


def test_a_lora_inherits_from_its_base(full: Composition) -> None:
    legal = full.experts["legal"]

    assert legal.kind == "lora"
    assert (legal.backend, legal.model) == ("gpu", "meta-llama/Llama-3.1-8B-Instruct")
    assert (legal.context, legal.max_output) == (32_000, 8_000)
    assert legal.capabilities == frozenset({"chat", "tools"})
    assert legal.adapter == Adapter(source="hf://acme/legal", revision="2026-11-22", rank=16)
    assert legal.adapter_source == "hf://acme/legal"
    assert legal.is_eligible
    assert legal.defaults == {}


def test_texts_of_the_file_and_of_its_files_are_merged(full: Composition) -> None:
    code = full.categories["code"]

    assert code.category.utterances == ("c1", "c2", "c3", "c4", "c5")
    assert code.category.negatives == ("dress code", "postal code")
    assert code.category.keywords == ("traceback",)
    assert code.category.patterns == ("^\\s+at ",)
    assert code.category.threshold == 0.55
    assert code.experts == ("frontier", "base")
    assert (code.name, code.description) == ("code", "")
    assert full.categories["law"].experts == ("legal",)


def test_keywords_bring_an_implicit_chain(full: Composition) -> None:
    assert full.routing.router == "default"
    assert full.routers["default"].type == "chain"
    assert full.routers["default"].options == {"stages": ["keyword", "embedding"]}
    assert full.routers["embedding"].options == {"encoder": "minilm"}
    assert [c.name for c in full.routers["keyword"].categories] == ["code", "law"]
    assert full.encoders["minilm"].type == "minilm"


def test_without_keywords_the_implicit_router_is_an_embedding(write: Write) -> None:
    composition = load(write(SMALLEST), {})

    assert {name: r.type for name, r in composition.routers.items()} == {"default": "embedding"}


def test_the_only_encoder_is_that_of_the_implicit_router(write: Write) -> None:
    composition = load(write(SMALLEST + "encoders: {tiny: {type: hashed, dim: 256}}\n"), {})

    assert composition.routers["default"].options == {"encoder": "tiny"}
    assert composition.encoders["tiny"].options == {"dim": 256}


def test_an_embedding_router_needs_no_encoder_of_its_own(write: Write) -> None:
    text = SMALLEST + "routers: {mine: embedding, other: {type: embedding, encoder: tiny}}\n"
    text += "routing: {router: mine}\nencoders: {tiny: hashed, more: hashed}\n"

    routers = load(write(text), {}).routers

    assert routers["mine"].options == {"encoder": "minilm"}
    assert routers["other"].options == {"encoder": "tiny"}


def test_without_categories_there_is_no_router(write: Write) -> None:
    composition = load(
        write("version: 1\nbackends: {a: http://h}\nexperts: {one: a/m}\ndefault: one\n"), {}
    )

    assert composition.routing.router is None
    assert composition.routers == {}


@pytest.mark.parametrize(
    ("routers", "expected"),
    [
        ("{mine: embedding}", "mine"),
        ("{default: embedding, other: keyword}", "default"),
        ("{k: keyword, e: embedding, all: {type: chain, stages: [k, e]}}", "all"),
    ],
)
def test_the_router_that_decides_needs_no_naming_where_it_is_clear(
    routers: str, expected: str, write: Write
) -> None:
    composition = load(write(SMALLEST + f"routers: {routers}\n"), {})

    assert composition.routing.router == expected


def test_a_named_router_decides(write: Write) -> None:
    text = SMALLEST + "routers: {a: embedding, b: keyword}\nrouting: {router: b}\n"

    assert load(write(text), {}).routing.router == "b"


def test_nothing_in_a_composition_can_be_changed(full: Composition) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        full.default = "legal"  # type: ignore[misc]
    with pytest.raises(TypeError):
        full.experts["base"] = full.experts["legal"]  # type: ignore[index]
    with pytest.raises(TypeError):
        full.experts["base"].defaults["temperature"] = 1  # type: ignore[index]


@pytest.mark.parametrize("text", [SMALLEST, FULL])
def test_the_canonical_form_says_the_same(text: str, write: Write, full: Composition) -> None:
    first = load(write(text), {})

    second = load(write(expand(first)), {})

    assert second.fingerprint == first.fingerprint
    assert expand(second) == expand(first)
    assert second.experts == first.experts
    assert second.backends == first.backends
    assert second.routing == first.routing
    assert second.routers == first.routers
    assert full.folder == first.folder


def test_the_fingerprint_follows_the_meaning_and_not_the_spelling(write: Write) -> None:
    plain = load(write(SMALLEST), {}).fingerprint

    spelt = load(
        write(SMALLEST.replace("ollama/llama3.2:3b", "{model: 'llama3.2:3b', backend: ollama}")), {}
    )
    changed = load(write(SMALLEST.replace("llama3.2:3b", "llama3.2:1b")), {})

    assert spelt.fingerprint == plain
    assert changed.fingerprint != plain


def test_the_fingerprint_follows_the_utterance_files(full: Composition) -> None:
    (full.folder / "more/code.txt").write_text("c4\nc5\nc6\n", encoding="utf-8")

    assert load(full.source, {}).fingerprint != full.fingerprint


def test_sections_without_a_value_are_absent(write: Write) -> None:
    text = SMALLEST + "routers:\n# all commented out\nrouting:\ntimeouts:\n"

    assert load(write(text), {}).routing.router == "default"


def test_a_listen_address_may_come_from_the_environment(write: Write) -> None:
    path = write(SMALLEST + "server: ${env:LISTEN}\n")

    assert load(path, {"LISTEN": "0.0.0.0:80"}).server.listen == "0.0.0.0:80"
    assert [p.path for p in check(path, {}) if "LISTEN" in p.message] == ["server.listen"]


def test_a_category_may_be_named_like_an_expert(write: Write) -> None:
    text = SMALLEST.replace("  code:", "  coder:")

    assert [p for p in check(write(text), {}) if p.severity == "error"] == []


def test_everything_public_is_exported() -> None:
    assert sorted(coe.composition.__all__) == coe.composition.__all__
    assert all(hasattr(coe.composition, name) for name in coe.composition.__all__)


def test_routers_are_told_who_answers_and_what_they_are_good_at(write: Write) -> None:
    text = """
version: 1
backends: {here: http://127.0.0.1:8000}
experts:
  coder: {backend: here, model: c, skills: {code: 0.8}, description: writes code}
  old: {backend: here, model: o, status: retired}
categories:
  code: {utterances: [a, b, c, d, e], experts: [old, coder], skills: {code: 1.0, maths: 0.5}}
  talk: [f, g, h, i, j]
routers: {near: nearest}
default: coder
"""

    composition = load(write(text))

    spec = composition.routers["near"]
    assert spec.options == {"encoder": "minilm"}
    assert [category.experts for category in spec.categories] == [("old", "coder"), ()]
    assert spec.categories[0].skills == {"code": 1.0, "maths": 0.5}
    (card,) = spec.experts
    assert (card.name, card.description) == ("coder", "writes code")
    assert card.skills == {"code": 0.8}


def test_a_virtual_model_is_a_dial(write: Write) -> None:
    models = """
models:
  coe/best: {willingness_to_pay: 0.02 USD}
  floor: {quality_floor: 0.6}
  plain: {}
  hand: {choose: ranked}
routing: {choose: fitted}
"""
    found = load(write(SMALLEST + models), {}).models

    assert found["coe/auto"].dial == Dial(choose="fitted")
    assert found["coe/cheap"].dial == Dial(choose="cheapest_good")
    assert found["coe/best"].dial == Dial(choose="fitted", price_weight=5.0)
    assert found["floor"].dial == Dial(choose="cheapest_good", quality_floor=0.6)
    assert found["plain"].dial == found["coe/auto"].dial
    assert found["hand"].dial == Dial(choose="ranked")
    assert [name for name, model in found.items() if model.needs_map] == ["coe/best", "floor"]


def test_for_the_best_model_money_is_no_object(write: Write) -> None:
    best = load(write(SMALLEST), {}).models["coe/best"]

    assert best.dial == Dial(choose="fitted", price_weight=0.0, latency_weight=0.0)
    assert not best.needs_map


def test_a_canary_has_a_share(write: Write) -> None:
    experts = """
  first: {backend: ollama, model: m, status: canary}
  second: {backend: ollama, model: m, status: canary, share: 12.5%}
"""
    text = SMALLEST.replace("experts:\n", f"experts:{experts}", 1)
    composition = load(write(text), {})

    assert composition.experts["first"].share == 0.05
    assert composition.experts["second"].share == 0.125
    assert "share: 12.5%" in expand(composition)


def test_where_a_map_ranks_the_experts_no_route_need_lead_to_one(write: Write) -> None:
    text = SMALLEST.replace("experts:\n", "experts:\n  other: ollama/m\n", 1)

    assert [p.path for p in check(write(text), {}) if "no route" in p.message] == ["experts.other"]
    assert not [
        p for p in check(write(text + "routing: {choose: fitted}\n"), {}) if "no route" in p.message
    ]
