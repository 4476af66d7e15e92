"""Embeddings of utterances on disk: a restart encodes nothing, a new utterance one text.

The file is one SQLite database in the cache folder; a row is one text's vector under one encoder's
fingerprint. It holds nothing that cannot be made again, so whatever is wrong with it costs time and
never an answer: what cannot be read is set aside and begun anew, what cannot be written is not
kept, and a log line says so. Only what defines categories is kept, never a request's text.
"""

from __future__ import annotations

import itertools
import logging
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from coe.protocols import Encoder
from routers.cache import digest
from routers.encoders.hashed import HashedEncoder

FILE = "embeddings.sqlite"
APPLICATION = 0x436F4531  # "CoE1", in the header of the file
LAYOUT = 1
CREATE = """
CREATE TABLE embeddings (
    id INTEGER PRIMARY KEY,
    encoder TEXT NOT NULL,
    text BLOB NOT NULL,
    vector BLOB NOT NULL,
    checksum INTEGER NOT NULL,
    UNIQUE (encoder, text)
)
"""
# Of all encoders together: 300 MB at 384 numbers a vector. The oldest go first.
MOST_VECTORS = 200_000
KEYS_PER_QUERY = 500  # SQLite takes some thousand parameters at most
# What an interruption may cost: this many texts, some seconds of encoding.
TEXTS_PER_SAVE = 256
WAIT_S = 5.0  # for another process that writes
# Between a stored vector and the encoder's own one: numbers differ in the last bits from one
# version of a library to the next, other weights differ in the first.
SAME_COSINE = 0.999
# Codes of SQLite for a file that is damaged, or that is no database.
UNREADABLE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT})

Vector = NDArray[np.float32]
Found = TypeVar("Found")

log = logging.getLogger(__name__)


