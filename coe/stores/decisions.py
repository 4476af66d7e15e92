"""The decision log: what was decided, what came of it, and what people said of it. One SQLite file.

Prompts are kept as keyed digests: equal prompts can be counted, and nobody without this file can
try which prompt a digest stands for. Their text is kept only where the composition asks for it, and
only until its own time is over.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from hashlib import blake2b
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any, Self

import orjson

from coe.stores.sqlite import Database, Format, Store
from coe.value import value

FILE = "decisions.sqlite"

LEFT = 499
"""The status where the client left before the end: nginx's word for it, and nobody's failure."""

SHADOW = "shadow"
"""The endpoint of a decision that no client asked for: an arm that answered in the shadow."""


_DECISIONS = """
CREATE TABLE decisions (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    response_id TEXT,
    at REAL NOT NULL,
    tenant TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    model TEXT NOT NULL,
    status INTEGER NOT NULL,
    error TEXT NOT NULL,
    prompt TEXT NOT NULL,
    text BLOB,
    text_until REAL,
    category TEXT,
    probability REAL,
    reason TEXT NOT NULL,
    router TEXT NOT NULL,
    expert TEXT,
    unit TEXT NOT NULL,
    arms TEXT NOT NULL,
    latency_s REAL NOT NULL,
    first_s REAL,
    prompt_tokens INTEGER,
    answer_tokens INTEGER,
    cost REAL,
    composition TEXT NOT NULL,
    detail BLOB NOT NULL
)
"""
_BY_RESPONSE = "CREATE INDEX by_response ON decisions (response_id)"
_BY_TIME = "CREATE INDEX by_time ON decisions (at)"
_BY_TEXT = "CREATE INDEX by_text ON decisions (text_until) WHERE text_until IS NOT NULL"
_FEEDBACK = """
CREATE TABLE feedback (
    seq INTEGER PRIMARY KEY,
    decision TEXT NOT NULL,
    at REAL NOT NULL,
    source TEXT NOT NULL,
    value REAL CHECK (value BETWEEN 0 AND 1),
    comment TEXT NOT NULL,
    demonstration TEXT NOT NULL,
    correct TEXT NOT NULL,
    tags TEXT NOT NULL,
    key TEXT NOT NULL,
    UNIQUE (decision, key)
)
"""
_FEEDBACK_BY_TIME = "CREATE INDEX feedback_by_time ON feedback (at)"
_SPENT = """
CREATE TABLE spent (
    experiment TEXT NOT NULL,
    day TEXT NOT NULL,
    amount REAL NOT NULL,
    PRIMARY KEY (experiment, day)
) WITHOUT ROWID
"""
_SALT = "CREATE TABLE salt (value BLOB NOT NULL)"
_FORMAT = Format(  # its mark spells "CoED"
    what="decisions",
    mark=0x436F4544,
    version=2,
    tables=(
        _DECISIONS, _BY_RESPONSE, _BY_TIME, _BY_TEXT, _FEEDBACK, _FEEDBACK_BY_TIME, _SPENT, _SALT
    ),
    upgrades={1: (_BY_TIME, _BY_TEXT)},
)  # fmt: skip


@value
class Record:
    """One decision, and what came of it.

    Attributes:
        id: that of the query; the header `x-coe-decision-id`.
        response_id: the `id` of the answer's body; None where it has none.
        at: when the request came, in seconds since the epoch.
        tenant: digest of the client's key; empty where it has none.
        model: the name that the client asked for.
        endpoint: as in the path, or `SHADOW`.
        status: of HTTP; `LEFT` where the client left.
        error: the error's class; empty where there was none.
        prompt: digest of the messages, see `DecisionStore.digest`.
        text: the messages, where they are kept.
        text_until: when they are forgotten, in seconds since the epoch.
        unit: digest of the conversation that it was a turn of; empty where that is not known.
        arms: the arm of each experiment that it took part in.
        latency_s: the whole request, in seconds.
        first_s: until the first content; None where there was none.
        cost: of all its calls, in the currency of the composition; None where not known.
        composition: fingerprint.
        detail: what else is known: candidates with their propensities, exclusions, attempts, the
            ranked categories, a panel's calls.
    """

    id: str
    at: float
    tenant: str = ""
    endpoint: str = "chat/completions"
    model: str = ""
    status: int = 200
    error: str = ""
    response_id: str | None = None
    prompt: str = ""
    text: Sequence[Any] | None = None
    text_until: float | None = None
    category: str | None = None
    probability: float | None = None
    reason: str = ""
    router: str = ""
    expert: str | None = None
    unit: str = ""
    arms: Mapping[str, str] = field(default_factory=dict)
    latency_s: float = 0.0
    first_s: float | None = None
    prompt_tokens: int | None = None
    answer_tokens: int | None = None
    cost: float | None = None
    composition: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What somebody said of an answer.

    Attributes:
        decision: its id.
        at: when it was said, in seconds since the epoch.
        source: who said it: `user`, or `judge` for one of ours.
        value: how good the answer was, 0 to 1; None where nobody said.
        comment: in words.
        demonstration: what the answer should have been.
        correct: how right each expert was, 0 to 1, by name.
        tags: free labels.
        key: the same key for the same decision is the same feedback, sent again.
    """

    decision: str
    at: float
    source: str = "user"
    value: float | None = None
    comment: str = ""
    demonstration: str = ""
    correct: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    key: str = ""


