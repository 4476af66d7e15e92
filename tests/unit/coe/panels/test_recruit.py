"""Who sits on a panel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from coe.composition.values import Panel
from coe.mapping.outcomes import OutcomeMatrix
from coe.panels.rates import Rates, count
from coe.panels.recruit import Candidate, recruit

EXPERTS = [
    Candidate(expert="a", backend="one", quality=0.9),
    Candidate(expert="b", backend="one", quality=0.8),
    Candidate(expert="c", backend="two"),
]


def panel(*, method: str = "vote", **keys: object) -> Panel:
    """Return a panel."""
    return Panel(name="panel", method=method, **keys)  # type: ignore[arg-type]


def test_takes_the_first_of_the_ranking() -> None:
    found = recruit(panel(top=2), EXPERTS)

    assert found.members == ("a", "b")
    assert found.weights == (0.9, 0.8)


def test_takes_one_of_each_backend() -> None:
    found = recruit(panel(top=2, distinct_backends=True), EXPERTS)

    assert found.members == ("a", "c")
    assert found.weights == (0.9, 0.5)


def test_takes_those_that_are_listed_and_may_answer() -> None:
    found = recruit(panel(experts=("c", "x", "a"), top=1), EXPERTS)

    assert found.members == ("c", "a")


def test_a_panel_without_candidates_is_empty() -> None:
    assert recruit(panel(), []).members == ()


def measured(patterns: dict[str, int]) -> Rates:
    """Return the rates of `a`, `b` and `c` by how often they were right together, as in 110."""
    rows = [[float(mark) for mark in pattern] for pattern, n in patterns.items() for _ in range(n)]
    table = np.array(rows)
    blank = np.full(table.shape, np.nan)
    return count(
        OutcomeMatrix(
            prompts=tuple(map(str, range(len(table)))),
            experts=("a", "b", "c"),
            categories=("x",),
            probabilities=np.ones((len(table), 1)),
            scores=table,
            costs=blank,
            latencies=blank,
        )
    )


# b is nearly as good as a, and right where a is right; c is right where a is wrong.
ALIKE = measured({"110": 700, "001": 250, "000": 50})
UNRATED = [replace(candidate, quality=None) for candidate in EXPERTS]


def test_recruits_who_is_right_where_the_others_are_wrong() -> None:
    found = recruit(
        panel(top=2, choose="recruited", method="synthesize"), UNRATED, rates=ALIKE, category="x"
    )

    assert found.members == ("a", "c")


def test_a_vote_recruits_who_is_right_most_often() -> None:
    found = recruit(panel(top=2, choose="recruited"), UNRATED, rates=ALIKE, category="x")

    assert found.members == ("a", "b")


def test_an_easy_request_makes_one_call() -> None:
    """The same panel, of requests that a map finds easy and that it does not."""
    asked = panel(choose="recruited", method="synthesize", sure_at=0.8)

    easy, hard = (
        recruit(asked, [replace(EXPERTS[0], quality=q), *UNRATED[1:]], rates=ALIKE, category="x")
        for q in (0.95, 0.71)
    )

    assert easy.members == ("a",)
    assert hard.members == ("a", "c")


def test_a_vote_is_not_made_by_two() -> None:
    found = recruit(panel(choose="recruited", sure_at=0.8), UNRATED, rates=ALIKE, category="x")

    assert len(found.members) == 3


def test_at_least_so_many_are_asked_however_sure_the_first_is() -> None:
    found = recruit(
        panel(least=2, sure_at=0.1, method="best_of"), UNRATED, rates=ALIKE, category="x"
    )

    assert len(found.members) == 2


def test_who_was_not_measured_makes_nothing_sure() -> None:
    stranger = Candidate(expert="d", backend="three")

    assert len(recruit(panel(sure_at=0.5), [stranger, *UNRATED], rates=ALIKE).members) == 3


def test_a_map_alone_knows_of_one_expert_but_not_of_two() -> None:
    """That two experts are right with .9 and .8 does not say how often one of them is."""
    asked = panel(sure_at=0.95, method="best_of")

    assert len(recruit(asked, EXPERTS).members) == 3
    assert recruit(replace(asked, sure_at=0.9), EXPERTS).members == ("a",)


RATES = st.dictionaries(
    st.text("01", min_size=3, max_size=3), st.integers(1, 30), min_size=1, max_size=8
).map(measured)
PANELS = st.builds(
    lambda top, least, **keys: panel(top=top, least=min(least, top), **keys),
    top=st.integers(1, 5),
    least=st.integers(1, 5),
    choose=st.sampled_from(["ranked", "recruited"]),
    method=st.sampled_from(["vote", "synthesize"]),
    distinct_backends=st.booleans(),
    sure_at=st.none() | st.floats(0.01, 1),
)
CANDIDATES = st.lists(
    st.builds(
        Candidate,
        expert=st.sampled_from("abcde"),
        backend=st.sampled_from(["one", "two", "three"]),
        quality=st.none() | st.floats(0, 1),
    ),
    max_size=5,
    unique_by=lambda candidate: candidate.expert,
)


@given(PANELS, CANDIDATES, st.none() | RATES, st.none() | st.floats(0, 1))
def test_recruits_are_candidates_and_as_many_as_the_panel_allows(
    asked: Panel, candidates: list[Candidate], rates: Rates | None, probability: float | None
) -> None:
    found = recruit(asked, candidates, rates=rates, probability=probability, category="x")

    backends = {candidate.expert: candidate.backend for candidate in candidates}
    there = len(set(backends.values())) if asked.distinct_backends else len(candidates)
    assert set(found.members) <= backends.keys()
    assert len(set(found.members)) == len(found.members) == len(found.weights)
    assert min(asked.least, there) <= len(found.members) <= asked.top
    assert all(0 <= weight <= 1 for weight in found.weights)
    if asked.distinct_backends:
        assert len({backends[name] for name in found.members}) == len(found.members)


@given(CANDIDATES, RATES, st.floats(0.05, 1))
def test_a_panel_that_must_be_surer_is_never_smaller(
    candidates: list[Candidate], rates: Rates, sure_at: float
) -> None:
    asked = panel(top=5, choose="recruited", method="synthesize", sure_at=sure_at)

    found = recruit(asked, candidates, rates=rates, category="x")
    looser = recruit(replace(asked, sure_at=sure_at / 2), candidates, rates=rates, category="x")

    assert found.members[: len(looser.members)] == looser.members
