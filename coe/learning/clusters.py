"""New categories? Groups among the prompts that no category would take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]
    Places = NDArray[np.intp]
    Flags = NDArray[np.bool_]

ALIKE = 0.5
"""Cosine; see `propose`."""
LEAST = 10
MOST_PROMPTS = 4000
EXAMPLES = 5
_ROUNDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Prompts that are alike.

    Attributes:
        members: their places, the most typical first.
        centre: shape (dim,), of length 1.
        cohesion: mean cosine between two of them.
    """

    members: tuple[int, ...]
    centre: Vectors
    cohesion: float

    @property
    def examples(self) -> tuple[int, ...]:
        """The places of those that show best what it is about."""
        return self.members[:EXAMPLES]


def propose(vectors: Vectors, *, alike: float = ALIKE, least: int = LEAST) -> tuple[Group, ...]:
    """Return groups of prompts, the largest first; most prompts may belong to none.

    The prompt with the most neighbours gathers them, their centre gathers anew, and the group is
    set aside if it is large enough; then the next. The number of groups need not be known, and
    what is like nothing else stays alone, which k-means cannot do.

    Args:
        vectors: shape (n, dim), unit rows, n at most `MOST_PROMPTS` (the similarities of all pairs
            are held); one row for each different prompt, or copies make a group.
        alike: least cosine to the centre, in (0, 1].
        least: members.

    Raises:
        ValueError: there are too many prompts, or a row is not of length 1.

    Reference:
        Heyer, L., Kruglyak, S. and Yooseph, S. (1999). Exploring expression data: identification
        and analysis of coexpressed genes (quality threshold clustering). Genome Research 9. We
        bound the distance to the centre, and seed by neighbours instead of trying every prompt.
    """
    if len(vectors) > MOST_PROMPTS:
        raise ValueError(f"{len(vectors):,} prompts are too many, take {MOST_PROMPTS:,} of them")
    if not len(vectors):
        return ()
    if np.abs(np.linalg.norm(vectors, axis=1) - 1.0).max() > 1e-3:  # noqa: PLR2004
        raise ValueError("an embedding is not of length 1")
    near = vectors @ vectors.T >= alike
    free = np.ones(len(vectors), dtype=np.bool_)
    groups = []
    while True:
        neighbours = (near[:, free].sum(axis=1)) * free
        seed = int(neighbours.argmax())
        if neighbours[seed] < least:
            break
        members = _gathered(vectors, near[seed] & free, free, alike)
        if members.sum() < least:
            free[seed] = False
            continue
        groups.append(_group(vectors, members))
        free &= ~members
    return tuple(sorted(groups, key=lambda group: -len(group.members)))


def _gathered(vectors: Vectors, members: Flags, free: Flags, alike: float) -> Flags:
    """Return those that are like the centre of those that are like the seed."""
    for _ in range(_ROUNDS):
        members = (vectors @ _centre(vectors[members]) >= alike) & free
    return members


def _centre(vectors: Vectors) -> Vectors:
    total = vectors.sum(axis=0)
    return np.asarray(total / max(float(np.linalg.norm(total)), 1e-12), dtype=np.float32)


def _group(vectors: Vectors, members: Flags) -> Group:
    places = np.flatnonzero(members)
    inside = vectors[places]
    centre = _centre(inside)
    typical = places[np.argsort(-(inside @ centre), kind="stable")]
    count = len(places)
    pairs = float(np.linalg.norm(inside.sum(axis=0)) ** 2) - count
    return Group(
        members=tuple(int(place) for place in typical),
        centre=centre,
        cohesion=pairs / (count * (count - 1)) if count > 1 else 1.0,
    )
