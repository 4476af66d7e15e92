"""The evidence that calibration is fitted on: the utterances themselves, each one held out."""

from __future__ import annotations

import numpy as np

from routers.calibration import HeldOut
from routers.index import ABSENT, Floats, Index

BLOCK = 128  # rows at a time: keeps the working arrays of large indexes to some megabytes


def held_out(index: Index) -> HeldOut:
    """Score every utterance and every negative as if it were not in the index.

    What counts as out of every category: each utterance as if its own category did not exist,
    and each negative against the one category that it is a near miss of.
    """
    owner = index.utterances.owner
    blocks = [_utterances(index, rows) for rows in _rows(len(owner))]
    scores = np.concatenate(blocks)
    others = scores.copy()
    others[np.arange(len(owner)), owner] = ABSENT
    near_misses = [_negatives(index, rows) for rows in _rows(len(index.negatives.owner))]
    return HeldOut(
        scores=scores.astype(np.float64),
        labels=owner,
        outside=np.concatenate([others.max(axis=1), *near_misses]).astype(np.float64),
    )


def _utterances(index: Index, rows: np.ndarray) -> Floats:
    bank = index.utterances
    vectors, owner = bank.vectors[rows], bank.owner[rows]
    near = bank.similarities(vectors)
    near[np.arange(len(rows)), rows] = ABSENT
    norms = np.tile(index.norms, (len(rows), 1))
    for row, (vector, column) in enumerate(zip(vectors, owner, strict=True)):
        total = bank.vectors[bank.owner == column].sum(axis=0)
        norms[row, column] = np.linalg.norm(total - vector)
    return index.scores(near, index.negatives.similarities(vectors), norms)


def _negatives(index: Index, rows: np.ndarray) -> Floats:
    bank = index.negatives
    vectors, owner = bank.vectors[rows], bank.owner[rows]
    far = bank.similarities(vectors)
    far[np.arange(len(rows)), rows] = ABSENT
    scores = index.scores(index.utterances.similarities(vectors), far)
    own: Floats = scores[np.arange(len(rows)), owner]
    return own


def _rows(count: int) -> list[np.ndarray]:
    return [np.arange(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK)]