_COLUMNS = tuple(one.name for one in fields(Record))
_JSON = frozenset({"arms", "detail", "text"})
_INSERT = f"INSERT OR IGNORE INTO decisions ({', '.join(_COLUMNS)}) VALUES "  # noqa: S608 - ours
_VALUES = f"({', '.join('?' * len(_COLUMNS))})"
_AT_ONCE = 32
"""Rows of one statement. Between two statements the thread waits for the interpreter, which the
event loop has; and no SQLite takes fewer than 999 parameters."""
_OF_RECORD = attrgetter(*_COLUMNS)
_JSON_PLACES = tuple(place for place, name in enumerate(_COLUMNS) if name in _JSON)
_SAID = tuple(one.name for one in fields(Feedback))
_SAID_JSON = frozenset({"correct", "tags"})
_REPLACED = (f"{name} = excluded.{name}" for name in _SAID if name not in {"decision", "key"})
_SAY = (
    f"INSERT INTO feedback ({', '.join(_SAID)})"  # noqa: S608 - names of ours
    f" VALUES ({', '.join(':' + name for name in _SAID)})"
    f" ON CONFLICT (decision, key) DO UPDATE SET {', '.join(_REPLACED)}"
)


class DecisionStore(Store):
    """Decisions and feedback in a file; threads and processes may share it."""

    form = _FORMAT

    def __init__(self, database: Database, secret: str = "") -> None:
        """Store the file, and read the key of its digests; see `open`."""
        super().__init__(database)
        self._salt = _salt(database, secret)

    @classmethod
    def open(cls, path: Path, secret: str = "") -> Self:
        """Open the file, and make it (and its folder) where it is absent.

        Args:
            path: where it is.
            secret: that several gateways share: the files that they make have the same digests
                for the same things. A file that is there keeps the key that it has.

        Raises:
            ArtefactError: the file is damaged, of another program, or of a version that cannot be
                read.
            CoEError: it cannot be opened or made.
        """
        return cls(Database.open(path, cls.form), secret)

    def digests_as(self, other: DecisionStore) -> bool:
        """Whether another file has the same digest for the same thing."""
        return self._salt == other._salt

    def digest(self, messages: object) -> str:
        """Return the digest that a prompt has in this file."""
        raw = orjson.dumps(messages, option=orjson.OPT_SORT_KEYS)
        return blake2b(raw, digest_size=16, key=self._salt).hexdigest()

    def add(self, records: Iterable[Record]) -> None:
        """Add decisions, all or none; one that is there already stays as it is."""
        rows = [_columns(record) for record in records]
        with self._database.writing() as connection:
            for start in range(0, len(rows), _AT_ONCE):
                part = rows[start : start + _AT_ONCE]
                connection.execute(_inserting(len(part)), [*chain.from_iterable(part)])

    def find(self, name: str, tenant: str | None = None) -> Record | None:
        """Return the decision with this id, or the last one whose answer had it; None for none.

        Ids of answers are the upstream's, and two answers may have the same one: another tenant's
        never stands before one's own, nor an answer in the shadow before the one that was sent.

        Args:
            name: id of a decision, or of an answer.
            tenant: only decisions of this one; None: of all.
        """
        query = (
            "SELECT * FROM decisions WHERE (id = :name OR response_id = :name)"
            " AND (:tenant IS NULL OR tenant = :tenant)"
            " ORDER BY id = :name DESC, endpoint = :shadow, at DESC LIMIT 1"
        )
        found = {"name": name, "tenant": tenant, "shadow": SHADOW}
        rows = self._database.rows(query, found)
        return _record(rows[0]) if rows else None

    def say(self, feedback: Feedback) -> Feedback | None:
        """Add feedback; what was said with the same key is replaced, and returned."""
        query = "SELECT * FROM feedback WHERE decision = ? AND key = ?"
        with self._database.writing() as connection:
            row = connection.execute(query, (feedback.decision, feedback.key)).fetchone()
            connection.execute(_SAY, _row(feedback, _SAID, _SAID_JSON))
        return None if row is None else _feedback(row)

    def said(self, decision: str) -> tuple[Feedback, ...]:
        """Return the feedback on a decision, oldest first."""
        query = "SELECT * FROM feedback WHERE decision = ? ORDER BY seq"
        return tuple(map(_feedback, self._database.rows(query, (decision,))))

    def records(self, *, since: float = 0.0, experiment: str | None = None) -> Iterator[Record]:
        """Yield decisions, oldest first; between two pages others may write.

        Args:
            since: of requests that came at or after this, in seconds since the epoch.
            experiment: only those that took part in it.
        """
        where = "at >= ?"
        values: tuple[Any, ...] = (since,)
        if experiment is not None:
            # An arm is written as JSON; a quoted name cannot be part of another one.
            where += " AND instr(arms, ?) > 0"
            values = (since, orjson.dumps(experiment).decode() + ":")
        query = f"SELECT * FROM decisions WHERE {where} AND seq > ? ORDER BY seq LIMIT ?"  # noqa: S608 - ours
        yield from map(_record, self._database.paged(query, values, key="seq"))

    def page(self, after: int, limit: int) -> list[tuple[int, Record]]:
        """Return decisions that took part in an experiment, in the order of writing.

        Args:
            after: the number of the last one that is known; 0 for none.
            limit: most of them.

        Returns:
            Each with its number.
        """
        query = "SELECT * FROM decisions WHERE seq > ? AND arms != '{}' ORDER BY seq LIMIT ?"
        return [(row["seq"], _record(row)) for row in self._database.rows(query, (after, limit))]

    def feedback(self, *, since: float = 0.0) -> Iterator[Feedback]:
        """Yield the feedback on decisions that were made at or after `since`, oldest first."""
        query = (
            "SELECT feedback.* FROM feedback JOIN decisions ON decisions.id = feedback.decision"
            " WHERE decisions.at >= ? AND feedback.seq > ? ORDER BY feedback.seq LIMIT ?"
        )
        yield from map(_feedback, self._database.paged(query, (since,), key="seq"))

    def spend(self, experiment: str, day: str, amount: float, cap: float) -> bool:
        """Take an amount out of an experiment's money for a day; False where that passes the cap.

        Several processes share the money.
        """
        with self._database.writing() as connection:
            query = "SELECT amount FROM spent WHERE experiment = ? AND day = ?"
            row = connection.execute(query, (experiment, day)).fetchone()
            spent = (0.0 if row is None else float(row["amount"])) + amount
            if spent > cap:
                return False
            connection.execute(
                "INSERT OR REPLACE INTO spent (experiment, day, amount) VALUES (?, ?, ?)",
                (experiment, day, spent),
            )
            return True

    def forget(self, *, before: float, now: float, most: int = 1000) -> int:
        """Forget decisions made before a time, their feedback, and texts whose time is over.

        Args:
            before: a time, in seconds since the epoch.
            now: likewise.
            most: decisions, and texts, that are forgotten at once: what is to be written waits.

        Returns:
            How many decisions and texts were forgotten: where it is as many as may be, call again.
        """
        with self._database.writing() as connection:
            texts = connection.execute(
                "UPDATE decisions SET text = NULL, text_until = NULL WHERE seq IN"
                " (SELECT seq FROM decisions WHERE text_until < ? LIMIT ?)",
                (now, most),
            )
            rows = connection.execute(
                "SELECT id FROM decisions WHERE at < ? LIMIT ?", (before, most)
            ).fetchall()
            names = [(row["id"],) for row in rows]
            connection.executemany("DELETE FROM feedback WHERE decision = ?", names)
            connection.executemany("DELETE FROM decisions WHERE id = ?", names)
            return max(texts.rowcount, len(names))


