"""What holds for every importer: no secret gets out, nothing is dropped, and the result loads."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from coe.errors import CompositionError
from coe.importing import IMPORTERS, carry, parse_source
from coe.importing.credentials import address, variable
from coe.importing.names import Names

Bring = Callable[..., Any]

KEY = "KEY-GOES-HERE"
FILES: dict[str, dict[str, Any]] = {
    "litellm": {
        "model_list": [
            {
                "model_name": "a",
                "litellm_params": {
                    "model": "openai/a",
                    "api_key": KEY,
                    "api_base": f"https://u:{KEY}@h.example/v1?k={KEY}",
                    "extra_headers": {"x-anything": KEY},
                    "temperature": 0.5,
                    "rpm": 6,
                },
                "model_info": {"input_cost_per_token": 1e-6, "mode": "chat", "note": KEY},
            },
            {
                "model_name": "a",
                "litellm_params": {
                    "model": "azure/b",
                    "api_base": "https://b.example",
                    "azure_ad_token": KEY,
                    "api_version": "v1",
                },
            },
            {"model_name": "c", "litellm_params": {"model": "c", "litellm_credential_name": "n"}},
        ],
        "credential_list": [{"credential_name": "n", "credential_values": {"api_key": KEY}}],
        "router_settings": {
            "fallbacks": [{"a": ["c"]}],
            "model_group_alias": {"d": "a"},
            "redis_password": KEY,
        },
        "general_settings": {"master_key": KEY, "alerting_args": {"webhook": KEY}},
        "environment_variables": {"SOMETHING": KEY},
    },
    "llama-swap": {
        "apiKeys": [KEY, "${env.OTHER}"],
        "macros": {"key": KEY},
        "models": {
            "a": {"cmd": f"serve --api-key {KEY} -c 512", "env": [f"K={KEY}"], "aliases": ["x"]},
            "b": {"proxy": f"http://u:{KEY}@h", "filters": {"setParams": {"k": KEY}}},
        },
        "peers": {"p": {"proxy": "https://p", "apiKey": KEY, "models": ["c"]}},
        "groups": {"g": {"members": ["a", "b"]}},
    },
    "semantic-router": {
        "encoder_type": "openai",
        "encoder": {"openai_api_key": KEY},
        "routes": [
            {
                "name": "a",
                "utterances": ["one", "two"],
                "llm": {"key": KEY},
                "metadata": {"k": KEY},
            },
            {"name": "b", "utterances": ["three"], "score_threshold": 0.3},
        ],
    },
    "vllm-sr": {
        "vllm_endpoints": [{"name": "e", "address": "10.0.0.1", "port": 8000, "api_key": KEY}],
        "model_config": {
            "a": {
                "preferred_endpoints": ["e"],
                "access_key": KEY,
                "loras": [{"name": "l"}],
                "pricing": {"currency": "USD", "prompt_per_1m": 0.1},
            }
        },
        "categories": [{"name": "c", "model_scores": [{"model": "a", "score": 0.5}]}],
        "providers": {
            "models": [
                {
                    "name": "p",
                    "backend_refs": [
                        {"endpoint": "h:1", "api_key": KEY, "extra_headers": {"x": KEY}},
                        {"base_url": f"https://u:{KEY}@h/v1", "api_key_env": "K", "weight": 2},
                    ],
                }
            ]
        },
        "routing": {
            "modelCards": [{"name": "p", "loras": [{"name": "q"}], "note": KEY}],
            "signals": {"keywords": [{"name": "k", "keywords": ["x", "y"], "note": KEY}]},
            "decisions": [
                {
                    "name": "d",
                    "rules": {"operator": "OR", "conditions": [{"type": "keyword", "name": "k"}]},
                    "modelRefs": [{"model": "p", "lora_name": "q"}],
                    "plugins": [{"type": "t", "configuration": {"key": KEY}}],
                }
            ],
        },
        "semantic_cache": {"redis": {"password": KEY}},
        "default_model": "a",
    },
}
NO_RESET = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def paths(content: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value."""
    yield here
    pairs = content.items() if isinstance(content, dict) else ()
    for key, value in pairs or (enumerate(content) if isinstance(content, list) else ()):
        yield from paths(value, (*here, key))


