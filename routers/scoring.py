"""Scoring many texts, with progress, keeping what is done."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from coe.protocols import Router
from coe.tools import Progress, RouterAtWork
from routers.score_file import ScoreFile
from routers.stages import all_values

BATCH = 32  # as the gateway's own largest
NONE = -1

Floats = NDArray[np.float64]
Columns = NDArray[np.intp]


class Scorer:
    """A router over a score file: a text that was scored before is not scored again."""

    def __init__(self, router: Router, file: ScoreFile, progress: Progress) -> None:
        self.router = router
        self._file = file
        self._progress = progress

    def values(self, texts: Sequence[str], doing: str) -> Floats:
        """Return scores, shape (n_texts, n_categories).

        Args:
            texts: any number of them.
            doing: what the progress is called.

        Raises:
            ConfigError: the score file cannot be written.
            RouterUnavailable: what the router stands on does not answer.
        """
        missing = [text for text in dict.fromkeys(texts) if text not in self._file]
        total = len(missing)
        for start in range(0, total, BATCH):
            batch = missing[start : start + BATCH]
            self._progress(doing, start, total)
            self._file.add(batch, all_values(self.router, batch))
        self._progress(doing, total, total)
        return self._file.get(texts).astype(np.float64)


def choose(values: Floats, thresholds: Floats, margin: float) -> tuple[Columns, Floats, Columns]:
    """Return the best column of each row, its score, and what is chosen: the best column or NONE.

    The rule is the gateway's own: at least the threshold of the best column, and at least `margin`
    ahead of the second.

    Args:
        values: shape (n, n_categories), n_categories at least 1.
        thresholds: shape (n_categories,).
        margin: in [0, 1].
    """
    best = values.argmax(axis=1)
    confidence = values[np.arange(len(values)), best]
    second = np.zeros(len(values))
    if values.shape[1] > 1:
        second = np.partition(values, -2, axis=1)[:, -2]
    is_sure = (confidence >= thresholds[best]) & (confidence - second >= margin)
    return best, confidence, np.where(is_sure, best, NONE)


def thresholds_of(work: RouterAtWork) -> Floats:
    """Return the composition's thresholds in the order of the router's categories."""
    names = work.router.categories
    return np.array([work.thresholds[name] for name in names], dtype=np.float64)
