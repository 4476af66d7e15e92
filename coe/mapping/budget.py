"""What a map may use: memory, experts, money, time, and who may answer what. Values, and sums."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Cells = NDArray[np.bool_]

PER = 1000  # requests that a money budget is about


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """What is in memory once, whoever uses it: a model, or an adapter; `size` is in bytes."""

    pool: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraints:
    """What a map may use; what is None or empty is no object.

    Attributes:
        pools: bytes, by pool. What lies in a pool that is not named here is not counted.
        blocks: what can be in memory, by name.
        needs: the blocks of every expert, by name. Adapters of one base share its block, so it
            counts once.
        experts: most that the map may use.
        money: of `PER` requests, in `currency`; a mean over the traffic.
        latency_s: mean seconds of an answer, over the traffic.
        latency_of: most mean seconds of an answer, by category.
        active: most bytes that the expert which answers takes, a mean over the traffic: the
            average active parameters, where all are stored alike.
        sizes: bytes of every expert with its base, for `active`.
        allowed: who may answer a category, by its name; whoever is not named may not.
        currency: of `money` and of all prices.
    """

    pools: Mapping[str, int] = field(default_factory=dict)
    blocks: Mapping[str, Block] = field(default_factory=dict)
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    experts: int | None = None
    money: float | None = None
    latency_s: float | None = None
    latency_of: Mapping[str, float] = field(default_factory=dict)
    active: float | None = None
    sizes: Mapping[str, float] = field(default_factory=dict)
    allowed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    currency: str = "USD"

    @property
    def limits_subset(self) -> bool:
        """Whether not every set of experts may be used together."""
        return bool(self.pools) or self.experts is not None

    def memory(self, pool: str, experts: Iterable[str]) -> int:
        """Return the bytes that some experts take in a pool, together."""
        blocks = {name for expert in experts for name in self.needs.get(expert, ())}
        found = (self.blocks[name] for name in blocks)
        return sum(block.size for block in found if block.pool == pool)

    def fits(self, experts: Sequence[str]) -> bool:
        """Return whether some experts may be used together: memory of every pool, and number."""
        if self.experts is not None and len(experts) > self.experts:
            return False
        return all(self.memory(pool, experts) <= limit for pool, limit in self.pools.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Average:
    """A mean over the traffic that has a limit.

    Attributes:
        name: `money`, `latency` or `active`.
        load: shape (C, E), what a request of the category costs with the expert.
        limit: in the unit of `load`.
    """

    name: str
    load: Floats
    limit: float

    @property
    def shares(self) -> Floats:
        """Shape (C, E): the loads as shares of the limit."""
        return self.load / (self.limit or 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Which expert is to answer which of C categories, out of E.

    Attributes:
        categories: C names.
        experts: E names.
        value: shape (C, E), what an answer is worth; in [0, 1].
        traffic: shape (C,), shares, sums to 1.
        cost: shape (C, E), money of a request; NaN where unknown.
        latency_s: shape (C, E), seconds; NaN where unknown.
        constraints: what the map may use.
    """

    categories: tuple[str, ...]
    experts: tuple[str, ...]
    value: Floats
    traffic: Floats
    cost: Floats
    latency_s: Floats
    constraints: Constraints = field(default_factory=Constraints)

    def averages(self) -> tuple[Average, ...]:
        """Return the means that have a limit."""
        asked, shape = self.constraints, self.value.shape
        sizes = np.array([asked.sizes.get(name, np.nan) for name in self.experts])
        stated = (
            ("money", self.cost * PER, asked.money),
            ("latency", self.latency_s, asked.latency_s),
            ("active", np.broadcast_to(sizes, shape), asked.active),
        )
        return tuple(
            Average(name=name, load=np.asarray(load, dtype=np.float64), limit=limit)
            for name, load, limit in stated
            if limit is not None
        )

    def mean(self, load: Floats, assignment: NDArray[np.intp]) -> float:
        """Return the mean over the traffic of an assignment's loads; shape (C, E) and (C,)."""
        return float(self.traffic @ load[np.arange(len(self.categories)), assignment])

    def rules(self) -> tuple[tuple[str, Cells], ...]:
        """Return what each rule for single cells leaves open, shape (C, E), most basic first.

        A cell whose cost nobody knows is closed under a money budget: it could cost anything.
        """
        shape = self.value.shape
        rules = [("allowed", self._allowed())]
        rules += [(f"known {row.name}", np.isfinite(row.load)) for row in self.averages()]
        if self.constraints.latency_of:
            most = [self.constraints.latency_of.get(name, np.inf) for name in self.categories]
            slow = self.latency_s > np.array(most)[:, None]
            unknown = np.isnan(self.latency_s) & np.isfinite(most)[:, None]
            rules.append(("latency_of", ~(slow | unknown)))
        if self.constraints.pools:
            alone = [self._fits_alone(name) for name in self.experts]
            rules.append(("memory", np.broadcast_to(alone, shape)))
        return tuple(rules)

    def open_cells(self) -> Cells:
        """Return which cells the rules for single cells leave open, shape (C, E)."""
        found = np.ones(self.value.shape, dtype=bool)
        for _, cells in self.rules():
            found &= cells
        return found

    def _allowed(self) -> Cells:
        found = np.ones(self.value.shape, dtype=bool)
        for i, category in enumerate(self.categories):
            if category in self.constraints.allowed:
                named = self.constraints.allowed[category]
                found[i] = [expert in named for expert in self.experts]
        return found

    def _fits_alone(self, expert: str) -> bool:
        pools = self.constraints.pools.items()
        return all(self.constraints.memory(pool, (expert,)) <= limit for pool, limit in pools)
