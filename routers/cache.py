"""Embeddings of texts that were seen before: a bounded, thread-safe wrapper of any encoder."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from coe.protocols import Encoder
from coe.types import Embedding


class CachedEncoder:
    """The same vectors as the encoder's, from memory where the text was seen before.

    Texts are kept as 128-bit digests, never as text. The least recently used entry goes first.
    Two threads that miss the same text at the same time both encode it: waiting for one another
    would cost more than it saves. Vectors are copied out, so that no caller can change the cache.
    """

    def __init__(self, encoder: Encoder, *, entries: int = 4096) -> None:
        """Wrap an encoder.

        Args:
            encoder: what is asked on a miss.
            entries: vectors that are kept; one takes 4 * dim bytes.
        """
        self.name = encoder.name
        self.dim = encoder.dim
        self.fingerprint = encoder.fingerprint
        self.entries = entries
        self._encoder = encoder
        self._vectors: OrderedDict[bytes, NDArray[np.float32]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return the number of vectors that are kept now."""
        return len(self._vectors)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors, shape (n_texts, dim). Raises what the encoder raises."""
        keys = [digest(text) for text in texts]
        found = self._recall(keys)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        if missing:
            # Copied, so that one kept row does not keep its whole batch alive.
            rows = [row.copy() for row in self._encoder.encode(list(missing.values()))]
            fresh = dict(zip(missing, rows, strict=True))
            self._remember(fresh)
            found |= fresh
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        for row, key in enumerate(keys):
            vectors[row] = found[key]
        return vectors

    def _recall(self, keys: Sequence[bytes]) -> dict[bytes, NDArray[np.float32]]:
        found = {}
        with self._lock:
            for key in keys:
                vector = self._vectors.get(key)
                if vector is not None:
                    self._vectors.move_to_end(key)
                    found[key] = vector
        return found

    def _remember(self, fresh: dict[bytes, NDArray[np.float32]]) -> None:
        with self._lock:
            self._vectors.update(fresh)
            while len(self._vectors) > self.entries:
                self._vectors.popitem(last=False)


def rows_of(vectors: NDArray[np.float32], encoder: Encoder) -> tuple[Embedding, ...]:
    """Return what `coe.types.Scores.embeddings` holds.

    Args:
        vectors: shape (n_texts, dim), as the encoder gave them.
        encoder: whose they are.
    """
    return tuple([Embedding(vector, encoder.fingerprint) for vector in vectors])


def digest(text: str) -> bytes:
    """Return what stands for a text, here and on disk: 128 bits. Any string is accepted."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
