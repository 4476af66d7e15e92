"""Arms of `benches.panels` on recorded outcomes: who is asked, and what a vote makes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from benches.mapping_data import FOLDS, Columns, Floats, Recorded, Split
from benches.panels_data import Answers
from coe.aggregators import vote
from coe.composition.values import Panel
from coe.mapping import OutcomeMatrix, Residual, residual
from coe.mapping.estimates import estimate, values
from coe.panels.compare import Best
from coe.panels.fit import Task, fit
from coe.panels.fitted import FittedPanels
from coe.panels.games import Contender, Game, Recording, Scores, panel_game, replayed, self_game
from coe.panels.gate import gain
from coe.panels.rates import Rates, count
from coe.panels.recruit import Candidate, Recruits, recruit
from coe.protocols import AggregatorSpec

TOP = 3
SURE_AT = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
"""Tried for the adaptive panel, on the training part."""

SINGLE, MAPPED = "best single", "single, by the map"
SELF_MOA, SELF_MAPPED = f"Self-MoA, {TOP} of the best single", f"Self-MoA, {TOP} by the map"
RANDOM, FIXED, SKILLED = "random panel", f"fixed top-{TOP}", f"top-{TOP} of the category"
RECRUITED, ADAPTIVE, CASCADE = f"recruited {TOP}", "adaptive size", "cascade, two cheap first"
DEFAULT = "on where it is proved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """The prompts of one side of a split.

    Attributes:
        recordings: n of them.
        expected: shape (n, E), what the map expects, by rates that the prompt had no part in.
        places: of the prompts, by their digest.
    """

    recordings: tuple[Recording, ...]
    expected: Floats
    places: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one split says of the prompts reported on.

    Attributes:
        prompts: shape (n,), rows.
        scores, calls: by arm, shape (n,).
        covered: by arm, shape (n,): whether one of the drafts that were seated is right.
        sure_at: chosen on the training part.
        fitted: the gate's verdicts.
    """

    prompts: Sequence[int]
    scores: Mapping[str, Floats]
    calls: Mapping[str, Floats]
    covered: Mapping[str, Floats]
    sure_at: float
    fitted: FittedPanels


def expected(recorded: Recorded, divided: Split, seed: int) -> tuple[Floats, Floats]:
    """Return what a fitted map expects on both sides: of the training part, out of fold."""
    train = recorded.matrix(divided.train, divided.learnt)
    test = recorded.matrix(divided.test, divided.given)
    like = residual.fit(train, estimate(train), "minilm", seed=seed)
    fold = np.random.default_rng(seed).permutation(len(train.prompts)) % FOLDS
    inside = np.empty(train.scores.shape)
    for number in range(FOLDS):
        asked = np.flatnonzero(fold == number)
        inside[asked] = _expected(
            train.rows(np.flatnonzero(fold != number)), train.rows(asked), like
        )
    return inside, _expected(train, test, like)


def _expected(train: OutcomeMatrix, asked: OutcomeMatrix, like: Residual | None) -> Floats:
    cells = estimate(train)
    found = values(cells.mean, asked.memberships)
    if like is None or asked.embeddings is None:
        return np.asarray(np.clip(found, 0.0, 1.0))
    own = replace(
        like,
        embeddings=np.asarray(train.embeddings, dtype=np.float32),
        scores=(train.scores - values(cells.mean, train.memberships)).astype(np.float32),
    )
    return np.asarray(np.clip(residual.correct(own, found, asked.embeddings), 0.0, 1.0))


