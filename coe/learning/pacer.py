"""What money is worth right now, so that requests cost on average what they may."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

STEP = 0.05
SMOOTHING = 0.05
AIM = 0.98
"""Of the ceiling: what the pacer steers at. What it is off by at the end is about the rest."""
LEAST, MOST = 1e-4, 5.0
_HALVINGS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Pacer:
    """A ceiling for the mean cost of a request, and the price that keeps it.

    Attributes:
        ceiling: money per request, above 0.
        weight: quality that one ceiling of money is worth now, in [LEAST, MOST].
        average: what requests cost lately, money per request (exponential moving average).

    Reference:
        ParetoBandit (2026), arXiv 2604.00136: dual ascent on the smoothed cost over the ceiling,
        with its step and its smoothing (.05 both). We differ in two ways. The cost of an answer
        counts as money, not as the logarithm of a list price: the best policy within a budget is
        linear in money (Agrawal, S. and Devanur, N., 2014, Bandits with concave rewards and convex
        knapsacks). And the step multiplies: the right weight spans three orders of magnitude over
        ceilings, and no additive step suits them all (dual mirror descent with entropy; Balseiro,
        S., Lu, H. and Mirrokni, V., 2020, Dual mirror descent for online allocation problems).
    """

    ceiling: float
    weight: float = LEAST
    average: float = math.nan

    def __post_init__(self) -> None:
        """Refuse a ceiling that is none. Raises ValueError."""
        if not (math.isfinite(self.ceiling) and self.ceiling > 0):
            raise ValueError(f"the ceiling is {self.ceiling}, it must be money above 0")
        if math.isnan(self.average):
            object.__setattr__(self, "average", AIM * self.ceiling)

    @classmethod
    def started(cls, ceiling: float, quality: Floats, costs: Floats) -> Pacer:
        """Return a pacer whose weight is the least that keeps the ceiling on known prompts.

        Args:
            ceiling: money per request.
            quality: shape (n, K), expected of each expert on each prompt.
            costs: shape (n, K), money per answer, likewise.

        Raises:
            ValueError: the ceiling is not above 0, or there is no prompt.
        """
        if quality.shape != costs.shape or not quality.size:
            raise ValueError(f"quality is of shape {quality.shape}, costs are of {costs.shape}")
        rows = np.arange(len(quality))

        def is_kept(weight: float) -> bool:
            chosen = (quality - weight * costs / ceiling).argmax(axis=1)
            return bool(costs[rows, chosen].mean() <= AIM * ceiling)

        low, high = LEAST, MOST
        if is_kept(low):
            return cls(ceiling=ceiling, weight=low)
        for _ in range(_HALVINGS):
            middle = math.sqrt(low * high)
            low, high = (low, middle) if is_kept(middle) else (middle, high)
        return cls(ceiling=ceiling, weight=high)

    def worth(self, price: float) -> float:
        """Return the quality that so much money is worth now."""
        return self.weight * price / self.ceiling

    def affordable(self, price: float) -> float:
        """Return the share of requests, in (0, 1], at which a price costs one ceiling on average.

        Raises:
            ValueError: the price is negative.
        """
        if price < 0:
            raise ValueError(f"the price is {price}, it must be 0 or more")
        return 1.0 if price <= self.ceiling else self.ceiling / price

    def paid(self, cost: float) -> Pacer:
        """Return the pacer after a request that cost so much.

        Raises:
            ValueError: the cost is negative or no number.
        """
        if not (math.isfinite(cost) and cost >= 0):
            raise ValueError(f"the cost is {cost}, it must be 0 or more")
        average = self.average + SMOOTHING * (cost - self.average)
        weight = self.weight * math.exp(STEP * (average / (AIM * self.ceiling) - 1.0))
        return replace(self, average=average, weight=min(MOST, max(LEAST, weight)))
