"""Which examples are nearest to a text, by the cosine of their embeddings."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from coe.composition.programs import Example, Examples
from coe.programs.prompt import asked
from coe.protocols import Encoder

if TYPE_CHECKING:
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)


class Nearest:
    """The examples of one recipe. Thread-safe; blocks, so it is not for the event loop.

    Their embeddings are made once, and read from a file where they were made before.

    Attributes:
        vectors: the embeddings, shape (n_examples, dim); None until they are made.
        made_by: who made them.
    """

    def __init__(self, examples: Examples, encoder: Callable[[], Encoder], folder: str) -> None:
        """Store the parts.

        Args:
            examples: of which some are chosen.
            encoder: returns the encoder; may load its weights.
            folder: where embeddings may be kept; empty for nowhere.
        """
        self.examples = examples
        self._encoder = encoder
        self._folder = folder
        self.vectors: NDArray[np.float32] | None = None
        self.made_by: Encoder | None = None
        self._before: Nearest | None = None
        self._lock = Lock()

    def follow(self, before: Nearest) -> None:
        """Take over the embeddings of another one, if they turn out to be the same."""
        if before.examples == self.examples:
            self._before = before

    def load(self) -> NDArray[np.float32]:
        """Return the embeddings, shape (n_examples, dim); makes them the first time.

        Raises:
            ConfigError, RouterUnavailable: as the encoder raises them.
        """
        with self._lock:
            if self.vectors is None:
                encoder, before = self._encoder(), self._before
                if before is not None and before.made_by is encoder:
                    self.vectors = before.vectors
                if self.vectors is None:
                    self.vectors = _embedded(self.examples, encoder, self._folder)
                self.made_by, self._before = encoder, None
            return self.vectors

    def to(self, text: str) -> tuple[Example, ...]:
        """Return the nearest examples, the nearest of all at the end.

        Of examples that are equally near, the first of the file is nearer.

        Raises:
            ConfigError, RouterUnavailable: as the encoder raises them.
        """
        vectors = self.load()
        encoder = self.made_by or self._encoder()
        near = vectors @ encoder.encode([text])[0]
        order = np.argsort(-near, kind="stable")[: self.examples.nearest]
        return tuple(self.examples.rows[place] for place in reversed(order.tolist()))


def _embedded(examples: Examples, encoder: Encoder, folder: str) -> NDArray[np.float32]:
    texts = [asked({"messages": row.messages}) for row in examples.rows]
    file = Path(folder) / f"examples-{_digest(encoder, texts)}.npy" if folder else None
    if file is not None and (kept := _read(file, (len(texts), encoder.dim))) is not None:
        return kept
    vectors = np.asarray(encoder.encode(texts), dtype=np.float32)
    if file is not None:
        _write(file, vectors)
    return vectors


def _digest(encoder: Encoder, texts: list[str]) -> str:
    state = hashlib.sha256(encoder.fingerprint.encode())
    for text in texts:
        state.update(b"\x00" + text.encode("utf-8", "surrogatepass"))
    return state.hexdigest()[:32]


def _read(file: Path, shape: tuple[int, int]) -> NDArray[np.float32] | None:
    """Return the vectors of a file; None where there are none, or not these."""
    try:
        vectors = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    is_ours = vectors.shape == shape and vectors.dtype == np.float32
    return vectors if is_ours and bool(np.isfinite(vectors).all()) else None


def _write(file: Path, vectors: NDArray[np.float32]) -> None:
    """Write a file in one step; that it cannot be written costs time at the next start."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        with os.fdopen(handle, "wb") as stream:
            np.save(stream, vectors)
        Path(name).replace(file)
    except OSError as error:
        logger.warning("%s: embeddings are not kept: %s", file, error.strerror or error)
