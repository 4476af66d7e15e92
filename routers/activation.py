"""The activation of the small networks that are served by numpy.

Reference: Hendrycks and Gimpel 2016, Gaussian Error Linear Units, arXiv 1606.08415, section 2 (the
approximation by a sigmoid).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STEEPNESS = np.float32(1.702)  # at which x * sigmoid(x) comes nearest to the GELU

HALF = np.float32(0.5)

Vectors = NDArray[np.float32]


def gelu(x: Vectors) -> Vectors:
    """Return x * sigmoid(1.702 x)."""
    found: Vectors = x * _gate(x)
    return found


def gelu_and_slope(x: Vectors) -> tuple[Vectors, Vectors]:
    """Return `gelu` and its derivative, for training."""
    gate = _gate(x)
    return x * gate, gate * (1 + STEEPNESS * x * (1 - gate))


def _gate(x: Vectors) -> Vectors:
    """Return sigmoid(1.702 x): a hyperbolic tangent, which cannot overflow."""
    gate: Vectors = HALF * np.tanh(HALF * STEEPNESS * x) + HALF
    return gate
