"""Which panels pay, by category: measured beside samples of the best expert, or switched off."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from coe.intervals import wilson
from coe.mapping.outcomes import NONE, OutcomeMatrix
from coe.panels.compare import Best, Compared, best_of, compare
from coe.panels.curves import curves
from coe.panels.fitted import AggregatorTest, FittedPanels, Verdict
from coe.panels.games import (
    Contender,
    Player,
    Recording,
    panel_game,
    replayed,
    trio_game,
    trios,
)
from coe.panels.gate import ERROR, shared
from coe.panels.rates import STRENGTH, Rates, count

if TYPE_CHECKING:
    from coe.panels.recruit import Recruits

FOLDS = 5

Seating = Callable[[Contender, Recording, Rates], "Recruits"]
"""Who would sit on a panel for a prompt, given some rates."""
Choosing = Callable[[Recording, Rates], Best]
"""Who is best on a prompt, given some rates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What panels are fitted to.

    Attributes:
        matrix: outcomes of all experts, for the rates.
        recordings: prompts with drafts; those of the matrix have rates of other prompts.
        contenders: the panels.
        seating: who would sit on them.
        choosing: whom they have to beat; it is to know as much of the prompt as `seating` does, or
            what that knows would count as the panel's gain.
        player: plays the games.
        is_tested: whether aggregators are tested on one right and two wrong drafts.
        error: how often one of the intervals may miss, of all of them together.
        strength: as in `Rates`.
        seed: of folds, tests and intervals.
    """

    matrix: OutcomeMatrix
    recordings: tuple[Recording, ...]
    contenders: tuple[Contender, ...]
    seating: Seating
    choosing: Choosing = best_of
    player: Player = replayed
    is_tested: bool = False
    error: float = ERROR
    strength: float = STRENGTH
    seed: int = 0


def fit(task: Task) -> FittedPanels:
    """Return the rates, and which panels pay.

    A panel is on where the paired lower bounds of its gain over the best expert, asked once and
    asked as often as the panel makes drafts, are above zero; the bounds hold for all categories and
    panels at once. Of several, the one whose aggregator does best in the test is on, or without a
    test the one with the highest bound. Members, sizes and the best expert are chosen for a prompt
    by rates of other prompts (cross-validation).
    """
    rates = count(task.matrix, strength=task.strength)
    tests = _tests(task) if task.is_tested else ()
    compared = _compared(task)
    outside = shared(sum(row.is_whole for row in compared), task.error)
    verdicts = tuple(row.verdict(outside, task.seed) for row in compared)
    return FittedPanels(
        rates=rates,
        panels=_chosen(verdicts, tests),
        verdicts=verdicts,
        tests=tests,
        curves=curves(task.recordings),
    )


def _compared(task: Task) -> list[Compared]:
    rates = _out_of_fold(task)
    best = [task.choosing(row, own) for row, own in zip(task.recordings, rates, strict=True)]
    found = []
    for contender in task.contenders:
        games = [
            panel_game(contender, row, task.seating(contender, row, own))
            for row, own in zip(task.recordings, rates, strict=True)
        ]
        found += compare(contender, task.recordings, games, best, task.player)
    return found


def _out_of_fold(task: Task) -> list[Rates]:
    """Return, for each prompt with drafts, rates that it had no part in."""
    prompts = task.matrix.prompts
    order = np.random.default_rng(task.seed).permutation(len(prompts)) % FOLDS
    fold = dict(zip(prompts, order.tolist(), strict=True))
    rates = [
        count(task.matrix.rows(np.flatnonzero(order != number)), strength=task.strength)
        for number in range(FOLDS)
    ]
    return [rates[fold.get(row.prompt, 0)] for row in task.recordings]


def _tests(task: Task) -> tuple[AggregatorTest, ...]:
    """Return the tests of each aggregator, by category."""
    found = trios(task.recordings, task.seed)
    rows = []
    for contender in task.contenders:
        scores = task.player([trio_game(contender, trio) for trio in found])
        grouped: dict[str, list[float]] = {}
        for trio, score in zip(found, scores, strict=True):
            if score is not None:
                grouped.setdefault(trio.recording.category or NONE, []).append(score.score)
        rows += [_test(name, contender.panel.name, some) for name, some in grouped.items()]
    return tuple(rows)


def _test(category: str, panel: str, scores: Sequence[float]) -> AggregatorTest:
    hits = np.asarray(float(np.mean(scores)))
    low, high = wilson(hits, np.asarray(float(len(scores))))
    return AggregatorTest(
        category=category,
        panel=panel,
        tests=len(scores),
        hits=float(hits),
        low=float(low),
        high=float(high),
    )


def _chosen(verdicts: Sequence[Verdict], tests: Sequence[AggregatorTest]) -> dict[str, str]:
    hits = {(test.category, test.panel): test.hits for test in tests}
    chosen: dict[str, Verdict] = {}
    for verdict in verdicts:
        if not verdict.is_on:
            continue
        other = chosen.get(verdict.category)
        if other is None or _rank(verdict, hits) > _rank(other, hits):
            chosen[verdict.category] = verdict
    return {category: verdict.panel for category, verdict in chosen.items()}


def _rank(verdict: Verdict, hits: Mapping[tuple[str, str], float]) -> tuple[float, float]:
    return hits.get((verdict.category, verdict.panel), 0.0), verdict.over_self.low
