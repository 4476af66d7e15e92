"""Quality over cost: what one fitted map reaches at each price of money, and its picture."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coe.mapping import OutcomeMatrix

Floats = NDArray[np.float64]
STEPS = 240


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """What a policy reaches, by price weight, on the same prompts.

    Attributes:
        weights: shape (m,), quality that one unit of money is worth, rising from 0.
        quality, cost: shape (m,), means over prompts.
    """

    weights: Floats
    quality: Floats
    cost: Floats

    def cost_of(self, quality: float) -> float:
        """Return the least cost of at least that quality; infinite where it is not reached."""
        return float(np.min(self.cost[self.quality >= quality - 1e-12], initial=np.inf))

    def dearest_weight(self, quality: float) -> float:
        """Return the greatest price weight that still has that quality; 0 where none has."""
        return float(np.max(self.weights[self.quality >= quality - 1e-12], initial=0.0))

    def at(self, weight: float) -> tuple[float, float]:
        """Return quality and cost at one of the weights."""
        place = int(np.argmin(np.abs(self.weights - weight)))
        return float(self.quality[place]), float(self.cost[place])


def price_weights(costs: Floats) -> Floats:
    """Return weights from none to one that leaves only the cheapest, evenly by their logarithm."""
    unit = float(np.nanmax(np.nanmean(costs, axis=0)))
    return np.concatenate([[0.0], np.geomspace(1e-4, 1e2, STEPS)]) / unit


def trace(expected: Floats, costs: Floats, matrix: OutcomeMatrix, weights: Floats) -> Curve:
    """Return the curve of choosing the greatest of expected - weight * costs.

    Args:
        expected: shape (n, E), quality.
        costs: shape (n, E), expected money of an answer.
        matrix: what was really scored and paid.
        weights: see `Curve`.
    """
    rows = np.arange(len(expected))
    chosen = [(expected - weight * costs).argmax(axis=1) for weight in weights]
    return Curve(
        weights=weights,
        quality=np.array([matrix.scores[rows, columns].mean() for columns in chosen]),
        cost=np.array([matrix.costs[rows, columns].mean() for columns in chosen]),
    )


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """Return the mean over splits, weight by weight."""
    return Curve(
        weights=np.mean([curve.weights for curve in curves], axis=0),
        quality=np.mean([curve.quality for curve in curves], axis=0),
        cost=np.mean([curve.cost for curve in curves], axis=0),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A title, the curves and the single experts: name -> (quality, cost)."""

    title: str
    unit: str
    curves: Mapping[str, Curve]
    singles: Mapping[str, tuple[float, float]]


def draw(pictures: Sequence[Picture], path: Path) -> str:
    """Write the pictures side by side as a PNG; return them as SVG, for a page.

    Raises:
        ImportError: matplotlib is not installed.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import NullFormatter

    figure, axes = plt.subplots(
        1, len(pictures), figsize=(6.2 * len(pictures), 4.6), layout="constrained", squeeze=False
    )
    for axis, picture in zip(axes[0], pictures, strict=True):
        for number, (name, curve) in enumerate(picture.curves.items()):
            best = np.maximum.accumulate(curve.quality[::-1])[::-1]
            style = {"linewidth": 2.4} if not number else {"linewidth": 1.2}
            axis.plot(curve.cost, best, label=name, **style)
        good = max(quality for quality, _ in picture.singles.values())
        least = min(curve.quality.min() for curve in picture.curves.values())
        for name, (quality, cost) in picture.singles.items():
            if quality >= least:
                axis.plot(cost, quality, "o", color="0.45", markersize=4)
                axis.annotate(name.split("/")[-1], (cost, quality), fontsize=6, color="0.35")
        axis.axhline(good, color="0.6", linewidth=0.8, linestyle=":")
        axis.set_xscale("log")
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_title(picture.title, fontsize=10)
        axis.set_xlabel(f"cost of a request, {picture.unit}")
        axis.set_ylabel("mean score")
        axis.legend(fontsize=7, loc="lower right")
        axis.grid(visible=True, linewidth=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    sink = io.StringIO()
    figure.savefig(sink, format="svg")
    plt.close(figure)
    return "<svg" + sink.getvalue().split("<svg", 1)[1]
