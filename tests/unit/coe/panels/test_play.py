"""An aggregator on recorded drafts."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from coe.aggregators import synthesize, vote
from coe.drafts import (
    Ask,
    Consult,
    Member,
    Merge,
    Pick,
    Question,
    Relay,
    Remark,
    Step,
    Table,
    Wait,
    Write,
)
from coe.panels.play import Play, Played, Sample, Seat, alone, play
from coe.protocols import AggregatorSpec


def seats(*texts: str) -> list[Seat]:
    """Return members who write these texts; the right one is `yes`."""
    return [
        Seat(
            member=Member(expert=f"e{i}", weight=0.6),
            sample=Sample(text=text, score=float(text == "yes")),
        )
        for i, text in enumerate(texts)
    ]


@dataclass
class Scripted:
    """An aggregator that does some steps, one after the other, and notes what it was shown."""

    steps: list[Step]
    shown: list[Table] = field(default_factory=list)
    name: str = "scripted"

    def next(self, table: Table) -> Step:
        self.shown.append(table)
        return self.steps[len(self.shown) - 1]


def ended(game: Play, *answers: Remark) -> Played:
    """Return what comes of a game whose questions get these answers."""
    with pytest.raises(StopIteration) as end:
        next(game)
        for answer in answers:
            game.send(answer)
    played: Played = end.value.value
    return played


def test_a_vote_is_played_as_it_is_served() -> None:
    ballot = vote.build(AggregatorSpec(name="v", type="vote"))

    played = alone(play(ballot, seats("no", "yes", "yes")))

    assert played == Played(score=1.0, text="yes", drafts=3)


def test_who_agrees_early_saves_the_last_call() -> None:
    ballot = vote.build(AggregatorSpec(name="v", type="vote", options={"wave": 1}))

    played = alone(play(ballot, seats("yes", "yes", "no")))

    assert played == Played(score=1.0, text="yes", drafts=2)


def test_a_table_where_somebody_has_to_be_asked_cannot_be_played_alone() -> None:
    writer = synthesize.build(AggregatorSpec(name="s", type="synthesize"))

    assert alone(play(writer, seats("yes", "no"))) is None


def test_what_is_written_is_left_to_be_graded() -> None:
    writer = synthesize.build(AggregatorSpec(name="s", type="synthesize"))
    game = play(writer, seats("yes", "no"), [{"role": "user", "content": "Is it?"}])

    asked = next(game)
    assert isinstance(asked, Write)
    assert asked.expert == "e0"
    with pytest.raises(StopIteration) as end:
        game.send(Remark(text="It is."))

    assert end.value.value == Played(score=None, text="It is.", drafts=2, questions=1)


def test_the_best_draft_stands_where_nobody_writes() -> None:
    write = Write(expert="w", messages=(), used=(0,))
    game = play(Scripted([Ask((1, 0)), write]), seats("yes", "no"))

    assert ended(game, Remark(error="down")) == Played(score=1.0, text="yes", drafts=2, questions=1)


def test_questions_are_asked_once_and_their_answers_shown() -> None:
    questions = (Question(key="a", expert="j", messages=()),)
    script = Scripted([Ask((0,)), Consult(questions), Pick(member=0)])

    played = ended(play(script, seats("yes")), Remark(text="fine"))

    assert played == Played(score=1.0, text="yes", drafts=1, questions=1)
    assert script.shown[-1].remarks == {"a": Remark(text="fine")}
    assert not script.shown[-1].open_questions


def test_who_is_relayed_is_a_call_more() -> None:
    script = Scripted([Ask((0,)), Relay(member=1)])

    assert alone(play(script, seats("no", "yes"))) == Played(score=1.0, text="yes", drafts=2)


def test_choices_score_as_the_first_of_them_and_texts_as_nobody_knows() -> None:
    choices = Scripted([Ask((0, 1)), Merge(members=(1, 0), as_choices=True)])
    texts = Scripted([Ask((0, 1)), Merge(members=(1, 0), as_choices=False)])

    one, other = (alone(play(script, seats("no", "yes"))) for script in (choices, texts))

    assert one is not None
    assert other is not None
    assert (one.score, other.score) == (1.0, None)
    assert other.text == "yes\n\nno"


def test_who_waits_for_nobody_is_told_that_time_is_up() -> None:
    script = Scripted([Ask((0,)), Wait(), Pick(member=0)])

    alone(play(script, seats("yes")))

    assert [table.is_closing for table in script.shown] == [False, False, True]