@cache
def _inserting(rows: int) -> str:
    """Return the statement that adds so many decisions."""
    return _INSERT + ", ".join([_VALUES] * rows)


def _salt(database: Database, secret: str) -> bytes:
    """Return the key of the file's digests; it is made with the file, of the secret if any."""
    with database.writing() as connection:
        row = connection.execute("SELECT value FROM salt").fetchone()
        if row is not None:
            return bytes(row["value"])
        salt = secrets.token_bytes(32)
        if secret:
            salt = blake2b(secret.encode(), digest_size=32, person=b"coe decisions").digest()
        connection.execute("INSERT INTO salt (value) VALUES (?)", (salt,))
        return salt


def _columns(record: Record) -> list[Any]:
    values = list(_OF_RECORD(record))
    for place in _JSON_PLACES:
        if values[place] is not None:
            values[place] = orjson.dumps(values[place], default=dict).decode()
    return values


def _row(value: Record | Feedback, columns: Iterable[str], json: frozenset[str]) -> dict[str, Any]:
    row = {name: getattr(value, name) for name in columns}
    for name in json & row.keys():
        if row[name] is not None:
            row[name] = orjson.dumps(row[name], default=dict).decode()
    return row


def _record(row: Any) -> Record:
    values = {name: row[name] for name in _COLUMNS}
    for name in _JSON:
        if values[name] is not None:
            values[name] = orjson.loads(values[name])
    return Record(**values)


def _feedback(row: Any) -> Feedback:
    values = {name: row[name] for name in _SAID}
    for name in _SAID_JSON:
        values[name] = orjson.loads(values[name])
    return Feedback(**values)
