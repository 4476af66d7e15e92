"""semantic-router's IndexedRouter, as it comes, on vectors that were made before.

    python semantic_router_peer.py GIVEN.npz SAID.npz

Texts are the places of their vectors, so that its encoder is a look-up. Runs in the peer's own
environment; see benches/aurelio.py.
"""

import sys
import time
from typing import Any

import numpy as np
from semantic_router import IndexedRouter, Route
from semantic_router.encoders import DenseEncoder

given = np.load(sys.argv[1])
VECTORS = np.concatenate([given["vectors"], given["queries"]])
labels, count = given["labels"], len(given["vectors"])


class Lookup(DenseEncoder):
    """Returns the vector at the place that a text names."""

    name: str = "lookup"

    def __call__(self, docs: list[Any]) -> list[list[float]]:
        """Return one vector per text."""
        return [VECTORS[int(doc)] for doc in docs]

    async def acall(self, docs: list[Any]) -> list[list[float]]:
        """Return one vector per text."""
        return self(docs)


routes = [
    Route(name=str(label), utterances=[str(place) for place in np.flatnonzero(labels == label)])
    for label in np.unique(labels)
]
start = time.perf_counter()
router = IndexedRouter(encoder=Lookup(), routes=routes)
took = time.perf_counter() - start
choices = [router(str(place)) for place in range(count, len(VECTORS))]
np.savez(
    sys.argv[2],
    # Where nothing is near enough to be chosen it names no route: no label is -1.
    chosen=np.array([-1 if choice.name is None else int(choice.name) for choice in choices]),
    score=np.array([choice.confidence or 0.0 for choice in choices]),
    took=took,
)
