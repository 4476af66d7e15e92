"""From experts to the categories that lead to them, for routers that judge experts, not texts."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from coe.types import Category


class Leads:
    """Which expert each category leads to: the first in its ranking that may answer.

    Attributes:
        experts: those that some category leads to, in the order of the categories.
        category_of: for each of these experts, the first category that leads to it.
    """

    def __init__(
        self, categories: Sequence[Category], *, eligible: Collection[str], judged: Collection[str]
    ) -> None:
        """Find each category's expert.

        Args:
            categories: with their experts.
            eligible: the experts that may answer.
            judged: those of which something is known; a category that leads to another one is
                left out.
        """
        first = [
            next((expert for expert in category.experts if expert in eligible), None)
            for category in categories
        ]
        first = [expert if expert in judged else None for expert in first]
        self.experts = tuple(dict.fromkeys(expert for expert in first if expert is not None))
        self._spread = np.zeros((len(self.experts), len(categories)))
        for column, expert in enumerate(first):
            if expert is not None:
                self._spread[self.experts.index(expert), column] = 1.0
        self.category_of = tuple(categories[int(row.argmax())].name for row in self._spread)
        self._spread /= np.maximum(self._spread.sum(axis=1, keepdims=True), 1.0)

    def spread(self, probabilities: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the same by category: those of one expert share its probability evenly.

        Args:
            probabilities: shape (n, n_experts), columns in the order of `experts`.
        """
        shares: NDArray[np.float32] = (probabilities @ self._spread).astype(np.float32)
        return shares
