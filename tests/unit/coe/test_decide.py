from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.decide import decide
from coe.types import Decision, Evidence


def choose(probabilities: dict[str, float], **rules: object) -> Decision:
    options: dict[str, object] = {
        "thresholds": {},
        "default_threshold": 0.5,
        "margin": 0.0,
        "calibrated": True,
        "router": "fast",
    }
    options.update(rules)
    return decide(tuple(probabilities), tuple(probabilities.values()), **options)  # type: ignore[arg-type]


def test_chooses_the_most_probable_category() -> None:
    decision = choose({"sql": 0.1, "math": 0.8, "json": 0.05})

    assert decision.category == "math"
    assert decision.reason == "matched"
    assert decision.probability == 0.8
    assert not decision.abstained


def test_keeps_the_full_distribution_best_first() -> None:
    decision = choose({"sql": 0.1, "math": 0.8, "json": 0.05})

    assert [row.name for row in decision.ranked] == ["math", "sql", "json"]


def test_abstains_below_threshold() -> None:
    decision = choose({"sql": 0.1, "math": 0.45})

    assert decision.category is None
    assert decision.abstained
    assert decision.reason == "below-threshold"
    assert decision.probability == 0.45


def test_a_probability_equal_to_the_threshold_is_enough() -> None:
    assert choose({"math": 0.5}).category == "math"


def test_a_category_can_have_its_own_threshold() -> None:
    assert choose({"math": 0.6}, thresholds={"math": 0.7}).reason == "below-threshold"
    assert choose({"math": 0.3}, thresholds={"math": 0.2}).category == "math"


def test_abstains_when_two_are_too_close() -> None:
    decision = choose({"sql": 0.30, "math": 0.34}, default_threshold=0.3, margin=0.1)

    assert decision.category is None
    assert decision.reason == "ambiguous"


def test_equal_probabilities_keep_the_order_of_the_composition() -> None:
    assert choose({"b": 0.5, "a": 0.5}).category == "b"


def test_no_categories_is_no_router() -> None:
    decision = choose({})

    assert decision.reason == "no-router"
    assert decision.abstained
    assert decision.probability is None


def test_passes_on_who_decided_and_why() -> None:
    evidence = (Evidence(kind="keyword", category="sql", text="select"),)
    decision = choose({"sql": 1.0}, evidence=evidence, router="rules", calibrated=False)

    assert decision.router == "rules"
    assert decision.evidence == evidence
    assert not decision.calibrated


@given(
    st.dictionaries(st.text(min_size=1), st.floats(0, 1), min_size=1),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_what_is_chosen_is_the_best_and_reaches_its_threshold(
    probabilities: dict[str, float], threshold: float, margin: float
) -> None:
    decision = choose(probabilities, default_threshold=threshold, margin=margin)

    assert {row.name: row.probability for row in decision.ranked} == pytest.approx(probabilities)
    ranked = [row.probability for row in decision.ranked]
    assert ranked == sorted(ranked, reverse=True)
    if decision.category is not None:
        assert probabilities[decision.category] == ranked[0] >= threshold
        assert ranked[0] - (ranked[1] if len(ranked) > 1 else 0.0) >= margin
