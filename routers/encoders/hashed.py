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

from coe.protocols import EncoderSpec
from routers.encoders.texts import clip
from routers.options import Options

MAX_CHARS = 8192
GRAMS = (3, 4, 5)
WORD_WEIGHT = 2.0  # a whole word says more than one of its n-grams
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
SIGN_BIT = np.uint64(63)
INDEX_BITS = np.uint64(20)
# Unsigned arithmetic wraps, which is all that a polynomial hash needs.
POWERS = [np.cumprod(np.full(size, 1_000_003, dtype=np.uint64)) + np.uint64(size) for size in GRAMS]

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
        for row, text in enumerate(texts):
            vectors[row] = self._encode_one(text)
        return vectors

    def _encode_one(self, text: str) -> NDArray[np.float64]:
        folded = unicodedata.normalize("NFKC", clip(text, MAX_CHARS)).casefold()
        words = folded.split()
        counts = self._spread(_words(words), _grams(words))
        # The square root keeps a repeated feature from drowning the others.
        damped = np.sign(counts) * np.sqrt(np.abs(counts))
        length = float(np.linalg.norm(damped))
        if length == 0.0:
            damped[0] = length = 1.0  # nothing to read: any fixed unit vector will do
        unit: NDArray[np.float64] = damped / length
        return unit

    def _spread(self, words: NDArray[np.uint64], grams: NDArray[np.uint64]) -> Counts:
        mixed = np.concatenate([words, grams]) * MULTIPLIER
        places = ((mixed >> INDEX_BITS) % np.uint64(self.dim)).astype(np.int64)
        signs = np.where(mixed >> SIGN_BIT, 1.0, -1.0)
        signs[: len(words)] *= WORD_WEIGHT
        return np.bincount(places, weights=signs, minlength=self.dim).astype(np.float64)


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
    codes = [np.empty(0, dtype=np.uint64)]
    for powers in POWERS:
        count = len(characters) - len(powers) + 1
        if count > 0:
            codes.append(
                sum(
                    (
                        characters[start : start + count] * power
                        for start, power in enumerate(powers)
                    ),
                    np.zeros(count, dtype=np.uint64),
                )
            )
    return np.concatenate(codes)
