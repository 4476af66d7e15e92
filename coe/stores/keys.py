"""Keys in a file of the state folder, which the command line and gateways of a machine share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from sqlite3 import Row
from typing import TypeVar

from coe.access import key as keys
from coe.access.key import Key
from coe.errors import ArtefactError, CoEError, Conflict, StoreUnavailable
from coe.stores.sqlite import Format, Store, rows_of

FILE = "keys.sqlite"

T = TypeVar("T")

logger = logging.getLogger(__name__)

_CHANGES = "SELECT number FROM changes"
_KEYS = "SELECT id, record FROM keys"


class KeyFile(Store):
    """The file. Safe for several threads and processes."""

    form = Format(
        what="keys",
        mark=0x436F454B,  # "CoEK"
        version=1,
        tables=(
            "CREATE TABLE keys (id TEXT PRIMARY KEY, record TEXT NOT NULL)",
            "CREATE TABLE changes (number INTEGER NOT NULL)",
            "INSERT INTO changes (number) VALUES (0)",
        ),
    )

    def version(self) -> int:
        """Return how many changes there were."""
        return _number(self._database.rows(_CHANGES))

    def read(self) -> tuple[int, list[Key]]:
        """Return all keys, and how many changes there were; a record that is damaged is left out.

        A change between the two is seen at the next look.
        """
        version = self.version()
        return version, _kept(self._database.rows(_KEYS))

    def add(self, key: Key) -> None:
        """Keep a new key. Raises Conflict where there is one of that id."""
        with self._database.writing() as connection:
            found = connection.execute("SELECT 1 FROM keys WHERE id = ?", (key.id,)).fetchone()
            if found is not None:
                raise Conflict(f"there is a key `{key.id}` already: try again")
            connection.execute(
                "INSERT INTO keys (id, record) VALUES (?, ?)", (key.id, keys.written(key).decode())
            )
            connection.execute("UPDATE changes SET number = number + 1")

    def change(self, key_id: str, change: Callable[[Key], Key]) -> Key | None:
        """Replace a key by what `change` makes of it; None where there is none."""
        with self._database.writing() as connection:
            row = connection.execute("SELECT record FROM keys WHERE id = ?", (key_id,)).fetchone()
            if row is None:
                return None
            key = change(keys.read(row["record"]))
            connection.execute(
                "UPDATE keys SET record = ? WHERE id = ?", (keys.written(key).decode(), key_id)
            )
            connection.execute("UPDATE changes SET number = number + 1")
        return key


class FileKeys:
    """The keys of a state folder, off the event loop. Nothing is made there before the first key.

    Where the file can only be read its keys work, and none can be changed.

    They have a thread of their own: that a key was ended is seen in time however busy the others
    are. See `coe.access.ring.KeyStore`.
    """

    def __init__(self, folder: Path) -> None:
        """Store the folder."""
        self._path = folder / FILE
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="keys")
        self._file: KeyFile | None = None
        self._complained = False

    async def version(self) -> int:
        """Return how many changes there were."""
        return await self._do(self._version)

    async def read(self) -> tuple[int, list[Key]]:
        """Return all keys, and how many changes there were."""
        return await self._do(self._read)

    async def add(self, key: Key) -> None:
        """Keep a new key."""
        await self._do(lambda: self._changed(lambda file: file.add(key)))

    async def change(self, key_id: str, change: Callable[[Key], Key]) -> Key | None:
        """Replace a key by what `change` makes of it; None where there is none."""
        if not await self._do(self._is_there):
            return None
        return await self._do(lambda: self._changed(lambda file: file.change(key_id, change)))

    @asynccontextmanager
    async def listening(self, told: Callable[[], None]) -> AsyncIterator[None]:
        """Close the file in the end; it tells nobody of changes."""
        del told
        try:
            yield
        finally:
            await self._do(self._close)
            self._thread.shutdown(wait=False)

    async def _do(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _version(self) -> int:
        if not self._is_there():
            return 0
        file = self._readable()
        return _number(rows_of(self._path, _CHANGES)) if file is None else file.version()

    def _read(self) -> tuple[int, list[Key]]:
        if not self._is_there():
            return 0, []
        file = self._readable()
        if file is None:
            version = _number(rows_of(self._path, _CHANGES))
            return version, _kept(rows_of(self._path, _KEYS))
        return file.read()

    def _is_there(self) -> bool:
        return self._file is not None or self._path.exists()

    def _readable(self) -> KeyFile | None:
        """Return the file; None where it can only be read, without being opened for good."""
        try:
            file = self._open()
        except ArtefactError:
            raise
        except CoEError as error:
            if not self._complained:
                logger.warning("keys are only read, none can be changed: %s", error.message)
            self._complained = True
            return None
        self._complained = False
        return file

    def _changed(self, work: Callable[[KeyFile], T]) -> T:
        """Do what changes the file. Raises StoreUnavailable where the disk does not take it."""
        try:
            return work(self._open())
        except CoEError as error:
            if type(error) is not CoEError:  # it says more than that
                raise
            raise StoreUnavailable(
                f"keys cannot be changed: {error.message}; let the gateway write that file, and in"
                " its folder"
            ) from None

    def _open(self) -> KeyFile:
        if self._file is None:
            self._file = KeyFile.open(self._path)
        return self._file


def _number(rows: Sequence[Row]) -> int:
    (row,) = rows
    number: int = row["number"]
    return number


def _kept(rows: Iterable[Row]) -> list[Key]:
    return readable((row["id"], row["record"]) for row in rows)


def readable(rows: Iterable[tuple[str, bytes | str]]) -> list[Key]:
    """Return the keys of kept records; one that cannot be read is said so and opens nothing."""
    found = []
    for name, record in rows:
        try:
            found.append(keys.read(record))
        except ArtefactError as error:
            logger.error("key %s: %s", name, error.message)  # noqa: TRY400 - the sentence
    return found
