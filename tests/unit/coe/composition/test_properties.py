"""Whatever the file holds: a composition, or a CompositionError whose problems have places."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from coe.composition import check, expand, json_schema, load
from coe.errors import CompositionError, Problem

SLOW = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def schema_keys(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from node.get("properties", {})
        for value in node.values():
            yield from schema_keys(value)
    elif isinstance(node, list):
        for value in node:
            yield from schema_keys(value)


KEYS = sorted({*schema_keys(json_schema()), "a", "b", "coe/auto", "none", "batching", "embedder"})
WORDS = st.sampled_from(
    [
        "a",
        "b",
        "a/m",
        "http://h",
        "local",
        "chain",
        "embedding",
        "hashed",
        "minilm",
        "80GiB",
        "5s",
        "128k",
        "live",
        "retired",
        "lora",
        "${env:X}",
        "${file:x}",
        "${",
        "(",
        "[[a]]",
        "\x85",
        "\ud7ff",
        "../..",
        "~",
        "~x/y",
        "/",
        "./x",
        "a\x00b",
    ]
) | st.sampled_from(["", " ", "1 USD/M", "x" * 300])
SCALARS = WORDS | st.text(max_size=8) | st.none() | st.booleans() | st.integers() | st.floats()
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=25,
)
SECTIONS = st.fixed_dictionaries(
    {"version": st.just(1)},
    optional={
        name: st.dictionaries(st.sampled_from(["a", "b", "coe/a"]), TREES, max_size=2) | TREES
        for name in json_schema()["properties"]
        if name != "version"
    },
)


def load_or_refuse(path: Path) -> None:
    problems: tuple[Problem, ...] = ()
    try:
        assert expand(load(path, {}))
    except CompositionError as error:
        problems = error.problems
    assert all(p.message and p.severity == "error" for p in problems)
    assert len(check(path, {})) >= len(problems)


@SLOW
@given(text=st.text(max_size=200))
def test_any_text_loads_or_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "experts.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")

    load_or_refuse(path)


@SLOW
@given(text=st.text(alphabet="abc01 \n\t:-?[]{},&*!|>'\"%@#~.<=${}", max_size=80))
def test_any_punctuation_loads_or_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "experts.yaml"
    path.write_text(text, encoding="utf-8")

    load_or_refuse(path)


@SLOW
@given(raw=st.binary(max_size=100))
def test_any_bytes_load_or_are_refused(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "experts.yaml"
    path.write_bytes(raw)

    load_or_refuse(path)


@settings(SLOW, max_examples=60)
@given(content=SECTIONS)
def test_any_tree_of_known_keys_loads_or_is_refused(content: Any, tmp_path: Path) -> None:
    path = tmp_path / "experts.yaml"
    stream = StringIO()
    YAML(typ="safe", pure=True).dump(content, stream)
    path.write_text(stream.getvalue(), encoding="utf-8", errors="surrogatepass")

    load_or_refuse(path)


@pytest.mark.parametrize("section", [*json_schema()["properties"]])
@pytest.mark.parametrize(
    "value", ["3", "text", "[]", "{}", "[1]", "{a: }", "{a: 1}", "{a: {b: 1}}"]
)
def test_any_value_of_any_section_loads_or_is_refused(
    section: str, value: str, tmp_path: Path
) -> None:
    path = tmp_path / "experts.yaml"
    path.write_text(f"version: 1\n{section}: {value}\n".replace("version: 1\nversion", "version"))

    load_or_refuse(path)
