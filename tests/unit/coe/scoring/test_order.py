from pathlib import Path

import pytest

from coe.composition import Composition, load
from coe.scoring.order import AT_ONCE, lanes

FILE = """
version: 1
backends:
  slow: {url: "http://127.0.0.1:1", concurrency: 2}
  fast: "http://127.0.0.1:2"
experts:
  maths: {base: small, adapter: some-maths}
  big: {backend: slow, model: big}
  small: {backend: slow, model: small}
  cloud: {backend: fast, model: cloud}
  words: {base: small, adapter: some-words}
default: big
"""


@pytest.fixture
def composition(tmp_path: Path) -> Composition:
    file = tmp_path / "experts.yaml"
    file.write_text(FILE)
    return load(file)


def test_a_backend_is_a_lane_and_a_base_with_its_adapters_a_group(
    composition: Composition,
) -> None:
    slow, fast = lanes(composition, tuple(composition.experts), None)

    assert (slow.backend, fast.backend) == ("slow", "fast")
    assert slow.groups == (("maths", "small", "words"), ("big",))
    assert fast.groups == (("cloud",),)


def test_only_those_who_are_asked_are_in_a_lane(composition: Composition) -> None:
    (lane,) = lanes(composition, ["words", "big"], None)

    assert lane.groups == (("big",), ("words",))


@pytest.mark.parametrize(("wanted", "slow", "fast"), [(None, 2, AT_ONCE), (1, 1, 1), (100, 2, 100)])
def test_a_backends_own_limit_is_never_passed(
    composition: Composition, wanted: int | None, slow: int, fast: int
) -> None:
    found = lanes(composition, ["big", "cloud"], wanted)

    assert [lane.at_once for lane in found] == [slow, fast]