class EmbeddingStore:
    """Vectors by fingerprint and digest of the text. Never raises. Thread- and process-safe.

    Each call opens the file and closes it: a store is used when routers are built, not while they
    serve. Two processes that miss the same text both encode it, and write the same row.
    """

    def __init__(self, folder: Path) -> None:
        """Remember where the file is; nothing is opened yet.

        Args:
            folder: made at the first write if it is not there.
        """
        self.path = folder / FILE

    def recall(self, fingerprint: str, keys: Sequence[bytes], dim: int) -> dict[bytes, Vector]:
        """Return the vectors that are there, shape (dim,) each; damaged rows are not there."""

        def read(connection: sqlite3.Connection) -> dict[bytes, Vector]:
            return dict(_rows(connection, fingerprint, keys, dim))

        return self._within(read) or {}

    def remember(self, fingerprint: str, vectors: Mapping[bytes, Vector]) -> None:
        """Keep the vectors; those that were there under the same keys are replaced."""
        rows = [
            (fingerprint, key, blob := vector.astype("<f4").tobytes(), _checksum(key, blob))
            for key, vector in vectors.items()
        ]

        def write(connection: sqlite3.Connection) -> None:
            connection.executemany(
                "INSERT OR REPLACE INTO embeddings (encoder, text, vector, checksum) "
                "VALUES (?, ?, ?, ?)",
                rows,
            )
            connection.execute(
                "DELETE FROM embeddings WHERE id <= (SELECT max(id) FROM embeddings) - ?",
                (MOST_VECTORS,),
            )

        self._within(write)

    def forget(self, fingerprint: str) -> None:
        """Drop every vector of an encoder."""

        def drop(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM embeddings WHERE encoder = ?", (fingerprint,))

        self._within(drop)

    def _within(self, act: Callable[[sqlite3.Connection], Found]) -> Found | None:
        """Return what `act` returns from one transaction, or None where the file fails twice."""
        for is_last in (False, True):
            try:
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with closing(sqlite3.connect(self.path, timeout=WAIT_S)) as connection, connection:
                    _prepare(connection)
                    return act(connection)
            except _ForeignFileError as error:
                self._set_aside(str(error))
            except sqlite3.DatabaseError as error:
                if is_last or error.sqlite_errorcode & 0xFF not in UNREADABLE:
                    log.warning("%s: is not used: %s", self.path, error)
                    return None
                self._set_aside(str(error))
            except OSError as error:
                log.warning("%s: is not used: %s", self.path, error)
                return None
        return None

    def _set_aside(self, why: str) -> None:
        # Another process may do the same at the same time. The worst that can come of it is that
        # vectors just saved are set aside too, and made again at the next start.
        names = (self.path.with_suffix(f".set-aside-{n}") for n in itertools.count(1))
        name = next(name for name in names if not name.exists())
        log.warning("%s: %s; it is set aside as %s and begun anew", self.path, why, name.name)
        self.path.replace(name)
        journal = self.path.with_name(f"{FILE}-journal")
        journal.unlink(missing_ok=True)  # of the file that is gone: it must not be played back


class StoredEncoder:
    """The same vectors as the encoder's, from the store where they are there. Thread-safe.

    A fingerprint is a promise that a server behind a URL may not keep. So the first vector that is
    found is made again and compared: if it differs, all that is stored is dropped and made again.
    """

    def __init__(self, encoder: Encoder, store: EmbeddingStore) -> None:
        self.name = encoder.name
        self.dim = encoder.dim
        self.fingerprint = encoder.fingerprint
        self._encoder = encoder
        self._store = store
        self._is_checked = False

    def encode(self, texts: Sequence[str]) -> Vector:
        """Return unit vectors, shape (n_texts, dim). Raises what the encoder raises."""
        wanted = {digest(text): text for text in texts}
        found = self._store.recall(self.fingerprint, list(wanted), self.dim)
        if found and not self._is_checked:
            found = self._checked(found, wanted)
        missing = [(key, text) for key, text in wanted.items() if key not in found]
        for start in range(0, len(missing), TEXTS_PER_SAVE):
            keys, unseen = zip(*missing[start : start + TEXTS_PER_SAVE], strict=True)
            fresh = dict(zip(keys, self._encoder.encode(unseen), strict=True))
            self._store.remember(self.fingerprint, fresh)
            found |= fresh
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        for row, text in enumerate(texts):
            vectors[row] = found[digest(text)]
        return vectors

    def _checked(
        self, found: dict[bytes, Vector], wanted: Mapping[bytes, str]
    ) -> dict[bytes, Vector]:
        key = next(iter(found))
        fresh = self._encoder.encode([wanted[key]])[0]
        self._is_checked = True
        if float(fresh @ found[key]) >= SAME_COSINE:
            return found
        log.warning(
            "%s: the vectors of encoder %s (%s) are not those that it makes now; all are made anew",
            self._store.path,
            self.name,
            self.fingerprint,
        )
        self._store.forget(self.fingerprint)
        return {}


def stored(encoder: Encoder, folder: str) -> Encoder:
    """Return the encoder with a store in that folder; the encoder itself where that is empty.

    So, too, where the encoder makes its vectors about as fast as they would be read.
    """
    if not folder or isinstance(encoder, HashedEncoder):
        return encoder
    return StoredEncoder(encoder, EmbeddingStore(Path(folder)))


class _ForeignFileError(Exception):
    """A database, but not one of ours."""


def _prepare(connection: sqlite3.Connection) -> None:
    """Make the table in an empty file. Raises _ForeignFileError."""
    if _header(connection) == (APPLICATION, LAYOUT):
        return
    connection.execute("BEGIN IMMEDIATE")  # two processes may begin the same file
    if _header(connection) == (APPLICATION, LAYOUT):
        return
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
        raise _ForeignFileError("is a database of something else, or of another version")
    connection.execute(CREATE)
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {LAYOUT}")
    connection.commit()


def _header(connection: sqlite3.Connection) -> tuple[int, int]:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (layout,) = connection.execute("PRAGMA user_version").fetchone()
    return application, layout


def _rows(
    connection: sqlite3.Connection, fingerprint: str, keys: Sequence[bytes], dim: int
) -> Iterator[tuple[bytes, Vector]]:
    for start in range(0, len(keys), KEYS_PER_QUERY):
        part = keys[start : start + KEYS_PER_QUERY]
        marks = ",".join("?" * len(part))
        found = connection.execute(
            "SELECT text, vector, checksum FROM embeddings "  # noqa: S608 - the marks are ours
            f"WHERE encoder = ? AND text IN ({marks})",
            (fingerprint, *part),
        )
        for key, blob, checksum in found:
            if len(blob) == 4 * dim and _checksum(key, blob) == checksum:
                yield key, np.frombuffer(blob, dtype="<f4").astype(np.float32)


def _checksum(key: bytes, blob: bytes) -> int:
    # SQLite does not notice a flipped bit inside a value.
    return zlib.crc32(blob, zlib.crc32(key))
