"""A text read twice: what it means, by the encoder, and how it is spelt, by hashed n-grams.

An encoder of sentences blurs names, abbreviations and terms of a trade that few texts of its
training had; their spelling tells them apart. The two are wrong in different places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from coe.protocols import Encoder
from routers.encoders.hashed import HashedEncoder

SPELLING_DIM = 2048
SPELLING = HashedEncoder(name="spelling", dim=SPELLING_DIM)

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Views:
    """Rows of both kinds, the same texts in the same order.

    Attributes:
        meaning: shape (n, dim), unit vectors.
        spelling: shape (n, SPELLING_DIM), unit vectors.
    """

    meaning: Vectors
    spelling: Vectors

    def __len__(self) -> int:
        """Return n."""
        return len(self.meaning)

    def __getitem__(self, rows: NDArray[np.intp]) -> Views:
        """Return the views of some rows."""
        return Views(self.meaning[rows], self.spelling[rows])

    def and_(self, other: Self) -> Views:
        """Return these rows, and then the others."""
        return Views(
            np.concatenate([self.meaning, other.meaning]),
            np.concatenate([self.spelling, other.spelling]),
        )


def views_of(encoder: Encoder, texts: Sequence[str]) -> Views:
    """Read the texts; raises what the encoder raises."""
    # Spelling first: an encoder's weights leave nothing else in the processor's cache.
    spelling = SPELLING.encode(texts)
    return Views(encoder.encode(texts), spelling)


def beside(meaning: Vectors, texts: Sequence[str]) -> Views:
    """Return the views of texts whose embeddings are there."""
    return Views(meaning, SPELLING.encode(texts))
