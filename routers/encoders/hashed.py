"""Hashed words and character n-grams: an encoder without weights.

It knows spelling, not meaning: `metre` is near `metres`, but no nearer to `length` than to
`banana`. It is there for tests and for an install without the `minilm` artefact.

Reference: Weinberger et al. 2009, Feature Hashing for Large Scale Multitask Learning, arXiv
0902.2206, section 2 (signed hashing).
"""

from __future__ import annotations

import unicodedata
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from coe.options import Options
from coe.protocols import EncoderSpec
from routers.encoders.texts import clip

MAX_CHARS = 8192
GRAMS = (3, 4, 5)
WORD_WEIGHT = 2.0  # a whole word says more than one of its n-grams
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
SIGN_BIT = np.uint64(63)
INDEX_BITS = np.uint64(20)
# A column per length of n-gram, the shorter ones ending in zeros. Unsigned arithmetic wraps, which
# is all that a polynomial hash needs.
POWERS = np.stack(
    [
        np.pad(np.cumprod(np.full(size, 1_000_003, dtype=np.uint64)) + np.uint64(size), (0, rest))
        for size, rest in zip(GRAMS, (2, 1, 0), strict=True)
    ],
    axis=1,
)

Counts = NDArray[np.float64]


class HashedEncoder:
    """Signed feature hashing; the same vector in every process and on every machine."""

    def __init__(self, *, name: str, dim: int = 512) -> None:
        self.name = name
        self.dim = dim
        self.fingerprint = f"hashed-1-{dim}"

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors, shape (n_texts, dim). Any string is accepted, the empty one too."""
        vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            self._encode_into(vector, text)
        return vectors

    def _encode_into(self, vector: NDArray[np.float32], text: str) -> None:
        folded = unicodedata.normalize("NFKC", clip(text, MAX_CHARS)).casefold()
        words = folded.split()
        counts = self._spread(_words(words), _grams(words))
        places = counts.nonzero()[0]
        if not len(places):
            vector[0] = 1.0  # nothing to read: any fixed unit vector will do
            return
        found = counts[places]
        # The square root keeps a repeated feature from drowning the others. Then the squared
        # length is the sum of what stands under the roots.
        sizes = np.abs(found)
        vector[places] = np.sign(found) * np.sqrt(sizes / sizes.sum())

    def _spread(self, words: NDArray[np.uint64], grams: NDArray[np.uint64]) -> Counts:
        mixed = np.concatenate([words, grams]) * MULTIPLIER
        places = ((mixed >> INDEX_BITS) % np.uint64(self.dim)).astype(np.int64)
        signs = np.where(mixed >> SIGN_BIT, 1.0, -1.0)
        signs[: len(words)] *= WORD_WEIGHT
        counts = np.bincount(places, weights=signs, minlength=self.dim)
        return counts.astype(np.float64, copy=False)


def build(spec: EncoderSpec) -> HashedEncoder:
    """Build the encoder from `dim`."""
    options = Options(f"encoders.{spec.name}", spec.options).allow("dim")
    return HashedEncoder(name=spec.name, dim=options.integer("dim", 512, least=16, most=65536))


def _words(words: Sequence[str]) -> NDArray[np.uint64]:
    codes = [zlib.crc32(word.encode("utf-8", "surrogatepass")) + 1 for word in words]
    return np.array(codes, dtype=np.uint64)


def _grams(words: Sequence[str]) -> NDArray[np.uint64]:
    """Return a code per character n-gram; a word's edges count as a space."""
    line = f" {' '.join(words)} ".encode("utf-32-le", "surrogatepass")
    characters = np.frombuffer(line, dtype=np.uint32).astype(np.uint64)
    count, longest = len(characters), len(POWERS)
    padded = np.concatenate([characters, np.zeros(longest, dtype=np.uint64)])
    windows = padded[np.arange(count)[:, None] + np.arange(longest)]
    codes = windows @ POWERS
    return np.concatenate(
        [codes[: max(0, count - size + 1), column] for column, size in enumerate(GRAMS)]
    )
