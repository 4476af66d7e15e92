"""Files of batches: a row in the database, the content beside it in a folder."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from sqlite3 import Connection, Row
from threading import Lock
from typing import BinaryIO, NamedTuple

import orjson

from coe.errors import CoEError, RequestTooLarge
from coe.stores.records import File
from coe.stores.sqlite import Database

TABLES = (
    """CREATE TABLE files (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    filename TEXT NOT NULL,
    purpose TEXT NOT NULL,
    size INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    tenant TEXT NOT NULL DEFAULT ''
)""",
)

_PART = ".part"
_ABANDONED_S = 24 * 3600.0


class Room(NamedTuple):
    """How many bytes files may have together.

    Attributes:
        most: of all of them.
        tenant: whose files count; None for everybody's.
    """

    most: int
    tenant: str | None

    def why(self, left: int) -> str:
        """Say what is in the way of a file that there is no room for, with what is left."""
        whose = "all files" if self.tenant is None else "the files of a key"
        return (
            f"and of the {self.most} that {whose} may have together {max(left, 0)} are left"
            " (COE_MAX_FILES_BYTES): delete files that are not needed any more, or let other"
            " uploads end"
        )


class Upload:
    """A file on its way.

    Attributes:
        room: that it is to be in.
        held: bytes of it that are kept free for this one.
    """

    __slots__ = ("held", "room")

    def __init__(self, room: Room) -> None:
        """Begin with nothing held."""
        self.room = room
        self.held = 0


class FileStore:
    """What was uploaded and what batches wrote. Safe for several threads and processes."""

    def __init__(self, database: Database, folder: Path) -> None:
        """Store the parts; `folder` is made when the first file comes."""
        self._database = database
        self._folder = folder
        self._uploads: set[Upload] = set()
        self._lock = Lock()  # of the set alone: an event loop waits for it

    def path(self, file_id: str) -> Path:
        """Where a file's content is, or would be."""
        return self._folder / file_id

    @contextmanager
    def uploading(self, room: Room) -> Iterator[Upload]:
        """Begin an upload; what is held for it is free again when the block ends."""
        upload = Upload(room)
        with self._lock:
            self._uploads.add(upload)
        try:
            yield upload
        finally:
            with self._lock:
                self._uploads.discard(upload)

    def hold(self, upload: Upload, most: int) -> int:
        """Keep bytes of its room for an upload; return how many: `most`, or what is left.

        Uploads of one process know of each other; those of several meet in `add`.
        """
        with self._database.reading() as connection:  # no row is added in this process meanwhile
            upload.held = min(most, self._left(connection, upload.room))
        return upload.held

    @contextmanager
    def writing(self, file_id: str) -> Iterator[BinaryIO]:
        """Write a file's content; it is there, whole, once the block ends without an error.

        Raises:
            CoEError: the disk does not take it.
        """
        part = self._folder / f"{file_id}{_PART}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            try:
                with part.open("wb") as stream:
                    yield stream
                part.replace(self.path(file_id))
            finally:
                part.unlink(missing_ok=True)
        except OSError as error:
            raise CoEError(f"{part}: {error.strerror}") from None

    def write(self, file_id: str, pieces: Iterable[bytes]) -> int:
        """Write the pieces as a file's content; return their size. Without any there is no file.

        Raises:
            CoEError: the disk does not take it.
        """
        size = 0
        with self.writing(file_id) as stream:
            for piece in pieces:
                size += stream.write(piece)
        if size == 0:
            self.path(file_id).unlink()
        else:
            self._settle(file_id)
        return size

    def add(self, file: File, upload: Upload | None = None) -> File:
        """Add the row of a file whose content is there, once it is safe on the disk.

        Args:
            file: what is added.
            upload: that it came by, whose room it has to fit into; None where any will do.

        Raises:
            RequestTooLarge: there is not as much room.
            CoEError: it cannot be; the content is gone then, as nobody could ask for it.
        """
        try:
            self._settle(file.id)
            with self._database.writing() as connection:
                if upload is not None:
                    room = upload.room
                    left = room.most - _taken(connection, room.tenant)
                    if file.size > left:
                        raise RequestTooLarge(
                            f"the file has {file.size} bytes, {room.why(left)}", param="file"
                        )
                    upload.held = 0  # its row counts from here on
                connection.execute(ADD, row_of(file))
        except CoEError:
            self.path(file.id).unlink(missing_ok=True)
            raise
        return file

    def _settle(self, file_id: str) -> None:
        """Wait for the disk; apart from `writing`, which runs between turns of an event loop."""
        try:
            with self.path(file_id).open("rb") as stream:
                os.fsync(stream.fileno())
        except OSError as error:
            raise CoEError(f"{self.path(file_id)}: {error.strerror}") from None

    def left(self, room: Room) -> int:
        """Return how many bytes of a room are free, and held for no upload of this process."""
        with self._database.reading() as connection:
            return self._left(connection, room)

    def _left(self, connection: Connection, room: Room) -> int:
        with self._lock:
            uploads = tuple(self._uploads)
        held = sum(one.held for one in uploads if room.tenant in {None, one.room.tenant})
        return max(room.most - _taken(connection, room.tenant) - held, 0)

    def get(self, file_id: str) -> File | None:
        """Return a file; None where there is none of that id."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT * FROM files WHERE id = ?", (file_id,)).fetchone()
        return None if row is None else _file(row)

    def page(
        self,
        owners: Collection[str],
        *,
        limit: int,
        after: str | None,
        purpose: str | None,
        newest_first: bool,
    ) -> tuple[list[File], bool]:
        """Return at most `limit` files and whether there are more.

        Args:
            owners: only files of these tenants.
            limit: of the page.
            after: id of the last file of the page before; None for the first page.
            purpose: only files of this one.
            newest_first: the order.
        """
        sign, order = ("<", "DESC") if newest_first else (">", "ASC")
        rule = f"(? IS NULL OR seq {sign} (SELECT seq FROM files WHERE id = ?))"  # noqa: S608
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT * FROM files WHERE (? IS NULL OR purpose = ?) "  # noqa: S608 - constants
                "AND tenant IN (SELECT value FROM json_each(?)) "
                f"AND {rule} ORDER BY seq {order} LIMIT ?",
                (purpose, purpose, _listed(owners), after, after, limit + 1),
            ).fetchall()
        return [_file(row) for row in rows[:limit]], len(rows) > limit

    def delete(self, file_id: str) -> str | None:
        """Delete a file, unless a batch that has not ended reads it; return that batch's id."""
        with self._database.writing() as connection:
            user = connection.execute(_USER, (file_id,)).fetchone()
            if user is not None:
                return str(user["id"])
            connection.execute("DELETE FROM files WHERE id = ?", (file_id,))
        self.path(file_id).unlink(missing_ok=True)
        return None

    def sweep(self) -> None:
        """Remove what uploads left that were cut off a day ago or earlier."""
        oldest = time.time() - _ABANDONED_S
        for part in self._folder.glob(f"*{_PART}"):
            with suppress(FileNotFoundError):  # another process may sweep, too
                if part.stat().st_mtime < oldest:
                    part.unlink()


ADD = """
INSERT INTO files (id, filename, purpose, size, created_at, tenant) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET size = excluded.size, created_at = excluded.created_at
"""

_TAKEN = "SELECT coalesce(sum(size), 0) FROM files WHERE ? IS NULL OR tenant = ?"

_USER = """
SELECT id FROM batches WHERE input_file_id = ?
AND status NOT IN ('failed', 'completed', 'expired', 'cancelled') LIMIT 1
"""


def row_of(file: File) -> tuple[str, str, str, int, int, str]:
    """Return the values that `ADD` takes."""
    return (file.id, file.filename, file.purpose, file.size, file.created_at, file.tenant)


def _taken(connection: Connection, tenant: str | None) -> int:
    (taken,) = connection.execute(_TAKEN, (tenant, tenant)).fetchone()
    return int(taken)


def _listed(owners: Collection[str]) -> str:
    return orjson.dumps(list(owners)).decode()


def _file(row: Row) -> File:
    return File(**{key: row[key] for key in row.keys() if key != "seq"})  # noqa: SIM118 - a Row
