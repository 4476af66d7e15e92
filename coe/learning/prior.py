"""What is known before the first answer: the fitted map's cells, or rewards that were recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from coe.learning.bandit import Bandit
from coe.learning.belief import Belief, Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from coe.learning.pacer import Pacer
    from coe.mapping.fitted import FittedMap

    Floats = NDArray[np.float64]

ANSWERS = 1000.0
"""What a prior counts for: 1,164 in ParetoBandit; with .997 it is forgotten like 333 answers."""


def features(memberships: Floats) -> Floats:
    """Return the features of prompts: a one, then the probability of each category.

    What a new expert does on one category speaks for its level on all, by the one. ParetoBandit
    has 25 principal components of the text's embedding instead; with its own rewards the
    probabilities of 9 categories are as good or better (`benches/experiments_bandit.py`).

    Args:
        memberships: shape (..., C).

    Returns:
        shape (..., C + 1).
    """
    one = np.ones((*memberships.shape[:-1], 1))
    return np.concatenate([one, memberships], axis=-1)


def from_map(
    fitted: FittedMap,
    *,
    answers: float = ANSWERS,
    settings: Settings | None = None,
    pacer: Pacer | None = None,
) -> Bandit:
    """Return a bandit that expects of every expert what the map says.

    A cell counts for `answers` times the traffic of its category. Only experts that the map uses.

    Args:
        fitted: the map.
        answers: that the prior of an expert counts for in all, above 0.
        settings: how it learns.
        pacer: None where money is no object.
    """
    chosen = settings or Settings()
    rows = features(np.eye(len(fitted.categories)))
    design = answers * (rows.T * fitted.traffic) @ rows
    beliefs = {}
    for name in fitted.used:
        quality = fitted.quality[:, fitted.experts.index(name)]
        beliefs[name] = _belief(
            design, answers * (rows.T * fitted.traffic) @ quality, quality, chosen
        )
    return Bandit(settings=chosen, beliefs=beliefs, pacer=pacer)


def from_rewards(
    x: Floats,
    rewards: Floats,
    experts: Sequence[str],
    *,
    answers: float = ANSWERS,
    settings: Settings | None = None,
    pacer: Pacer | None = None,
) -> Bandit:
    """Return a bandit that has learnt recorded rewards, as if `answers` of them were given.

    Args:
        x: shape (n, d), features of the prompts, of one at least.
        rewards: shape (n, K), in [0, 1]; NaN where nobody measured.
        experts: K names, one column each.
        answers: that the prior of an expert counts for in all, above 0.
        settings: how it learns.
        pacer: None where money is no object.

    Raises:
        ValueError: nothing was measured of an expert, or shapes do not fit.
    """
    if rewards.shape != (len(x), len(experts)):
        raise ValueError(f"rewards are of shape {rewards.shape}, not {(len(x), len(experts))}")
    chosen = settings or Settings()
    beliefs = {}
    for column, name in enumerate(experts):
        seen = ~np.isnan(rewards[:, column])
        if not seen.any():
            raise ValueError(f"nothing was measured of `{name}`: let it join as a new expert")
        rows, given = x[seen], rewards[seen, column]
        scale = answers / len(rows)
        beliefs[name] = _belief(scale * rows.T @ rows, scale * rows.T @ given, given, chosen)
    return Bandit(settings=chosen, beliefs=beliefs, pacer=pacer)


def _belief(design: Floats, moment: Floats, scores: Floats, settings: Settings) -> Belief:
    """Return a belief of weighted evidence; where there is none it expects the mean score."""
    level = np.zeros(len(design))
    level[0] = float(scores.mean())
    precision = design + settings.ridge * np.eye(len(design))
    anchor: Floats = np.asarray(np.linalg.solve(precision, moment + settings.ridge * level))
    return Belief.of(precision, anchor)
