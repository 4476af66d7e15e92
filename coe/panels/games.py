"""What is played to judge a panel: itself, and its rivals, on prompts with recorded drafts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from coe.drafts import Member
from coe.panels.play import Play, Sample, Seat, alone, play
from coe.panels.rates import GOOD

if TYPE_CHECKING:
    from coe.composition.values import Panel
    from coe.panels.recruit import Recruits
    from coe.protocols import Aggregator

WRONG_DRAFTS = 2
"""Of the test of aggregators, beside a right one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A prompt, and what experts answered.

    Attributes:
        prompt: its digest.
        category: None where it is of none.
        probability: of the category.
        samples: by expert, each at least one.
        messages: the prompt; () where it was not kept: then nobody can be asked about it.
    """

    prompt: str
    category: str | None
    samples: Mapping[str, tuple[Sample, ...]]
    probability: float = 1.0
    messages: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A panel of the composition, with its aggregator."""

    panel: Panel
    aggregator: Aggregator


@dataclass(frozen=True, slots=True, kw_only=True)
class Game:
    """A table that is to be played.

    Attributes:
        seats: at least one.
        quorum: None: all.
    """

    contender: Contender
    recording: Recording
    seats: tuple[Seat, ...]
    quorum: int | None = None

    def begin(self) -> Play:
        """Return the play."""
        return play(
            self.contender.aggregator, self.seats, self.recording.messages, quorum=self.quorum
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What came of a game.

    Attributes:
        score: of the answer, in [0, 1].
        drafts: calls of members.
        questions: other calls.
    """

    score: float
    drafts: int
    questions: int = 0

    @property
    def calls(self) -> int:
        """Calls in all."""
        return self.drafts + self.questions


Games = Sequence[Game | None]
Scores = Sequence[Score | None]
Player = Callable[[Games], Scores]
"""Plays some games; None for one that cannot be played, and for none."""


def replayed(games: Games) -> Scores:
    """Play what can be played without asking anybody."""
    return [_replayed(game) for game in games]


def _replayed(game: Game | None) -> Score | None:
    played = alone(game.begin()) if game is not None else None
    if played is None or played.score is None:
        return None
    return Score(score=played.score, drafts=played.drafts, questions=played.questions)


def panel_game(contender: Contender, recording: Recording, recruits: Recruits) -> Game | None:
    """Return the panel's game; None where a member's draft was not recorded.

    A panel that asks each member several times needs as many samples.
    """
    seats: list[Seat] = []
    for sample in range(contender.panel.samples):
        for name, weight in zip(recruits.members, recruits.weights, strict=True):
            there = recording.samples.get(name, ())
            if sample >= len(there):
                return None
            member = Member(expert=name, sample=sample, weight=weight)
            seats.append(Seat(member=member, sample=there[sample]))
    if not seats:
        return None
    return Game(
        contender=contender,
        recording=recording,
        seats=tuple(seats),
        quorum=contender.panel.quorum,
    )


def self_game(
    contender: Contender, recording: Recording, expert: str, weight: float, calls: int
) -> Game | None:
    """Return the game of as many samples of one expert; None where there are not so many."""
    there = recording.samples.get(expert, ())[:calls]
    if len(there) < calls:
        return None
    seats = (
        Seat(member=Member(expert=expert, sample=number, weight=weight), sample=sample)
        for number, sample in enumerate(there)
    )
    return Game(contender=contender, recording=recording, seats=tuple(seats))


@dataclass(frozen=True, slots=True, kw_only=True)
class Trio:
    """One right draft and two wrong ones, of three experts, in an order that says nothing."""

    recording: Recording
    seats: tuple[Seat, ...] = field(repr=False)


def trios(recordings: Sequence[Recording], seed: int = 0) -> list[Trio]:
    """Return a test for aggregators: prompts with drafts that leave the choice to them.

    A prompt that nobody answered rightly tests nothing, and one that fewer than two answered
    wrongly is too easy: both are left out.

    Reference:
        Chen, J. et al. (2025). Symbolic mixture-of-experts. arXiv 2503.05641: the aggregator is
        chosen once for a task by such a test. Theirs counts prompts without a right answer, too.
    """
    random = np.random.default_rng(seed)
    found = []
    for recording in recordings:
        drafts = [(name, samples[0]) for name, samples in sorted(recording.samples.items())]
        right = [draft for draft in drafts if draft[1].score >= GOOD]
        wrong = [draft for draft in drafts if draft[1].score < GOOD]
        if not right or len(wrong) < WRONG_DRAFTS:
            continue
        chosen = [right[random.integers(len(right))]]
        chosen += [wrong[i] for i in random.permutation(len(wrong))[:WRONG_DRAFTS]]
        order = random.permutation(len(chosen))
        seats = tuple(
            Seat(member=Member(expert=name), sample=sample)
            for name, sample in (chosen[i] for i in order)
        )
        found.append(Trio(recording=recording, seats=seats))
    return found


def trio_game(contender: Contender, trio: Trio) -> Game:
    """Return the game of a contender on a test."""
    return Game(contender=contender, recording=trio.recording, seats=trio.seats)