def at(content: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        content = content[key]
    return content


MAPPINGS = [
    (kind, path)
    for kind, content in FILES.items()
    for path in paths(content)
    if isinstance(at(content, path), dict)
]
VALUES = [(kind, path) for kind, content in FILES.items() for path in paths(content) if path]


@NO_RESET
@given(st.sampled_from(sorted(FILES)), st.from_regex(r"sk-[A-Za-z0-9_\-+=.]{8,40}", fullmatch=True))
def test_a_literal_key_never_gets_out(bring: Bring, kind: str, key: str) -> None:
    brought = bring(kind, json.dumps(FILES[kind]).replace(KEY, key))

    assert key not in brought.text
    assert not any(key in note.message or key in note.path for note in brought.carried.notes)


@pytest.mark.parametrize(("kind", "path"), MAPPINGS)
def test_a_key_that_nobody_knows_is_told(bring: Bring, kind: str, path: tuple[Any, ...]) -> None:
    content = copy.deepcopy(FILES[kind])
    at(content, path)["zzunknown"] = "value"

    brought = bring(kind, json.dumps(content))

    told = [note.path for note in brought.carried.notes]
    around = ["".join(f"[{k}]" if isinstance(k, int) else f".{k}" for k in path[:n]).lstrip(".")
              for n in range(1, len(path) + 1)]  # fmt: skip
    assert any(one.endswith("zzunknown") or one in around for one in told) or (
        "zzunknown" in brought.text
    )


JUNK = st.sampled_from(
    [None, "", "x", "a b", -1, 3, 1e300, True, [], {}, [1], ["a"], {"a": 1}, "${x"]
)


@NO_RESET
@given(st.sampled_from(VALUES), JUNK)
@example(("vllm-sr", ("vllm_endpoints", 0, "address")), "${x")
def test_whatever_stands_somewhere_the_result_loads_or_the_place_is_named(
    bring: Bring, where: tuple[str, tuple[Any, ...]], junk: Any
) -> None:
    kind, path = where
    content = copy.deepcopy(FILES[kind])
    at(content, path[:-1])[path[-1]] = junk

    try:
        brought = bring(kind, json.dumps(content, indent=1))
    except CompositionError as error:
        places = {problem.file for problem in error.problems if problem.line}
    else:
        places = {"config.yaml"}
        assert brought.composition.default in brought.composition.experts
    assert places == {"config.yaml"}


@pytest.mark.parametrize("kind", sorted(FILES))
@pytest.mark.parametrize("other", sorted(FILES))
def test_a_file_of_another_gateway_is_recognised(kind: str, other: str) -> None:
    source = parse_source(json.dumps(FILES[other]), "c.yaml")

    if kind == other:
        assert carry(kind, source).experts
        return
    with pytest.raises(CompositionError) as raised:
        carry(kind, source)
    assert f"coe import {other}" in str(raised.value)
    assert IMPORTERS[kind].needs in str(raised.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        ("just a text", "known are files of LiteLLM"),
        ("version: 1\nbackends: {}\nexperts: {}\n", "it is a composition already"),
        ("plugins: {}\n", "known are files of LiteLLM"),
    ],
)
@pytest.mark.parametrize("kind", sorted(FILES))
def test_a_file_of_nobody(kind: str, text: str, said: str) -> None:
    with pytest.raises(CompositionError) as raised:
        carry(kind, parse_source(text, "c.yaml"))
    assert said in str(raised.value)
    assert str(raised.value).startswith("c.yaml:1:1: this is no file of")


@given(
    st.lists(
        st.text(max_size=8) | st.sampled_from(["a", "a.b", "a.b.c", "coe/a", "coe/auto", "program"])
    )
)
def test_names_are_valid_and_unique(wishes: list[str]) -> None:
    names = Names("expert")
    claimed = [names.claim(wish) for wish in wishes]

    assert len(set(claimed)) == len(claimed)
    for name in claimed:
        assert name.isascii()
        assert name[0].isalnum()
        assert not name.startswith("coe/")
        assert name.rpartition(".")[0] not in claimed
    assert not {"program"} & set(claimed)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("os.environ/KEY", "KEY"),
        ("${KEY}", "KEY"),
        ("${env.KEY}", "KEY"),
        ("${env:KEY}", "KEY"),
        ("${KEY:-default}", "KEY"),
        ("$KEY", "KEY"),
        ("sk-1$KEY", ""),
        ("os.environ/my key", ""),
    ],
)
def test_references_of_all_kinds(text: str, name: str) -> None:
    assert variable(text) == name


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("http://h:8000/v1/", "http://h:8000/v1/"),
        ("http://${HOST}:8000", "http://${env:HOST}:8000"),
        ("http://me:pw@${HOST}", ""),
        ("ftp://h", ""),
        ("h:8000", ""),
        ("http://h:99999", ""),
        ("http://h/ v1", ""),
        ("http://me:12/34@h/v1", ""),
    ],
)
def test_addresses(text: str, kept: str) -> None:
    found, gone = address(text)

    assert found == kept
    assert bool(gone) == (not kept)
