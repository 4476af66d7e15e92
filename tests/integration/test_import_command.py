"""`coe import`, in this process: what it writes, prints and refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Coe = Callable[..., Any]

LITELLM = """
model_list:
  - model_name: big
    litellm_params: {model: openai/big, api_key: sk-literal-key, rpm: 6}
  - {model_name: "*", litellm_params: {model: "openai/*"}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").write_text(LITELLM)
    return tmp_path


def test_writes_a_file_that_checks_and_counts_what_it_left_out(coe: Coe, folder: Path) -> None:
    done = coe("import", "litellm", "config.yaml")

    assert done.returncode == 0
    assert "carried over: backends 1, experts 1, categories 0" in done.stderr
    assert "left out: 2, changed: 0" in done.stderr
    assert "set OPENAI_API_KEY to it" in done.stderr
    assert "sk-literal" not in done.stderr + (folder / "experts.yaml").read_text()

    checked = coe("check", "experts.yaml")

    assert checked.returncode == 0
    assert "ok, but for the secrets" in checked.stdout


def test_an_existing_file_is_kept_unless_forced(coe: Coe, folder: Path) -> None:
    (folder / "mine.yaml").write_text("mine")

    refused = coe("import", "litellm", "config.yaml", "-o", "mine.yaml")

    assert refused.returncode == 2
    assert "mine.yaml is there already" in refused.stderr
    assert (folder / "mine.yaml").read_text() == "mine"
    assert coe("import", "litellm", "config.yaml", "-o", "mine.yaml", "--force").returncode == 0
    assert "big" in (folder / "mine.yaml").read_text()


def test_a_dash_prints_the_composition_alone(coe: Coe, folder: Path) -> None:
    done = coe("import", "litellm", "config.yaml", "-o", "-")

    assert done.stdout.startswith("# A composition of experts, imported from LiteLLM's config.yaml")
    assert done.stdout.endswith("choose who answers\n")
    assert not (folder / "experts.yaml").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("plano", "config.yaml"), "there is no importer `plano`; known: litellm, llama-swap"),
        (("llama-swap", "config.yaml"), "it looks like one of LiteLLM's: `coe import litellm`"),
        (("litellm", "none.yaml"), "none.yaml: cannot read the file: No such file"),
        (("litellm", "config.yaml", "-o", "no/such/x.yaml"), "cannot write no/such/x.yaml"),
    ],
)
def test_mistakes_are_sentences(coe: Coe, folder: Path, words: tuple[str, ...], said: str) -> None:
    done = coe("import", *words)

    assert done.returncode == 2
    assert said in done.stderr
    assert not (folder / "experts.yaml").exists()
