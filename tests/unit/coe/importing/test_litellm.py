"""LiteLLM's config.yaml."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from coe.errors import CompositionError
from coe.importing import carry, parse_source

Bring = Callable[..., Any]

TWO = """
model_list:
  - model_name: big
    litellm_params: {model: openai/gpt-4o, api_key: os.environ/MINE}
  - model_name: small
    litellm_params: {model: groq/llama-3.1-8b}
"""


def one(params: str, info: str = "{}", rest: str = "") -> str:
    entry = f"{{model_name: m, litellm_params: {params}, model_info: {info}}}"
    return f"model_list:\n  - {entry}\n{rest}"


def test_a_model_with_one_deployment_is_an_expert_of_its_name(bring: Bring) -> None:
    brought = bring("litellm", TWO)

    assert {name: e.model for name, e in brought.composition.experts.items()} == {
        "big": "gpt-4o",
        "small": "llama-3.1-8b",
    }
    assert {b.url for b in brought.composition.backends.values()} == {
        "https://api.openai.com/v1",
        "https://api.groq.com/openai/v1",
    }
    assert brought.variables == {"MINE", "GROQ_API_KEY"}
    assert brought.composition.default == "big"


def test_several_deployments_and_fallbacks_are_a_category_of_the_old_name(bring: Bring) -> None:
    text = (
        TWO
        + """
  - {model_name: big, litellm_params: {model: openai/gpt-4o-mini, order: 2}}
router_settings:
  fallbacks: [{big: [small]}]
  model_group_alias: {gpt-4: big, shown: {model: small, hidden: true}}
"""
    )
    brought = bring("litellm", text)

    assert brought.route("big") == ["big-1", "big-2", "small"]
    assert brought.route("gpt-4") == ["big-1", "big-2", "small"]
    assert brought.route("shown") == ["small"]
    assert brought.composition.experts["big-2"].model == "gpt-4o-mini"


def test_order_ranks_deployments(bring: Bring) -> None:
    brought = bring(
        "litellm",
        """
model_list:
  - {model_name: m, litellm_params: {model: openai/second, order: 2}}
  - {model_name: m, litellm_params: {model: openai/first, order: 1}}
