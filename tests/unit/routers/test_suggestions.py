from __future__ import annotations

from collections.abc import Callable

import pytest

from coe.types import Category
from routers.suggestions import suggest


def test_a_text_in_the_middle_of_a_cluster_comes_before_a_lone_one(
    plane: Callable[..., object],
) -> None:
    encoder = plane(here=0, alone=-100, left=80, middle=85, right=90)
    category = Category(name="a", utterances=("here",))

    found = suggest({"a": ["alone", "left", "middle", "right"]}, [category], encoder)

    assert [row.text for row in found][:2] == ["middle", "alone"]
    assert found[0].covers == 3
    assert found[0].nearest == "here"
    assert found[0].similarity == pytest.approx(0.087, abs=0.001)
    assert found[1].covers == 1


def test_the_farthest_of_lone_texts_comes_first_and_gains_fall(
    plane: Callable[..., object],
) -> None:
    encoder = plane(here=0, near=20, far=-120, other=0, off=100)
    categories = [
        Category(name="a", utterances=("here",)),
        Category(name="b", utterances=("other",)),
    ]

    found = suggest({"a": ["near", "far"], "b": ["off"]}, categories, encoder)

    assert [(row.category, row.text) for row in found] == [
        ("a", "far"),
        ("b", "off"),
        ("a", "near"),
    ]
    gains = [row.gain for row in found]
    assert gains == sorted(gains, reverse=True)


def test_a_text_that_is_an_utterance_already_is_not_suggested(
    plane: Callable[..., object],
) -> None:
    category = Category(name="a", utterances=("here",))

    assert suggest({"a": ["here"]}, [category], plane(here=0)) == ()


def test_a_category_without_utterances_gets_its_most_typical_text(
    plane: Callable[..., object],
) -> None:
    encoder = plane(left=0, middle=30, right=60)

    found = suggest({"a": ["left", "middle", "right"]}, [Category(name="a")], encoder, most=1)

    assert [(row.text, row.covers, row.nearest) for row in found] == [("middle", 3, "")]
