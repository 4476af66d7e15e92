"""Vectors of one scope, to be searched by brute force: as fast as any index at these sizes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Vectors:
    """Vectors by name. Rows grow by doubling; one that goes gives its row to the last."""

    def __init__(self, dim: int) -> None:
        """Begin empty, for vectors of so many numbers."""
        self._rows: NDArray[np.float32] = np.empty((4, dim), dtype=np.float32)
        self._names: list[str] = []
        self._places: dict[str, int] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._names)

    def put(self, name: str, vector: NDArray[np.float32]) -> None:
        """Add a vector, or replace the one of that name."""
        place = self._places.get(name)
        if place is None:
            place = self._places[name] = len(self._names)
            self._names.append(name)
            if place == len(self._rows):
                self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
        self._rows[place] = vector

    def remove(self, name: str) -> None:
        """Remove a vector, if it is there."""
        place = self._places.pop(name, None)
        if place is None:
            return
        last = self._names.pop()
        if last != name:
            self._names[place] = last
            self._places[last] = place
            self._rows[place] = self._rows[len(self._names)]

    def nearest(self, vector: NDArray[np.float32], least: float) -> list[tuple[str, float]]:
        """Return the names of those at least so near, the nearest first, and their cosines."""
        if len(vector) != self._rows.shape[1]:
            return []
        return ranked(self._names, self._rows[: len(self._names)], vector, least)


def ranked(
    names: list[str], rows: NDArray[np.float32], vector: NDArray[np.float32], least: float
) -> list[tuple[str, float]]:
    """Return the names of rows at least so near to a vector, the nearest first, and their cosines.

    Args:
        names: as many as rows.
        rows: shape (n, dim), each of length 1.
        vector: shape (dim,), of length 1.
        least: cosine.
    """
    similarities = rows @ vector
    places = np.flatnonzero(similarities >= least)
    order = places[np.argsort(-similarities[places], kind="stable")]
    return [(names[place], float(similarities[place])) for place in order]
