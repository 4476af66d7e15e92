"""Batches: what each was asked to be, how far it is, and which process runs it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from sqlite3 import Connection, Row
from typing import Any, Self

import orjson

from coe.stores import calls, files, lines
from coe.stores.calls import CallStore
from coe.stores.files import FileStore
from coe.stores.lines import LeaseLost, LineStore
from coe.stores.records import Batch, File, Mistake, Status
from coe.stores.sqlite import Database, Format

FILE = "batches.sqlite"

_TABLES = (
    """CREATE TABLE batches (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    endpoint TEXT NOT NULL,
    input_file_id TEXT NOT NULL,
    completion_window TEXT NOT NULL,
    metadata TEXT,
    status TEXT NOT NULL,
    created_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    in_progress_at REAL,
    finalizing_at REAL,
    completed_at REAL,
    failed_at REAL,
    expired_at REAL,
    cancelling_at REAL,
    cancelled_at REAL,
    output_file_id TEXT,
    error_file_id TEXT,
    total INTEGER NOT NULL DEFAULT 0,
    completed INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    input_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    placed INTEGER NOT NULL DEFAULT 0,
    partly REAL NOT NULL DEFAULT 0,
    placed_by TEXT NOT NULL DEFAULT '',
    ran_s REAL NOT NULL DEFAULT 0,
    mistakes TEXT NOT NULL DEFAULT '[]',
    owner TEXT,
    lease_until REAL NOT NULL DEFAULT 0,
    tenant TEXT NOT NULL DEFAULT '',
    key TEXT NOT NULL DEFAULT ''
)""",
    "CREATE INDEX batches_by_status ON batches (status)",
)

_SECOND = (  # lines of panels, and the calls that are made for them
    "ALTER TABLE batches ADD COLUMN placed INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE batches ADD COLUMN partly REAL NOT NULL DEFAULT 0",
    """UPDATE batches SET placed =
    (SELECT coalesce(sum(groups.lines), 0) FROM groups WHERE groups.batch = batches.seq)""",
    "ALTER TABLE lines ADD COLUMN seated TEXT",
    "ALTER TABLE lines ADD COLUMN made INTEGER NOT NULL DEFAULT 0",
    *calls.TABLES,
)

_THIRD = (  # whose they are
    "ALTER TABLE files ADD COLUMN tenant TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE batches ADD COLUMN tenant TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE batches ADD COLUMN key TEXT NOT NULL DEFAULT ''",
)

FORMAT = Format(
    what="batches",
    mark=0x436F4542,  # "CoEB"
    version=3,
    tables=(*files.TABLES, *_TABLES, *lines.TABLES, *calls.TABLES),
    upgrades={1: _SECOND, 2: _THIRD},
)


class BatchStore:
    """The batches. Safe for several threads and processes."""

    def __init__(self, database: Database) -> None:
        """Store the database."""
        self._database = database

    def add(self, batch: Batch) -> Batch:
        """Add a batch that has not been looked at; its `seq` is made here."""
        metadata = None if batch.metadata is None else orjson.dumps(dict(batch.metadata)).decode()
        with self._database.writing() as connection:
            values = (
                *(batch.id, batch.endpoint, batch.input_file_id, batch.completion_window),
                *(metadata, batch.status, batch.created_at, batch.expires_at),
                *(batch.tenant, batch.key),
            )
            connection.execute(_ADD, values)
            return _get(connection, batch.id)

    def get(self, batch_id: str) -> Batch | None:
        """Return a batch; None where there is none of that id."""
        with self._database.reading() as connection:
            row = connection.execute(_BY_ID, (batch_id,)).fetchone()
        return None if row is None else _batch(row)

    def page(
        self, owners: Collection[str], *, limit: int, after: str | None
    ) -> tuple[list[Batch], bool]:
        """Return at most `limit` batches, the newest first, and whether there are more.

        Args:
            owners: only batches of these tenants.
            limit: of the page.
            after: id of the last batch of the page before; None for the first page.
        """
        listed = orjson.dumps(list(owners)).decode()
        rows = self._database.rows(_PAGE, (listed, after, after, limit + 1))
        return [_batch(row) for row in rows[:limit]], len(rows) > limit

    def cancel(self, batch_id: str, now: float) -> Batch | None:
        """Ask for a batch to be cancelled, unless it has ended; return it, None where absent."""
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE batches SET status = 'cancelling', cancelling_at = ? WHERE id = ? "
                "AND status IN ('validating', 'in_progress', 'finalizing')",
                (now, batch_id),
            )
            row = connection.execute(_BY_ID, (batch_id,)).fetchone()
        return None if row is None else _batch(row)

    def claim(
        self, owner: str, statuses: Collection[Status], *, now: float, lease_s: float
    ) -> Batch | None:
        """Take the oldest batch of these statuses that nobody holds; None where there is none."""
        wanted = orjson.dumps(list(statuses)).decode()
        with self._database.writing() as connection:
            row = connection.execute(_FREE, (wanted, now)).fetchone()
            if row is None:
                return None
            connection.execute(_TAKE, (owner, now + lease_s, row["seq"]))
            return _get(connection, row["id"])

    def renew(
        self, seq: int, owner: str, *, now: float, lease_s: float, ran_s: float = 0.0
    ) -> Status | None:
        """Keep a lease, and add to the seconds that the batch ran; return its status.

        None where the lease is another's, or has been given up.
        """
        with self._database.writing() as connection:
            values = (now + lease_s, ran_s, seq, owner)
            if connection.execute(_RENEW, values).rowcount == 0:
                return None
            row = connection.execute("SELECT status FROM batches WHERE seq = ?", (seq,)).fetchone()
        status: Status = row["status"]
        return status

    def release(self, seq: int, owner: str) -> None:
        """Give a lease up; nothing where it is another's."""
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE batches SET owner = NULL WHERE seq = ? AND owner = ?", (seq, owner)
            )

    def begin(self, seq: int, owner: str, *, total: int, now: float) -> None:
        """Note that validation found nothing wrong. A batch that is being cancelled stays so.

        Raises:
            LeaseLost: another process holds it.
        """
        with self._database.writing() as connection:
            _held(
                connection.execute(
                    "UPDATE batches SET total = ?, in_progress_at = ?, "
                    "status = iif(status = 'validating', 'in_progress', status) "
                    "WHERE seq = ? AND owner = ?",
                    (total, now, seq, owner),
                ).rowcount
            )

    def finalize(self, seq: int, owner: str, now: float) -> None:
        """Note that all lines are done and the files are being written. Raises LeaseLost."""
        with self._database.writing() as connection:
            _held(
                connection.execute(
                    "UPDATE batches SET status = 'finalizing', "
                    "finalizing_at = coalesce(finalizing_at, ?) WHERE seq = ? AND owner = ? "
                    "AND status IN ('in_progress', 'finalizing')",
                    (now, seq, owner),
                ).rowcount
            )

    def end(  # noqa: PLR0913 - what a batch ends with
        self,
        seq: int,
        owner: str,
        status: Status,
        *,
        now: float,
        output: File | None = None,
        errors: File | None = None,
        mistakes: Sequence[Mistake] = (),
        total: int | None = None,
    ) -> None:
        """End a batch with its files, whose content is there; gives the lease up.

        Raises:
            LeaseLost: another process holds it.
        """
        if status not in {"failed", "completed", "expired", "cancelled"}:
            raise ValueError(status)
        spelt = orjson.dumps([asdict(row) for row in mistakes]).decode()
        with self._database.writing() as connection:
            _held(
                connection.execute(
                    f"UPDATE batches SET status = ?, {status}_at = ?, output_file_id = ?, "  # noqa: S608 - one of four words
                    "error_file_id = ?, mistakes = ?, total = coalesce(?, total), owner = NULL "
                    "WHERE seq = ? AND owner = ?",
                    (
                        *(status, now, output and output.id, errors and errors.id),
                        *(spelt, total, seq, owner),
                    ),
                ).rowcount
            )
            for file in (output, errors):
                if file is not None:
                    connection.execute(files.ADD, files.row_of(file))

    def counts(self) -> dict[str, int]:
        """Return how many batches there are, by status."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT status, count(*) FROM batches GROUP BY status")
            return dict(map(tuple, rows))


@dataclass(frozen=True, slots=True)
class BatchState:
    """Everything that is kept of batches, in one folder."""

    database: Database
    files: FileStore
    batches: BatchStore
    lines: LineStore
    calls: CallStore

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open what is in the folder, and make it where it is absent.

        Raises:
            ArtefactError: the database is damaged, of another program, or of a version that cannot
                be read.
            CoEError: it cannot be opened or made.
        """
        database = Database.open(folder / FILE, FORMAT)
        kept = FileStore(database, folder / "files")
        kept.sweep()
        return cls(database, kept, BatchStore(database), LineStore(database), CallStore(database))

    def close(self) -> None:
        """Close the database."""
        self.database.close()


