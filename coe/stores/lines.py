"""The lines of batches: who answers each, and what came of it. 50,000 of them stay on disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from sqlite3 import Connection, Row
from typing import Any

import orjson

from coe.stores.records import Group, Line, Outcome, Placement, Seated, part
from coe.stores.sqlite import Database

TABLES = (
    """CREATE TABLE lines (
    batch INTEGER NOT NULL,
    number INTEGER NOT NULL,
    "offset" INTEGER NOT NULL,
    length INTEGER NOT NULL,
    custom_id TEXT NOT NULL,
    expert TEXT,
    experts TEXT,
    category TEXT,
    probability REAL,
    reason TEXT NOT NULL DEFAULT '',
    done INTEGER NOT NULL DEFAULT 0,
    seated TEXT,
    made INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (batch, number)
) WITHOUT ROWID""",
    "CREATE UNIQUE INDEX lines_by_custom_id ON lines (batch, custom_id)",
    "CREATE INDEX lines_to_do ON lines (batch, expert, number) WHERE done = 0",
    """CREATE TABLE results (
    batch INTEGER NOT NULL,
    number INTEGER NOT NULL,
    succeeded INTEGER NOT NULL,
    text BLOB NOT NULL
)""",
    "CREATE UNIQUE INDEX results_by_line ON results (batch, succeeded, number)",
    """CREATE TABLE groups (
    batch INTEGER NOT NULL,
    expert TEXT NOT NULL,
    backend TEXT NOT NULL,
    base TEXT NOT NULL,
    lines INTEGER NOT NULL DEFAULT 0,
    done INTEGER NOT NULL DEFAULT 0,
    took_s REAL NOT NULL DEFAULT 0,
    seen_at REAL NOT NULL DEFAULT 0,
    PRIMARY KEY (batch, expert)
) WITHOUT ROWID""",
)

_PURGED = 1000
_NOBODY = ""  # no expert answers the line alone: it has a panel


class LeaseLost(Exception):
    """Another process runs the batch now: nothing more may be written of it."""


class LineStore:
    """The lines of every batch. Safe for several threads and processes.

    Whoever writes names the lease's owner: what a process writes that has lost its lease is
    refused in the same transaction.
    """

    def __init__(self, database: Database) -> None:
        """Store the database."""
        self._database = database

    def add(self, seq: int, owner: str, lines: Iterable[Line]) -> list[tuple[Line, int]]:
        """Add lines; return those whose custom_id is there already, with the first one's number.

        Raises:
            LeaseLost: see the class.
        """
        twice = []
        with self._database.writing() as connection:
            check(connection, seq, owner)
            for line in lines:
                values = (seq, line.number, line.offset, line.length, line.custom_id)
                if connection.execute(_ADD, values).rowcount == 0:
                    first = connection.execute(_FIRST, (seq, line.custom_id)).fetchone()
                    twice.append((line, int(first["number"])))
        return twice

    def clear(self, seq: int, owner: str) -> None:
        """Forget the lines of a batch whose validation begins again. Raises LeaseLost."""
        with self._database.writing() as connection:
            check(connection, seq, owner)
            connection.execute("DELETE FROM lines WHERE batch = ?", (seq,))

    def unplaced(self, seq: int, limit: int) -> list[Line]:
        """Return the first lines that nobody was chosen for."""
        rows = self._database.rows(_UNPLACED, (seq, limit))
        return [line_of(row) for row in rows]

    def place(self, seq: int, owner: str, placements: Sequence[Placement]) -> None:
        """Note who is to answer lines; calls of a panel that had one before are forgotten.

        A line that has a panel joins no group: its calls do.

        Raises:
            LeaseLost: see the class.
        """
        with self._database.writing() as connection:
            check(connection, seq, owner)
            for row in placements:
                _leave(connection, seq, row.number)
                expert = row.experts[0] if row.seated is None else _NOBODY
                experts = orjson.dumps(row.experts).decode()
                seated = None if row.seated is None else orjson.dumps(asdict(row.seated)).decode()
                placed = (expert, experts, row.category, row.probability, row.reason, seated)
                connection.execute(_PLACE, (*placed, seq, row.number))
                if row.seated is None:
                    connection.execute(GROUP, (seq, expert, row.backend, row.base))

    def unplace(self, seq: int, owner: str, placed_by: str) -> None:
        """Forget who was to answer the lines that are not done, and their calls.

        Raises:
            LeaseLost: see the class.
        """
        with self._database.writing() as connection:
            check(connection, seq, owner)
            connection.execute(
                "UPDATE lines SET expert = NULL WHERE batch = ? AND done = 0 "
                "AND expert IS NOT NULL",
                (seq,),
            )
            connection.execute("UPDATE lines SET made = 0 WHERE batch = ? AND made > 0", (seq,))
            connection.execute("DELETE FROM calls WHERE batch = ?", (seq,))
            connection.execute("UPDATE groups SET lines = done WHERE batch = ?", (seq,))
            connection.execute(
                "UPDATE batches SET placed = completed + failed, partly = 0, placed_by = ? "
                "WHERE seq = ?",
                (placed_by, seq),
            )

    def groups(self, seq: int) -> tuple[Group, ...]:
        """Return the groups of a batch, the one that worked last at the end."""
        rows = self._database.rows(_GROUPS, (seq,))
        return tuple(Group(**dict(row)) for row in rows)

    def to_do(self, seq: int, expert: str, after: int, limit: int) -> list[Line]:
        """Return the next lines of an expert's group that are not done, in the file's order."""
        rows = self._database.rows(_TO_DO, (seq, expert, after, limit))
        return [line_of(row) for row in rows]

    def record(self, seq: int, owner: str, outcome: Outcome, now: float) -> None:
        """Record what came of a line, once: from now on it is never run again.

        Its calls, if it has any, are deleted.

        Raises:
            LeaseLost: see the class.
        """
        with self._database.writing() as connection:
            check(connection, seq, owner)
            if not _leave(connection, seq, outcome.number):
                raise LeaseLost(f"line {outcome.number} is done already")
            connection.execute(_DONE, (seq, outcome.number))
            connection.execute(
                "INSERT INTO results (batch, number, succeeded, text) VALUES (?, ?, ?, ?)",
                (seq, outcome.number, outcome.succeeded, outcome.text),
            )
            connection.execute(
                _COUNT,
                (
                    *(outcome.succeeded, not outcome.succeeded),
                    *(outcome.input_tokens, outcome.output_tokens, seq),
                ),
            )
            connection.execute(COUNT_GROUP, (outcome.took_s, now, seq, outcome.expert))

    def results(self, seq: int, *, succeeded: bool) -> Iterator[bytes]:
        """Yield the recorded lines of one kind, in the file's order; one at a time in memory.

        An answer may have many MiB: a few hundred embeddings in a line.
        """
        after = 0
        while True:
            with self._database.reading() as connection:
                row = connection.execute(_RESULT, (seq, succeeded, after)).fetchone()
            if row is None:
                return
            yield row["text"]
            after = row["number"]

    def not_done(self, seq: int) -> Iterator[Line]:
        """Yield the lines that were not run, in the file's order; a page at a time in memory."""
        yield from map(line_of, self._database.paged(_NOT_DONE, (seq,), key="number"))

    def purge(self) -> bool:
        """Delete some lines of batches that have ended: their files hold them. True if any were."""
        with self._database.writing() as connection:
            gone = connection.execute(_PURGE_RESULTS, (_PURGED,)).rowcount
            gone += connection.execute(_PURGE_CALLS, (_PURGED,)).rowcount
            gone += connection.execute(_PURGE_LINES, (_PURGED,)).rowcount
        return gone > 0


