"""Who sits on a panel."""

from __future__ import annotations

from coe.composition.values import Panel
from coe.panels.recruit import Candidate, recruit

EXPERTS = [
    Candidate(expert="a", backend="one", quality=0.9),
    Candidate(expert="b", backend="one", quality=0.8),
    Candidate(expert="c", backend="two"),
]


def panel(**keys: object) -> Panel:
    """Return a panel that votes."""
    return Panel(name="panel", method="vote", **keys)  # type: ignore[arg-type]


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
