"""Scores that survive an interruption: a file that grows by every batch that is done."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coe.errors import ConfigError

Floats = NDArray[np.float32]

MAGIC = b"CoEscor1"
DIGEST = 16
HEAD = struct.Struct("<8s16sI")  # magic, key, numbers per row


class ScoreFile:
    """Rows of scores by text, on disk. Texts are kept as digests.

    A record is the digest of a text and its scores; what an interruption left half written is
    dropped. A file of another router, or of anything else, is begun anew.
    """

    def __init__(self, path: Path, *, key: str, columns: int) -> None:
        """Read what is there.

        Args:
            path: made at the first `add`.
            key: changes whenever the same text could get other scores.
            columns: numbers per row.
        """
        self.path = path
        self._head = HEAD.pack(MAGIC, _digest(key), columns)
        self._columns = columns
        self._rows: dict[bytes, Floats] = {}
        self._is_ours = self._read()

    def __len__(self) -> int:
        """Return the number of texts whose scores are here."""
        return len(self._rows)

    def __contains__(self, text: object) -> bool:
        """Whether the scores of a text are here."""
        return isinstance(text, str) and _digest(text) in self._rows

    def get(self, texts: Sequence[str]) -> Floats:
        """Return scores, shape (n_texts, columns). Raises KeyError where one is not here."""
        found = np.empty((len(texts), self._columns), dtype=np.float32)
        for row, text in enumerate(texts):
            found[row] = self._rows[_digest(text)]
        return found

    def add(self, texts: Sequence[str], values: Floats) -> None:
        """Keep the scores of texts, shape (n_texts, columns), in memory and in the file.

        Raises:
            ConfigError: the file cannot be written.
        """
        fresh = {_digest(text): row for text, row in zip(texts, values, strict=True)}
        self._rows |= {key: row.astype(np.float32) for key, row in fresh.items()}
        try:
            with self.path.open("ab" if self._is_ours else "wb") as file:
                if not self._is_ours:
                    file.write(self._head)
                file.write(_records(fresh))
        except OSError as error:
            raise ConfigError(
                f"{self.path}: cannot keep the scores there: {error.strerror}; copy the rows to a "
                "folder that can be written"
            ) from None
        self._is_ours = True

    def remove(self) -> None:
        """Delete the file: everything is done."""
        if self._is_ours:
            self.path.unlink(missing_ok=True)
            self._is_ours = False

    def _read(self) -> bool:
        try:
            content = self.path.read_bytes()
        except OSError:
            return False
        if content[: HEAD.size] != self._head:
            return False
        size = DIGEST + 4 * self._columns
        whole = len(content) - (len(content) - HEAD.size) % size
        for start in range(HEAD.size, whole, size):
            record = content[start : start + size]
            self._rows[record[:DIGEST]] = np.frombuffer(record[DIGEST:], dtype="<f4")
        if whole < len(content):
            with self.path.open("r+b") as file:
                file.truncate(whole)
        return True


def _records(rows: Mapping[bytes, Floats]) -> bytes:
    return b"".join(key + row.astype("<f4").tobytes() for key, row in rows.items())


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=DIGEST).digest()
