from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from coe.errors import ConfigError
from coe.protocols import RouterSpec
from coe.testing.routers import GivenParts, check_router
from coe.types import Category, Evidence, Scores
from routers.encoders.hashed import HashedEncoder
from routers.plain import PlainRouter


class Shouts(PlainRouter):
    """How much of a text is in capitals."""

    needs = ("loud",)
    options = {"least": 0.5, "words": 3, "reads": "all", "strict": False}  # noqa: RUF012

    def score(self, texts: Sequence[str]) -> Scores:
        rows, evidence = [], []
        for text in texts:
            share = sum(letter.isupper() for letter in text) / max(len(text), 1)
            rows.append({"loud": share} if share >= self.options["least"] else {})
            mark = Evidence(kind="keyword", category="loud", text=text[:9])
            evidence.append([mark] if rows[-1] else [])
        return self.scores(rows, evidence)


def build(*names: str, **options: Any) -> Shouts:
    categories = tuple(Category(name=name) for name in names or ("loud", "other"))
    spec = RouterSpec(name="mine", type="shouts", options=options, categories=categories)
    return Shouts(spec, GivenParts(encoders={"small": HashedEncoder(name="small", dim=8)}))


def test_a_router_of_which_only_score_was_written_keeps_the_contract() -> None:
    check_router(build)


def test_scores_stand_in_the_order_of_the_composition() -> None:
    router = build("other", "loud")

    assert router.categories == ("other", "loud")
    assert router.score(["HELP", "help"]).values.tolist() == [[0.0, 1.0], [0.0, 0.0]]
    assert router.score([]).values.shape == (0, 2)


def test_options_are_the_defaults_until_the_composition_says_otherwise() -> None:
    assert build(least=1, reads="half").options == {
        **Shouts.options,
        "least": 1.0,
        "reads": "half",
    }
    assert build().options == Shouts.options
    assert build(least=0.9).score(["HELp"]).values.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"leest": 1}, r"routers\.mine\.leest: unknown option \(did you mean 'least'\?"),
        ({"least": "much"}, r"routers\.mine\.least: expected a number, found 'much'"),
        ({"words": 2.5}, r"routers\.mine\.words: expected a whole number, found 2\.5"),
        ({"words": True}, r"routers\.mine\.words: expected a whole number, found True"),
        ({"reads": 3}, r"routers\.mine\.reads: expected a text, found 3"),
        ({"strict": 1}, r"routers\.mine\.strict: expected true or false, found 1"),
    ],
)
def test_an_option_that_cannot_be_is_refused_with_its_place(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        build(**options)


def test_a_category_that_it_needs_and_the_composition_lacks_is_named() -> None:
    with pytest.raises(ConfigError, match=r"routers\.mine: a `shouts` router needs .*; add loud"):
        build("other")


def test_a_score_for_a_category_that_is_not_there_says_what_was_meant() -> None:
    with pytest.raises(ValueError, match=r"no category 'lout' \(did you mean 'loud'\?"):
        build().scores([{"lout": 1.0}])


def test_it_may_ask_for_the_parts_of_the_composition() -> None:
    assert build().parts.encoder("small").dim == 8
