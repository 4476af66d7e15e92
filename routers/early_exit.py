"""When a cheap stage may have the last word: how far its best category must lead, fitted.

The lead of a row of probabilities is the logarithm of the best over the second best: for a softmax,
the gap of the two logits. A stage that exits at a large lead is right almost always; the smaller
the lead asked for, the more texts exit and the more of them are wrong. The fit walks down from the
largest lead and stops before the accuracy that is lost to the last stage could, at one-sided 95 %,
exceed what may be lost (a fixed sequence of tests, so that many thresholds cost no certainty). A
few hundred rows prove nothing of a few thousandths: then the exit stays closed, and says why.

Reference: Bauer 1991, Multiple Testing in Clinical Trials, section 3 (fixed sequences); Wald's
interval of a difference of paired proportions, with one loss more than was seen (Agresti and Min
2005, Simple Improved Confidence Intervals for Comparing Matched Proportions).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

MOST_LOST = 0.003
ONE_SIDED_95 = 1.645
# Least best probability of a row that exits at all: what looks like no category goes on.
FLOOR = 0.5
STEPS = 200  # thresholds that are tried
TINY = 1e-9
NONE = -1

Floats = NDArray[np.floating]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What a router says of texts whose category is known, each as if it had never seen it.

    Attributes:
        texts: any order.
        labels: shape (n_texts,), columns of the router's categories; NONE for a text of none.
        values: shape (n_texts, n_categories), probabilities.
    """

    texts: tuple[str, ...]
    labels: NDArray[np.intp]
    values: NDArray[np.float32]

    @property
    def right(self) -> Flags:
        """Whether the best category is the true one, or, of a text of none, under the floor."""
        return _right(self.values, self.labels)


@runtime_checkable
class Rehearses(Protocol):
    """A router that can be judged on its own utterances."""

    def rehearse(self) -> Rehearsal:
        """Return the rehearsal; may take seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """From which lead on a stage has the last word.

    Attributes:
        least_lead: infinite where the exit stays closed.
        share: of the held-out texts that exit.
        lost: accuracy that they lose to the last stage; negative is a gain.
        rows: how many texts were held out.
    """

    least_lead: float
    share: float = 0.0
    lost: float = 0.0
    rows: int = 0

    @property
    def is_open(self) -> bool:
        """Whether any text exits."""
        return math.isfinite(self.least_lead)

    def lets_out(self, values: Floats) -> Flags:
        """Return which rows of probabilities exit, shape (n,)."""
        best = values.max(axis=1, initial=0.0)
        out: Flags = (best >= FLOOR) & (leads(values) >= self.least_lead)
        return out


def leads(values: Floats) -> NDArray[np.float64]:
    """Return log(best / second best) of each row, shape (n,); a lone category leads over nothing.

    Args:
        values: shape (n, n_categories), in [0, 1].
    """
    count, columns = values.shape
    if columns < 2:  # noqa: PLR2004 - the second best
        values = np.concatenate([values, np.zeros((count, 2 - columns))], axis=1)
    best = np.partition(values, -2, axis=1)[:, -2:].astype(np.float64) + TINY
    gap: NDArray[np.float64] = np.log(best[:, 1] / best[:, 0])
    return gap


def fit_exit(
    values: Floats, labels: NDArray[np.intp], right_later: Flags, *, most_lost: float = MOST_LOST
) -> Exit:
    """Return the exit that lets out most texts at no more than the accuracy that may be lost.

    Args:
        values: shape (n, n_categories), held-out probabilities of the cheap stage.
        labels: shape (n,), the true columns, or NONE.
        right_later: shape (n,), whether the last stage would be right.
        most_lost: in [0, 1], with one-sided 95 % certainty.
    """
    rows = len(labels)
    lead = np.where(values.max(axis=1, initial=0.0) >= FLOOR, leads(values), -np.inf)
    right = _right(values, labels)
    order = np.argsort(-lead, kind="stable")
    losses = np.cumsum(right_later[order] & ~right[order])
    gains = np.cumsum(right[order] & ~right_later[order])
    best = Exit(least_lead=math.inf, rows=rows)
    for last in _steps(lead[order]):
        lost, gained = int(losses[last]), int(gains[last])
        bound = lost + 1 - gained + ONE_SIDED_95 * math.sqrt(lost + 1 + gained)
        if bound > most_lost * rows:
            break
        best = Exit(
            least_lead=float(lead[order[last]]),
            share=(last + 1) / rows,
            lost=(lost - gained) / rows,
            rows=rows,
        )
    return best


def fit_stages(
    stages: list[Rehearsal], last: Rehearsal, *, most_lost: float = MOST_LOST
) -> list[Exit]:
    """Return an exit for each stage, on the texts that it and the last stage both rehearsed.

    What may be lost is divided among the stages.
    """
    right = {
        key: bool(hit)
        for key, hit in zip(
            zip(last.texts, last.labels.tolist(), strict=True),
            last.right,
            strict=True,
        )
    }
    exits = []
    for stage in stages:
        keys = list(zip(stage.texts, stage.labels.tolist(), strict=True))
        shared = np.array([place for place, key in enumerate(keys) if key in right], dtype=np.intp)
        later = np.array([right[keys[place]] for place in shared], dtype=bool)
        share = most_lost / len(stages)
        exits.append(fit_exit(stage.values[shared], stage.labels[shared], later, most_lost=share))
    return exits


def _right(values: Floats, labels: NDArray[np.intp]) -> Flags:
    is_none = (labels == NONE) & (values.max(axis=1, initial=0.0) < FLOOR)
    right: Flags = (values.argmax(axis=1) == labels) | is_none
    return right


def _steps(lead: NDArray[np.float64]) -> list[int]:
    """Return the places at which to cut, of leads in falling order; equal leads stay together."""
    falling = -lead
    open_rows = int(np.isfinite(lead).sum())
    cuts = {round(open_rows * step / STEPS) - 1 for step in range(1, STEPS + 1)} - {-1}
    return sorted({int(np.searchsorted(falling, falling[cut], side="right")) - 1 for cut in cuts})