_ADD = """
INSERT OR IGNORE INTO lines (batch, number, "offset", length, custom_id) VALUES (?, ?, ?, ?, ?)
"""

_FIRST = "SELECT number FROM lines WHERE batch = ? AND custom_id = ?"

_UNPLACED = """
SELECT * FROM lines WHERE batch = ? AND expert IS NULL AND done = 0 ORDER BY number LIMIT ?
"""

_PLACE = """
UPDATE lines SET expert = ?, experts = ?, category = ?, probability = ?, reason = ?, seated = ?,
    made = 0 WHERE batch = ? AND number = ?
"""

_LEFT = "SELECT expert, seated, made FROM lines WHERE batch = ? AND number = ? AND done = 0"

_SETTLE = "UPDATE batches SET placed = placed + ?, partly = max(partly - ?, 0) WHERE seq = ?"

_UNASK = """
UPDATE groups SET lines = lines - (
    SELECT count(*) FROM calls
    WHERE calls.batch = groups.batch AND calls.expert = groups.expert AND number = ? AND done = 0
) WHERE batch = ?
"""

GROUP = """
INSERT INTO groups (batch, expert, backend, base, lines) VALUES (?, ?, ?, ?, 1)
ON CONFLICT (batch, expert) DO UPDATE SET
    lines = lines + 1, backend = excluded.backend, base = excluded.base
"""

