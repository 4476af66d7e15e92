"""Keys in a file of the state folder, which the command line and gateways of a machine share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from coe.access import key as keys
from coe.access.key import Key
from coe.errors import ArtefactError, CoEError
from coe.stores.sqlite import Format, Store

FILE = "keys.sqlite"

T = TypeVar("T")

logger = logging.getLogger(__name__)


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
        (row,) = self._database.rows("SELECT number FROM changes")
        number: int = row["number"]
        return number

    def read(self) -> tuple[int, list[Key]]:
        """Return all keys, and how many changes there were; a record that is damaged is left out.

        A change between the two is seen at the next look.
        """
        version = self.version()
        rows = self._database.rows("SELECT id, record FROM keys")
        return version, readable((row["id"], row["record"]) for row in rows)

    def add(self, key: Key) -> None:
        """Keep a new key. Raises CoEError where there is one of that id."""
        with self._database.writing() as connection:
            found = connection.execute("SELECT 1 FROM keys WHERE id = ?", (key.id,)).fetchone()
            if found is not None:
                raise CoEError(f"there is a key `{key.id}` already: try again")
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

    They have a thread of their own: that a key was ended is seen in time however busy the others
    are. See `coe.access.ring.KeyStore`.
    """

    def __init__(self, folder: Path) -> None:
        """Store the folder."""
        self._path = folder / FILE
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="keys")
        self._file: KeyFile | None = None

    async def version(self) -> int:
        """Return how many changes there were."""
        return await self._do(self._version)

    async def read(self) -> tuple[int, list[Key]]:
        """Return all keys, and how many changes there were."""
        return await self._do(self._read)

    async def add(self, key: Key) -> None:
        """Keep a new key."""
        await self._do(lambda: self._open().add(key))

    async def change(self, key_id: str, change: Callable[[Key], Key]) -> Key | None:
        """Replace a key by what `change` makes of it; None where there is none."""
        return await self._do(
            lambda: self._open().change(key_id, change) if self._is_there() else None
        )

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
        return self._open().version() if self._is_there() else 0

    def _read(self) -> tuple[int, list[Key]]:
        return self._open().read() if self._is_there() else (0, [])

    def _is_there(self) -> bool:
        return self._file is not None or self._path.exists()

    def _open(self) -> KeyFile:
        if self._file is None:
            self._file = KeyFile.open(self._path)
        return self._file


def readable(rows: Iterable[tuple[str, bytes | str]]) -> list[Key]:
    """Return the keys of kept records; one that cannot be read is said so and opens nothing."""
    found = []
    for name, record in rows:
        try:
            found.append(keys.read(record))
        except ArtefactError as error:
            logger.error("key %s: %s", name, error.message)  # noqa: TRY400 - the sentence
    return found
