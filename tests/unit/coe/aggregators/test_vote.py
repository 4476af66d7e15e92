from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from coe.aggregators.vote import Vote, build, is_settled, leader, weight
from coe.drafts import Ask, Conflict, Pick, Step, Table, Wait
from coe.errors import ConfigError
from coe.protocols import AggregatorSpec

Lay = Callable[..., Table]
WEIGHTS = st.sampled_from((0.0, 0.05, 0.3, 0.5, 0.6, 0.9, 1.0))
VOTERS = st.lists(
    st.tuples(st.sampled_from(("1", "2", "3", "none", None)), WEIGHTS), min_size=1, max_size=6
)


def vote(**options: Any) -> Vote:
    return build(AggregatorSpec(name="v", type="vote", options={"answer": "number", **options}))


def answer(step: Step, table: Table) -> str | None:
    assert isinstance(step, Pick)
    text = next(draft.text for draft in table.drafts if draft.member == step.member)
    return None if text == "none" else text


@pytest.mark.parametrize(
    ("right", "options", "millionths"),
    [
        (0.5, 2, 0),  # log(1)
        (0.8, 2, 1_386_294),  # log(4)
        (0.8, 5, 2_772_589),  # log(16)
        (0.5, 10, 2_197_225),  # log(9)
        (0.1, 10, 0),  # as good as chance
        (0.01, 10, 0),  # worse than chance does not count against an answer
        (1.0, 2, 4_595_120),  # log(99)
        (0.0, 26, 0),  # log(25 / 99) < 0
    ],
)
def test_a_vote_weighs_as_the_log_odds_of_being_right(
    right: float, options: int, millionths: int
) -> None:
    assert weight(right, options) == millionths


def test_the_most_votes_win_where_nobody_is_known(lay: Lay) -> None:
    step = vote().next(lay({2: "it is 42", 0: "41", 1: "so 42."}))

    assert step == Pick(
        member=1,
        why="2 of 3 drafts agree",
        conflicts=(Conflict(answer="41", members=(0,)), Conflict(answer="42", members=(1, 2))),
    )


def test_one_who_knows_outvotes_two_who_do_not(lay: Lay) -> None:
    """log(9 * .95 / .05) = 5.14 against twice log(9 * .5 / .5) = 4.39, but not twice 2.60 at .6."""
    drafts = {0: "42", 1: "41", 2: "41"}

    assert answer(vote().next(table := lay(drafts, weights=(0.95, 0.5, 0.5))), table) == "42"
    assert answer(vote().next(table := lay(drafts, weights=(0.95, 0.6, 0.6))), table) == "41"
    assert (
        answer(vote(weighted=False).next(table := lay(drafts, weights=(0.95, 0.5, 0.5))), table)
        == "41"
    )


def test_a_tie_goes_to_the_better_member(lay: Lay) -> None:
    table = lay({3: "41", 2: "41", 1: "42", 0: "42"}, weights=(0.5,) * 4)

    assert vote().next(table) == Pick(
        member=0,
        why="2 of 4 drafts agree",
        conflicts=(Conflict(answer="42", members=(0, 1)), Conflict(answer="41", members=(2, 3))),
    )


def test_everybody_is_asked_at_once(lay: Lay) -> None:
    assert vote().next(lay({})) == Ask((0, 1, 2))


def test_nobody_is_waited_for_who_cannot_change_the_outcome(lay: Lay) -> None:
    assert isinstance(vote().next(lay({0: "42"}, pending=(1, 2))), Wait)
    assert isinstance(vote().next(lay({0: "42", 1: "41"}, pending=(2,))), Wait)
    assert vote().next(lay({0: "42", 1: "42"}, pending=(2,))) == Pick(
        member=0, why="2 of 2 drafts agree"
    )


def test_a_draft_that_failed_or_says_nothing_has_no_vote(lay: Lay) -> None:
    assert answer(vote().next(table := lay({0: None, 1: "I do not know", 2: "42"})), table) == "42"
    assert isinstance(vote().next(lay({0: "42", 1: "none"}, pending=(2,))), Pick)


def test_without_an_answer_the_best_member_stands(lay: Lay) -> None:
    step = vote().next(lay({2: "who knows", 1: "not I", 0: None}))

    assert step == Pick(member=1, why="no draft answers with a number; the best member's stands")


