"""A fitted map: everything that live routing and `coe map show` need, as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from coe.mapping.estimates import Cells

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardRow:
    """One policy on the same prompts: the map, or what it is compared with.

    Attributes:
        policy: `map`, `incumbent`, `random`, `best single`, `cheapest good single`, `category
            oracle`, `oracle`, ...; a single expert's row names the expert in `expert`.
        quality: mean score, in [0, 1].
        cost: mean money per request; None where unknown.
        gain: mean of the map's score less this policy's, on the same prompts.
        gain_low, gain_high: its paired 95 % interval.
    """

    policy: str
    quality: float
    expert: str = ""
    cost: float | None = None
    gain: float = 0.0
    gain_low: float = 0.0
    gain_high: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Residual:
    """Measured prompts whose neighbourhood corrects the cells (k nearest neighbours).

    Attributes:
        embeddings: shape (n, dim), unit rows, float32.
        scores: shape (n, E) less what the cells say of each; 0, as they say, where nobody measured.
        k: neighbours.
        weight: of the correction, in (0, 1].
        encoder: fingerprint of the encoder; with another one the residual is not used.
        temperature: by how much less cosine a neighbour counts e times less.
    """

    embeddings: NDArray[np.float32]
    scores: NDArray[np.float32]
    k: int
    weight: float
    encoder: str
    temperature: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedMap:
    """What was measured of C categories (the last row is `NONE`) and E experts.

    Attributes:
        categories: C names, `NONE` last.
        experts: E names, in the order of the columns.
        quality: shape (C, E), the shrunken mean score of each cell, in [0, 1].
        lower, upper: shape (C, E), its 95 % interval.
        counts: shape (C, E), prompts behind each cell (sums of probabilities, so not whole).
        cost: shape (C, E), money per request; NaN where unknown.
        latency_s: shape (C, E), mean seconds of an answer; NaN where unknown.
        traffic: shape (C,), the share of each category, sums to 1.
        used: the experts that the budget leaves; the others are never chosen by the map.
        assignment: the expert of each category, C names: what the map answers where the category
            is certain.
        price_weight: quality that one unit of money is worth (0: money is no object); the dial's
            zero. `willingness_to_pay` of w per 10 points is 0.1 / w.
        latency_weight: quality that one second is worth.
        best_single: the expert that would answer everything best.
        guard: the policies side by side.
        verdict: `better`, `cheaper`, `not better` (than the best single expert) or `dearer` (at
            equal quality); the last two are flagged.
        router: whose probabilities the cells were measured with.
        parts: digests of what the scores depend on, by name, as in a lock.
        about: what people want to know of it: rows, when, the command, the budget; all JSON.
        residual: None where it has not proved itself.
    """

    categories: tuple[str, ...]
    experts: tuple[str, ...]
    quality: Floats
    lower: Floats
    upper: Floats
    counts: Floats
    cost: Floats
    latency_s: Floats
    traffic: Floats
    used: tuple[str, ...]
    assignment: tuple[str, ...]
    price_weight: float = 0.0
    latency_weight: float = 0.0
    best_single: str = ""
    guard: tuple[GuardRow, ...] = ()
    verdict: str = "not better"
    router: str = ""
    parts: Mapping[str, str] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    residual: Residual | None = None

    @classmethod
    def of(
        cls, cells: Cells, quality: Floats, used: tuple[str, ...], assignment: tuple[str, ...]
    ) -> FittedMap:
        """Return the map of some cells, without prices, whose quality counts as given."""
        return cls(
            categories=cells.categories,
            experts=cells.experts,
            quality=quality,
            lower=cells.lower,
            upper=cells.upper,
            counts=cells.counts,
            cost=cells.cost,
            latency_s=cells.latency_s,
            traffic=cells.traffic,
            used=used,
            assignment=assignment,
        )

    @property
    def is_flagged(self) -> bool:
        """Whether one expert for everything would do at least as well, or as cheaply."""
        return self.verdict in {"not better", "dearer"}
