from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coe.errors import ConfigError
from coe.protocols import ExpertCard, RouterSpec
from coe.testing.routers import GivenParts, check_router
from coe.types import Category
from routers.encoders.hashed import HashedEncoder
from routers.skill import Need, SkillRouter, build

ENCODER = HashedEncoder(name="small", dim=256)
PARTS = GivenParts(encoders={"small": ENCODER})
EXPERTS = (
    ExpertCard(name="all-round", skills={"law": 0.6, "maths": 0.6, "prose": 0.7}),
    ExpertCard(name="counsel", skills={"law": 0.9, "maths": 0.2}),
    ExpertCard(name="abacus", skills={"maths": 0.95}),
)
CATEGORIES = (
    Category(name="anything", experts=("all-round",)),
    Category(name="contracts", experts=("gone", "counsel", "all-round"), skills={"law": 1.0}),
    Category(name="sums", experts=("abacus",), skills={"maths": 1.0, "law": 0.1}),
    Category(name="nobody"),
)


def skills(encoder: Any, **options: Any) -> SkillRouter:
    return SkillRouter(
        name="skills", categories=CATEGORIES, experts=EXPERTS, encoder=encoder, **options
    )


@pytest.fixture
def compass(plane: Callable[..., Any]) -> Any:
    """Law at 0 degrees, maths at 90, prose at 180."""
    return plane(law=0, maths=90, prose=180, contract=5, damages=45, sum=85, tale=170, none=270)


def test_an_expert_is_worth_its_weakest_needed_skill(compass: Any) -> None:
    values = skills(compass).score(["damages"]).values[0]

    assert values == pytest.approx((0.6, 0.2 * 0.5, 0.0, 0.0))


def test_the_mean_is_an_option(compass: Any) -> None:
    values = skills(compass, worth="mean").score(["damages"]).values[0]

    assert values == pytest.approx((0.6, 0.55 * 0.5, 0.475 * 0.55, 0.0))


def test_one_needed_skill_goes_to_who_is_best_at_it(compass: Any) -> None:
    scores = skills(compass).score(["contract", "sum", "tale"])

    assert scores.values.argmax(axis=1).tolist() == [1, 2, 0]
    assert scores.values[0] == pytest.approx((0.6, 0.9, 0.0, 0.0))
    assert scores.values[1] == pytest.approx((0.6, 0.0, 0.95, 0.0))


def test_the_needed_skills_are_the_evidence(compass: Any) -> None:
    (found,) = skills(compass).score(["damages"]).evidence

    assert {(item.kind, item.text, item.category) for item in found} == {
        ("skill", "law", "anything"),
        ("skill", "maths", "anything"),
    }
    assert found[0].similarity == pytest.approx(np.cos(np.radians(45)))


def test_a_text_that_needs_no_known_skill_scores_nothing(compass: Any) -> None:
    scores = skills(compass).score(["none"])

    assert scores.values.tolist() == [[0.0] * 4]
    assert scores.evidence == ((),)


def test_a_description_says_what_a_skill_is(plane: Callable[..., Any]) -> None:
    encoder = plane(law=0, maths=90, prose=180, rhymes=20, poem=20)

    by_name, described = (
        skills(encoder, descriptions=words).score(["poem"]).evidence[0][0].text
        for words in ({}, {"prose": "rhymes"})
    )

    assert (by_name, described) == ("law", "prose")


@pytest.mark.parametrize(
    ("need", "expected"),
    [
        (Need(most=1), [1]),
        (Need(most=3, within=0.1), [1, 2]),
        (Need(most=3, within=0.6), [1, 2, 0]),
        (Need(most=3, within=0.6, at_least=0.4), [1, 2]),
        (Need(at_least=0.9), []),
    ],
)
def test_which_skills_a_text_needs(need: Need, expected: list[int]) -> None:
    assert need.skills(np.array([0.3, 0.8, 0.75], dtype=np.float32)).tolist() == expected


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.text(max_size=20) | st.sampled_from(["maths", "law"]), min_size=1, max_size=5),
    st.randoms(),
)
def test_a_row_does_not_depend_on_its_batch(texts: list[str], random: Any) -> None:
    scores = SHARED.score(texts)
    order = list(range(len(texts)))
    random.shuffle(order)

    assert ((scores.values >= 0) & (scores.values <= 1)).all()
    shuffled = SHARED.score([texts[place] for place in order])
    assert shuffled.values == pytest.approx(scores.values[order], abs=1e-5)
    assert SHARED.score(texts[:1]).values == pytest.approx(scores.values[:1], abs=1e-5)


SHARED = skills(ENCODER)


def spec(*, experts: tuple[ExpertCard, ...] = EXPERTS, **options: Any) -> RouterSpec:
    return RouterSpec(
        name="skills", type="skill", options=options, categories=CATEGORIES, experts=experts
    )


def test_it_keeps_the_contract() -> None:
    options = {"encoder": "small", "skills": {"law": "contracts and clauses"}, "worth": "mean"}

    check_router(lambda: build(spec(**options), PARTS))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"most": 2}, r"routers\.skills\.encoder: is missing"),
        ({"encoder": "small", "worth": "least"}, "worth: expected one of weakest, mean"),
        ({"encoder": "small", "skills": ["law"]}, "skills: expected a description by skill"),
        ({"encoder": "small", "skills": {"laws": "x"}}, r"skills\.laws: .*did you mean 'law'"),
        ({"encoder": "small", "skills": {"law": ""}}, r"skills\.law: expected a text"),
        ({"encoder": "small", "least": 1}, r"routers\.skills\.least: unknown option"),
    ],
)
def test_a_wrong_option_names_its_place(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(spec(**options), PARTS)


def test_without_skills_of_experts_it_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"routers\.skills: .*give experts some"):
        build(spec(experts=(ExpertCard(name="counsel"),), encoder="small"), PARTS)
