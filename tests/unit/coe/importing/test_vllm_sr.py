"""vLLM Semantic Router's config.yaml, in both layouts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from coe.errors import CompositionError
from coe.importing import carry, parse_source

Bring = Callable[..., Any]

SCORED = """
bert_model: {model_id: x, threshold: 0.6}
vllm_endpoints:
  - {name: endpoint1, address: 127.0.0.1, port: 8000, weight: 1}
  - {name: "end point 2", address: "2001:db8::1", port: 8001, weight: 2, api_key: sk-vllm-literal}
model_config:
  qwen3:
    preferred_endpoints: [endpoint1, "end point 2"]
    reasoning_family: qwen3
    pricing: {currency: USD, prompt_per_1m: 0.07, completion_per_1m: 0.35}
    loras: [{name: law-lora, description: contracts}]
  phi4: {preferred_endpoints: [endpoint1]}
classifier: {category_model: {model_id: m, threshold: 0.6}}
categories:
  - name: law
    model_scores:
      - {model: phi4, score: 0.4}
      - {model: qwen3, lora_name: law-lora, score: 0.9}
      - {model: qwen3, score: 0.6}
  - name: computer science
    model_scores: [{model: phi4, score: 0.8}, {model: gone, score: 1}]
  - {name: other, description: rest}
default_model: qwen3
"""
DECIDED = """
version: v0.3
providers:
  defaults: {model: small}
  models:
    - name: small
      provider_model_id: small-instruct
      backend_refs:
        - {name: p, endpoint: "h:8000", protocol: http, weight: 20, api_key_env: K1}
        - name: q
          base_url: "https://q.example/v1"
          provider: openai
          api_key: sk-q-literal
          weight: 80
    - {name: catalogued, catalog: x}
routing:
  modelCards:
    - name: small
      context_window_size: 131072
      capabilities: [chat, tools]
      loras: [{name: legal}]
  signals:
    embeddings: [{name: billing, threshold: 0.72, candidates: [refund, invoice wrong, my bill]}]
    keywords: [{name: code, operator: OR, keywords: [code, debug]}, {name: unused, keywords: [x]}]
    domains: [{name: law, description: Legal questions, mmlu_categories: [law]}]
  decisions:
    - name: bills
      rules: {operator: AND, conditions: [{type: embedding, name: billing}]}
      modelRefs: [{model: small, use_reasoning: false}]
    - name: code
      rules: {type: keyword, name: code}
      modelRefs: [{model: small, lora_name: legal}]
    - name: law
      rules:
        operator: OR
        conditions: [{type: domain, name: law}, {type: embedding, name: billing}]
      modelRefs: [{model: small}]
    - name: both
      rules: {operator: AND, conditions: [{type: domain, name: law}, {type: keyword, name: code}]}
      modelRefs: [{model: small}]
"""


def test_endpoints_become_backends(bring: Bring) -> None:
    brought = bring("vllm-sr", SCORED)

    assert {name: b.url for name, b in brought.composition.backends.items()} == {
        "endpoint1": "http://127.0.0.1:8000/v1",
        "end-point-2": "http://[2001:db8::1]:8001/v1",
    }
    assert brought.variables == {"END_POINT_2_API_KEY"}
    assert "sk-vllm" not in brought.text


def test_a_model_is_an_expert_at_each_of_its_endpoints_and_a_lora_is_one_on_it(
    bring: Bring,
) -> None:
    experts = bring("vllm-sr", SCORED).composition.experts

    assert [(n, e.backend) for n, e in experts.items() if e.model == "qwen3" and not e.base] == [
        ("qwen3", "end-point-2"),  # the greater weight
        ("qwen3-2", "endpoint1"),
    ]
    assert experts["law-lora"].base == "qwen3"
    assert experts["qwen3"].cost is not None
    assert experts["qwen3"].cost.output == 0.35


def test_scores_rank_experts_and_become_skills(bring: Bring) -> None:
    brought = bring("vllm-sr", SCORED)
    experts = brought.composition.experts

    assert brought.route("law") == ["law-lora", "qwen3", "qwen3-2", "phi4"]
    assert brought.route("computer-science") == ["phi4"]
    assert experts["law-lora"].skills == {"law": 0.9}
    assert experts["phi4"].skills == {"law": 0.4, "computer-science": 0.8}
    assert brought.composition.categories["law"].category.skills == {"law": 1.0}
    assert brought.composition.default == "qwen3"


def test_what_has_no_counterpart_is_told(bring: Bring) -> None:
    told = {note.path for note in bring("vllm-sr", SCORED).notes("left out")}

    assert told == {
        "bert_model",
        "classifier",
        "model_config.qwen3.reasoning_family",
        "categories[1].model_scores[1]",
        "categories[2]",
    }


def test_decisions_become_categories_with_the_texts_of_their_rules(bring: Bring) -> None:
    brought = bring("vllm-sr", DECIDED)
    categories = {n: entry.category for n, entry in brought.composition.categories.items()}

    assert list(categories["bills"].utterances) == ["refund", "invoice wrong", "my bill"]
    assert list(categories["code"].keywords) == ["code", "debug"]
    assert categories["law"].description == "Legal questions"
    assert not categories["law"].utterances  # they lead to `bills` already
    assert brought.route("bills") == ["small", "small-2"]
    assert brought.route("code") == ["legal"]
    assert brought.notes("left out", "routing.decisions[3].rules")
    assert brought.notes("left out", "routing.signals.keywords[1]")
    assert brought.notes("left out", "providers.models[1]")
    assert brought.notes("to do", "routing.decisions[2].rules.conditions[0]")


def test_providers_become_backends_and_cards_say_what_experts_can_do(bring: Bring) -> None:
    brought = bring("vllm-sr", DECIDED)
    composition = brought.composition

    assert {b.type for b in composition.backends.values()} == {"vllm", "openai"}
    assert brought.variables == {"K1", "Q_API_KEY"}
    assert composition.experts["small"].model == "small-instruct"
    assert composition.experts["small"].context == 131_072
    assert composition.experts["small"].capabilities == {"chat", "tools"}


def test_the_oldest_layout_names_models_at_the_endpoints(bring: Bring) -> None:
    text = """
vllm_endpoints: [{name: e, address: 10.0.0.1, port: 11434, models: [a]}]
categories: [{name: c, model_scores: [{model: b, score: 0.5}, {model: a, score: 0.7}]}]
default_model: a
"""
    assert bring("vllm-sr", text).route("c") == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("model_config: {}\nvllm_endpoints: []\n", 1, "no server is named"),
        ("vllm_endpoints:\n  - {address: h}\n", 2, "`name` is missing"),
        ("vllm_endpoints:\n  - {name: a}\n", 2, "`address` is missing"),
        (
            "vllm_endpoints:\n  - {name: a, address: h}\n  - {name: a, address: i}\n",
            3,
            "two endpoints `a`",
        ),
        ("vllm_endpoints:\n  - {name: a, address: h, port: x}\n", 2, "cannot be used"),
        ("vllm_endpoints:\n  - {name: a, address: h}\n", 1, "no model"),
    ],
)
def test_what_is_missing_is_said_with_its_line(text: str, line: int, said: str) -> None:
    with pytest.raises(CompositionError) as raised:
        carry("vllm-sr", parse_source(text, "c.yaml"))

    (problem,) = raised.value.problems
    assert said in problem.message
    assert problem.line == line
