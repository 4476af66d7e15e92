"""The outcomes of a composition's experts, in one SQLite file.

Two tables: what is known of a prompt (its category, its probabilities, its text where that is
kept) and what each expert scored on it. What was added is there after `kill -9` of this process,
and several processes may read and add at once (write-ahead log).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import orjson

from coe.errors import ArtefactError, CoEError
from coe.mapping.outcomes import Outcome, OutcomeMatrix, Source, matrix

FILE = "outcomes.sqlite"

_MARK = 0x436F454F  # `application_id`: "CoEO"
_VERSION = 1
_WAIT_S = 30.0  # for another process that writes
_AT_ONCE = 500  # rows of a batch; SQLite takes 999 parameters at least

_TABLES = """
CREATE TABLE prompts (
    digest TEXT PRIMARY KEY,
    category TEXT,
    probabilities BLOB,
    router TEXT NOT NULL DEFAULT '',
    body BLOB
) WITHOUT ROWID;
CREATE TABLE outcomes (
    id INTEGER PRIMARY KEY,
    prompt TEXT NOT NULL,
    expert TEXT NOT NULL,
    revision TEXT NOT NULL,
    source TEXT NOT NULL,
    score REAL NOT NULL CHECK (score BETWEEN 0 AND 1),
    cost REAL,
    latency_s REAL,
    at REAL NOT NULL,
    UNIQUE (expert, revision, source, prompt)
);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What is known of a prompt, whoever answers it.

    Attributes:
        digest: as in `Outcome.prompt`.
        category: the one that its file names.
        probabilities: of the categories, by name, as the router gave them; empty where none did.
        router: mark of that router; changes with whatever could give other probabilities.
        body: the request's `messages` and the like; None unless the text is to be kept.
    """

    digest: str
    category: str | None = None
    probabilities: Mapping[str, float] = field(default_factory=dict)
    router: str = ""
    body: Mapping[str, Any] | None = None


class Count(NamedTuple):
    """How many outcomes there are of one expert's revision from one source."""

    expert: str
    revision: str
    source: str
    outcomes: int
    mean: float
    cost: float
    latest: float


class OutcomeStore:
    """Outcomes in a file. Not for several threads at once; open it once in each."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        """Store the parts; see `open`."""
        self.path = path
        self._connection = connection

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the file, and make it (and its folder) where it is absent.

        Raises:
            ArtefactError: the file is damaged, of another program, or of a newer version.
            CoEError: it cannot be opened or made.
        """
        with _translated(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None)
            try:
                _prepare(path, connection)
            except BaseException:
                connection.close()
                raise
        return cls(path, connection)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

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

    def add(self, outcomes: Iterable[Outcome], *, router: str = "") -> None:
        """Add outcomes, all or none. The same prompt, expert, revision and source is kept once.

        The later outcome of those replaces the earlier one. What an outcome says of its prompt
        (category, probabilities) is noted, too; what it does not say stays as it is.

        Args:
            outcomes: to add.
            router: mark of the router that their probabilities are from.
        """
        with self._writing() as connection:
            for row in outcomes:
                prompt = Prompt(
                    digest=row.prompt,
                    category=row.category,
                    probabilities=row.probabilities,
                    router=router,
                )
                connection.execute(_NOTE, _prompt_row(prompt))
                connection.execute(_ADD, _outcome_row(row))

    def note(self, prompts: Iterable[Prompt]) -> None:
        """Note what is known of prompts; what one does not say stays as it is."""
        with self._writing() as connection:
            connection.executemany(_NOTE, map(_prompt_row, prompts))

    def read(
        self,
        *,
        experts: Sequence[str] | None = None,
        sources: Sequence[Source] | None = None,
        revisions: Mapping[str, str] | None = None,
        since: float = 0.0,
    ) -> Iterator[Outcome]:
        """Yield outcomes in the order in which they were first added.

        Args:
            experts: only of these.
            sources: only from these.
            revisions: only of these revisions, by expert; experts that it lacks are not narrowed.
            since: only from this time on, in seconds since 1970.

        Raises:
            ArtefactError: the file is damaged.
        """
        where, values = _where(experts, sources, since)
        with _translated(self.path):
            for row in self._connection.execute(_READ.format(where=where), values):
                outcome = self._outcome(row)
                wanted = (revisions or {}).get(outcome.expert, outcome.revision)
                if outcome.revision == wanted:
                    yield outcome

    def matrix(
        self,
        *,
        experts: Sequence[str],
        categories: Sequence[str],
        sources: Sequence[Source] | None = None,
        revisions: Mapping[str, str] | None = None,
        since: float = 0.0,
    ) -> OutcomeMatrix:
        """Return outcomes as a matrix; see `read` and `coe.mapping.outcomes.matrix`."""
        found = self.read(experts=experts, sources=sources, revisions=revisions, since=since)
        return matrix(found, experts=experts, categories=categories)

    def done(self, expert: str, revision: str, source: Source) -> frozenset[str]:
        """Return the digests of the prompts whose outcome is there already."""
        with _translated(self.path):
            rows = self._connection.execute(
                "SELECT prompt FROM outcomes WHERE expert = ? AND revision = ? AND source = ?",
                (expert, revision, source),
            )
            return frozenset(digest for (digest,) in rows)

    def prompts(self, digests: Iterable[str] | None = None) -> Iterator[Prompt]:
        """Yield what is known of prompts; of all of them where none are named."""
        with _translated(self.path):
            if digests is None:
                for row in self._connection.execute(_PROMPTS):
                    yield self._prompt(row)
                return
            left = iter(digests)
            while part := tuple(islice(left, _AT_ONCE)):
                marks = ", ".join("?" * len(part))
                for row in self._connection.execute(f"{_PROMPTS} WHERE digest IN ({marks})", part):
                    yield self._prompt(row)

    def counts(self) -> tuple[Count, ...]:
        """Return how much there is, by expert, revision and source."""
        with _translated(self.path):
            return tuple(Count(*row) for row in self._connection.execute(_COUNTS))

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Begin a transaction; it is undone where the block or a row fails."""
        with _translated(self.path):
            # IMMEDIATE waits for another writer here, where waiting is safe: a transaction that
            # has read and then wants to write is refused at once.
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _outcome(self, row: tuple[Any, ...]) -> Outcome:
        prompt, expert, revision, source, score, cost, latency_s, at, category, shares = row
        return Outcome(
            prompt=prompt,
            expert=expert,
            revision=revision,
            source=source,
            score=score,
            cost=cost,
            latency_s=latency_s,
            at=at,
            category=category,
            probabilities=self._json(shares, prompt) or {},
        )

    def _prompt(self, row: tuple[Any, ...]) -> Prompt:
        digest, category, shares, router, body = row
        return Prompt(
            digest=digest,
            category=category,
            probabilities=self._json(shares, digest) or {},
            router=router,
            body=self._json(body, digest),
        )

    def _json(self, raw: bytes | None, prompt: str) -> Any:
        if raw is None:
            return None
        try:
            return orjson.loads(raw)
        except orjson.JSONDecodeError:
            raise ArtefactError(
                f"{self.path}: what is kept of prompt {prompt} cannot be read; {_FIX}"
            ) from None


_FIX = "delete the file to measure again, or put back a copy of it"

_NOTE = """
INSERT INTO prompts (digest, category, probabilities, router, body) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (digest) DO UPDATE SET
    category = coalesce(excluded.category, category),
    router = iif(excluded.probabilities IS NULL, router, excluded.router),
    probabilities = coalesce(excluded.probabilities, probabilities),
    body = coalesce(excluded.body, body)
