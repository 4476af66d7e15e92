"""Budgets of `coe map fit`, as they are written."""

from pathlib import Path

import pytest

from coe.cli.map_budget import read_budget
from coe.composition import Composition, load
from coe.errors import ConfigError
from coe.mapping.budget import Constraints

GIB = 2**30
FILE = """
version: 1
backends:
  gpu: {url: http://127.0.0.1:9, memory: 24GiB, reserve: 4GiB}
  box: http://127.0.0.1:10
experts:
  base: {backend: gpu, model: base, memory: 16GiB, cost: {input: 1 EUR/M, output: 1 EUR/M}}
  legal: {base: base, adapter: legal, memory: 1GiB}
  terse: {backend: gpu, model: base, defaults: {max_tokens: 9}}
  here: {backend: box, model: weights}
  else: {backend: box, model: elsewhere}
categories:
  law: [is it valid, who is liable, read the contract, a breach, the statute]
default: base
"""
NAMES = ("base", "legal")


@pytest.fixture
def composition(tmp_path: Path) -> Composition:
    path = tmp_path / "experts.yaml"
    path.write_text(FILE)
    weights = tmp_path / "weights"
    weights.mkdir()
    weights.joinpath("model.safetensors").write_bytes(b"\0" * 640)
    weights.joinpath("tokenizer.json").write_bytes(b"{}")
    return load(path)


def test_every_budget_is_read(composition: Composition) -> None:
    texts = (
        *("money=2 EUR/1k", "memory=gpu:20GiB", "experts=3"),
        *("latency=2s", "latency=law:500ms", "active=17GiB"),
    )

    found = read_budget(texts, composition, NAMES)

    assert found.money == 2
    assert found.currency == "EUR"
    assert found.pools == {"gpu": 20 * GIB}
    assert found.experts == 3
    assert (found.latency_s, found.latency_of) == (2, {"law": 0.5})
    assert found.active == 17 * GIB
    assert found.sizes == {"base": 16 * GIB, "legal": 17 * GIB}


def test_without_budgets_nothing_is_limited(composition: Composition) -> None:
    assert read_budget((), composition, NAMES) == Constraints(currency="EUR")


def test_a_pool_without_a_size_is_as_the_composition_says(composition: Composition) -> None:
    assert read_budget(("memory=gpu",), composition, NAMES).pools == {"gpu": 20 * GIB}


def test_the_same_weights_count_once(composition: Composition) -> None:
    """An adapter lies on its base, and two experts may be one model with other defaults."""
    found = read_budget(("memory=gpu",), composition, ("base", "legal", "terse"))

    assert found.memory("gpu", ("legal",)) == 17 * GIB
    assert found.memory("gpu", ("base", "legal", "terse")) == 17 * GIB


def test_weights_in_a_folder_take_as_much_as_their_files(composition: Composition) -> None:
    found = read_budget(("memory=box:1KiB",), composition, ("here",))

    assert found.memory("box", ("here",)) == 640


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("money", "expected one of `money=2USD/1k`"),
        ("time=2s", "expected one of"),
        ("money=2EUR", "for 1,000 requests"),
        ("money=2/1k", "not money"),
        ("money=2USD/1k", "it is in USD, and experts.base.cost in EUR"),
        ("memory=gpu9:1GiB", "no backend `gpu9` in the composition (there are: gpu, box)"),
        ("memory=gpu:1", "not a size"),
        ("memory=box", "backends.box declares no `memory`; write `memory=box:8GiB`"),
        ("memory=box:1GiB", "experts without `memory`: else"),
        ("experts=0", "not a number of experts"),
        ("experts=two", "not a number of experts"),
        ("latency=2", "not a duration"),
        ("latency=war:2s", "no category `war`"),
        ("active=1", "not a size"),
    ],
)
def test_a_budget_that_is_none_is_refused(
    composition: Composition, text: str, expected: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read_budget((text,), composition, ("base", "else"))

    assert expected in caught.value.message


@pytest.mark.parametrize("text", ["money=2EUR/1k", "memory=gpu", "experts=1", "latency=law:2s"])
def test_a_budget_is_given_once(composition: Composition, text: str) -> None:
    with pytest.raises(ConfigError, match="given twice"):
        read_budget((text, text), composition, NAMES)
