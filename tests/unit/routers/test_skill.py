from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import cycle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coe.errors import ConfigError
from coe.protocols import ExpertCard, RouterSpec
from coe.testing.routers import GivenExpert, GivenParts, check_router
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


def tagger(*answers: str, seen: list[Any] | None = None) -> GivenParts:
    """Return parts with an expert that says one thing after the other, and begins anew."""
    left = cycle(answers)

    def says(body: Mapping[str, Any]) -> str:
        if seen is not None:
            seen.append(body)
        return next(left)

    return GivenParts(encoders={"small": ENCODER}, experts={"tags": GivenExpert("tags", says)})


def tags(*skills: str) -> str:
    return json.dumps({"skills": skills})


def tagged(parts: GivenParts, **options: Any) -> SkillRouter:
    return build(spec(encoder="small", tagger="tags", **options), parts)


def test_what_two_of_five_answers_name_is_needed() -> None:
    seen: list[Any] = []
    parts = tagger(
        tags("law", "maths"), tags("law"), tags("prose"), tags("maths"), tags("law"), seen=seen
    )

    scores = tagged(parts, skills={"law": "contracts"}).score(["x"])

    assert [item.text for item in scores.evidence[0]] == ["law", "maths"]
    assert [item.similarity for item in scores.evidence[0]] == [None, None]
    assert scores.values[0] == pytest.approx((0.6, 0.2 * 0.5, 0.0, 0.0))
    assert [(body["temperature"], body["seed"]) for body in seen] == [(0.7, n) for n in range(5)]
    assert '- "law": contracts\n- "maths": maths' in seen[0]["messages"][0]["content"]


def test_the_agreement_is_an_option() -> None:
    parts = tagger(tags("law", "maths"), tags("law"), tags("law", "prose"))

    scores = tagged(parts, samples=3, agreement=3).score(["x"])

    assert [item.text for item in scores.evidence[0]] == ["law"]


def test_answers_that_agree_on_nothing_mean_that_no_known_skill_is_needed() -> None:
    scores = tagged(tagger(tags())).score(["x"])

    assert scores.values.tolist() == [[0.0] * 4]
    assert scores.evidence == ((),)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("law", "not JSON"),
        ('{"skills": "law"}', "not a list of names"),
        ('{"skills": [1]}', "not a list of names"),
        ('{"skills": ["law", "fishing"]}', "what is no skill"),
        ('{"skill": ["law"]}', "not an object with skills"),
    ],
)
def test_a_text_that_cannot_be_tagged_needs_the_nearest_skills(answer: str, why: str) -> None:
    near = build(spec(encoder="small"), PARTS).score(["law"])

    scores = tagged(tagger(answer)).score(["law"])

    assert scores.values == pytest.approx(near.values)
    *found, silence = scores.evidence[0]
    assert [item.text for item in found] == ["law"]
    assert (silence.kind, silence.category) == ("judge", "")
    assert silence.text.startswith("tagger `tags`: ")
    assert why in silence.text


def test_one_good_answer_of_five_is_not_enough() -> None:
    scores = tagged(tagger(tags("maths"), "?", "?", "?", "?")).score(["law"])

    assert scores.evidence[0][0].text == "law"
    assert scores.evidence[0][-1].kind == "judge"


def by_word(body: Mapping[str, Any]) -> str:
    text = body["messages"][1]["content"]
    return tags("law") if "w" in text else tags("maths") if "?" in text else "nothing"


def test_with_a_tagger_it_keeps_the_contract() -> None:
    parts = GivenParts(encoders={"small": ENCODER}, experts={"tags": GivenExpert("tags", by_word)})

    check_router(lambda: tagged(parts))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tagger": "tag"}, "no expert `tag`"),
        ({"tagger": "tags", "samples": 17}, "samples: expected a whole number from 1 to 16"),
        ({"tagger": "tags", "agreement": 6}, "agreement: expected a whole number from 1 to 5"),
        ({"agreement": 2}, r"routers\.skills\.agreement: goes with `tagger: EXPERT`"),
    ],
)
def test_a_wrong_option_of_the_tagger_names_its_place(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        build(spec(encoder="small", **options), tagger(tags()))
