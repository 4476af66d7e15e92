"""Recorded drafts for tests: prompts, experts and what they wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from coe.aggregators import vote
from coe.composition.values import Panel
from coe.mapping.outcomes import OutcomeMatrix
from coe.panels.games import Contender, Recording
from coe.panels.play import Sample
from coe.panels.rates import Rates
from coe.panels.recruit import Candidate, Recruits, recruit
from coe.protocols import AggregatorSpec


def contender(name: str = "trio", **keys: object) -> Contender:
    """Return a panel that votes over whole texts."""
    panel = Panel(name=name, method="vote", **keys)  # type: ignore[arg-type]
    return Contender(panel=panel, aggregator=vote.build(AggregatorSpec(name=name, type="vote")))


def recording(
    prompt: str, drafts: Mapping[str, Sequence[str]], category: str = "x", right: str = "yes"
) -> Recording:
    """Return a prompt whose right answer is `right`."""
    return Recording(
        prompt=prompt,
        category=category,
        samples={
            expert: tuple(Sample(text=text, score=float(text == right)) for text in texts)
            for expert, texts in drafts.items()
        },
    )


def outcomes(recordings: Sequence[Recording]) -> OutcomeMatrix:
    """Return the first samples as outcomes."""
    experts = tuple(sorted(recordings[0].samples))
    categories = tuple(sorted({row.category or "" for row in recordings}))
    labels = [categories.index(row.category or "") for row in recordings]
    scores = np.array([[row.samples[name][0].score for name in experts] for row in recordings])
    blank = np.full(scores.shape, np.nan)
    return OutcomeMatrix(
        prompts=tuple(row.prompt for row in recordings),
        experts=experts,
        categories=categories,
        probabilities=np.eye(len(categories))[labels],
        scores=scores,
        costs=blank,
        latencies=blank,
    )


def seating(one: Contender, row: Recording, rates: Rates) -> Recruits:
    """Seat by the panel's own rule, from everybody who answered."""
    there = [Candidate(expert=name, backend=name) for name in row.samples]
    return recruit(one.panel, there, rates=rates, category=row.category)
