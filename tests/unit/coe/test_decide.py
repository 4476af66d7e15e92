from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.decide import decide, follow, pool
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


def follow_up(probabilities: dict[str, float], previous: str, **rules: object) -> Decision:
    options: dict[str, object] = {"margin": 0.2, "calibrated": True, **rules}
    return follow(choose(probabilities), previous, **options)  # type: ignore[arg-type]


def test_a_follow_up_of_which_the_router_is_not_sure_stays() -> None:
    decision = follow_up({"sql": 0.1, "math": 0.2}, "sql")

    assert (decision.category, decision.reason) == ("sql", "session")
    assert decision.probability == 0.1


def test_a_new_topic_switches() -> None:
    decision = follow_up({"sql": 0.05, "math": 0.9}, "sql")

    assert (decision.category, decision.reason) == ("math", "matched")


def test_a_switch_needs_its_margin() -> None:
    """With odds of 2 for the last one: (0.6 - 2 * 0.2) / 1.2 is a lead of 0.167."""
    scores = {"sql": 0.2, "math": 0.6}

    assert follow_up(scores, "sql", margin=0.16).category == "math"
    assert follow_up(scores, "sql", margin=0.17).category == "sql"


def test_raw_scores_have_no_prior() -> None:
    scores = {"sql": 0.2, "math": 0.6}

    assert follow_up(scores, "sql", margin=0.39, calibrated=False).category == "math"
    assert follow_up(scores, "sql", margin=0.41, calibrated=False).category == "sql"


def test_what_the_router_says_too_is_its_own_decision() -> None:
    assert follow_up({"sql": 0.9}, "sql").reason == "matched"


def test_a_category_that_the_router_does_not_know_any_more_is_forgotten() -> None:
    assert follow_up({"math": 0.1}, "sql").reason == "below-threshold"


def test_a_session_outlives_a_router_that_fails() -> None:
    failed = Decision(reason="router-failed", detail="late")

    decision = follow(failed, "sql", margin=0.2, calibrated=True)

    assert (decision.category, decision.reason, decision.detail) == ("sql", "session", "")


def test_pooling_needs_both_texts_to_find_a_category_plausible() -> None:
    turn, window = [0.9, 0.0, 0.0], [0.0, 0.9, 0.0]

    assert max(pool(turn, window, calibrated=True)) < 0.5
    assert pool(turn, turn, calibrated=True)[0] == pytest.approx(0.9, abs=0.01)


def test_raw_scores_are_averaged() -> None:
    assert pool([-1.0, 3.0], [0.0, 5.0], calibrated=False) == [-0.5, 4.0]


rows = st.lists(st.floats(0, 1), min_size=3, max_size=3).map(
    lambda row: [value / max(1.0, sum(row)) for value in row]
)


@given(rows, rows)
def test_a_pool_is_a_distribution_in_which_order_does_not_count(
    one: list[float], other: list[float]
) -> None:
    pooled = pool(one, other, calibrated=True)

    assert pooled == pytest.approx(pool(other, one, calibrated=True))
    assert all(0 <= value <= 1 for value in pooled)
    assert sum(pooled) <= 1 + 1e-9


@given(rows, st.sampled_from("abc"), st.floats(0, 1), st.floats(0, 1))
def test_a_greater_margin_never_switches_more(
    row: list[float], previous: str, one: float, other: float
) -> None:
    scores = dict(zip("abc", row, strict=True))
    low, high = sorted((one, other))

    if follow_up(scores, previous, margin=low).category == previous:
        assert follow_up(scores, previous, margin=high).category == previous