"""

_ADD = """
INSERT INTO outcomes (prompt, expert, revision, source, score, cost, latency_s, at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (expert, revision, source, prompt) DO UPDATE SET
    score = excluded.score, cost = excluded.cost, latency_s = excluded.latency_s, at = excluded.at
"""

_READ = """
SELECT prompt, expert, revision, source, score, cost, latency_s, at, category, probabilities
FROM outcomes LEFT JOIN prompts ON digest = prompt {where} ORDER BY id
"""

_PROMPTS = "SELECT digest, category, probabilities, router, body FROM prompts"

_COUNTS = """
SELECT expert, revision, source, count(*), avg(score), total(cost), max(at)
FROM outcomes GROUP BY expert, revision, source ORDER BY expert, max(at)
"""


def _where(
    experts: Sequence[str] | None, sources: Sequence[Source] | None, since: float
) -> tuple[str, list[Any]]:
    """Return a condition and its values. An empty list of experts or sources allows none."""
    rules: list[str] = ["at >= ?"]
    values: list[Any] = [since]
    # As one JSON value each: a pool may have more experts than SQLite takes parameters.
    if experts is not None:
        rules.append("expert IN (SELECT value FROM json_each(?))")
        values.append(orjson.dumps(list(experts)).decode())
    if sources is not None:
        rules.append("source IN (SELECT value FROM json_each(?))")
        values.append(orjson.dumps(list(sources)).decode())
    return f"WHERE {' AND '.join(rules)}", values


def _prompt_row(prompt: Prompt) -> tuple[Any, ...]:
    # That every category is improbable is not the same as nobody having been asked.
    shares = {name: share for name, share in prompt.probabilities.items() if share}
    shares = shares or dict(prompt.probabilities)
    return (
        prompt.digest,
        prompt.category,
        orjson.dumps(shares) if shares else None,
        prompt.router,
        None if prompt.body is None else orjson.dumps(prompt.body),
    )


def _outcome_row(row: Outcome) -> tuple[Any, ...]:
    return (
        *(row.prompt, row.expert, row.revision, row.source),
        *(row.score, row.cost, row.latency_s, row.at),
    )


def _prepare(path: Path, connection: sqlite3.Connection) -> None:
    """Make the tables where there are none; refuse a file that is not ours."""
    # What is committed survives the process whichever this is; FULL would also survive a loss of
    # power, at a wait for the disk for every answer.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("BEGIN IMMEDIATE")  # two processes may be the first
    try:
        (mark,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if mark != _MARK and tables:
            raise ArtefactError(f"{path}: a database, but not one of outcomes; name another file")
        if version > _VERSION:
            raise ArtefactError(
                f"{path}: written by a newer version of CoE (format {version}; this one reads "
                f"{_VERSION}); use that version"
            )
        if not tables:
            for statement in _TABLES.split(";")[:-1]:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {_MARK}")
            connection.execute(f"PRAGMA user_version = {_VERSION}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode = WAL")  # kept in the file; not done to a foreign one


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Raise our errors for SQLite's and the file system's."""
    try:
        yield
    except OSError as error:
        raise CoEError(f"{path}: {error.strerror}") from None
    except sqlite3.OperationalError as error:
        raise CoEError(f"{path}: {error}") from None
    except sqlite3.DatabaseError as error:
        raise ArtefactError(
            f"{path}: not a database of outcomes, or damaged ({error}); {_FIX}"
        ) from None
