"""Where panels pay."""

from __future__ import annotations

import pytest

from coe.panels.compare import Best
from coe.panels.fit import Task, fit
from coe.panels.fitted import FittedPanels
from coe.panels.games import Contender, Recording, panel_game, replayed, self_game, trios
from coe.panels.rates import Rates
from coe.panels.recruit import Recruits
from tests.unit.coe.panels.table import contender, outcomes, recording, seating

NAMES = ("a", "b", "c")


def puzzles(count: int, samples: int = 3) -> list[Recording]:
    """Return prompts on which each of three experts errs at another third."""
    return [
        recording(
            f"p{i}",
            {
                name: ["yes" if i % 3 != place else f"no {name}"] * samples
                for place, name in enumerate(NAMES)
            },
            category="puzzles",
        )
        for i in range(count)
    ]


def riddles(count: int) -> list[Recording]:
    """Return prompts on which all err at the same third."""
    return [
        recording(f"r{i}", dict.fromkeys(NAMES, ["yes" if i % 3 else "no"] * 3), "riddles")
        for i in range(count)
    ]


def fitted(recordings: list[Recording], *contenders: Contender, **keys: object) -> FittedPanels:
    """Return what is fitted to recordings."""
    return fit(
        Task(
            matrix=outcomes(recordings),
            recordings=tuple(recordings),
            contenders=contenders or (contender(top=3),),
            seating=seating,
            **keys,  # type: ignore[arg-type]
        )
    )


def test_a_panel_is_on_where_its_members_err_apart() -> None:
    found = fitted([*puzzles(90), *riddles(90)])

    puzzle, riddle = found.verdicts
    assert found.panels == {"puzzles": "trio"}
    assert puzzle.is_on
    assert puzzle.quality == 1.0
    assert puzzle.samples == 3
    assert puzzle.over_self.low > 0
    assert puzzle.calls == pytest.approx(3)
    assert not riddle.is_on
    assert riddle.why == "no gain is shown over samples of the best expert"
    assert riddle.unnecessary == 1.0


def test_calls_are_in_vain_where_the_first_draft_scored_as_much() -> None:
    (verdict,) = fitted(puzzles(90), contender(experts=NAMES)).verdicts

    assert verdict.unnecessary == pytest.approx(2 / 3)


def test_without_samples_nothing_is_switched_on() -> None:
    (verdict,) = fitted(puzzles(90, samples=1)).verdicts

    assert not verdict.is_on
    assert verdict.why.startswith("not measured: 3 samples of")
    assert verdict.quality == 1.0


def test_few_prompts_show_nothing() -> None:
    (verdict,) = fitted(puzzles(9)).verdicts

    assert verdict.why == "fewer than 10 prompts show nothing"


def test_a_member_without_a_draft_cannot_be_measured() -> None:
    (verdict,) = fitted(puzzles(30), contender(experts=("a", "d"))).verdicts

    # Only those who answered are seated, as only those who may answer are when it is live.
    assert verdict.calls == 1.0
    assert panel_game(contender(), puzzles(1)[0], Recruits(members=("d",), weights=(0.5,))) is None


def test_a_panel_has_to_beat_who_is_chosen_as_knowingly_as_its_members() -> None:
    def oracle(row: Recording, _: object) -> Best:
        return Best(expert=max(NAMES, key=lambda name: row.samples[name][0].score), rate=1.0)

    (verdict,) = fitted(puzzles(90), choosing=oracle).verdicts

    assert verdict.single == verdict.self_moa == 1.0
    assert not verdict.is_on


def test_samples_of_the_same_expert_are_as_many_as_the_panel_asks_for() -> None:
    row = puzzles(1)[0]

    assert self_game(contender(), row, "a", 0.5, 4) is None
    game = self_game(contender(), row, "b", 0.5, 2)
    assert game is not None
    assert [(seat.member.expert, seat.member.sample) for seat in game.seats] == [("b", 0), ("b", 1)]


def test_a_panel_that_asks_each_member_twice_has_twice_the_seats() -> None:
    one = contender(samples=2)

    game = panel_game(one, puzzles(1)[0], Recruits(members=("a", "b"), weights=(0.6, 0.5)))

    assert game is not None
    assert [(seat.member.expert, seat.member.sample) for seat in game.seats] == [
        ("a", 0),
        ("b", 0),
        ("a", 1),
        ("b", 1),
    ]


def test_a_test_of_aggregators_has_one_right_draft_and_two_wrong_ones() -> None:
    rows = [
        recording("none", {"a": ["no"], "b": ["no"], "c": ["no"]}),
        recording("easy", {"a": ["yes"], "b": ["yes"], "c": ["no"]}),
        recording("good", {"a": ["yes"], "b": ["no"], "c": ["nay"], "d": ["yes"]}),
    ]

    (trio,) = trios(rows)

    assert trio.recording.prompt == "good"
    assert sorted(seat.sample.score for seat in trio.seats) == [0.0, 0.0, 1.0]
    assert len({seat.member.expert for seat in trio.seats}) == 3


def test_the_order_of_a_test_says_nothing() -> None:
    rows = [recording(f"p{i}", {"a": ["yes"], "b": ["no"], "c": ["nay"]}) for i in range(60)]

    places = [
        next(i for i, seat in enumerate(trio.seats) if seat.sample.score) for trio in trios(rows)
    ]

    assert all(places.count(place) > 8 for place in range(3))


def test_of_two_panels_that_pay_the_tested_one_that_does_better_is_on() -> None:
    hard = [
        recording(f"h{i}", {"a": ["yes"], "b": ["no"], "c": ["nay"]}, category="puzzles")
        for i in range(20)
    ]
    one, other = contender("one", top=3), contender("other", top=3)

    found = fitted([*puzzles(90), *hard], one, other, is_tested=True)

    assert {(row.panel, row.tests) for row in found.tests} == {("one", 20), ("other", 20)}
    assert found.panels == {"puzzles": "one"}


def test_what_cannot_be_played_is_not_measured() -> None:
    found = fitted(puzzles(30), player=lambda games: [None] * len(games))

    assert found.verdicts[0].prompts == 0
    assert found.verdicts[0].why.startswith("not measured: drafts of its members are missing")


def test_nobody_plays_a_game_that_is_none() -> None:
    assert replayed([None]) == [None]


def test_rates_of_a_prompt_are_of_other_prompts() -> None:
    """A panel seated by rates that have seen the prompt would always be led by who is right."""
    seen: list[Rates] = []

    def noting(one: Contender, row: Recording, rates: Rates) -> Recruits:
        seen.append(rates)
        return seating(one, row, rates)

    rows = puzzles(20)
    fit(
        Task(
            matrix=outcomes(rows),
            recordings=tuple(rows),
            contenders=(contender(),),
            seating=noting,
        )
    )

    whole = fitted(rows).rates
    assert all(rates.overall.counts.sum() < whole.overall.counts.sum() for rates in seen)