""",
    )
    assert [brought.composition.experts[n].model for n in brought.route("m")] == ["first", "second"]


@pytest.mark.parametrize("section", ["litellm_settings", "router_settings"])
def test_default_fallbacks_stand_in_for_models_that_name_none(bring: Bring, section: str) -> None:
    text = f"{TWO}{section}: {{default_fallbacks: [small]}}\n"

    assert bring("litellm", text).route("big") == ["big-1", "small"]


def test_a_longer_ranking_gets_as_many_attempts(bring: Bring) -> None:
    rows = "".join(
        f"  - {{model_name: m, litellm_params: {{model: openai/m{i}}}}}\n" for i in range(5)
    )
    brought = bring("litellm", f"model_list:\n{rows}")

    assert len(brought.route("m")) == brought.composition.fallbacks.attempts == 5


def test_prices_of_tokens_become_prices_of_millions(bring: Bring) -> None:
    text = one(
        "{model: openai/x, input_cost_per_token: 0.0000025}", "{output_cost_per_token: 1e-05}"
    )
    cost = bring("litellm", text).composition.experts["m"].cost

    assert cost is not None
    assert (cost.input, cost.output) == (2.5, 10.0)


def test_a_price_that_is_missing_is_zero_as_it_is_there(bring: Bring) -> None:
    text = one("{model: openai/x, input_cost_per_token: 0.0000025}")
    cost = bring("litellm", text).composition.experts["m"].cost

    assert cost is not None
    assert (cost.input, cost.output) == (2.5, 0.0)


def test_sizes_request_fields_and_limits_are_carried_over(bring: Bring) -> None:
    text = one(
        "{model: openai/x, temperature: 0.2, max_tokens: 64, timeout: 30, stream_timeout: 5}",
        "{max_input_tokens: 128000, max_output_tokens: 4096}",
        "router_settings: {timeout: 45}\n",
    )
    brought = bring("litellm", text)
    expert = brought.composition.experts["m"]

    assert (expert.context, expert.max_output) == (128_000, 4096)
    assert dict(expert.defaults) == {"temperature": 0.2, "max_tokens": 64}
    timeouts = brought.composition.backends[expert.backend].timeouts
    assert (timeouts.total_s, timeouts.first_token_s) == (30, 5)
    assert not brought.notes("left out")


@pytest.mark.parametrize(
    ("params", "kind", "url", "model"),
    [
        ("{model: gpt-4o}", "openai", "https://api.openai.com/v1", "gpt-4o"),
        (
            "{model: claude-sonnet-4-5}",
            "openai",
            "https://api.anthropic.com/v1",
            "claude-sonnet-4-5",
        ),
        ("{model: ollama/llama3.2}", "ollama", "http://127.0.0.1:11434/v1", "llama3.2"),
        ("{model: ollama_chat/a:b, api_base: 'http://h:1'}", "ollama", "http://h:1/v1", "a:b"),
        ("{model: hosted_vllm/o/m, api_base: 'http://h:1/v1'}", "vllm", "http://h:1/v1", "o/m"),
        ("{model: openai/x, api_base: 'http://h:1/v1'}", "openai", "http://h:1/v1", "x"),
        ("{model: x, custom_llm_provider: openai}", "openai", "https://api.openai.com/v1", "x"),
        (
            "{model: azure/eu, api_base: 'https://a.example'}",
            "litellm",
            "https://a.example",
            "azure/eu",
        ),
        ("{model: bedrock/anthropic.x}", "litellm", None, "bedrock/anthropic.x"),
        ("{model: anthropic/x, api_base: 'https://a.b'}", "litellm", "https://a.b", "anthropic/x"),
    ],
)
def test_providers_lead_to_backends(
    bring: Bring, params: str, kind: str, url: str, model: str
) -> None:
    composition = bring("litellm", one(params)).composition
    expert = composition.experts["m"]
    backend = composition.backends[expert.backend]

    assert (backend.type, expert.model) == (kind, model)
    given = backend.options.get("parameters", {}).get("api_base")
    assert (given if kind == "litellm" else backend.url) == url


def test_deployments_at_one_place_share_a_backend(bring: Bring) -> None:
    text = TWO + "  - {model_name: third, litellm_params: {model: groq/other}}\n"

    assert len(bring("litellm", text).composition.backends) == 2


def test_two_literal_keys_are_two_variables_and_neither_takes_a_known_name(bring: Bring) -> None:
    brought = bring(
        "litellm",
        """
model_list:
  - {model_name: a, litellm_params: {model: openai/a, api_key: sk-first-literal}}
  - {model_name: b, litellm_params: {model: openai/b, api_key: sk-second-literal}}
  - {model_name: c, litellm_params: {model: openai/c, api_key: sk-first-literal}}
  - {model_name: d, litellm_params: {model: openai/d}}
""",
    )
    backends, experts = brought.composition.backends, brought.composition.experts

    assert brought.variables == {"OPENAI_API_KEY", "OPENAI_API_KEY_2", "OPENAI_API_KEY_3"}
    assert experts["a"].backend == experts["c"].backend != experts["b"].backend
    assert repr(backends[experts["d"].backend].api_key) == "'${env:OPENAI_API_KEY}'"
    assert "literal" not in brought.text.replace("literal_", "")
    told = " ".join(note.message for note in brought.notes("to do"))
    assert "set OPENAI_API_KEY_2 to it" in told
    assert "set OPENAI_API_KEY_3 to it" in told


def test_shared_credentials_are_looked_up(bring: Bring) -> None:
    text = (
        one("{model: azure/eu, litellm_credential_name: mine}")
        + """
