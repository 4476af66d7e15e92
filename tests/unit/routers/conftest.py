"""An encoder whose vectors a test writes down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray


class PlaneEncoder:
    """Looks a text's direction up in a table, in degrees; notes what it was asked.

    The cosine of two texts is that of the angle between them.
    """

    name = "plane"
    dim = 2
    fingerprint = "plane"

    def __init__(self, degrees: Mapping[str, float]) -> None:
        self.asked: list[str] = []
        self._degrees = degrees

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked += texts
        angles = np.radians([self._degrees[text] for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


@pytest.fixture
def plane() -> Callable[..., PlaneEncoder]:
    """Make an encoder from text=degrees."""
    return lambda **degrees: PlaneEncoder(degrees)
