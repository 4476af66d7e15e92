"""The JSON schema for editors: in step with the models, and as tolerant as they are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from ruamel.yaml import YAML

from coe.composition import json_schema, schema
from coe.composition.keys import Keys

SMALLEST = """
version: 1
backends: {ollama: http://127.0.0.1:11434}
experts: {general: ollama/llama3.2:3b}
default: general
"""
SHORT = """
version: 1
server: 127.0.0.1:9000
backends: {engine: local, other: {type: vllm, url: http://h, memory: 80GiB, timeouts: {idle: 5s}}}
experts:
  base: {backend: engine, model: ./base, context: 2048, tags: small, capabilities: [chat]}
  tuned: {base: base, adapter: ./tuned, memory: 1MiB}
  cloud: {backend: other, model: m, context: 128k, cost: {input: 2.50 USD/M, output: 0 USD/M}}
categories:
  a: [one, two]
  b: {utterances: one, not_utterances: [three], keywords: [k], experts: base, threshold: 0.5}
  c: {utterances: [one], negatives: [three], keywords: {any: k, regex: [x]}, experts: [base]}
encoders: {tiny: hashed, more: {type: hashed, dim: 4}}
routers: {default: embedding, more: {type: chain, stages: [default]}}
routing: {routes: {a: base, b: [base], c: {experts: [base]}}, none: base}
models: {coe/x: {}}
default: base
timeouts: {connect: 1s}
fallbacks: {attempts: 1}
"""


def errors_of(text: str) -> list[str]:
    content = YAML(typ="safe", pure=True).load(text)
    return [error.message for error in Draft202012Validator(json_schema()).iter_errors(content)]


def test_the_committed_schema_is_in_step_with_the_models() -> None:
    written = schema.PATH.read_text(encoding="utf-8")

    assert written == schema.text(), "run `python -m coe.composition.schema`"


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize("text", [SMALLEST, SHORT])
def test_a_good_file_with_short_forms_passes(text: str) -> None:
    assert errors_of(text) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("version: 1", "version: 2"),
        ("default: general", "defaul: general"),
        ("default: general", ""),
        ("ollama/llama3.2:3b", "llama"),
        ("ollama/llama3.2:3b", "{backend: ollama, model: m, modle: x}"),
        ("ollama/llama3.2:3b", "{backend: ollama, model: m, memory: 5}"),
        ("http://127.0.0.1:11434", "{url: http://h, timeouts: {idle: 5}}"),
    ],
)
def test_a_bad_file_fails(old: str, new: str) -> None:
    assert errors_of(SMALLEST.replace(old, new)) != []


def test_every_key_says_what_it_means() -> None:
    silent = [where for where, entry in properties(json_schema()) if not entry.get("description")]

    assert silent == []


@pytest.mark.parametrize("model", Keys.__subclasses__(), ids=lambda model: model.__name__)
def test_no_key_is_both_served_and_promised_for_later(model: type[Keys]) -> None:
    assert model.LATER.isdisjoint(model.model_fields)


def test_the_schema_is_plain_json() -> None:
    assert json.loads(schema.text()) == json_schema()


def properties(node: Any, where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every key that the schema describes, with its path in the schema."""
    if isinstance(node, dict):
        for name, entry in node.get("properties", {}).items():
            yield f"{where}/{name}", entry
        for key, value in node.items():
            yield from properties(value, f"{where}/{key}")
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from properties(value, f"{where}/{i}")
