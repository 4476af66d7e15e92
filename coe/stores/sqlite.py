"""One SQLite file of ours, shared by the threads of a process and by several processes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Any, ClassVar, Self

from coe.errors import ArtefactError, CoEError

_WAIT_S = 30.0  # for another process that writes
_PAGE = 1000  # rows that are read at once where all are gone through


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """What a file holds, and how it is known.

    Attributes:
        what: for messages: "batches", "outcomes".
        mark: the file's `application_id`.
        version: its `user_version`; a newer file is refused.
        tables: the statements that make its tables.
        upgrades: by version, the statements that make the next one of it; a file older than that
            is refused.
    """

    what: str
    mark: int
    version: int
    tables: tuple[str, ...]
    upgrades: Mapping[int, tuple[str, ...]] = field(default_factory=dict)


class Database:
    """A connection that one thread uses at a time; the others wait.

    What was written is there after `kill -9` of this process (write-ahead log). A loss of power may
    take the last transactions back, whole; the file is never left half written.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        """Store the parts; see `open`."""
        self.path = path
        self._connection = connection
        self._lock = RLock()

    @classmethod
    def open(cls, path: Path, form: Format) -> Self:
        """Open the file, and make it (and its folder) where it is absent.

        Raises:
            ArtefactError: the file is damaged, of another program, or of a version that cannot be
                read.
            CoEError: it cannot be opened or made.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CoEError(
                f"{error.filename}: {error.strerror}; name another folder (COE_STATE_DIR)"
            ) from None
        with _translated(path):
            connection = sqlite3.connect(
                path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False
            )
            connection.row_factory = sqlite3.Row
            try:
                _prepare(path, connection, form)
            except BaseException:
                connection.close()
                raise
        return cls(path, connection)

    def close(self) -> None:
        """Close the file once nobody uses it."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Hold the connection for statements that change nothing."""
        with self._lock, _translated(self.path):
            yield self._connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Begin a transaction; it is undone where the block fails."""
        with self._lock, _translated(self.path):
            # IMMEDIATE waits for another writer here, where waiting is safe: a transaction that
            # has read and then wants to write is refused at once.
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def rows(
        self, statement: str, values: Sequence[Any] | Mapping[str, Any] = ()
    ) -> list[sqlite3.Row]:
        """Return the rows that a statement finds."""
        with self.reading() as connection:
            return connection.execute(statement, values).fetchall()

    def paged(
        self, statement: str, values: Sequence[Any] = (), *, key: str, first: int | str = 0
    ) -> Iterator[sqlite3.Row]:
        """Yield the rows that a statement finds; between two pages others may write.

        Args:
            statement: ends with `... KEY > ? ORDER BY KEY LIMIT ?`.
            values: of its other parameters, which come before those two.
            key: the column by which the rows are ordered.
            first: yield what comes after it.
        """
        while True:
            rows = self.rows(statement, (*values, first, _PAGE))
            yield from rows
            if len(rows) < _PAGE:
                return
            first = rows[-1][key]


class Store:
    """What is kept in a file of its own; threads and processes may share it.

    Attributes:
        form: what the file holds; each store names its own.
    """

    form: ClassVar[Format]

    def __init__(self, database: Database) -> None:
        """Store the file; see `open`."""
        self._database = database

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the file, and make it (and its folder) where it is absent.

        Raises:
            ArtefactError: the file is damaged, of another program, or of a version that cannot be
                read.
            CoEError: it cannot be opened or made.
        """
        return cls(Database.open(path, cls.form))

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self._database.path

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()


def _prepare(path: Path, connection: sqlite3.Connection, form: Format) -> None:
    """Make the tables where there are none or old ones; refuse a file that is not ours."""
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("BEGIN IMMEDIATE")  # two processes may be the first
    try:
        (mark,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if mark != form.mark and tables:
            raise ArtefactError(f"{path}: a database, but not one of {form.what}; move it away")
        if version > form.version:
            raise ArtefactError(
                f"{path}: written by a newer version of CoE (format {version}; this one reads "
                f"{form.version}); use that version"
            )
        if not tables:
            for statement in form.tables:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {form.mark}")
        elif version < form.version:
            _upgrade(path, connection, form, version)
        if version != form.version:
            connection.execute(f"PRAGMA user_version = {form.version}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode = WAL")  # kept in the file; not done to a foreign one


def _upgrade(path: Path, connection: sqlite3.Connection, form: Format, version: int) -> None:
    """Make the present version of an older one."""
    for old in range(version, form.version):
        if old not in form.upgrades:
            raise ArtefactError(
                f"{path}: written by an older version of CoE (format {version}; this one reads "
                f"{form.version}); use that version, or move the file away to begin anew"
            )
        for statement in form.upgrades[old]:
            connection.execute(statement)


def rows_of(path: Path, statement: str) -> list[sqlite3.Row]:
    """Return the rows that a statement finds in a file that cannot be written.

    Raises:
        CoEError: it cannot be read, either.
    """
    log = path.with_name(f"{path.name}-wal")
    with _translated(path):
        # SQLite wants to write beside a file with a log, but where that is empty there is no need.
        is_whole = not log.exists() or not log.stat().st_size
        mode = "immutable=1" if is_whole else "mode=ro"
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute(statement).fetchall()


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Raise our errors for SQLite's and the file system's."""
    try:
        yield
    except OSError as error:
        raise CoEError(f"{path}: {error.strerror}") from None
    except (sqlite3.OperationalError, sqlite3.ProgrammingError) as error:
        raise CoEError(f"{path}: {error}") from None
    except sqlite3.DatabaseError as error:
        raise ArtefactError(
            f"{path}: not a database, or damaged ({error}); move it away to begin anew"
        ) from None