def test_waves_stop_where_the_first_agree(lay: Lay) -> None:
    method, weights = vote(wave=2, agree=2), (0.5,) * 5

    assert method.next(lay({}, weights=weights)) == Ask((0, 1))
    assert isinstance(method.next(lay({0: "42"}, pending=(1,), weights=weights)), Wait)
    assert isinstance(method.next(lay({0: "42", 1: "42.0"}, weights=weights)), Pick)
    assert method.next(lay({0: "42", 1: "41"}, weights=weights)) == Ask((2, 3))
    assert method.next(lay({0: "42", 1: "41", 2: "40", 3: "41"}, weights=weights)) == Ask((4,))


def test_so_many_are_enough_only_if_none_disagrees(lay: Lay) -> None:
    method, weights = vote(agree=2), (0.5,) * 5

    assert isinstance(
        method.next(lay({0: "42", 1: "42"}, pending=(2, 3, 4), weights=weights)), Pick
    )
    table = lay({0: "42", 1: "41", 2: "42"}, pending=(3, 4), weights=weights)
    assert isinstance(method.next(table), Wait)


def test_a_quorum_counts_votes(lay: Lay) -> None:
    assert isinstance(vote().next(lay({0: "none", 1: "42"}, pending=(2,), quorum=2)), Pick)
    table = lay({0: "none", 1: "42"}, pending=(2, 3), quorum=2, weights=(0.5,) * 4)
    assert isinstance(vote().next(table), Wait)
    table = lay({0: "41", 1: "42"}, pending=(2, 3), quorum=2, weights=(0.5,) * 4)
    assert isinstance(vote().next(table), Pick)


@given(VOTERS, st.randoms(use_true_random=False))
def test_stopping_early_does_not_change_the_outcome(
    lay: Lay, voters: Sequence[tuple[str | None, float]], rng: Any
) -> None:
    weights = [right for _, right in voters]
    order = list(range(len(voters)))
    rng.shuffle(order)
    drafts = {member: voters[member][0] for member in order}
    assume(any(drafts.values()))
    full = lay(drafts, weights=weights)

    for ended in range(1, len(order) + 1):
        table = lay(
            {member: drafts[member] for member in order[:ended]},
            weights=weights,
            pending=order[ended:],
        )
        step = vote().next(table) if table.good else None
        if isinstance(step, Pick):
            break

    assert step is not None
    assert answer(step, table) == answer(vote().next(full), full)


@given(VOTERS, st.randoms(use_true_random=False))
def test_who_ends_first_does_not_matter(
    lay: Lay, voters: Sequence[tuple[str | None, float]], rng: Any
) -> None:
    weights = [right for _, right in voters]
    drafts = {member: text for member, (text, _) in enumerate(voters)}
    assume(any(drafts.values()))
    shuffled = list(drafts.items())
    rng.shuffle(shuffled)

    step = vote().next(lay(drafts, weights=weights))

    assert vote().next(lay(dict(shuffled), weights=weights)) == step


@given(
    st.dictionaries(st.integers(0, 4), st.sampled_from("abc"), max_size=4),
    st.lists(st.integers(0, 3), min_size=5, max_size=5),
)
def test_what_is_settled_holds_for_every_way_that_the_rest_may_vote(
    votes: dict[int, str], weights: list[int]
) -> None:
    """Settled exactly if no completion has another leader: all are tried."""
    rest = [member for member in range(5) if member not in votes]
    completions: list[dict[int, str]] = [votes]
    for member in rest:
        completions += [{**some, member: word} for some in completions for word in "abcd"]
    leaders = {leader(some, weights) for some in completions if some}

    assert is_settled(votes, weights, rest) == (bool(votes) and len(leaders) == 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"answer": "colour"}, r"aggregation\.v\.answer: expected one of number, choice, json"),
        ({"wave": 0}, r"aggregation\.v\.wave: expected a whole number from 1"),
        ({"agree": 1}, r"aggregation\.v\.agree: expected a whole number from 2"),
        ({"options": 1}, r"aggregation\.v\.options: expected a whole number from 2 to 26"),
        ({"waves": 2}, r"aggregation\.v\.waves: unknown option \(did you mean 'wave'\?"),
    ],
)
def test_a_wrong_option_names_its_place(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        vote(**options)