_ADD = """
INSERT INTO batches (id, endpoint, input_file_id, completion_window, metadata, status, created_at,
    expires_at, tenant, key) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

_BY_ID = "SELECT * FROM batches WHERE id = ?"

_PAGE = """
SELECT * FROM batches WHERE tenant IN (SELECT value FROM json_each(?))
AND (? IS NULL OR seq < (SELECT seq FROM batches WHERE id = ?))
ORDER BY seq DESC LIMIT ?
"""

_FREE = """
SELECT seq, id FROM batches WHERE status IN (SELECT value FROM json_each(?))
    AND (owner IS NULL OR lease_until < ?) ORDER BY seq LIMIT 1
"""

_TAKE = "UPDATE batches SET owner = ?, lease_until = ? WHERE seq = ?"

_RENEW = "UPDATE batches SET lease_until = ?, ran_s = ran_s + ? WHERE seq = ? AND owner = ?"

_INTERNAL = {"owner", "lease_until", "metadata", "mistakes"}


def _held(changed: int) -> None:
    if changed == 0:
        raise LeaseLost("the lease is another's")


def _get(connection: Connection, batch_id: str) -> Batch:
    return _batch(connection.execute(_BY_ID, (batch_id,)).fetchone())


def _batch(row: Row) -> Batch:
    known: dict[str, Any] = {key: row[key] for key in row.keys() if key not in _INTERNAL}  # noqa: SIM118 - a Row
    metadata = row["metadata"]
    return Batch(
        **known,
        metadata=None if metadata is None else orjson.loads(metadata),
        mistakes=tuple(Mistake(**item) for item in orjson.loads(row["mistakes"])),
    )