_GROUPS = """
SELECT expert, backend, base, lines, done, took_s FROM groups WHERE batch = ?
ORDER BY seen_at, expert
"""

_TO_DO = """
SELECT * FROM lines WHERE batch = ? AND expert = ? AND done = 0 AND number > ?
ORDER BY number LIMIT ?
"""

_NOT_DONE = """
SELECT * FROM lines WHERE batch = ? AND done = 0 AND number > ? ORDER BY number LIMIT ?
"""

_DONE = "UPDATE lines SET done = 1, made = 0 WHERE batch = ? AND number = ?"

_COUNT = """
UPDATE batches SET completed = completed + ?, failed = failed + ?,
    input_tokens = input_tokens + ?, output_tokens = output_tokens + ? WHERE seq = ?
"""

COUNT_GROUP = """
UPDATE groups SET done = done + 1, took_s = took_s + ?, seen_at = ? WHERE batch = ? AND expert = ?
"""

_RESULT = """
SELECT number, text FROM results WHERE batch = ? AND succeeded = ? AND number > ?
ORDER BY number LIMIT 1
"""

_ENDED = "SELECT seq FROM batches WHERE status IN ('failed', 'completed', 'expired', 'cancelled')"

_PURGE_RESULTS = f"""
DELETE FROM results WHERE rowid IN (SELECT rowid FROM results WHERE batch IN ({_ENDED}) LIMIT ?)
"""  # noqa: S608 - constants

_PURGE_CALLS = f"""
DELETE FROM calls WHERE rowid IN (SELECT rowid FROM calls WHERE batch IN ({_ENDED}) LIMIT ?)
"""  # noqa: S608

_PURGE_LINES = f"""
DELETE FROM lines WHERE (batch, number) IN
    (SELECT batch, number FROM lines WHERE batch IN ({_ENDED}) LIMIT ?)
"""  # noqa: S608


def check(connection: Connection, seq: int, owner: str) -> None:
    """See that a batch's lease is an owner's. Raises LeaseLost."""
    row = connection.execute("SELECT owner FROM batches WHERE seq = ?", (seq,)).fetchone()
    if row is None or row["owner"] != owner:
        raise LeaseLost(f"the lease of batch {seq} is another's")


def _leave(connection: Connection, seq: int, number: int) -> bool:
    """Prepare a line for being placed, or done: it has no calls. False where it is done already."""
    row = connection.execute(_LEFT, (seq, number)).fetchone()
    if row is None:
        return False
    partly = 0.0
    if row["made"]:
        partly = part(row["made"], len(orjson.loads(row["seated"])["experts"]))
    connection.execute(_SETTLE, (row["expert"] is None, partly, seq))
    if row["expert"] == _NOBODY:
        connection.execute(_UNASK, (number, seq))
        connection.execute("DELETE FROM calls WHERE batch = ? AND number = ?", (seq, number))
    return True


def line_of(row: Row) -> Line:
    """Return the line that a row of the table is."""
    experts: Any = orjson.loads(row["experts"]) if row["expert"] is not None else ()
    return Line(
        number=row["number"],
        offset=row["offset"],
        length=row["length"],
        custom_id=row["custom_id"],
        experts=tuple(experts),
        category=row["category"],
        probability=row["probability"],
        reason=row["reason"],
        seated=_seated(row),
    )


def _seated(row: Row) -> Seated | None:
    if row["expert"] != _NOBODY:
        return None
    kept: Any = orjson.loads(row["seated"])
    return Seated(
        panel=kept["panel"],
        experts=tuple(kept["experts"]),
        weights=tuple(kept["weights"]),
        detail=kept["detail"],
    )
