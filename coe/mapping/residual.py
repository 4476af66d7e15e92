"""What the categories do not say: measured prompts that are like the prompt correct the cells.

    q(x, e) += weight * sum_i w_i (score[i, e] - cells[i, e]) / sum_i w_i

over the k nearest of the measured prompts, w_i = exp((cosine_i - 1) / temperature). An expert that
was not measured on a neighbour counts there as what its cells say: 0.

Neighbours alone are a router too (Li 2025, arXiv 2505.12601); on top of the cells they need not
learn again what the categories know. Two things make them worth more than plain ones: hundreds of
them, and the nearer ones counting more.

Reference: Nadaraya, E. (1964). On estimating regression. Theory of Probability and its Applications
9 (1), with the von Mises-Fisher kernel, on what the cells leave over.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from coe.intervals import paired_gain
from coe.mapping.estimates import STRENGTH, Cells, estimate, values
from coe.mapping.fitted import Residual

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coe.mapping.outcomes import OutcomeMatrix

    Floats = NDArray[np.float64]
    Columns = NDArray[np.intp]

NEIGHBOURS = 640
WEIGHTS = (0.25, 0.5, 0.75, 1.0)
# Of sentence encoders' cosines. Beside .07, .1, .14, .2 and none at all, and k beside 80, 160, 320
# and 1,280, by cross-validation on the training parts of MMLU-Pro's outcomes: with a temperature k
# matters little, and to choose either by each map's outcomes gained nothing.
TEMPERATURE = 0.12
FOLDS = 10
REPEATS = 3


def fit(
    matrix: OutcomeMatrix,
    cells: Cells,
    encoder: str,
    *,
    strength: float = STRENGTH,
    seed: int = 0,
) -> Residual | None:
    """Return the residual of some outcomes; None where it is not shown to gain anything.

    The gain is the score of the expert with the greatest expectation, with the residual less
    without it, on prompts that were left out: in each of ten folds with the cells and the
    neighbours of the other nine, and with the weight that is best on the prompts left out of the
    other nine, so that choosing the best of some is paid for. That is done three times with other
    folds, and a prompt's gain is the mean. Its paired 95 % interval must be above 0 as a whole.

    Prompts that are near copies of each other should be one: spread over folds they make
    neighbours look better than they will be.

    Args:
        matrix: outcomes with embeddings; without, there is no residual.
        cells: of these outcomes.
        encoder: fingerprint of the encoder of the embeddings.
        strength: that the cells were estimated with.
        seed: of the folds and the interval.
    """
    if matrix.embeddings is None or len(matrix.prompts) < 2 * FOLDS:
        return None
    trials = [_trial(matrix, strength, seed + repeat) for repeat in range(REPEATS)]
    with_it = np.mean([trial.with_it() for trial in trials], axis=0)
    without = np.mean([trial.plain for trial in trials], axis=0)
    _, low, _ = paired_gain(with_it, without, seed)
    if low <= 0:
        return None
    weight = max(WEIGHTS, key=lambda weight: sum(trial.gain_of(weight) for trial in trials))
    return Residual(
        embeddings=_vectors(matrix),
        scores=_left_over(matrix, cells),
        k=min(NEIGHBOURS, len(matrix.prompts)),
        weight=weight,
        encoder=encoder,
        temperature=TEMPERATURE,
    )


def correct(residual: Residual, values: Floats, embeddings: Floats) -> Floats:
    """Return what is expected of the experts, corrected by what was measured nearby.

    A correction may lead out of [0, 1].

    Args:
        residual: of the same experts, in the same order.
        values: shape (n, E), what the cells say.
        embeddings: shape (n, dim), unit rows, of the residual's encoder.

    Returns:
        shape (n, E).
    """
    near = _nearest(embeddings.astype(np.float32, copy=False), residual.embeddings, residual.k)
    shifts = [_shift(residual.scores, *row, residual.temperature) for row in near]
    return np.asarray(values + residual.weight * np.array(shifts).reshape(values.shape))


@dataclass(frozen=True, slots=True)
class _Trial:
    """What was scored on prompts that were left out, NaN where the expert was not measured.

    Attributes:
        fold: shape (n,), of each prompt.
        plain: shape (n,), the score with cells alone.
        scores: weight -> shape (n,), the score with the residual.
    """

    fold: Columns
    plain: Floats
    scores: dict[float, Floats] = field(default_factory=dict)

    def gain_of(self, weight: float, without: int = -1) -> float:
        """Return the mean gain of a weight, one fold left aside."""
        gains = (self.scores[weight] - self.plain)[self.fold != without]
        return float(np.nansum(gains)) / max(int((~np.isnan(gains)).sum()), 1)

    def with_it(self) -> Floats:
        """Return the scores with the residual, each fold's by the weight best on the others."""
        found = np.empty(len(self.fold))
        for fold in range(FOLDS):
            rows = self.fold == fold
            best = max(self.scores, key=lambda weight: self.gain_of(weight, without=fold))
            found[rows] = self.scores[best][rows]
        return found


def _trial(matrix: OutcomeMatrix, strength: float, seed: int) -> _Trial:
    rows = len(matrix.prompts)
    fold = np.random.default_rng(seed).permutation(rows) % FOLDS
    trial = _Trial(fold, np.empty(rows))
    for number in range(FOLDS):
        inside, outside = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        expected, shift = _left_out(matrix.rows(inside), matrix.rows(outside), strength)
        every, scores = np.arange(len(outside)), matrix.scores[outside]
        trial.plain[outside] = scores[every, expected.argmax(axis=1)]
        for weight in WEIGHTS:
            chosen = (expected + weight * shift).argmax(axis=1)
            kept = trial.scores.setdefault(weight, np.empty(rows))
            kept[outside] = scores[every, chosen]
    return trial


def _left_out(
    inside: OutcomeMatrix, outside: OutcomeMatrix, strength: float
) -> tuple[Floats, Floats]:
    """Return what cells say of prompts that they have not seen, and what neighbours add to it."""
    cells = estimate(inside, strength=strength)
    left_over = _left_over(inside, cells)
    near = _nearest(_vectors(outside), _vectors(inside), NEIGHBOURS)
    shift = np.array([_shift(left_over, *row, TEMPERATURE) for row in near], dtype=np.float64)
    return values(cells.mean, outside.memberships), shift


def _vectors(matrix: OutcomeMatrix) -> NDArray[np.float32]:
    return np.asarray(matrix.embeddings, dtype=np.float32)


def _left_over(matrix: OutcomeMatrix, cells: Cells) -> NDArray[np.float32]:
    difference = matrix.scores - values(cells.mean, matrix.memberships)
    return np.nan_to_num(difference, nan=0.0).astype(np.float32)


def _nearest(
    embeddings: NDArray[np.float32], measured: NDArray[np.float32], k: int
) -> Iterator[tuple[Columns, NDArray[np.float32]]]:
    """Yield, per embedding, the rows of the k nearest and their cosines, the nearest first."""
    for cosines in embeddings @ measured.T:
        if k < len(cosines):
            at = np.argpartition(cosines, len(cosines) - k)[len(cosines) - k :]
        else:
            at = np.arange(len(cosines))
        at = at[np.argsort(-cosines[at])]
        yield at, cosines[at]


def _shift(
    left_over: NDArray[np.float32],
    at: Columns,
    cosines: NDArray[np.float32],
    temperature: float,
) -> NDArray[np.float32]:
    # Of the nearest one it is 1, so that the sum is not 0 however far they are.
    weights = np.exp((cosines - cosines[0]) / np.float32(temperature))
    return np.asarray(weights @ left_over[at] / weights.sum())