credential_list:
  - credential_name: mine
    credential_values: {api_key: sk-shared-literal, api_base: https://a.example, api_version: v2}
"""
    )
    brought = bring("litellm", text)
    backend = brought.composition.backends[brought.composition.experts["m"].backend]

    assert backend.url is None  # the library's own: one of ours would end in /v1
    assert backend.options == {"parameters": {"api_base": "https://a.example", "api_version": "v2"}}
    assert brought.variables == {"AZURE_API_KEY"}


@pytest.mark.parametrize(
    ("base", "told"),
    [("http://h:1", 1), ("http://h:1/", 1), ("http://h:1/v1", 0), ("os.environ/BASE", 0)],
)
def test_an_address_without_a_path_gets_one_and_a_note(bring: Bring, base: str, told: int) -> None:
    brought = bring("litellm", one(f"{{model: openai/x, api_base: '{base}', api_key: none}}"))

    assert len(brought.notes("changed", "model_list[0].litellm_params.api_base")) == told


def test_a_placeholder_is_no_key(bring: Bring) -> None:
    brought = bring("litellm", one("{model: openai/x, api_base: 'http://h:1', api_key: none}"))

    assert not brought.variables
    assert brought.notes("changed", "model_list[0].litellm_params.api_key")


def test_addresses_lose_passwords_and_queries(bring: Bring) -> None:
    brought = bring(
        "litellm", one("{model: openai/x, api_base: 'https://me:secret@h.example/v1?key=secret'}")
    )
    (backend,) = brought.composition.backends.values()

    assert backend.url == "https://h.example/v1"
    assert "secret" not in brought.text
    assert brought.notes("to do", "model_list[0].litellm_params.api_base")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{model_name: '*', litellm_params: {model: 'openai/*'}}", "wildcard"),
        ("{model_name: r, litellm_params: {model: auto_router/r}}", "router of LiteLLM's"),
        (
            "{model_name: i, litellm_params: {model: i}, model_info: {mode: image_generation}}",
            "neither chat nor embeddings",
        ),
        ("{model_name: s, litellm_params: {model: openai/whisper-1}}", "neither chat nor"),
        ("{model_name: small, litellm_params: {model: groq/llama-3.1-8b}}", "same model"),
    ],
)
def test_what_is_no_expert_is_left_out_with_the_reason(bring: Bring, row: str, said: str) -> None:
    brought = bring("litellm", f"{TWO}  - {row}\n")

    assert set(brought.composition.experts) == {"big", "small"}
    (note,) = brought.notes("left out", "model_list[2]")
    assert said in note.message
    assert note.line == 7
    assert f"# left out (line 7) model_list[2]: {note.message}"[:60] in brought.text


def test_embeddings_are_never_the_default(bring: Bring) -> None:
    brought = bring(
        "litellm",
        """
model_list:
  - model_name: embed
    litellm_params: {model: mine}
    model_info: {mode: embedding}
  - {model_name: named, litellm_params: {model: text-embedding-3-small}}
  - {model_name: chat, litellm_params: {model: gpt-4o}}
""",
    )
    assert brought.composition.default == "chat"
    for name in ("embed", "named"):
        assert brought.composition.experts[name].capabilities == {"embeddings"}


def test_settings_without_a_counterpart_are_told_one_by_one(bring: Bring) -> None:
    text = (
        TWO
        + """
litellm_settings: {num_retries: 3, callbacks: [x]}
general_settings: {master_key: sk-1234, database_url: "postgres://u:p@h/d"}
environment_variables: {LANGFUSE_KEY: abc}
"""
    )
    brought = bring("litellm", text)

    assert {note.path for note in brought.notes("left out")} == {
        "litellm_settings.num_retries",
        "litellm_settings.callbacks",
        "general_settings.master_key",
        "general_settings.database_url",
        "environment_variables.LANGFUSE_KEY",
    }
    assert "(it was 3)" in brought.text
    assert "sk-1234" not in brought.text
    assert "postgres" not in brought.text


def test_merge_keys_are_followed(bring: Bring) -> None:
    brought = bring(
        "litellm",
        """
shared: &shared {api_key: os.environ/SHARED, api_base: "http://h:1/v1"}
model_list:
  - {model_name: a, litellm_params: {<<: *shared, model: openai/a}}
  - {model_name: b, litellm_params: {<<: *shared, model: openai/b, api_base: "http://h:2/v1"}}
""",
    )
    assert {b.url for b in brought.composition.backends.values()} == {
        "http://h:1/v1",
        "http://h:2/v1",
    }


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("model_list: []\n", 1, "none of its models"),
        ("a: 1\nmodel_list: x\n", 2, "none of its models"),
        ("model_list:\n  - litellm_params: {model: a}\n", 2, "`model_name` is missing"),
        ("model_list:\n\n  - model_name: a\n", 3, "`litellm_params` is missing"),
        ("model_list:\n  - model_name: a\n    litellm_params: {x: 1}\n", 3, "`model` is missing"),
    ],
)
def test_what_is_missing_is_said_with_its_line(text: str, line: int, said: str) -> None:
    with pytest.raises(CompositionError) as raised:
        carry("litellm", parse_source(text, "c.yaml"))

    (problem,) = raised.value.problems
    assert problem.line == line
    assert said in problem.message
