"""How likely a Brownian motion leaves a corridor by each of a few looks: exact, by quadrature.

What boundaries, and the power of tests that are looked at often, are made of. The sum of what was
seen until a look is B(t), t the share of the information; its density among the paths that have not
left yet is carried from look to look.

Reference: Armitage, McPherson, Rowe (1969), Repeated significance tests on accumulating data, JRSS
    A 132; Jennison, Turnbull (2000), Group sequential methods, chapter 19 (numerical integration).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FAR = 9.0  # standard deviations: beyond them there is nothing
NODES_PER_DEVIATION = 6.0
FEWEST, MOST = 32, 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """The paths that have not left.

    Attributes:
        time: of the last look, above 0 but at the start.
        at: shape (m,), places of B.
        mass: shape (m,), how likely it is about there and has not left before.
        drift: of B per unit of time.
    """

    time: float
    at: Floats
    mass: Floats
    drift: float

    def leaving(self, time: float, bound: float) -> float:
        """Return how likely it is to be outside -bound ... bound at that later look."""
        deviation = math.sqrt(time - self.time)
        moved = self.at + self.drift * (time - self.time)
        return float(
            self.mass @ (_above((bound - moved) / deviation) + _above((bound + moved) / deviation))
        )

    def stay(self, time: float, bound: float) -> Inside:
        """Return the paths that are still within -bound ... bound at that later look."""
        deviation = math.sqrt(time - self.time)
        moved = self.at + self.drift * (time - self.time)
        low = max(-bound, float(moved.min()) - FAR * deviation)
        high = min(bound, float(moved.max()) + FAR * deviation)
        points, weights = _rule(NODES_PER_DEVIATION * (high - low) / deviation)
        at = (high - low) / 2.0 * points + (high + low) / 2.0
        density = np.exp(-0.5 * ((at[:, None] - moved) / deviation) ** 2) @ self.mass
        scale = (high - low) / 2.0 / (deviation * math.sqrt(2.0 * math.pi))
        return Inside(time=time, at=at, mass=density * weights * scale, drift=self.drift)


def start(drift: float = 0.0) -> Inside:
    """Return all paths, at 0."""
    return Inside(time=0.0, at=np.zeros(1), mass=np.ones(1), drift=drift)


def _rule(nodes: float) -> tuple[Floats, Floats]:
    """Return the places and weights of Gauss and Legendre's rule with about so many nodes."""
    return _gauss_legendre(min(MOST, 1 << math.ceil(math.log2(max(FEWEST, nodes)))))


@lru_cache(maxsize=8)
def _gauss_legendre(nodes: int) -> tuple[Floats, Floats]:
    return np.polynomial.legendre.leggauss(nodes)


def _above(z: Floats) -> Floats:
    """Return how likely a standard normal value is above each."""
    return np.array([0.5 * math.erfc(value / math.sqrt(2.0)) for value in z])
