"""The first experts.yaml: it loads, whatever was found."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coe.backends.found import Found
from coe.backends.starter import scalar, write_composition
from coe.backends.starter_categories import SKILLS
from coe.composition import Composition, check, load
from coe.composition.document import parse

OLLAMA = Found(
    name="ollama",
    type="ollama",
    url="http://127.0.0.1:11434",
    models=("llama3.2:3b", "qwen2.5-coder:7b", "nomic-embed-text"),
)
OPENAI = Found(
    name="openai",
    type="openai",
    url="https://api.openai.com/v1",
    models=("gpt-4o-mini",),
    key="OPENAI_API_KEY",
)
TYPES = ["ollama", "vllm", "openai", "llamacpp", "llama_swap"]


def loaded(text: str, folder: Path) -> Composition:
    path = folder / "experts.yaml"
    path.write_text(text, encoding="utf-8")
    return load(path, {"OPENAI_API_KEY": "sk-x"})


def make_embedded(folder: Path, *adapters: str) -> Path:
    embedded = folder / "experts"
    (embedded / "base").mkdir(parents=True)
    (embedded / "base/config.json").touch()
    for adapter in adapters:
        (embedded / "adapters" / adapter).mkdir(parents=True)
        (embedded / "adapters" / adapter / "adapter_config.json").touch()
    return embedded


def test_found_models_become_experts(tmp_path: Path) -> None:
    composition = loaded(write_composition([OLLAMA, OPENAI], None), tmp_path)

    assert list(composition.experts) == ["llama3.2:3b", "qwen2.5-coder:7b", "gpt-4o-mini"]
    assert composition.default == "llama3.2:3b"
    assert composition.backends["ollama"].url == "http://127.0.0.1:11434/v1"
    assert composition.routing.routes["code"][0] == "qwen2.5-coder:7b"


def test_keys_are_written_as_references(tmp_path: Path) -> None:
    text = write_composition([OPENAI], None)

    assert "api_key: ${env:OPENAI_API_KEY}" in text
    assert loaded(text, tmp_path).backends["openai"].api_key == "sk-x"


def test_where_nothing_is_found_the_file_shows_how_to_go_on(tmp_path: Path) -> None:
    text = write_composition([], None)

    composition = loaded(text, tmp_path)
    assert composition.default == "llama3.2:3b"
    assert "ollama pull llama3.2:3b" in text


def test_embedded_experts_get_their_categories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_embedded(tmp_path, "arithmetic", "units", "general", "own-skill")

    composition = loaded(write_composition([], Path("experts")), tmp_path)

    assert composition.default == "general"
    assert list(composition.categories) == ["arithmetic", "units", "general"]
    assert composition.routing.routes["units"] == ("units",)
    assert composition.experts["own-skill"].adapter_source == "./experts/adapters/own-skill"
    assert composition.backends["embedded"].type == "local"


def test_embedded_experts_come_first_for_their_skill_and_servers_for_the_rest(
    tmp_path: Path,
) -> None:
    embedded = make_embedded(tmp_path, "sql")

    composition = loaded(write_composition([OLLAMA], embedded), tmp_path)

    assert composition.routing.routes["sql"] == ("sql", "llama3.2:3b")
    assert composition.default == "llama3.2:3b"


def test_an_embedded_folder_without_a_base_is_left_out(tmp_path: Path) -> None:
    composition = loaded(write_composition([], tmp_path), tmp_path)

    assert list(composition.backends) == ["ollama"]


def test_a_base_alone_answers_everything(tmp_path: Path) -> None:
    embedded = make_embedded(tmp_path)

    composition = loaded(write_composition([], embedded), tmp_path)

    assert composition.default == "base"
    assert composition.categories == {}


def test_the_starter_has_no_problem_but_the_missing_key(tmp_path: Path) -> None:
    path = tmp_path / "experts.yaml"
    path.write_text(
        write_composition([OLLAMA, OPENAI], make_embedded(tmp_path, "json", "dates")), "utf-8"
    )

    assert [p.path for p in check(path, {})] == ["backends.openai.api_key"]


def test_all_starter_categories_agree_with_each_other(tmp_path: Path) -> None:
    path = tmp_path / "experts.yaml"
    path.write_text(write_composition([OLLAMA], make_embedded(tmp_path, *SKILLS)), "utf-8")

    assert check(path, {}) == []


def test_the_same_names_are_told_apart(tmp_path: Path) -> None:
    text = write_composition([OLLAMA, OLLAMA], None)

    assert list(loaded(text, tmp_path).backends) == ["ollama", "ollama-2"]


def test_many_models_are_listed_and_a_few_are_used(tmp_path: Path) -> None:
    many = Found(name="vllm", type="vllm", url="http://h", models=tuple(f"m{i}" for i in range(20)))

    text = write_composition([many], None)

    assert len(loaded(text, tmp_path).experts) == 6
    assert "# also at vllm: m19" in text


FOUND = st.builds(
    Found,
    name=st.text(max_size=20),
    type=st.sampled_from(TYPES),
    url=st.sampled_from(["http://127.0.0.1:1", "https://h/v1", "http://[::1]:8000/api"]),
    models=st.lists(
        st.text(max_size=30) | st.sampled_from(["true", "1.5", "a/b", "coe/auto", "${env:X}", "x:"])
    ).map(tuple),
    key=st.none() | st.just("OPENAI_API_KEY"),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=st.lists(FOUND, max_size=4))
def test_whatever_is_found_the_file_loads(found: list[Found], tmp_path: Path) -> None:
    composition = loaded(write_composition(found, None), tmp_path)

    assert composition.default in composition.experts


@given(st.text(alphabet=st.characters(exclude_categories=["C", "Z"]), min_size=1))
def test_a_written_scalar_reads_back(text: str) -> None:
    assert parse(f"a: {{b: {scalar(text)}}}", "f").content == {"a": {"b": text}}


@pytest.mark.parametrize("text", ["true", "Null", "1.5", "x:", "a: b", "a #b", "- x", "{", 'a"b'])
def test_what_yaml_would_read_otherwise_is_quoted(text: str) -> None:
    assert parse(f"a: {scalar(text)}", "f").content == {"a": text}