class Replay:
    """The arms of one split under one model of the answers."""

    def __init__(
        self,
        recorded: Recorded,
        divided: Split,
        answers: Answers,
        maps: tuple[Floats, Floats],
        seed: int,
    ) -> None:
        """Lay out both sides; `maps` is what `expected` says."""
        self.recorded, self.divided, self.seed = recorded, divided, seed
        self.answers, self.maps = answers, maps
        self.matrix = recorded.matrix(divided.train, divided.learnt)
        self.rates = count(self.matrix)
        means = self.matrix.scores.mean(axis=0)
        self.ranked = tuple(recorded.experts[i] for i in np.argsort(-means, kind="stable"))
        self.costs = dict(zip(recorded.experts, self.matrix.costs.mean(axis=0), strict=True))

    @cached_property
    def train(self) -> Side:
        """The prompts that everything is chosen on."""
        return self._side(self.divided.train, self.matrix, self.maps[0])

    @cached_property
    def test(self) -> Side:
        """The prompts that are reported on."""
        rows = self.divided.test
        return self._side(rows, self.recorded.matrix(rows, self.divided.given), self.maps[1])

    def _side(self, rows: Columns, matrix: OutcomeMatrix, found: Floats) -> Side:
        recordings = self.answers.recordings(rows, self.recorded, matrix.memberships)
        return Side(
            recordings=tuple(recordings),
            expected=found,
            places={row.prompt: i for i, row in enumerate(recordings)},
        )

    def run(self) -> Result:
        """Return what every arm does on the prompts reported on."""
        sure_at = self._tuned()
        adaptive = contender("adaptive", sure_at=sure_at, wave=1)
        fitted = fit(
            Task(
                matrix=self.matrix,
                recordings=self.train.recordings,
                contenders=(adaptive,),
                seating=lambda one, row, rates: self._seated(one, self.train, row, rates),
                choosing=lambda row, _: self._best(self.train, row),
                seed=self.seed,
            )
        )
        everything = {
            SINGLE: self._all(self._single),
            MAPPED: self._all(self._mapped),
            **self.self_moa(),
            RANDOM: self._all(partial(self._random, np.random.default_rng(self.seed))),
            FIXED: self._all(self._fixed),
            SKILLED: self._all(self._skilled),
            RECRUITED: self._all(
                partial(self._recruited, contender("recruited"), self.test, self.rates)
            ),
            ADAPTIVE: self._all(partial(self._recruited, adaptive, self.test, self.rates)),
            CASCADE: self._all(self._cascade),
        }
        played = {name: replayed(games) for name, games in everything.items()}
        is_on = [(row.category or "") in fitted.panels for row in self.test.recordings]
        chosen = [ADAPTIVE if on else SINGLE for on in is_on]
        everything[DEFAULT] = [everything[name][i] for i, name in enumerate(chosen)]
        played[DEFAULT] = [played[name][i] for i, name in enumerate(chosen)]
        return Result(
            prompts=self.divided.test.tolist(),
            scores={name: _floats(scores, "score") for name, scores in played.items()},
            calls={name: _floats(scores, "calls") for name, scores in played.items()},
            covered={name: _covered(games) for name, games in everything.items()},
            sure_at=sure_at,
            fitted=fitted,
        )

    def self_moa(self) -> dict[str, list[Game]]:
        """Return the arms that ask one expert several times."""
        return {
            SELF_MOA: self._all(lambda row: self._self(row, self.ranked[0])),
            SELF_MAPPED: self._all(lambda row: self._self(row, self._best(self.test, row).expert)),
        }

    def _tuned(self) -> float:
        """Return when the panel is sure enough: with the fewest calls that are not shown to lose.

        That is on the training part, beside the same panel of a fixed size.
        """
        whole = self._trained(contender("recruited"))
        fixed, found = _floats(whole, "score"), [(_floats(whole, "calls").mean(), 1.0)]
        for sure_at in SURE_AT:
            scores = self._trained(contender("adaptive", sure_at=sure_at, wave=1))
            if gain(_floats(scores, "score"), fixed).high >= 0:
                found.append((_floats(scores, "calls").mean(), sure_at))
        return min(found)[1]

    def _trained(self, one: Contender) -> Scores:
        rows = self.train.recordings
        return replayed([self._recruited(one, self.train, self.rates, row) for row in rows])

    def _all(self, game: Callable[[Recording], Game]) -> list[Game]:
        return [game(row) for row in self.test.recordings]

    def _single(self, row: Recording) -> Game:
        return self._fixed_game(contender("single", top=1), self.ranked[:1], row)

    def _best(self, side: Side, row: Recording) -> Best:
        qualities = side.expected[side.places[row.prompt]]
        place = int(qualities.argmax())
        return Best(expert=self.recorded.experts[place], rate=float(qualities[place]))

    def _mapped(self, row: Recording) -> Game:
        best = self._best(self.test, row).expert
        return self._fixed_game(contender("single", top=1), (best,), row)

    def _self(self, row: Recording, expert: str) -> Game:
        game = self_game(contender("self"), row, expert, 0.5, TOP)
        assert game is not None
        return game

    def _random(self, random: np.random.Generator, row: Recording) -> Game:
        names = random.permutation(self.recorded.experts)[:TOP].tolist()
        return self._fixed_game(contender("random"), names, row)

    def _fixed(self, row: Recording) -> Game:
        return self._fixed_game(contender("fixed"), self.ranked[:TOP], row)

    def _skilled(self, row: Recording) -> Game:
        rates = self.rates.of(row.category, probability=row.probability)
        names = sorted(rates, key=lambda name: -rates[name])[:TOP]
        return self._fixed_game(contender("skilled"), names, row)

    def _cascade(self, row: Recording) -> Game:
        """The two cheapest of the best five, and the best single expert where they disagree."""
        cheap = sorted(self.ranked[1 : TOP + 2], key=self.costs.__getitem__)[:2]
        one = contender("cascade", wave=2, agree=2)
        return self._fixed_game(one, (*cheap, self.ranked[0]), row)

    def _fixed_game(self, one: Contender, names: Sequence[str], row: Recording) -> Game:
        rates = self.rates.of(row.category, probability=row.probability)
        game = panel_game(
            one,
            row,
            Recruits(members=tuple(names), weights=tuple(rates[name] for name in names)),
        )
        assert game is not None
        return game

    def _recruited(self, one: Contender, side: Side, rates: Rates, row: Recording) -> Game:
        game = panel_game(one, row, self._seated(one, side, row, rates))
        assert game is not None
        return game

    def _seated(self, one: Contender, side: Side, row: Recording, rates: Rates) -> Recruits:
        qualities = side.expected[side.places[row.prompt]]
        order = np.argsort(-qualities, kind="stable")[:8]
        return recruit(
            one.panel,
            [
                Candidate(
                    expert=self.recorded.experts[i],
                    backend=self.recorded.experts[i],
                    quality=float(qualities[i]),
                )
                for i in order
            ],
            rates=rates,
            probability=row.probability,
            category=row.category,
        )


def contender(
    name: str, *, top: int = TOP, sure_at: float | None = None, **options: int
) -> Contender:
    """Return a panel that votes over letters."""
    spec = AggregatorSpec(
        name=name, type="vote", options={"answer": "choice", "options": 10, **options}
    )
    panel = Panel(name=name, method="vote", choose="recruited", top=top, sure_at=sure_at)
    return Contender(panel=panel, aggregator=vote.build(spec))


def _floats(scores: Scores, what: str) -> Floats:
    return np.array([getattr(score, what) for score in scores], dtype=np.float64)


def _covered(games: Sequence[Game | None]) -> Floats:
    return np.array(
        [max(seat.sample.score for seat in game.seats) for game in games if game is not None]
    )
