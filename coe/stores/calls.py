"""The calls that panels make for lines of batches, kept until their line is done.

A call is known by a key within its line. What came of it is recorded once; from then on it is not
made again. Which calls are made, and what is done with their answers, is none of this module's
business.
"""

from __future__ import annotations

from collections.abc import Sequence
from sqlite3 import Row

import orjson

from coe.stores.lines import COUNT_GROUP, GROUP, LeaseLost, check, line_of
from coe.stores.records import Kept, Line, Wanted, part
from coe.stores.sqlite import Database

TABLES = (
    """CREATE TABLE calls (
    batch INTEGER NOT NULL,
    number INTEGER NOT NULL,
    key TEXT NOT NULL,
    expert TEXT NOT NULL,
    done INTEGER NOT NULL DEFAULT 0,
    succeeded INTEGER NOT NULL DEFAULT 0,
    text BLOB,
    took_s REAL NOT NULL DEFAULT 0
)""",
    "CREATE UNIQUE INDEX calls_by_line ON calls (batch, number, key)",
    "CREATE INDEX calls_to_do ON calls (batch, expert, number, key) WHERE done = 0",
)

Place = tuple[int, str]
"""A call's line and key; calls are gone through in this order."""

FIRST: Place = (0, "")


class CallStore:
    """The calls of every batch. Safe for several threads and processes; see `LineStore`."""

    def __init__(self, database: Database) -> None:
        """Store the database."""
        self._database = database

    def due(self, seq: int, after: int, limit: int) -> list[Line]:
        """Return the next lines of panels for which no call is to be made as yet.

        They have just been placed, or all calls that were wanted for them have been made.
        """
        rows = self._database.rows(_DUE, (seq, after, limit))
        return [line_of(row) for row in rows]

    def want(self, seq: int, owner: str, number: int, calls: Sequence[Wanted]) -> None:
        """Note calls that are to be made for a line, each once. Raises LeaseLost."""
        with self._database.writing() as connection:
            check(connection, seq, owner)
            for call in calls:
                values = (seq, number, call.key, call.expert)
                if connection.execute(_WANT, values).rowcount:
                    connection.execute(GROUP, (seq, call.expert, call.backend, call.base))

    def to_do(self, seq: int, expert: str, after: Place, limit: int) -> list[tuple[Line, str]]:
        """Return the next calls that an expert is to get: the line, and the call's key."""
        rows = self._database.rows(_TO_DO, (seq, expert, *after, limit))
        return [(line_of(row), row["key"]) for row in rows]

    def of(self, seq: int, number: int) -> dict[str, Kept]:
        """Return the calls that were made for a line, by key."""
        rows = self._database.rows(_OF, (seq, number))
        return {row["key"]: _kept(row) for row in rows}

    def record(self, seq: int, owner: str, number: int, kept: Kept, now: float) -> bool:
        """Record what came of a call, once; True where it was the last one wanted for its line.

        Raises:
            LeaseLost: see `LineStore`.
        """
        with self._database.writing() as connection:
            check(connection, seq, owner)
            values = (kept.succeeded, kept.text, kept.took_s, seq, number, kept.key)
            if connection.execute(_DONE, values).rowcount == 0:
                raise LeaseLost(f"`{kept.key}` of line {number} is done already")
            row = connection.execute(_MADE, (seq, number)).fetchone()
            members = len(orjson.loads(row["seated"])["experts"])
            more = part(row["made"], members) - part(row["made"] - 1, members)
            connection.execute("UPDATE batches SET partly = partly + ? WHERE seq = ?", (more, seq))
            connection.execute(COUNT_GROUP, (kept.took_s, now, seq, kept.expert))
            return connection.execute(_OPEN, (seq, number)).fetchone() is None


_DUE = """
SELECT * FROM lines WHERE batch = ? AND done = 0 AND expert = '' AND number > ?
    AND NOT EXISTS (SELECT 1 FROM calls WHERE calls.batch = lines.batch
        AND calls.number = lines.number AND calls.done = 0)
ORDER BY number LIMIT ?
"""

_WANT = "INSERT OR IGNORE INTO calls (batch, number, key, expert) VALUES (?, ?, ?, ?)"

_TO_DO = """
SELECT lines.*, calls.key FROM calls JOIN lines USING (batch, number)
WHERE calls.batch = ? AND calls.expert = ? AND calls.done = 0
    AND (calls.number, calls.key) > (?, ?)
ORDER BY calls.number, calls.key LIMIT ?
"""

_OF = """
SELECT key, expert, succeeded, text, took_s FROM calls WHERE batch = ? AND number = ? AND done = 1
"""

_DONE = """
UPDATE calls SET done = 1, succeeded = ?, text = ?, took_s = ?
WHERE batch = ? AND number = ? AND key = ? AND done = 0
"""

_MADE = "UPDATE lines SET made = made + 1 WHERE batch = ? AND number = ? RETURNING made, seated"

_OPEN = "SELECT 1 FROM calls WHERE batch = ? AND number = ? AND done = 0 LIMIT 1"


def _kept(row: Row) -> Kept:
    return Kept(
        key=row["key"],
        expert=row["expert"],
        succeeded=bool(row["succeeded"]),
        text=row["text"],
        took_s=row["took_s"],
    )
